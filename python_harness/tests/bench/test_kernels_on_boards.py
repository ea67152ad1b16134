"""Kernels with assembly of their own, on both cores: the bits of golden, for every way through them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.bench.cases import Case, Output
from mcutrain.bench.plan import bench_plan
from mcutrain.boards import load_board
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.episode.targets import LIMITS, build_for_board
from mcutrain.golden.runner import run_golden
from mcutrain.ops.add import AddS8Params
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Window, mask_words
from mcutrain.ops.conv2d import Conv2dS8Params
from mcutrain.ops.steps import Phase

pytestmark = pytest.mark.qemu

FULL, RELU6 = (-128, 127), (-20, 57)


def convolution(
    window: Window, clamp: tuple[int, int], seed: int, *, mask: bool = False, single_rounding: int = 0
) -> Case:
    generator = np.random.default_rng(seed)
    out, taps = window.out_channels, window.kernel_height * window.kernel_width * window.in_channels
    pairs = [quantise_multiplier(generator.uniform(0.3, 2.0) / (60 * np.sqrt(taps))) for _ in range(out)]
    outputs = window.out_height * window.out_width * out
    operands: dict[str, NDArray[Any] | Output] = {
        "x": generator.integers(-128, 128, (window.in_height, window.in_width, window.in_channels)).astype(np.int8),
        "weights": generator.integers(-128, 128, (out, taps)).astype(np.int8),
        "bias": generator.integers(-3000, 3000, out).astype(np.int32),
        "multiplier": np.array([pair[0] for pair in pairs], np.int32),
        "shift": np.array([pair[1] for pair in pairs], np.int32),
        "y": Output((window.out_height, window.out_width, out)),
        **({"inside": Output((mask_words(outputs),))} if mask else {}),
    }
    params = Conv2dS8Params(window, int(generator.integers(-128, 128)), 7, *clamp, single_rounding)
    return Case("conv2d_s8", f"{window} {clamp}", params, Phase.FORWARD, operands, outputs)


def convolutions() -> list[Case]:
    """Filters of every length modulo a round of sixteen taps, channels with and without a partner, borders, clamps, masks, all rests."""
    found = []
    for seed, (inputs, outputs) in enumerate(itertools.product((1, 3, 4, 7, 8, 12, 15, 16, 18, 20, 33, 44), (1, 2, 5))):
        window = Window(2, 4, inputs, 2, 4, outputs, 1, 1, 1, 1, 0, 0)
        found += [convolution(window, FULL, seed), convolution(window, RELU6, seed + 100, mask=seed % 2 == 0)]
    for seed, inputs in enumerate((1, 3, 4, 6)):
        window = Window(5, 5, inputs, 3, 3, 6, 3, 3, 2, 2, 1, 1)
        found += [convolution(window, FULL, seed + 200), convolution(window, RELU6, seed + 300, mask=True)]
    # Quads with every rest of pixels, more than are gathered at a time, and filters too long for quads.
    for seed, (height, width) in enumerate(((1, 5), (2, 3), (1, 7), (3, 3), (9, 15), (8, 8))):
        window = Window(height, width, 3, height, width, 9 - seed % 2, 3, 3, 1, 1, 1, 1)
        found += [convolution(window, FULL, seed + 500, mask=True), convolution(window, RELU6, seed + 600)]
    for seed, window in enumerate(
        (Window(4, 5, 288, 4, 5, 3, 1, 1, 1, 1, 0, 0), Window(3, 3, 68, 3, 3, 4, 3, 3, 1, 1, 1, 1))
    ):
        found += [convolution(window, RELU6, seed + 700, mask=True), convolution(window, FULL, seed + 800)]
    # Single pixels: every rest of four filters, and of words.
    for seed, (inputs, outputs) in enumerate(itertools.product((3, 4, 5, 8, 14), (1, 2, 3, 4, 5, 6, 7, 17))):
        window = Window(1, 1, inputs, 1, 1, outputs, 1, 1, 1, 1, 0, 0)
        found.append(
            convolution(window, (FULL, RELU6)[seed % 2], seed + 900, mask=seed % 3 == 0, single_rounding=1 - seed % 2)
        )
    # Sums that may leave the range of the short rounding take the long one.
    bold = convolution(Window(2, 3, 8, 2, 3, 4, 1, 1, 1, 1, 0, 0), FULL, 400)
    large = np.array([2**30 - 1, -(2**30), 2**30 + 5, 40], np.int32)
    found.append(
        replace(bold, operands={**bold.operands, "bias": large, "shift": np.array([-24, -25, -2, -1], np.int32)})
    )
    return found


def additions() -> list[Case]:
    found = []
    for seed, ratio in enumerate((0.5, 0.49999, 0.26, 0.25, 0.1, 0.003)):
        generator = np.random.default_rng(seed)
        first, second = quantise_multiplier(ratio), quantise_multiplier(0.5)
        output = quantise_multiplier(generator.uniform(0.4, 3.0) / (1 << 20))
        for pair, clamp, mask in (
            ((first, second), FULL, False),
            ((second, first), FULL, False),
            ((second, first), FULL, True),
            ((first, second), RELU6, False),
            ((first, first), FULL, True),
        ):
            a_zero, b_zero, y_zero = (int(point) for point in generator.integers(-128, 128, 3))
            operands: dict[str, NDArray[Any] | Output] = {
                "a": generator.integers(-128, 128, 331).astype(np.int8),
                "b": generator.integers(-128, 128, 331).astype(np.int8),
                "y": Output((331,)),
                **({"inside": Output((mask_words(331),))} if mask else {}),
            }
            params = AddS8Params(331, a_zero, b_zero, y_zero, *pair[0], *pair[1], *output, 20, *clamp)
            found.append(Case("add_s8", f"{ratio} {clamp}", params, Phase.FORWARD, operands, 331))
    return found


@pytest.mark.parametrize("board", ["m4-1m", "m7-1m"])
@pytest.mark.parametrize("make", [convolutions, additions])
def test_the_board_leaves_the_bits_of_golden(board: str, make: Callable[[], list[Case]]) -> None:
    made = make()
    plan = bench_plan(made)
    image = EpisodeImage(
        plan_crc32=plan.crc32,
        adapt_samples=np.zeros((1, 4), np.int8),
        adapt_labels=np.zeros(1, np.uint16),
        test_samples=np.zeros((0, 4), np.int8),
        test_labels=np.zeros(0, np.uint16),
        order=np.zeros(1, np.uint16),
        learning_rates=np.ones(1, np.float32),
        evaluate_before=False,
        evaluate_after=False,
        trace_step=0,
    )
    golden = [line.values for line in run_golden(plan, image) if line.kind == "trace"]
    assert len(golden) == sum(isinstance(operand, Output) for case in made for operand in case.operands.values())
    built = build_for_board(plan, load_board(board))
    traced = QemuRunner(built).run(image, limits=LIMITS).of_kind("trace")
    assert [line.values for line in traced] == golden
