"""Convolutions and adds, assembly and all, on both cores: the bits of golden, for every way through them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcutrain.bench.cases import Case
from mcutrain.ops.add import AddS8Params
from mcutrain.ops.add_linear import linear_form, with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Window
from mcutrain.ops.conv2d import Conv2dS8Params
from mcutrain.ops.depthwise_conv2d import DepthwiseConv2dS8Params
from support.board_runs import (
    FULL,
    ONE_CODE,
    RELU6,
    board_leaves_goldens_bits,
    convolution_operands,
    forward,
    on_both_cores,
    outputs,
    random_codes,
)

pytestmark = pytest.mark.qemu

Clamp = tuple[int, int]


def convolution(window: Window, clamp: Clamp, seed: int, *, mask: bool = False, single_rounding: int = 0) -> Case:
    generator = np.random.default_rng(seed)
    taps = window.kernel_height * window.kernel_width * window.in_channels
    operands = convolution_operands(generator, window, (taps,), mask=mask)
    params = Conv2dS8Params(window, int(generator.integers(-128, 128)), 7, *clamp, single_rounding)
    return forward("conv2d_s8", params, operands)


def convolutions() -> list[Case]:
    """Filters of every length modulo a round of sixteen taps, channels with and without a partner, borders, clamps, masks, all rests."""
    found = []
    for seed, (inputs, channels) in enumerate(
        itertools.product((1, 3, 4, 7, 8, 12, 15, 16, 18, 20, 33, 44), (1, 2, 5))
    ):
        window = Window(2, 4, inputs, 2, 4, channels, 1, 1, 1, 1, 0, 0)
        found += [convolution(window, FULL, seed), convolution(window, RELU6, seed + 100, mask=seed % 2 == 0)]
    for seed, inputs in enumerate((1, 3, 4, 6)):
        window = Window(5, 5, inputs, 3, 3, 6, 3, 3, 2, 2, 1, 1)
        found += [convolution(window, FULL, seed + 200), convolution(window, RELU6, seed + 300, mask=True)]
    # Quads with every rest of pixels, more than are gathered at a time, and filters too long for quads.
    for seed, (height, width) in enumerate(((1, 5), (2, 3), (1, 7), (3, 3), (9, 15), (8, 8))):
        window = Window(height, width, 3, height, width, 9 - seed % 2, 3, 3, 1, 1, 1, 1)
        found += [convolution(window, FULL, seed + 500, mask=True), convolution(window, RELU6, seed + 600)]
    long_filters = (Window(4, 5, 288, 4, 5, 3, 1, 1, 1, 1, 0, 0), Window(3, 3, 68, 3, 3, 4, 3, 3, 1, 1, 1, 1))
    for seed, window in enumerate(long_filters):
        found += [convolution(window, RELU6, seed + 700, mask=True), convolution(window, FULL, seed + 800)]
    # Long filters of pixels that are not whole words, and every rest of words in a round.
    for seed, channels in enumerate((61, 62, 63, 65, 72, 76)):
        window = Window(4, 3, channels, 4, 3, 5, 3, 3, 1, 1, 1, 1)
        found += [convolution(window, (FULL, RELU6)[seed % 2], seed + 1000)]
    # Single pixels: every rest of four filters, and of words.
    for seed, (inputs, channels) in enumerate(itertools.product((3, 4, 5, 8, 14), (1, 2, 3, 4, 5, 6, 7, 17))):
        window, clamp = Window(1, 1, inputs, 1, 1, channels, 1, 1, 1, 1, 0, 0), (FULL, RELU6)[seed % 2]
        found.append(convolution(window, clamp, seed + 900, mask=seed % 3 == 0, single_rounding=1 - seed % 2))
    # Sums that may leave the range of the short rounding take the long one.
    bold = convolution(Window(2, 3, 8, 2, 3, 4, 1, 1, 1, 1, 0, 0), FULL, 400)
    large = np.array([2**30 - 1, -(2**30), 2**30 + 5, 40], np.int32)
    shift = np.array([-24, -25, -2, -1], np.int32)
    found.append(replace(bold, operands={**bold.operands, "bias": large, "shift": shift}))
    return found


def depthwise(window: Window, clamp: Clamp, seed: int, *, mask: bool, bias_limit: int = 0) -> Case:
    generator = np.random.default_rng(seed)
    channels = window.out_channels
    operands = convolution_operands(generator, window, (window.kernel_height, window.kernel_width, 1), mask=mask)
    if bias_limit > 0:
        operands["bias"] = generator.choice([bias_limit, -bias_limit], channels).astype(np.int32)
        operands["shift"] = (np.asarray(operands["shift"]) - 15).astype(np.int32)
    zero_points = int(generator.choice([-128, 0, 127, 13])), int(generator.integers(-128, 128))
    return forward("depthwise_conv2d_s8", DepthwiseConv2dS8Params(window, *zero_points, *clamp), operands)


def depthwise_convolutions() -> list[Case]:
    """Rows of 1 to 9 outputs of every stride, borders on any side, channels with and without a mask byte of their own."""
    found = []
    geometries = itertools.product(range(1, 10), ((1, 1), (2, 2), (1, 2), (2, 1), (3, 3)), (0, 1, 2))
    for seed, (columns, (rise, run), pad) in enumerate(geometries):
        channels, multiplier = ((8, 1), (16, 1), (5, 1), (4, 2), (3, 1))[seed % 5]
        touched = (columns - 1) * run - pad + 1
        height, width = 2 * rise + 1, max(touched + 2 - pad + seed % 2, 1, touched)
        window = Window(height, width, channels, 3, columns, channels * multiplier, 3, 3, rise, run, 1, pad)
        clamp = (FULL, RELU6, FULL, ONE_CODE)[seed % 4]
        found.append(depthwise(window, clamp, seed, mask=seed % 3 == 0))
    for seed, (kernel, run, mask) in enumerate(itertools.product((1, 2, 5, 7), (1, 2), (False, True))):
        out = 7 // run
        window = Window(7, 7, 3, out, out, 3, kernel, kernel, run, run, kernel // 2, kernel // 2)
        found.append(depthwise(window, (RELU6, FULL)[seed % 2], seed + 500, mask=mask))
    # The largest sums that finish in few instructions, and some beyond them.
    for seed, limit in enumerate((2**30 - 1 - 9 * 256 * 128, 2**30)):
        window = Window(5, 6, 8, 5, 6, 8, 3, 3, 1, 1, 1, 1)
        found += [depthwise(window, FULL, seed + 600, mask=mask, bias_limit=limit) for mask in (False, True)]
    return found


def addition(params: AddS8Params, generator: np.random.Generator, *, mask: bool) -> Case:
    elements = params.elements
    codes = {name: random_codes(generator, (elements,)) for name in ("a", "b")}
    return forward("add_s8", params, {**codes, **outputs((elements,), mask=mask)})


def linear_addition(scales: tuple[float, float, float], clamp: Clamp, elements: int, seed: int, *, mask: bool) -> Case:
    """An addition as it is planned: with the linear form, where these scales have one."""
    generator = np.random.default_rng(seed)
    a, b, y = scales
    twice = 2 * max(a, b)
    pairs = [quantise_multiplier(m) for m in (a / twice, b / twice, twice / (y * 2**20))]
    zeros = [int(point) for point in generator.choice([-128, -17, 0, 40, 127], 3)]
    params = AddS8Params(elements, zeros[0], zeros[1], zeros[2], *pairs[0], *pairs[1], *pairs[2], 20, *clamp)
    return addition(with_linear_form(params), generator, mask=mask)


def linear_additions() -> list[Case]:
    """Every number of elements modulo a word of the mask, clamps of all widths, with a linear form and without one."""
    scales = ((0.9, 1.0, 1.6), (0.31, 0.31, 0.5), (1.0, 0.001, 0.7))
    found = [
        linear_addition(scales[seed % 3], clamp, 64 + seed, seed, mask=mask)
        for seed, (clamp, mask) in enumerate(itertools.product((FULL, RELU6, ONE_CODE), (False, True) * 6))
    ]
    found += [
        linear_addition((7.0, 3.0, 2.0), clamp, 77, 900, mask=mask) for clamp in (FULL, RELU6) for mask in (False, True)
    ]
    return found


def additions() -> list[Case]:
    """By four roundings: either input the one of the larger scale, or both of the same."""
    found = []
    for seed, ratio in enumerate((0.5, 0.49999, 0.26, 0.25, 0.1, 0.003)):
        generator = np.random.default_rng(seed)
        first, second = quantise_multiplier(ratio), quantise_multiplier(0.5)
        output = quantise_multiplier(generator.uniform(0.4, 3.0) / (1 << 20))
        for (a, b), clamp, mask in (
            ((first, second), FULL, False),
            ((second, first), FULL, False),
            ((second, first), FULL, True),
            ((first, second), RELU6, False),
            ((first, first), FULL, True),
        ):
            zeros = [int(point) for point in generator.integers(-128, 128, 3)]
            params = AddS8Params(331, zeros[0], zeros[1], zeros[2], *a, *b, *output, 20, *clamp)
            found.append(addition(params, generator, mask=mask))
    return found


def test_the_additions_have_linear_forms_and_some_have_none() -> None:
    forms = [
        linear_form(case.params) is not None for case in linear_additions() if isinstance(case.params, AddS8Params)
    ]
    assert all(forms[:-4])
    assert not any(forms[-4:])


@on_both_cores
@pytest.mark.parametrize("make", [convolutions, depthwise_convolutions, linear_additions, additions])
def test_the_board_leaves_the_bits_of_golden(board: str, make: Callable[[], list[Case]]) -> None:
    assert board_leaves_goldens_bits(board, make())
