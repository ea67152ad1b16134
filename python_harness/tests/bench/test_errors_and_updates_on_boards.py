"""What runs around the gradients, on both cores: the bits of golden, for every way through the kernels."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from mcutrain.bench.cases import Case, Output
from mcutrain.ops.base import Block, Window, mask_words
from mcutrain.ops.bias_gradient import BiasGradientParams
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams
from mcutrain.ops.depthwise_conv2d_gradient import DepthwiseWeightGradientParams
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ErrorScaleParams
from mcutrain.ops.head import HeadF32Params
from mcutrain.ops.mean_rate import MeanRateParams
from mcutrain.ops.update_weights import UpdateWeightsParams
from support.board_runs import (
    Operands,
    backward,
    board_leaves_goldens_bits,
    on_both_cores,
    random_codes,
    random_mantissas,
    update,
)

pytestmark = pytest.mark.qemu


def scaled_errors() -> list[Case]:
    """Channels with and without fours, words of the mask of every kind, a shift and none."""
    found = []
    for seed, (channels, pixels) in enumerate(itertools.product((1, 2, 3, 4, 6, 9, 16), (1, 2, 7, 16, 35))):
        generator = np.random.default_rng(seed)
        elements = channels * pixels
        words = generator.integers(0, 2**32, mask_words(elements), np.uint32)
        words[1 :: 1 + seed % 3] = (0, 0xFFFFFFFF)[seed % 2]
        scale = generator.integers(1 << 20, 1 << 31, channels) * generator.choice([1, 1, 1, -1], channels)
        operands: Operands = {
            "error": random_mantissas(generator, (elements,), (15, 15, 2)[seed % 3]),
            "scale": (scale >> (28 if seed % 5 == 4 else 0)).astype(np.int32),
            "out": Output((elements,)),
            **({"inside": words} if seed % 4 else {}),
        }
        params = ErrorScaleParams(elements, channels, -31, (11, 15, 4)[seed % 3])
        found.append(backward("error_scale_b16", params, operands))
    return found


def sums_and_normalised_sums() -> list[Case]:
    found = []
    for seed, elements in enumerate((1, 2, 3, 4, 5, 8, 15, 16, 17, 30)):
        generator = np.random.default_rng(seed)
        for bits in (14, 15):
            summands: Operands = {
                "a": random_mantissas(generator, (elements,), bits),
                "b": random_mantissas(generator, (elements,), bits),
                "out": Output((elements,)),
            }
            found.append(backward("error_sum_b16", ElementsParams(elements), summands))
        for bits in (14, 16, 26, 29, 30, 31):
            limit = 2**bits - 1
            sums = generator.integers(-limit, limit, elements, endpoint=True)
            sums[generator.integers(elements)] = limit * generator.choice([-1, 1])
            operands: Operands = {"sums": sums.astype(np.int32), "out": Output((elements,))}
            found.append(backward("error_normalize_b16", ElementsParams(elements), operands))
    return found


def bias_gradients() -> list[Case]:
    found = []
    for seed, (channels, pixels) in enumerate(itertools.product((1, 2, 4, 7, 8), (1, 2, 3, 16))):
        operands: Operands = {
            "g": random_mantissas(np.random.default_rng(seed), (pixels, channels)),
            "gradient": Output((channels,)),
        }
        found.append(backward("bias_gradient_b16", BiasGradientParams(pixels, channels), operands))
    return found


def depthwise_gradients() -> list[Case]:
    """Kernels of one to nine taps a side, rows of whole words and not, strides, two outputs of a channel, and the last output alone."""
    found = []
    for seed, (kernel, stride) in enumerate(itertools.product(range(1, 10), (1, 2))):
        generator = np.random.default_rng(seed)
        out, channels, pad = (5, 4, 8)[seed % 3], 2, kernel // 2
        side, outputs = (out - 1) * stride + kernel - 2 * pad, channels * (1 + seed % 2)
        window = Window(side, side, channels, out, out, outputs, kernel, kernel, stride, stride, pad, pad)
        params, shape = Conv2dGradientParams(window, -7), (outputs, kernel, kernel, 1)
        g = random_mantissas(generator, (out, out, outputs), 11)
        weights = random_codes(generator, shape)
        errors: Operands = {"g": g, "weights": weights, "sums": Output((side, side, channels))}
        found.append(backward("depthwise_conv2d_error_b16", params, errors))
        x = random_codes(generator, (side, side, channels))
        gradient: Operands = {"x": x, "g": g, "gradient": Output(shape)}
        whole = DepthwiseWeightGradientParams(window, -7, outputs)
        found.append(backward("depthwise_conv2d_weight_gradient_b16", whole, gradient))
        chosen = np.array([outputs - 1], np.int32)
        part: Operands = {"x": x[..., -1:].copy(), "g": g, "index": chosen, "gradient": Output((1, kernel, kernel))}
        one = DepthwiseWeightGradientParams(window, -7, 1)
        found.append(backward("depthwise_conv2d_weight_gradient_b16", one, part))
    return found


def updates() -> list[Case]:
    """Every rounding and error mode; whole channels and selected ones; steps that are capped, short and too long for the short way."""
    found = []
    roundings = itertools.product(("master16", "stochastic8", "nearest8"), ("b16", "f32"))
    shapes = ((1, 1), (1, 3), (9, 4), (3, 7), (1, 65))
    for seed, ((rounding, mode), (taps, inputs)) in enumerate(itertools.product(roundings, shapes)):
        for largest, cap, selected in ((0.3, 0.5, inputs), (3.0, 0.5, max(1, inputs // 2)), (300.0, 0.0, inputs)):
            generator = np.random.default_rng(seed)
            shape = (3, taps, selected)
            gradient = generator.integers(-(2**30), 2**30, shape).astype(np.int32)
            states: dict[str, Operands] = {
                "master16": {"fraction": random_codes(generator, shape)},
                "stochastic8": {"random": np.array([seed + 1], np.uint32)},
                "nearest8": {},
            }
            operands: Operands = {
                "gradient": gradient if mode == "b16" else gradient.astype(np.float32),
                "factor": np.array([1.0, 0.0, 0.7], np.float32),
                "learning_rate": np.array([largest * 2.0**-30], np.float32),
                "weights": generator.integers(-127, 128, (3, taps, inputs)).astype(np.int8),
                **states[rounding],
            }
            if selected < inputs:
                operands["index"] = np.sort(generator.choice(inputs, selected, replace=False)).astype(np.int32)
            params = UpdateWeightsParams(3, taps, inputs, 3, selected, -127, cap)
            found.append(update(f"update_weights_{rounding}_{mode}", params, operands))
    return found


def minibatches() -> list[Case]:
    """Every way through accumulation: of equal exponents, of those before and behind the sums', near and far; and through a drain."""
    found = []
    distances = (0, 1, 13, 30, 31, 40, -1, -13, -30, -31, -40)
    for seed, (elements, distance) in enumerate(itertools.product((1, 7, 8, 17, 33), distances)):
        generator = np.random.default_rng(seed)
        for width in (20, 45, 62):
            sums = generator.integers(-(2**width), 2**width, elements)
            sums[generator.integers(elements)] = (-(2**width), 2**width - 1)[seed % 2]
            gradient = generator.integers(-(2**31) + 1, 2**31, elements).astype(np.int32)
            accumulator = Block(np.array([-20], np.int32), sums)
            added: Operands = {
                "gradient": Block(np.array([distance - 20], np.int32), gradient),
                "accumulator": accumulator,
            }
            found.append(update("gradient_accumulate_b16", ElementsParams(elements), added))
            drained: Operands = {"gradient": Output((elements,)), "accumulator": accumulator}
            if distance < 2:
                found.append(update("gradient_drain_b16", ElementsParams(elements), drained))
    for wide in range(17):  # one sum alone becomes too wide, wherever it lies
        sums, gradient = np.full(17, 5), np.full(17, 3, np.int32)
        sums[wide], gradient[wide] = ((2**62 - 1, 1), (-(2**62), -1))[wide % 2]
        found.append(update("gradient_accumulate_b16", ElementsParams(17), {"gradient": gradient, "accumulator": sums}))
    values = np.random.default_rng(1).normal(size=(2, 19)).astype(np.float32)
    floats: Operands = {"gradient": values[0], "accumulator": values[1]}
    found.append(update("gradient_accumulate_f32", ElementsParams(19), floats))
    emptied: Operands = {"gradient": Output((19,)), "accumulator": values[1]}
    found.append(update("gradient_drain_f32", ElementsParams(19), emptied))
    return found


