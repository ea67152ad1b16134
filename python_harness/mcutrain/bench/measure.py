"""Run the cases on a board's emulator and put exact counts and estimated cycles beside each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mcutrain.bench.cases import Case
from mcutrain.bench.plan import bench_plan, one_step
from mcutrain.boards import Board, load_board
from mcutrain.episode.runners import make_target
from mcutrain.errors import MismatchError
from mcutrain.ops.registry import KERNELS
from mcutrain.timing import CycleEstimate, estimate_profile

# Cycles of a multiply-accumulate at best: SMLAD does two in one, on both cores.
SMLAD_CYCLES_PER_MAC = 0.5
# Code around the kernels: of the generated model, and the marks.
_GENERATED = ("mct_op_", "mct_model_", "mct_mark_")
# The larger boards: all cases' data must fit at once.
BOARDS = {"m4": "m4-1m", "m7": "m7-1m"}


@dataclass(frozen=True)
class Measurement:
    """One case on one core. code_bytes: of all functions that ran for it, the C library's included."""

    kernel: str
    shape: str
    core: str
    macs: int
    elements: int
    instructions: int
    estimate: CycleEstimate
    code_bytes: int

    @property
    def cycles_per_mac(self) -> float | None:
        """Estimated cycles a multiply-accumulate, None where the kernel has none."""
        return self.estimate.cycles / self.macs if self.macs else None

    @property
    def cycles_per_element(self) -> float:
        """Estimated cycles an element written."""
        return self.estimate.cycles / self.elements

    @property
    def smlad_share(self) -> float | None:
        """The part of the cycles that the multiply-accumulates would take two a cycle: 1 is the limit."""
        return None if self.cycles_per_mac is None else SMLAD_CYCLES_PER_MAC / self.cycles_per_mac


def measure(cases: Sequence[Case], core: str) -> tuple[Measurement, ...]:
    """What each case takes on a core ("m4" or "m7"). Each kernel's cases are one firmware, which runs once with the profiler.

    Raises:
        MismatchError: a kernel refused its case, or did not run.
        NotAvailableError: the emulator or the compiler is not installed.
    """
    rows: list[Measurement] = []
    for kernel in dict.fromkeys(case.kernel for case in cases):
        rows += _measure_kernel([case for case in cases if case.kernel == kernel], load_board(BOARDS[core]))
    return tuple(rows)


def _measure_kernel(cases: Sequence[Case], board: Board) -> list[Measurement]:
    plan = bench_plan(cases)
    target = make_target(plan, board.name)
    profile, functions = target.profile(one_step(plan)), target.functions
    estimates: dict[str, list[CycleEstimate]] = defaultdict(list)
    code_bytes: dict[str, int] = defaultdict(int)
    for cell in estimate_profile(profile, board.core, functions).cells:
        estimates[cell.mark].append(cell.estimate)
        if cell.function in functions and not cell.function.startswith(_GENERATED):
            code_bytes[cell.mark] += functions[cell.function][1]
    rows = []
    for number, case in enumerate(cases):
        mark = f"mct_op_{number:04d}"
        count = profile.instructions_per_mark.get(mark)
        if count is None or count.visits != 1:
            raise MismatchError(f"{case.kernel} {case.shape} did not run once on {board.name}")
        estimate = CycleEstimate()
        for part in estimates[mark]:
            estimate = estimate.plus(part)
        macs = KERNELS[case.kernel].macs(case.params)
        rows.append(
            Measurement(
                *(case.kernel, case.shape, board.core, macs, case.elements),
                *(count.instructions, estimate, code_bytes[mark]),
            )
        )
    return rows
