"""What the two engines have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mcutrain.timing.cycles import CycleEstimate
from mcutrain.timing.instruction import Instruction

State = TypeVar("State")


def branches(last: Instruction, end: int, target: int) -> bool:
    """Whether ``last``, whose block ends at ``end``, branched to get to ``target``."""
    return last.branch != "" and (not last.conditional or target != end)


@dataclass(frozen=True)
class Exits:
    """How often a block was left, and to where, while one mark counted.

    last is the block's last instruction, start and end its first address and the one behind it, targets pairs of the next block's
    address and a count.
    """

    last: Instruction
    start: int
    end: int
    targets: tuple[tuple[int, int], ...]

    def is_taken(self, target: int) -> bool:
        """Whether the last instruction branched to get to ``target``."""
        return branches(self.last, self.end, target)

    @property
    def taken(self) -> int:
        """How often the last instruction branched."""
        return sum(count for target, count in self.targets if self.is_taken(target))

    @property
    def total(self) -> int:
        """How often the block was left."""
        return sum(count for _, count in self.targets)


class Engine(Protocol[State]):
    """Cycles of blocks and of the branches between them, on one core."""

    start: State

    def run(self, block: Sequence[Instruction], state: State) -> tuple[int, State]:
        """Cycles of a block that is entered in ``state``, and the state behind it. UnknownInstructionError where the core lacks one."""

    def after_branch(self, state: State) -> State:
        """The state at the target of a branch that was taken in ``state``."""

    def lost(self, exits: Exits, state: State) -> CycleEstimate:
        """Cycles lost by branching from a block that ends in ``state``."""

    def divide_range(self) -> tuple[int, int]:
        """By how many cycles a division may be shorter and longer than ``run`` counts it."""
