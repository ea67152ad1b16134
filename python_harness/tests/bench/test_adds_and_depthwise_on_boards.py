"""Adds and depthwise convolutions, assembly and all, on both cores: the bits of golden, for every way through them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.bench.cases import Case, Output
from mcutrain.ops.add import AddS8Params
from mcutrain.ops.add_linear import linear_form, with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Window, mask_words
from mcutrain.ops.depthwise_conv2d import DepthwiseConv2dS8Params
from mcutrain.ops.steps import Phase
from support.board_runs import board_leaves_goldens_bits

pytestmark = pytest.mark.qemu

FULL, RELU6, ONE_CODE = (-128, 127), (-20, 57), (5, 5)


def depthwise(window: Window, clamp: tuple[int, int], seed: int, *, mask: bool, bias_limit: int = 0) -> Case:
    generator = np.random.default_rng(seed)
    out, taps = window.out_channels, window.kernel_height * window.kernel_width
    pairs = [quantise_multiplier(generator.uniform(0.3, 2.0) / (60 * np.sqrt(taps))) for _ in range(out)]
    bias = generator.choice([bias_limit, -bias_limit], out) if bias_limit else generator.integers(-3000, 3000, out)
    outputs = window.out_height * window.out_width * out
    operands: dict[str, NDArray[Any] | Output] = {
        "x": generator.integers(-128, 128, (window.in_height, window.in_width, window.in_channels)).astype(np.int8),
        "weights": generator.integers(-128, 128, (out, window.kernel_height, window.kernel_width, 1)).astype(np.int8),
        "bias": bias.astype(np.int32),
        "multiplier": np.array([pair[0] for pair in pairs], np.int32),
        "shift": np.array([pair[1] - 15 * (bias_limit > 0) for pair in pairs], np.int32),
        "y": Output((window.out_height, window.out_width, out)),
        **({"inside": Output((mask_words(outputs),))} if mask else {}),
    }
    zero_points = int(generator.choice([-128, 0, 127, 13])), int(generator.integers(-128, 128))
    params = DepthwiseConv2dS8Params(window, *zero_points, *clamp)
    return Case(
        "depthwise_conv2d_s8", f"{window} {clamp} seed {seed} mask {mask}", params, Phase.FORWARD, operands, outputs
    )


def depthwise_convolutions() -> list[Case]:
    """Rows of 1 to 9 outputs of every stride, borders on any side, channels with and without a mask byte of their own."""
    found = []
    geometries = itertools.product(range(1, 10), ((1, 1), (2, 2), (1, 2), (2, 1), (3, 3)), (0, 1, 2))
    for seed, (columns, (rise, run), pad) in enumerate(geometries):
        channels, outputs = ((8, 1), (16, 1), (5, 1), (4, 2), (3, 1))[seed % 5]
        height, width = (
            2 * rise + 1,
            max((columns - 1) * run + 3 - 2 * pad + seed % 2, 1, (columns - 1) * run - pad + 1),
        )
        window = Window(height, width, channels, 3, columns, channels * outputs, 3, 3, rise, run, 1, pad)
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


def addition(ratios: tuple[float, float, float], clamp: tuple[int, int], elements: int, seed: int, mask: bool) -> Case:
    generator = np.random.default_rng(seed)
    a, b, y = ratios
    twice = 2 * max(a, b)
    pairs = [quantise_multiplier(m) for m in (a / twice, b / twice, twice / (y * 2**20))]
    zeros = [int(point) for point in generator.choice([-128, -17, 0, 40, 127], 3)]
    params = with_linear_form(
        AddS8Params(elements, zeros[0], zeros[1], zeros[2], *pairs[0], *pairs[1], *pairs[2], 20, *clamp)
    )
    operands: dict[str, NDArray[Any] | Output] = {
        "a": generator.integers(-128, 128, elements).astype(np.int8),
        "b": generator.integers(-128, 128, elements).astype(np.int8),
        "y": Output((elements,)),
        **({"inside": Output((mask_words(elements),))} if mask else {}),
    }
    return Case(
        "add_s8", f"{ratios} {clamp} {elements} seed {seed} mask {mask}", params, Phase.FORWARD, operands, elements
    )


def additions() -> list[Case]:
    """Every number of elements modulo a word of the mask, clamps of all widths, with a linear form and without one."""
    found = [
        addition(((0.9, 1.0, 1.6), (0.31, 0.31, 0.5), (1.0, 0.001, 0.7))[seed % 3], clamp, 64 + seed, seed, mask)
        for seed, (clamp, mask) in enumerate(itertools.product((FULL, RELU6, ONE_CODE), (False, True) * 6))
    ]
    found += [addition((7.0, 3.0, 2.0), clamp, 77, 900, mask) for clamp in (FULL, RELU6) for mask in (False, True)]
    return found


def test_the_additions_have_linear_forms_and_some_have_none() -> None:
    forms = [linear_form(case.params) is not None for case in additions() if isinstance(case.params, AddS8Params)]
    assert all(forms[:-4])
    assert not any(forms[-4:])


@pytest.mark.parametrize("board", ["m4-1m", "m7-1m"])
@pytest.mark.parametrize("make", [depthwise_convolutions, additions])
def test_the_board_leaves_the_bits_of_golden(board: str, make: Callable[[], list[Case]]) -> None:
    assert board_leaves_goldens_bits(board, make())
