"""Random cases of kernels on the emulators of boards, held against golden: a list of cases makes one firmware."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.bench.cases import Case, Operand, Output
from mcutrain.bench.plan import bench_plan, one_step
from mcutrain.boards import load_board
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.episode.targets import LIMITS, build_for_board
from mcutrain.golden.runner import run_golden
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Params, Window, mask_words
from mcutrain.ops.registry import KERNELS
from mcutrain.ops.steps import Phase

Operands = dict[str, Operand]

# Clamps of all codes, of some, and of one.
FULL, RELU6, ONE_CODE = (-128, 127), (-20, 57), (5, 5)

# The assembly has one order of instructions for either core.
on_both_cores = pytest.mark.parametrize("board", ["m4-1m", "m7-1m"])


def forward(kernel: str, params: Params, operands: Operands) -> Case:
    return Case(kernel, str(params), params, Phase.FORWARD, operands, 1)


def backward(kernel: str, params: Params, operands: Operands) -> Case:
    return Case(kernel, str(params), params, Phase.BACKWARD, operands, 1)


def update(kernel: str, params: Params, operands: Operands) -> Case:
    return Case(kernel, str(params), params, Phase.UPDATE, operands, 1)


def random_codes(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    return generator.integers(-128, 128, shape).astype(np.int8)


def random_mantissas(generator: np.random.Generator, shape: tuple[int, ...], bits: int = 15) -> NDArray[np.int16]:
    """A tenth of them the largest there are."""
    limit = 2**bits - 1
    values = generator.integers(-limit, limit, shape, endpoint=True)
    return np.where(generator.random(shape) < 0.1, limit * generator.choice([-1, 1], shape), values).astype(np.int16)


def outputs(shape: tuple[int, ...], *, mask: bool) -> Operands:
    """y, and the clip mask if there is to be one."""
    return {"y": Output(shape), **({"inside": Output((mask_words(math.prod(shape)),))} if mask else {})}


def convolution_operands(
    generator: np.random.Generator, window: Window, taps_shape: tuple[int, ...], *, mask: bool
) -> Operands:
    """Of a convolution with ``taps_shape`` weights for each output channel: scales that bring its sums to codes of all sizes."""
    channels = window.out_channels
    spread = 60 * np.sqrt(math.prod(taps_shape))
    scales = [quantise_multiplier(generator.uniform(0.3, 2.0) / spread) for _ in range(channels)]
    return {
        "x": random_codes(generator, (window.in_height, window.in_width, window.in_channels)),
        "weights": random_codes(generator, (channels, *taps_shape)),
        "bias": generator.integers(-3000, 3000, channels).astype(np.int32),
        "multiplier": np.array([multiplier for multiplier, _ in scales], np.int32),
        "shift": np.array([shift for _, shift in scales], np.int32),
        **outputs((window.out_height, window.out_width, channels), mask=mask),
    }


def board_leaves_goldens_bits(board: str, cases: Sequence[Case]) -> bool:
    """Whether all that the cases write, their trained state too, has golden's bits on the board's emulator."""
    plan = bench_plan([replace(case, shape=f"case {number}") for number, case in enumerate(cases)])
    image = one_step(plan, trace=True)
    golden = [line.values for line in run_golden(plan, image) if line.kind == "trace"]
    written = [role.name for case in cases for role in KERNELS[case.kernel].outputs if role.name in case.operands]
    assert len(golden) == len(written) > 0
    traced = QemuRunner(build_for_board(plan, load_board(board))).run(image, limits=LIMITS).of_kind("trace")
    return [line.values for line in traced] == golden
