"""The Cortex-M7: two instructions a cycle, in order, by issue rules and latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from mcutrain.timing.branches import mispredictions
from mcutrain.timing.cycles import CycleEstimate
from mcutrain.timing.engine import Exits
from mcutrain.timing.instruction import FLAGS, Instruction, UnknownInstructionError
from mcutrain.timing.tables import Latency, M7Class, M7Table

_LONG_AGO = -1000
_HORIZON = 8  # no latency is longer; what was ready so long before cannot delay anything


@dataclass(frozen=True, slots=True)
class M7State:
    """Between two blocks. Cycle 0 is the last in which something issued.

    ready: for each register that was written lately, from when on it can be read. older: what issued in cycle 0, where the younger
    slot is free still. flags and fma: the cycles when flags were set and when a floating point multiply-accumulate issued.
    """

    ready: Mapping[int, Latency] = field(default_factory=dict)
    older: Instruction | None = None
    flags: int = _LONG_AGO
    fma: int = _LONG_AGO


class M7Engine:
    """Cycles of blocks, all branches predicted rightly: mispredictions belong to edges."""

    def __init__(self, table: M7Table) -> None:
        self.table = table
        self.start = M7State()
        self._never = {frozenset(pair) for pair in table.never_together}
        self._pairs = cache(self._traits_pair)

    def run(self, block: Sequence[Instruction], state: M7State) -> tuple[int, M7State]:
        """Cycles of a block that is entered in ``state``, and the state after it.

        Raises:
            UnknownInstructionError: the core does not have an instruction.
        """
        now, older, flags, fma = 0, state.older, state.flags, state.fma
        ready = dict(state.ready)
        shadow = self.table.fma_shadow
        for instruction in block:
            row = self.table.classes.get(instruction.kind)
            if row is None:
                raise UnknownInstructionError(f"{instruction.name} ({instruction.kind})")
            at = _operands_ready(instruction, ready)
            if shadow.not_at_all in row.traits:
                at = max(at, fma + shadow.cycles + 1)
            in_shadow = shadow.not_younger in row.traits and now <= fma + shadow.cycles
            if older is not None and at <= now and not in_shadow and self._together(older, instruction, row):
                partner, older = older, None
            else:
                partner = None
                now = max(now + 1, at)
                older = None if row.alone else instruction
            latency = self._latency(instruction, row, partner, ready, now)
            issue = self._issue_cycles(instruction, row)
            if issue > 1:  # nothing issues until it is done but one partner beside it
                now += issue - 1
                older = None if row.alone or partner is not None else instruction
            for register in instruction.writes:
                ready[register] = _shift(latency, now)
            if instruction.written_back is not None:
                ready[instruction.written_back] = _shift(self.table.latencies["address"], now)
            if FLAGS in instruction.writes:
                flags = now
                ready[FLAGS] = _shift(self.table.latencies["late_alu"], now)
            if "fma" in row.traits:
                fma = now
        kept = {register: _shift(times, -now) for register, times in ready.items() if times.early + _HORIZON > now}
        return now, M7State(kept, older, flags - now, fma - now)

    def after_branch(self, state: M7State) -> M7State:
        """The state at a branch's target, where a new pair begins."""
        return M7State(state.ready, None, state.flags, state.fma)

    def lost(self, exits: Exits, state: M7State) -> CycleEstimate:
        """Expected mispredictions; they cost less where the flags were known early."""
        cost = self.table.mispredict
        wrong = mispredictions(exits)
        known_early = FLAGS in exits.last.reads and -state.flags >= cost.early_distance
        return CycleEstimate(wrong * (cost.early if known_early else cost.default), wrong * cost.low, wrong * cost.high)

    def divide_range(self) -> tuple[int, int]:
        """See Engine."""
        divide = self.table.divide
        return divide.default - divide.low, divide.high - divide.default

    def _issue_cycles(self, instruction: Instruction, row: M7Class) -> int:
        if instruction.kind == "divide":
            return row.cycles + self.table.divide.default
        return (instruction.words + 1) // 2 if row.per_pair else row.cycles

    def _latency(
        self,
        instruction: Instruction,
        row: M7Class,
        partner: Instruction | None,
        ready: Mapping[int, Latency],
        now: int,
    ) -> Latency:
        """The latency row: of the early ALU where the instruction may and can execute there."""
        latencies = self.table.latencies
        either = instruction.kind in self.table.early_alu_either_slot
        if either and partner is not None:
            either = not self._traits(partner) & {"shifted", "bits"}
        elif instruction.kind in self.table.early_alu_classes:
            either = partner is None and not instruction.shifted
        if (
            either
            and not instruction.conditional
            and all(ready[r].early <= now for r in instruction.reads if r in ready)
        ):
            return latencies["early_alu"]
        return latencies[row.latency]

    def _traits(self, instruction: Instruction) -> frozenset[str]:
        traits = self.table.classes[instruction.kind].traits
        return frozenset((*traits, "shifted") if instruction.shifted and "dsp" not in traits else traits)

    def _together(self, older: Instruction, younger: Instruction, row: M7Class) -> bool:
        if row.alone or (older.branch and not older.conditional):
            return False
        if not self._pairs(self._traits(older), self._traits(younger)):
            return False
        return not ("load" in row.traits and _same_bank(older, younger, self.table))

    def _traits_pair(self, older: frozenset[str], younger: frozenset[str]) -> bool:
        if not younger.isdisjoint(self.table.older_slot_only):
            return False
        return not any(frozenset((a, b)) in self._never for a in older for b in younger)


def _shift(latency: Latency, cycles: int) -> Latency:
    """The latency from an issue in a given cycle: absolute cycles."""
    late, early, factor, addend, store = latency
    return Latency(late + cycles, early + cycles, factor + cycles, addend + cycles, store + cycles)


def _operands_ready(instruction: Instruction, ready: Mapping[int, Latency]) -> int:
    """The first cycle in which all operands can be read."""
    at = _LONG_AGO
    factors = "multiply" in instruction.kind
    for register in () if instruction.branch else instruction.reads:  # a branch is predicted: it issues without them
        if register in ready:
            at = max(at, ready[register].factor if factors else ready[register].late)
    for register in instruction.early + instruction.address:
        if register in ready:
            at = max(at, ready[register].early)
    for register in instruction.addend:
        if register in ready:
            at = max(at, ready[register].addend)
    for register in instruction.data:
        if register in ready:
            at = max(at, ready[register].store)
    return at


def _same_bank(older: Instruction, younger: Instruction, table: M7Table) -> bool:
    """Whether two loads are known to want the same bank: even or odd words, bases taken to be aligned to eight bytes."""
    if "load" not in table.classes[older.kind].traits or older.access is None or younger.access is None:
        return False
    return (older.access[1] ^ younger.access[1]) & 4 == 0
