"""Kernels that take lists of channels, on both cores: the bits of golden, whatever a list holds, and a cost that follows what it holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.bench.cases import Case, Output
from mcutrain.bench.measure import measure
from mcutrain.ops.base import Window
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams, input_shape, output_shape, weight_shape
from mcutrain.ops.depthwise_conv2d_gradient import DepthwiseWeightGradientParams, inputs_read
from mcutrain.ops.gather_channels import GatherChannelsS8Params
from mcutrain.ops.head import HeadF32Params
from mcutrain.ops.update_weights import UpdateWeightsParams
from support.board_runs import (
    Operands,
    backward,
    board_leaves_goldens_bits,
    forward,
    on_both_cores,
    random_codes,
    random_mantissas,
    update,
)

pytestmark = pytest.mark.qemu

MODES = ("b16", "f32")
ROUNDINGS = ("master16", "stochastic8", "nearest8")


def listed(rng: np.random.Generator, channels: int, count: int) -> NDArray[np.int32]:
    return np.sort(rng.choice(channels, count, replace=False)).astype(np.int32)


def errors(rng: np.random.Generator, shape: tuple[int, ...], mode: str) -> NDArray[np.int16] | NDArray[np.float32]:
    mantissas = random_mantissas(rng, shape, 11)
    return mantissas if mode == "b16" else mantissas.astype(np.float32)


def gathering(channels: int, most: int, count: int) -> Case:
    rng = np.random.default_rng(count)
    index = listed(rng, channels, count)
    operands: Operands = {"x": random_codes(rng, (256, channels)), "index": index, "y": Output((256, count))}
    return forward("gather_channels_s8", GatherChannelsS8Params(256, channels, most), operands)


def convolution(w: Window, most: int, count: int, mode: str) -> Case:
    """dW of ``count`` input channels, with room for ``most`` in the parameters: buffers have no more than what is packed."""
    rng = np.random.default_rng(count)
    own = replace(w, in_channels=count)
    operands: Operands = {
        "x": random_codes(rng, input_shape(own)),
        "g": errors(rng, output_shape(w), mode),
        "index": listed(rng, w.in_channels, count),
        "gradient": Output(weight_shape(own)),
    }
    params = Conv2dGradientParams(replace(w, in_channels=most), -7)
    return backward(f"conv2d_weight_gradient_{mode}", params, operands)


def depthwise(w: Window, most: int, count: int, mode: str) -> Case:
    rng = np.random.default_rng(count)
    index = listed(rng, w.out_channels, count)
    x = random_codes(rng, (w.in_height, w.in_width, inputs_read(w, index).size))
    gradient = Output((count, w.kernel_height, w.kernel_width))
    operands: Operands = {"x": x, "g": errors(rng, output_shape(w), mode), "index": index, "gradient": gradient}
    return backward(f"depthwise_conv2d_weight_gradient_{mode}", DepthwiseWeightGradientParams(w, -7, most), operands)


def weights(
    kernel: str, size: tuple[int, int, int], most: tuple[int, int], *, rows: int | None = None, index: int | None = None
) -> Case:
    """An update of weights of ``size`` (outputs, taps, inputs), with room for ``most`` rows and inputs of lists of so many, or no list."""
    outputs, taps, inputs = size
    lists = {role: count for role, count in (("rows", rows), ("index", index)) if count is not None}
    rng = np.random.default_rng(sum(lists.values()))
    shape = (lists.get("rows", outputs), taps, lists.get("index", inputs))
    gradient = rng.integers(-(2**30), 2**30, shape).astype(np.int32)
    states: dict[str, Operands] = {
        "master16": {"fraction": random_codes(rng, shape)},
        "stochastic8": {"random": np.array([5], np.uint32)},
        "nearest8": {},
    }
    rounding, mode = kernel.split("_")[2:]
    operands: Operands = {
        "gradient": gradient if mode == "b16" else gradient.astype(np.float32),
        "factor": rng.uniform(0.1, 1.0, outputs).astype(np.float32),
        "learning_rate": np.array([3 * 2.0**-30], np.float32),
        "weights": np.maximum(random_codes(rng, size), -127),
        **states[rounding],
        **{role: listed(rng, {"rows": outputs, "index": inputs}[role], count) for role, count in lists.items()},
    }
    return update(kernel, UpdateWeightsParams(*size, *most, -127, 0.5), operands)


UPDATES = [f"update_weights_{rounding}_{mode}" for rounding, mode in itertools.product(ROUNDINGS, MODES)]


def gathered() -> list[Case]:
    return [gathering(19, 13, count) for count in (1, 2, 3, 4, 5, 8, 13)]


def gradients() -> list[Case]:
    """Chunks that a shorter list would cut otherwise, fewer than four channels with room for more, windows of one pixel."""
    windows = [
        (Window(8, 8, 44, 8, 8, 3, 1, 1, 1, 1, 0, 0), 44, (1, 7, 36, 40)),
        (Window(6, 5, 6, 6, 5, 5, 3, 3, 1, 1, 1, 1), 6, (1, 2, 3, 5)),
        (Window(6, 5, 6, 6, 5, 5, 3, 3, 1, 1, 1, 1), 3, (1, 2)),
        (Window(1, 1, 9, 1, 1, 4, 1, 1, 1, 1, 0, 0), 8, (1, 5)),
    ]
    dense = [
        convolution(w, most, count, mode)
        for (w, most, counts), mode in itertools.product(windows, MODES)
        for count in counts
    ]
    w = Window(5, 6, 4, 5, 6, 12, 3, 3, 1, 1, 1, 1)
    return dense + [depthwise(w, 9, count, mode) for count, mode in itertools.product((1, 4, 8), MODES)]


def updates() -> list[Case]:
    found = []
    for kernel in UPDATES:
        found += [weights(kernel, (4, 3, 70), (4, 66), index=count) for count in (3, 65)]
        found += [weights(kernel, (4, 3, 70), (3, 70), rows=1), weights(kernel, (4, 3, 70), (3, 66), rows=2, index=5)]
    return found


def heads() -> list[Case]:
    """A quantisation for every call."""
    rng, found = np.random.default_rng(0), []
    for scale, zero_point in ((0.1, -128), (3.7e-5, 127), (1.0, 0)):
        quantization = np.array([scale, zero_point])
        values: Operands = {"weights": rng.normal(size=(3, 9)).astype(np.float32), "bias": np.ones(3, np.float32)}
        x, gradient = random_codes(rng, (9,)), rng.normal(size=3).astype(np.float32)
        params = HeadF32Params(9, 3)
        logits: Operands = {"x": x, "x_quantization": quantization, "logits": Output((3,)), "prediction": Output((1,))}
        found.append(forward("head_f32", params, {**values, **logits}))
        error: Operands = {"gradient": gradient, "x_quantization": quantization, "error": Output((9,))}
        found.append(backward("head_error_f32", params, {"weights": values["weights"], **error}))
        step: Operands = {"gradient": gradient, "learning_rate": np.array([0.3], np.float32)}
        found.append(update("head_update_f32", params, {**values, **step, "x": x, "x_quantization": quantization}))
    return found


@on_both_cores
@pytest.mark.parametrize("make", [gathered, gradients, updates, heads])
def test_the_board_leaves_the_bits_of_golden(board: str, make: Callable[[], list[Case]]) -> None:
    assert board_leaves_goldens_bits(board, make())


MOST = 64
DENSE = Window(8, 8, MOST, 8, 8, 32, 3, 3, 1, 1, 1, 1)
DEPTHWISE = Window(8, 8, MOST, 8, 8, MOST, 3, 3, 1, 1, 1, 1)


def by_index(kernel: str, count: int) -> Case:
    return weights(kernel, (16, 9, 80), (16, MOST), index=count)


def by_rows(kernel: str, count: int) -> Case:
    return weights(kernel, (80, 9, 16), (MOST, 16), rows=count)


def costs() -> Iterator[tuple[str, Callable[[int], Case], int]]:
    """(name, case by how many of the most channels are listed, instructions of a quarter beyond a quarter of the instructions).

    What does not follow a list: calls and loops, some hundreds; and where it says so.
    """
    yield "gather_channels_s8", partial(gathering, 96, MOST), 100
    dense, single = partial(convolution, DENSE, MOST), partial(depthwise, DEPTHWISE, MOST)
    # g is packed for every tap and chunk of columns, two chunks for 64 channels and one for 16: 2 an element of g and tap.
    yield "conv2d_weight_gradient_b16", partial(dense, mode="b16"), 2 * 9 * 8 * 8 * 32
    yield "conv2d_weight_gradient_f32", partial(dense, mode="f32"), 100 * 9
    # Scratch is cleared: a channel of x with its border, and one of g.
    yield "depthwise_conv2d_weight_gradient_b16", partial(single, mode="b16"), 400
    yield "depthwise_conv2d_weight_gradient_f32", partial(single, mode="f32"), 200
    for kernel in UPDATES:
        # Listed inputs are gathered and scattered tap by tap: 60 each time, of 16 output channels.
        yield f"{kernel} index", partial(by_index, kernel), 60 * 9 * 16
        yield f"{kernel} rows", partial(by_rows, kernel), 200


@pytest.mark.parametrize("core", ["m4", "m7"])
def test_a_quarter_of_a_list_costs_a_quarter(core: str) -> None:
    cases = [replace(make(count), shape=f"{name} {count}") for name, make, _ in costs() for count in (MOST, MOST // 4)]
    instructions = {row.shape: row.instructions for row in measure(cases, core)}
    for name, _, beyond in costs():
        whole, quarter = instructions[f"{name} {MOST}"], instructions[f"{name} {MOST // 4}"]
        assert quarter <= whole / 4 + beyond, name
        assert beyond < whole / 25, f"{name}: too small a case to tell"
