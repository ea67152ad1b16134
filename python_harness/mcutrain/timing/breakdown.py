"""Where the estimated cycles of a training step go: by phase, layer, operator and C function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mcutrain.timing.cycles import NO_CYCLES, CycleEstimate, total
from mcutrain.timing.estimate import Cell, ProfileEstimate

AnyShare = TypeVar("AnyShare", bound="Share")

OTHER = "other"
STEP_MARKS = ("mct_mark_step_begin", "mct_mark_step_end")


@dataclass(frozen=True)
class Share:
    """Mean instructions (exact) and cycles (estimated, zero wait states) of something in one step.

    stalls: cycles more for waiting on flash, if that is modelled.
    """

    name: str
    instructions: float
    estimate: CycleEstimate
    stalls: CycleEstimate = field(default=NO_CYCLES, kw_only=True)

    @property
    def in_flash(self) -> CycleEstimate:
        """Cycles with the waiting on flash."""
        return self.estimate.plus(self.stalls)


@dataclass(frozen=True)
class OperatorShare(Share):
    """An operator's share, and the shares of the C functions that ran for it. The driver's own work has op -1."""

    op: int
    layer: str
    phase: str
    functions: tuple[Share, ...]


@dataclass(frozen=True)
class Breakdown:
    """A training step on one board: its operators in the order in which they run, then the driver's work between them."""

    core: str
    clock_hz: int
    steps: int
    operators: tuple[OperatorShare, ...]

    @property
    def training(self) -> Share:
        """All operators, without the driver's work."""
        return sum_shares("training step", [row for row in self.operators if row.phase != OTHER])

    def phases(self) -> tuple[Share, ...]:
        """By phase, in the order in which they run; the driver's work last."""
        return group_shares(self.operators, lambda row: row.phase)

    def layers(self) -> tuple[Share, ...]:
        """By layer of the network; the driver's work is no layer."""
        return group_shares([row for row in self.operators if row.phase != OTHER], lambda row: row.layer)

    def functions(self) -> tuple[Share, ...]:
        """By C function, most cycles first."""
        found = group_shares([part for row in self.operators for part in row.functions], lambda part: part.name)
        return tuple(sorted(found, key=lambda part: (-part.estimate.cycles, part.name)))

    def milliseconds(self, cycles: float) -> float:
        """Time at the board's clock."""
        return 1000.0 * cycles / self.clock_hz


@dataclass(frozen=True)
class OperatorName:
    """What the plan says of an operator."""

    name: str
    layer: str
    phase: str


def break_down(
    estimate: ProfileEstimate, operators: Sequence[OperatorName], *, core: str, clock_hz: int, steps: int
) -> Breakdown:
    """Spread the estimate of a profile of ``steps`` training steps, and nothing else, over the operators of the plan."""
    parts: dict[str, list[Share]] = {}
    for cell in estimate.cells:
        share = share_of(cell, function_of(cell), runs=steps)
        parts.setdefault(OTHER if cell.mark in STEP_MARKS else cell.mark, []).append(share)
    rows = []
    for op, named in enumerate(operators):
        functions = tuple(parts.get(f"mct_op_{op:04d}", ()))
        rows.append(_operator(op, named, functions))
    rows.append(_operator(-1, OperatorName("driver (digest, protocol)", OTHER, OTHER), tuple(parts.get(OTHER, ()))))
    return Breakdown(core, clock_hz, steps, tuple(rows))


def _operator(op: int, named: OperatorName, functions: tuple[Share, ...]) -> OperatorShare:
    whole = sum_shares(named.name, functions)
    return OperatorShare(
        whole.name,
        whole.instructions,
        whole.estimate,
        op,
        named.layer,
        named.phase,
        group_shares(functions, lambda f: f.name),
        stalls=whole.stalls,
    )


def function_of(cell: Cell) -> str:
    """The C function's name, for tables."""
    return cell.function or "(no function)"


def share_of(cell: Cell, name: str, *, runs: int = 1) -> Share:
    """A cell as a share of each of ``runs`` runs."""
    each = 1 / runs
    return Share(name, cell.instructions / runs, cell.estimate.times(each), stalls=cell.stalls.times(each))


def sum_shares(name: str, shares: Sequence[Share]) -> Share:
    """All of them as one."""
    instructions = sum(share.instructions for share in shares)
    stalls = total([share.stalls for share in shares])
    return Share(name, instructions, total([share.estimate for share in shares]), stalls=stalls)


def group_shares(shares: Sequence[AnyShare], key: Callable[[AnyShare], str]) -> tuple[Share, ...]:
    """One share for each key, in the order in which the keys are met."""
    groups: dict[str, list[AnyShare]] = {}
    for share in shares:
        groups.setdefault(key(share), []).append(share)
    return tuple(sum_shares(name, members) for name, members in groups.items())
