"""Lists that hold less than they may: both C forms have golden's bits, and what belongs to listed channels is packed.

Inputs end behind what is listed, and the test process with them if a kernel reads further; outputs have room for the most, and what lies
behind the listed has to stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Block, Kernel, Params, Window
from mcutrain.ops.conv2d_gradient import (
    CONV2D_WEIGHT_GRADIENT_B16,
    CONV2D_WEIGHT_GRADIENT_F32,
    Conv2dGradientParams,
    input_shape,
    output_shape,
    weight_shape,
)
from mcutrain.ops.depthwise_conv2d_gradient import (
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32,
    DepthwiseWeightGradientParams,
    depthwise_weight_shape,
    inputs_read,
)
from mcutrain.ops.gather_channels import GATHER_CHANNELS_S8, GatherChannelsS8Params
from mcutrain.ops.lists import packed, packed_block
from mcutrain.ops.registry import KERNELS
from mcutrain.ops.update_weights import KERNELS as UPDATES
from mcutrain.ops.update_weights import UpdateWeightsParams
from support.backward_cases import (
    copied,
    golden_and_c_agree,
    hostile_lists,
    random_block16,
    random_codes,
    random_floats,
    random_list,
    refused,
    seeds,
    windows,
    with_extremes,
)
from support.ckernels import block32, forms, index_list
from support.depthwise_cases import depthwise_windows
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
CONVOLUTION_GRADIENTS = (CONV2D_WEIGHT_GRADIENT_B16, CONV2D_WEIGHT_GRADIENT_F32)
DEPTHWISE_GRADIENTS = (DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32)


def every(kernels: tuple[Kernel, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kernel", kernels, ids=lambda kernel: kernel.name)


def is_b16(kernel: Kernel) -> bool:
    return kernel.name.endswith("b16")


def error(kernel: Kernel, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return random_block16(rng, shape, 11) if is_b16(kernel) else random_floats(rng, shape)


def gradient(kernel: Kernel, shape: tuple[int, ...]) -> Any:
    return block32(shape) if is_b16(kernel) else np.zeros(shape, np.float32)


def front(view: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    return packed(view.mantissa if isinstance(view, Block) else view, shape)


@both_forms
@examples(60)
@given(pixels=st.integers(1, 12), channels=st.integers(1, 20), share=st.floats(0.01, 1.0), seed=seeds)
def test_gather_packs_what_is_listed(form: str, pixels: int, channels: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    most = max(1, int(share * channels))
    listed, x = random_list(rng, channels, most), random_codes(rng, (pixels, channels))
    views: dict[str, Any] = {"x": x, "index": index_list(listed), "y": np.zeros((pixels, most), np.int8)}
    after = golden_and_c_agree(form, GATHER_CHANNELS_S8, GatherChannelsS8Params(pixels, channels, most), views)
    assert np.array_equal(front(after["y"], (pixels, listed.size)), x[:, listed])


def part_of_a_convolution(
    kernel: Kernel, w: Window, listed: NDArray[np.int32], most: int, whole: dict[str, Any]
) -> tuple[Conv2dGradientParams, dict[str, Any]]:
    """dW of the listed input channels of ``w``, with room for ``most``."""
    narrow = replace(w, in_channels=most)
    views = {
        "x": np.ascontiguousarray(whole["x"][..., listed]),
        "g": whole["g"],
        "index": index_list(listed),
        "gradient": gradient(kernel, weight_shape(narrow)),
    }
    return Conv2dGradientParams(narrow, -3), views


# Room for eleven groups is two chunks of six in the DSP form, but ten groups would be one of ten.
FEWER_IN_A_LONGER_CHUNK = Window(8, 8, 44, 8, 8, 3, 1, 1, 1, 1, 0, 0)
# Fewer than four channels take their taps together, with room for so few and for more.
THREE_BY_THREE = Window(6, 5, 6, 6, 5, 5, 3, 3, 1, 1, 1, 1)


@both_forms
@every(CONVOLUTION_GRADIENTS)
@examples(60)
@given(w=windows(), share=st.floats(0.01, 1.0), count=st.none(), seed=seeds)
@example(w=FEWER_IN_A_LONGER_CHUNK, share=1.0, count=40, seed=0)
@example(w=THREE_BY_THREE, share=1.0, count=3, seed=0)
@example(w=THREE_BY_THREE, share=0.5, count=2, seed=0)
@example(w=THREE_BY_THREE, share=0.5, count=0, seed=0)
def test_the_gradient_of_listed_input_channels_is_that_part_of_the_whole(
    form: str, kernel: Kernel, w: Window, share: float, count: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    most = max(1, int(share * w.in_channels))
    listed = random_list(rng, w.in_channels, most) if count is None else np.arange(count, dtype=np.int32)
    whole: dict[str, Any] = {
        "x": random_codes(rng, input_shape(w)),
        "g": error(kernel, rng, output_shape(w)),
        "gradient": gradient(kernel, weight_shape(w)),
    }
    kernel.golden(Conv2dGradientParams(w, -3), whole)
    after = golden_and_c_agree(form, kernel, *part_of_a_convolution(kernel, w, listed, most, whole))
    expected = front(whole["gradient"], weight_shape(w))[..., listed]
    assert np.array_equal(front(after["gradient"], expected.shape), expected)


def part_of_a_depthwise(
    kernel: Kernel, w: Window, listed: NDArray[np.int32], most: int, whole: dict[str, Any]
) -> tuple[DepthwiseWeightGradientParams, dict[str, Any]]:
    """dW of the listed output channels of ``w``, with room for ``most``."""
    views = {
        "x": np.ascontiguousarray(whole["x"][..., inputs_read(w, listed)]),
        "g": whole["g"],
        "index": index_list(listed),
        "gradient": gradient(kernel, (most, w.kernel_height, w.kernel_width)),
    }
    return DepthwiseWeightGradientParams(w, -3, most), views


@both_forms
@every(DEPTHWISE_GRADIENTS)
@examples(60)
@given(w=depthwise_windows(), share=st.floats(0.01, 1.0), seed=seeds)
def test_the_gradient_of_listed_depthwise_channels_is_rows_of_the_whole(
    form: str, kernel: Kernel, w: Window, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    most = max(1, int(share * w.out_channels))
    listed = random_list(rng, w.out_channels, most)
    whole: dict[str, Any] = {
        "x": random_codes(rng, input_shape(w)),
        "g": error(kernel, rng, output_shape(w)),
        "gradient": gradient(kernel, depthwise_weight_shape(w)),
    }
    kernel.golden(DepthwiseWeightGradientParams(w, -3, w.out_channels), whole)
    after = golden_and_c_agree(form, kernel, *part_of_a_depthwise(kernel, w, listed, most, whole))
    expected = front(whole["gradient"], depthwise_weight_shape(w))[listed]
    assert np.array_equal(front(after["gradient"], expected.shape), expected)


def update_views(
    kernel: Kernel, params: UpdateWeightsParams, rng: np.random.Generator, shape: tuple[int, ...]
) -> dict[str, Any]:
    """Weights, and a gradient and a state of ``shape``; steps of up to some codes."""
    size = params.out_channels, params.taps, params.in_channels
    steps = with_extremes(rng, rng.uniform(-9, 9, shape), (0.0,))
    values: Any = steps.astype(np.float32)
    if is_b16(kernel):
        values = block32(shape)
        values.mantissa[...], values.exponent[0] = steps * 2**20, -20
    state = {"fraction": random_codes(rng, shape), "random": np.array([rng.integers(1, 2**32)], np.uint32)}
    return {
        "gradient": values,
        "factor": rng.uniform(0.1, 1.0, params.out_channels).astype(np.float32),
        "learning_rate": np.ones(1, np.float32),
        "weights": np.maximum(random_codes(rng, size), params.weight_min).astype(np.int8),
        **{name: state[name] for name in kernel.updates if name in state},
    }


@both_forms
@every(UPDATES)
@examples(60)
@given(
    outputs=st.integers(1, 6),
    taps=st.sampled_from([1, 3, 9]),
    inputs=st.sampled_from([1, 3, 8, 70]),
    shares=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    cap=st.sampled_from([0.0, 0.5]),
    seed=seeds,
)
def test_an_update_by_lists_is_that_of_a_tensor_which_has_only_what_is_listed(
    form: str, kernel: Kernel, outputs: int, taps: int, inputs: int, shares: tuple[float, float], cap: float, seed: int
) -> None:
    """Of gradient and state the front alone counts, and the cap is of the listed steps."""
    rng = np.random.default_rng(seed)
    most_rows, most = (max(1, int(share * size)) for share, size in zip(shares, (outputs, inputs), strict=True))
    params = UpdateWeightsParams(outputs, taps, inputs, most_rows, most, -127, cap)
    views = update_views(kernel, params, rng, (most_rows, taps, most))
    rows, listed = random_list(rng, outputs, most_rows), random_list(rng, inputs, most)
    lists = {"rows": index_list(rows), "index": index_list(listed)}
    after = golden_and_c_agree(form, kernel, params, {**views, **lists})
    expected, trained = views["weights"].copy(), np.ix_(rows, np.arange(taps), listed)
    shape = (rows.size, taps, listed.size)
    if rows.size * listed.size > 0:
        small: dict[str, Any] = {name: copied(view) for name, view in views.items()}
        values = small["gradient"]
        small["gradient"] = packed_block(values, shape) if isinstance(values, Block) else packed(values, shape)
        small |= {"factor": views["factor"][rows], "weights": views["weights"][trained].copy()}
        if "fraction" in small:
            small["fraction"] = packed(small["fraction"], shape)
        kernel.golden(UpdateWeightsParams(*shape, rows.size, listed.size, -127, cap), small)
        expected[trained] = small["weights"]
        for name in {"fraction", "random"} & small.keys():
            assert np.array_equal(packed(after[name], small[name].shape), small[name])
    assert np.array_equal(after["weights"], expected)


def every_kernel_with_lists() -> list[tuple[Kernel, str, int, Params, dict[str, Any]]]:
    """(kernel, role of the list, channels, params, views without the list), with room for two elements."""
    rng = np.random.default_rng(0)
    dense, depthwise = Window(3, 3, 2, 3, 3, 2, 3, 3, 1, 1, 1, 1), Window(3, 3, 4, 3, 3, 4, 3, 3, 1, 1, 1, 1)
    gathered: dict[str, Any] = {"x": random_codes(rng, (3, 4)), "y": random_codes(rng, (3, 2))}
    found: list[tuple[Kernel, str, int, Params, dict[str, Any]]] = [
        (GATHER_CHANNELS_S8, "index", 4, GatherChannelsS8Params(3, 4, 2), gathered)
    ]
    for kernel in (*CONVOLUTION_GRADIENTS, *DEPTHWISE_GRADIENTS):
        w, shape = (depthwise, (2, 3, 3)) if kernel in DEPTHWISE_GRADIENTS else (dense, weight_shape(dense))
        params = DepthwiseWeightGradientParams(w, 0, 2) if kernel in DEPTHWISE_GRADIENTS else Conv2dGradientParams(w, 0)
        views = {"x": random_codes(rng, (3, 3, 2)), "g": error(kernel, rng, output_shape(w))}
        views["gradient"] = gradient(kernel, shape)
        if is_b16(kernel):
            views["scratch"] = np.zeros(kernel.scratch_bytes(params), np.uint8)
        # Of how many channels x was gathered is not known to a dense layer's gradient.
        found.append((kernel, "index", 4 if kernel in DEPTHWISE_GRADIENTS else 2**31 - 1, params, views))
    for kernel in UPDATES:
        inputs, outputs = UpdateWeightsParams(2, 3, 4, 2, 2, -127, 0.5), UpdateWeightsParams(4, 3, 2, 2, 2, -127, 0.5)
        for role, update in (("index", inputs), ("rows", outputs)):
            found.append((kernel, role, 4, update, update_views(kernel, update, rng, (2, 3, 2))))
    return found


with_lists = pytest.mark.parametrize(
    ("kernel", "role", "channels", "params", "views"),
    every_kernel_with_lists(),
    ids=[f"{kernel.name} {role}" for kernel, role, *_ in every_kernel_with_lists()],
)


@both_forms
@with_lists
def test_a_hostile_list_is_refused_and_nothing_is_written(
    form: str, kernel: Kernel, role: str, channels: int, params: Params, views: dict[str, Any]
) -> None:
    for hostile in hostile_lists(channels, 2):
        assert refused(form, kernel, params, {**views, role: hostile}), hostile
    good = {name: view for name, view in views.items() if name != "scratch"} | {role: index_list([0, 1])}
    golden_and_c_agree(form, kernel, params, good)


@with_lists
def test_golden_refuses_a_hostile_list(
    kernel: Kernel, role: str, channels: int, params: Params, views: dict[str, Any]
) -> None:
    for hostile in hostile_lists(channels, 2):
        with pytest.raises(ValueError, match=role):
            kernel.golden(params, {**{name: copied(view) for name, view in views.items()}, role: hostile})


def test_these_are_all_the_kernels_that_take_lists() -> None:
    taken = {(kernel.name, role.name) for kernel in KERNELS.values() for role in kernel.inputs if role.dtype == "index"}
    held_with_their_groups = {
        (name, role) for name, role in taken if name.startswith("grouped_")
    }  # test_grouped_conv2d.py
    assert {(kernel.name, role) for kernel, role, *_ in every_kernel_with_lists()} == taken - held_with_their_groups


@both_forms
@every(UPDATES)
@pytest.mark.parametrize("role", ["index", "rows"])
def test_an_empty_list_trains_nothing_and_draws_nothing(form: str, kernel: Kernel, role: str) -> None:
    """Neither a learning rate nor a gradient that is not finite makes a step of it."""
    rng = np.random.default_rng(0)
    params = UpdateWeightsParams(3, 3, 3, 3, 3, -127, 0.5)
    views = {**update_views(kernel, params, rng, (3, 3, 3)), role: index_list([])}
    views["learning_rate"][0] = np.nan
    after = golden_and_c_agree(form, kernel, params, views)
    assert all(np.array_equal(after[name], views[name]) for name in kernel.updates)


def test_multiply_accumulates_are_planned_for_the_most_that_a_list_may_hold() -> None:
    w = Window(8, 8, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1)
    assert CONV2D_WEIGHT_GRADIENT_B16.macs(Conv2dGradientParams(w, 0)) == 64 * 9 * 16 * 16
    assert DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16.macs(DepthwiseWeightGradientParams(w, 0, 12)) == 64 * 9 * 12
