"""The convolutions' gradients, whose inner loops are assembly, on both cores: the bits of golden, for every way through them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mcutrain.bench.cases import Case, Output
from mcutrain.ops.base import Window
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams, input_shape, output_shape, weight_shape
from support.board_runs import Operands, backward, board_leaves_goldens_bits, on_both_cores, random_codes

pytestmark = pytest.mark.qemu


def gradients(window: Window, seed: int) -> list[Case]:
    """dX and dW of one convolution."""
    rng = np.random.default_rng(seed)
    params = Conv2dGradientParams(window, int(rng.integers(-128, 128)))
    g = rng.integers(-2047, 2048, output_shape(window)).astype(np.int16)
    weights, x = random_codes(rng, weight_shape(window)), random_codes(rng, input_shape(window))
    error: Operands = {"g": g, "weights": weights, "sums": Output(input_shape(window))}
    gradient: Operands = {"x": x, "g": g, "gradient": Output(weight_shape(window))}
    return [
        backward("conv2d_error_b16", params, error),
        backward("conv2d_weight_gradient_b16", params, gradient),
    ]


def pointwise(pixels: int, inputs: int, outputs: int) -> Window:
    return Window(1, pixels, inputs, 1, pixels, outputs, 1, 1, 1, 1, 0, 0)


def windows() -> list[Window]:
    """Sums of every length modulo a round of the inner loop, groups of input channels with every rest, strides and borders."""
    inputs = itertools.cycle((4, 1, 13, 8, 3, 6, 16))
    # As many pixels as output channels: dX sums over the one, dW over the other.
    found = [pointwise(terms, next(inputs), terms) for terms in range(1, 36)]
    # Several chunks of output channels, pixels and input channels, the last ones smaller.
    found.append(pointwise(130, 5, 3))
    found.append(pointwise(3, 43, 131))
    found += [Window(5, 4, channels, 5, 4, 7, 3, 3, 1, 1, 1, 1) for channels in (3, 8)]
    found.append(Window(9, 12, 3, 9, 12, 5, 5, 5, 1, 1, 2, 2))
    found.append(Window(6, 7, 9, 3, 3, 4, 3, 3, 2, 3, 1, 0))
    found.append(Window(1, 1, 6, 1, 1, 5, 3, 3, 1, 1, 1, 1))  # most taps meet nothing
    found.append(Window(9, 1, 5, 5, 1, 3, 1, 1, 2, 1, 0, 0))  # most inputs are met by none
    return found


@on_both_cores
def test_the_board_leaves_the_gradients_of_golden(board: str) -> None:
    cases = [case for seed, window in enumerate(windows()) for case in gradients(window, seed)]
    assert board_leaves_goldens_bits(board, cases)
