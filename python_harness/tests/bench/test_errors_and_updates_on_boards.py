"""What runs around the gradients, on both cores: the bits of golden, for every way through the kernels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
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
from mcutrain.ops.base import Params, Window, mask_words
from mcutrain.ops.bias_gradient import BiasGradientParams
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams
from mcutrain.ops.depthwise_conv2d_gradient import DepthwiseWeightGradientParams
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ErrorScaleParams
from mcutrain.ops.registry import KERNELS
from mcutrain.ops.steps import Phase
from mcutrain.ops.update_weights import UpdateWeightsParams

pytestmark = pytest.mark.qemu

Operands = dict[str, NDArray[Any] | Output]


def case(kernel: str, params: Params, operands: Operands, phase: Phase = Phase.BACKWARD) -> Case:
    return Case(kernel, str(params), params, phase, operands, 1)


def mantissas(generator: np.random.Generator, shape: tuple[int, ...], bits: int = 15) -> NDArray[np.int16]:
    limit = 2**bits - 1
    values = generator.integers(-limit, limit, shape, endpoint=True)
    return np.where(generator.random(shape) < 0.1, limit * generator.choice([-1, 1], shape), values).astype(np.int16)


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
            "error": mantissas(generator, (elements,), (15, 15, 2)[seed % 3]),
            "scale": (scale >> (28 if seed % 5 == 4 else 0)).astype(np.int32),
            "out": Output((elements,)),
            **({"inside": words} if seed % 4 else {}),
        }
        params = ErrorScaleParams(elements, channels, -31, (11, 15, 4)[seed % 3])
        found.append(case("error_scale_b16", params, operands))
    return found


def sums_and_normalised_sums() -> list[Case]:
    found = []
    for seed, elements in enumerate((1, 2, 3, 4, 5, 8, 15, 16, 17, 30)):
        generator = np.random.default_rng(seed)
        for bits in (14, 15):
            summands: Operands = {
                "a": mantissas(generator, (elements,), bits),
                "b": mantissas(generator, (elements,), bits),
                "out": Output((elements,)),
            }
            found.append(case("error_sum_b16", ElementsParams(elements), summands))
        for bits in (14, 16, 26, 29, 30, 31):
            limit = 2**bits - 1
            sums = generator.integers(-limit, limit, elements, endpoint=True)
            sums[generator.integers(elements)] = limit * generator.choice([-1, 1])
            operands: Operands = {"sums": sums.astype(np.int32), "out": Output((elements,))}
            found.append(case("error_normalize_b16", ElementsParams(elements), operands))
    return found


def bias_gradients() -> list[Case]:
    found = []
    for seed, (channels, pixels) in enumerate(itertools.product((1, 2, 4, 7, 8), (1, 2, 3, 16))):
        operands: Operands = {
            "g": mantissas(np.random.default_rng(seed), (pixels, channels)),
            "gradient": Output((channels,)),
        }
        found.append(case("bias_gradient_b16", BiasGradientParams(pixels, channels), operands))
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
        g = mantissas(generator, (out, out, outputs), 11)
        weights = generator.integers(-128, 128, shape).astype(np.int8)
        errors: Operands = {"g": g, "weights": weights, "sums": Output((side, side, channels))}
        found.append(case("depthwise_conv2d_error_b16", params, errors))
        x = generator.integers(-128, 128, (side, side, channels)).astype(np.int8)
        gradient: Operands = {"x": x, "g": g, "gradient": Output(shape)}
        whole = DepthwiseWeightGradientParams(window, -7, outputs)
        found.append(case("depthwise_conv2d_weight_gradient_b16", whole, gradient))
        chosen = np.array([outputs - 1], np.int32)
        part: Operands = {"x": x[..., -1:].copy(), "g": g, "index": chosen, "gradient": Output((1, kernel, kernel))}
        one = DepthwiseWeightGradientParams(window, -7, 1)
        found.append(case("depthwise_conv2d_weight_gradient_b16", one, part))
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
                "master16": {"fraction": generator.integers(-128, 128, shape).astype(np.int8)},
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
            params = UpdateWeightsParams(3, taps, inputs, selected, -127, cap)
            found.append(case(f"update_weights_{rounding}_{mode}", params, operands, Phase.UPDATE))
    return found


def board_leaves_goldens_bits(board: str, cases: list[Case]) -> bool:
    """Whether all that the cases write, their trained state too, has golden's bits on the board's emulator."""
    plan = bench_plan(cases)
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
    written = [role.name for case in cases for role in KERNELS[case.kernel].outputs if role.name in case.operands]
    assert len(golden) == len(written) > 0
    traced = QemuRunner(build_for_board(plan, load_board(board))).run(image, limits=LIMITS).of_kind("trace")
    return [line.values for line in traced] == golden


@pytest.mark.parametrize("board", ["m4-1m", "m7-1m"])
@pytest.mark.parametrize(
    "make", [scaled_errors, sums_and_normalised_sums, bias_gradients, depthwise_gradients, updates]
)
def test_the_board_leaves_the_bits_of_golden(board: str, make: Callable[[], list[Case]]) -> None:
    assert board_leaves_goldens_bits(board, make())