def minibatches_of_the_head() -> list[Case]:
    found = []
    for seed, (features, classes) in enumerate(((1, 1), (64, 10), (7, 3))):
        generator = np.random.default_rng(seed)
        weights, sums = generator.normal(size=(2, classes, features)).astype(np.float32)
        bias, bias_sums, gradient = generator.normal(size=(3, classes)).astype(np.float32)
        rate, params = np.array([0.03], np.float32), HeadF32Params(features, classes)
        totals: Operands = {"weight_gradient": sums, "bias_gradient": bias_sums}
        sample: Operands = {"x": random_codes(generator, (features,)), "gradient": gradient, **totals}
        sample["x_quantization"] = np.array([0.05, -3])
        found.append(update("head_accumulate_f32", params, sample))
        step: Operands = {"learning_rate": rate, **totals, "weights": weights, "bias": bias}
        found.append(update("head_step_f32", params, step))
        mean: Operands = {"learning_rate": rate, "samples": np.array([seed + 1], np.int32), "rate": Output((1,))}
        found.append(update("mean_rate_f32", MeanRateParams(3), mean))
    return found


@on_both_cores
@pytest.mark.parametrize(
    "make",
    [
        scaled_errors,
        sums_and_normalised_sums,
        bias_gradients,
        depthwise_gradients,
        updates,
        minibatches,
        minibatches_of_the_head,
    ],
)
def test_the_board_leaves_the_bits_of_golden(board: str, make: Callable[[], list[Case]]) -> None:
    assert board_leaves_goldens_bits(board, make())
