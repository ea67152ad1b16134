"""Instructions under an IT: which of them ran is not in a profile, but that either the then side or the else side did.

A branch under an IT is the exception: the edges say how often it was taken, and so which side of its IT ran.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcutrain.timing.instruction import FLAGS, Instruction

Instructions = tuple[Instruction, ...]


@dataclass(frozen=True)
class Outcomes:
    """A block as it runs when each of its ITs takes the cheaper side, and the dearer one.

    If a branch under an IT ends the block, both have it taken; not_taken is the dearer one without it, else None.
    """

    cheap: Instructions
    dear: Instructions
    not_taken: Instructions | None

    @property
    def doubtful(self) -> bool:
        """Whether the two differ."""
        return self.cheap != self.dear


def outcomes(block: Instructions, cycles: Callable[[Instructions], float]) -> Outcomes:
    """How a block may run. ``cycles`` says what instructions take by themselves."""
    cheap: list[Instruction] = []
    dear: list[Instruction] = []
    not_taken: list[Instruction] | None = None
    groups = _groups(block)
    for at, group in enumerate(groups):
        if not group[0].under:
            cheap += group
            dear += group
            continue
        sides = {side: tuple(one if one.under == side else _skipped(one) for one in group) for side in ("then", "else")}
        last = group[-1]
        if at == len(groups) - 1 and last.branch:
            not_taken = [*dear, *sides["else" if last.under == "then" else "then"]]
            cheap += sides[last.under]
            dear += sides[last.under]
            continue
        # Where both take the same, the dearer one is that of which more runs: its results may be waited for.
        ordered = sorted(sides.values(), key=lambda side: (cycles(side), sum(one.kind != "skipped" for one in side)))
        cheap += ordered[0]
        dear += ordered[1]
    return Outcomes(tuple(cheap), tuple(dear), None if not_taken is None else tuple(not_taken))


def _groups(block: Sequence[Instruction]) -> list[list[Instruction]]:
    """Runs of instructions of one IT each, and of none."""
    groups: list[list[Instruction]] = []
    for instruction in block:
        if groups and bool(groups[-1][0].under) == bool(instruction.under):
            groups[-1].append(instruction)
        else:
            groups.append([instruction])
    return groups


def _skipped(instruction: Instruction) -> Instruction:
    """What is left of an instruction whose condition fails: it is decoded and dropped."""
    return Instruction("skipped", instruction.name, instruction.size, reads=(FLAGS,), under=instruction.under)
