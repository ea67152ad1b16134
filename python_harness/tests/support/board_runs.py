"""Kernels on a board's emulator, held against golden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcutrain.bench.cases import Case, Output
from mcutrain.bench.plan import bench_plan
from mcutrain.boards import load_board
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.episode.targets import LIMITS, build_for_board
from mcutrain.golden.runner import run_golden


def board_leaves_goldens_bits(board: str, cases: Sequence[Case]) -> bool:
    """Whether every output of every case, all in one firmware, has golden's bits on the board's emulator."""
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
    outputs = sum(isinstance(operand, Output) for case in cases for operand in case.operands.values())
    assert len(golden) == outputs > 0
    traced = QemuRunner(build_for_board(plan, load_board(board))).run(image, limits=LIMITS).of_kind("trace")
    return [line.values for line in traced] == golden
