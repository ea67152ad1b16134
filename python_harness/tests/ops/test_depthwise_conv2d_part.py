"""depthwise_conv2d_weight_gradient where some channels train: both C forms have golden's bits, and these are rows of the whole gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Window
from mcutrain.ops.conv2d_gradient import input_shape, output_shape
from mcutrain.ops.depthwise_conv2d_gradient import (
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32,
    DepthwiseWeightGradientParams,
    depthwise_weight_shape,
    inputs_read,
)
from support.backward_cases import golden_and_c_agree, random_block16, random_codes, random_floats, refused, seeds
from support.ckernels import block32, forms, index_list
from support.depthwise_cases import depthwise_windows
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
both_kernels = pytest.mark.parametrize(
    "kernel",
    [DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32],
    ids=lambda kernel: kernel.name,
)

# 4 inputs of 3 outputs each; what trains reads inputs 0, 2 and 3.
THREE_OUTPUTS = Window(5, 6, 4, 5, 6, 12, 3, 3, 1, 1, 1, 1)
CHOSEN = np.array([1, 2, 6, 11], np.int32)


def empty_gradient(kernel: Kernel, shape: tuple[int, ...]) -> Any:
    return np.zeros(shape, np.float32) if kernel.name.endswith("f32") else block32(shape)


def values(gradient: Any) -> NDArray[Any]:
    found: NDArray[Any] = gradient if isinstance(gradient, np.ndarray) else gradient.mantissa
    return found


def whole_views(kernel: Kernel, w: Window, rng: np.random.Generator) -> dict[str, Any]:
    floats = kernel.name.endswith("f32")
    g = random_floats(rng, output_shape(w)) if floats else random_block16(rng, output_shape(w), 11)
    return {
        "x": random_codes(rng, input_shape(w)),
        "g": g,
        "gradient": empty_gradient(kernel, depthwise_weight_shape(w)),
    }


def part_of(
    kernel: Kernel, w: Window, chosen: NDArray[np.int32], zero_point: int, whole: dict[str, Any]
) -> tuple[DepthwiseWeightGradientParams, dict[str, Any]]:
    """The same gradient of the chosen output channels, from the input channels that they read."""
    views = {
        "x": whole["x"][..., inputs_read(w, chosen)].copy(),
        "g": whole["g"],
        "index": index_list(chosen),
        "gradient": empty_gradient(kernel, (chosen.size, w.kernel_height, w.kernel_width)),
    }
    return DepthwiseWeightGradientParams(w, zero_point, chosen.size), views


@both_forms
@both_kernels
@given(w=depthwise_windows(), share=st.floats(0.0, 1.0), zero_point=st.sampled_from([-128, -1, 0, 5, 127]), seed=seeds)
@examples(60)
@example(w=THREE_OUTPUTS, share=0.4, zero_point=-128, seed=0)
def test_the_gradient_of_a_part_has_goldens_bits_and_is_rows_of_the_whole(
    form: str, kernel: Kernel, w: Window, share: float, zero_point: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(w.out_channels) < share).astype(np.int32)
    if chosen.size == 0:
        chosen = rng.integers(0, w.out_channels, 1, np.int32)
    whole = whole_views(kernel, w, rng)
    params, views = part_of(kernel, w, chosen, zero_point, whole)
    part = golden_and_c_agree(form, kernel, params, views)
    kernel.golden(replace(params, most_selected=w.out_channels), whole)
    assert np.array_equal(values(part["gradient"]), values(whole["gradient"])[chosen])


def test_inputs_are_kept_once_however_many_of_their_outputs_train() -> None:
    assert inputs_read(THREE_OUTPUTS, CHOSEN).tolist() == [0, 2, 3]


def test_the_multiply_accumulates_are_those_of_the_part() -> None:
    part = DepthwiseWeightGradientParams(THREE_OUTPUTS, 0, CHOSEN.size)
    assert DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16.macs(part) == 5 * 6 * 9 * 4


@both_forms
@both_kernels
@pytest.mark.parametrize(
    ("index", "most"),
    [
        ([1, 2, 6, 12], 4),
        ([-1, 2, 6, 11], 4),
        ([2, 1, 6, 11], 4),
        ([1, 1, 6, 11], 4),
        ([1, 2, 6, 11], 3),
        ([1, 2, 6, 11], 0),
        (list(range(12)), 13),
        (None, 4),
    ],
    ids=str,
)
def test_channels_that_do_not_ascend_or_do_not_exist_are_refused(
    form: str, kernel: Kernel, index: list[int] | None, most: int
) -> None:
    params, views = part_of(
        kernel, THREE_OUTPUTS, CHOSEN, 0, whole_views(kernel, THREE_OUTPUTS, np.random.default_rng(1))
    )
    views["scratch"] = np.zeros(DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16.scratch_bytes(params), np.uint8)
    if kernel.name.endswith("f32"):
        del views["scratch"]
    if index is None:
        del views["index"]
    else:
        views["index"] = index_list(index)
    assert refused(form, kernel, replace(params, most_selected=most), views)
