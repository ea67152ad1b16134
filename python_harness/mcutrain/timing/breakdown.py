"""Where the estimated cycles of a training step go: by phase, layer, operator and C function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mcutrain.timing.cycles import NO_CYCLES, CycleEstimate, total
from mcutrain.timing.estimate import ProfileEstimate

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
        return _sum("training step", [row for row in self.operators if row.phase != OTHER])

    def phases(self) -> tuple[Share, ...]:
        """By phase, in the order in which they run; the driver's work last."""
        return _group(self.operators, lambda row: row.phase)

    def layers(self) -> tuple[Share, ...]:
        """By layer of the network; the driver's work is no layer."""
        return _group([row for row in self.operators if row.phase != OTHER], lambda row: row.layer)

    def functions(self) -> tuple[Share, ...]:
        """By C function, most cycles first."""
        found = _group([part for row in self.operators for part in row.functions], lambda part: part.name)
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
        share = Share(
            cell.function or "(no function)",
            cell.instructions / steps,
            cell.estimate.times(1 / steps),
            stalls=cell.stalls.times(1 / steps),
        )
        parts.setdefault(OTHER if cell.mark in STEP_MARKS else cell.mark, []).append(share)
    rows = []
    for op, named in enumerate(operators):
        functions = tuple(parts.get(f"mct_op_{op:04d}", ()))
        rows.append(_operator(op, named, functions))
    rows.append(_operator(-1, OperatorName("driver (digest, protocol)", OTHER, OTHER), tuple(parts.get(OTHER, ()))))
    return Breakdown(core, clock_hz, steps, tuple(rows))


def _operator(op: int, named: OperatorName, functions: tuple[Share, ...]) -> OperatorShare:
    whole = _sum(named.name, functions)
    return OperatorShare(
        whole.name,
        whole.instructions,
        whole.estimate,
        op,
        named.layer,
        named.phase,
        _group(functions, lambda f: f.name),
        stalls=whole.stalls,
    )


def _sum(name: str, shares: Sequence[Share]) -> Share:
    instructions = sum(share.instructions for share in shares)
    stalls = total([share.stalls for share in shares])
    return Share(name, instructions, total([share.estimate for share in shares]), stalls=stalls)


def _group(shares: Sequence[AnyShare], key: Callable[[AnyShare], str]) -> tuple[Share, ...]:
    groups: dict[str, list[AnyShare]] = {}
    for share in shares:
        groups.setdefault(key(share), []).append(share)
    return tuple(_sum(name, members) for name, members in groups.items())
