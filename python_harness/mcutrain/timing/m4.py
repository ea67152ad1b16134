"""The Cortex-M4: one instruction at a time, table costs, and what two neighbours save or lose each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcutrain.timing.cycles import CycleEstimate
from mcutrain.timing.engine import Exits
from mcutrain.timing.instruction import Instruction, UnknownInstructionError
from mcutrain.timing.tables import M4Class, M4Table

_NONE = M4Class(cycles=0)


@dataclass(frozen=True, slots=True)
class M4State:
    """What goes from one instruction to the next: the instruction, its row, and for how long the FPU still divides."""

    last: Instruction | None = None
    row: M4Class = _NONE
    fpu_busy: int = 0


class M4Engine:
    """Cycles of blocks, without the refills: these belong to edges."""

    def __init__(self, table: M4Table) -> None:
        self.table = table
        self.start = M4State()

    def run(self, block: Sequence[Instruction], state: M4State) -> tuple[int, M4State]:
        """Cycles of a block that is entered in ``state`` (a division counts its default), and the state after it.

        Raises:
            UnknownInstructionError: the core does not have an instruction.
        """
        total = 0
        for instruction in block:
            row = self.table.classes.get(instruction.kind)
            if row is None:
                raise UnknownInstructionError(f"{instruction.name} ({instruction.kind})")
            cycles, busy = self._cycles(instruction, row, state)
            total += cycles
            state = M4State(instruction, row, busy)
        return total, state

    def after_branch(self, state: M4State) -> M4State:
        """The state at a branch's target: nothing to overlap with is left in the pipeline."""
        return M4State(fpu_busy=max(0, state.fpu_busy - self.table.refill.default))

    def lost(self, exits: Exits, state: M4State) -> CycleEstimate:
        """One refill of the pipeline for each branch that is taken."""
        refill = self.table.refill
        taken = exits.taken
        return CycleEstimate(taken * refill.default, taken * refill.low, taken * refill.high)

    def divide_range(self) -> tuple[int, int]:
        """See Engine."""
        divide = self.table.divide
        return divide.default - divide.low, divide.high - divide.default

    def _cycles(self, instruction: Instruction, row: M4Class, state: M4State) -> tuple[int, int]:
        """Cycles of an instruction, and for how long the FPU divides after it."""
        last = state.last
        cycles = row.cycles + row.per_word * instruction.words
        if instruction.kind == "divide":
            cycles += self.table.divide.default
        elif instruction.kind == "if_then" and last is not None and last.size == 2:
            cycles = 0
        elif _overlaps(instruction, row, state):
            cycles = 1
        if last is not None:
            if state.row.kind == "alu" and not set(instruction.address).isdisjoint(last.writes):
                cycles += 1
            if state.row.kind == "fp" and not set(instruction.everything_read).isdisjoint(last.writes):
                cycles += 1
        if not instruction.kind.startswith("fp_"):
            return cycles, max(0, state.fpu_busy - cycles)
        if row.kind == "fp_slow":
            return state.fpu_busy + 1, cycles - 1
        return state.fpu_busy + cycles, 0


def _overlaps(instruction: Instruction, row: M4Class, state: M4State) -> bool:
    """Whether the load just before hides the address phase of this load or store."""
    last = state.last
    if last is None or state.row.kind != "load" or row.kind not in ("load", "store"):
        return False
    # The loaded value comes too late for the address; a base that is written back only for the next access on the same base.
    return set(instruction.address).isdisjoint(last.writes)
