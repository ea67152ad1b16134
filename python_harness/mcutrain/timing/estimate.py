"""Estimated cycles of a profile: each executed block in the state that each of its predecessors leaves, times the edge's count."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcutrain.emulators.profile import Block, Profile
from mcutrain.errors import MismatchError, UsageError
from mcutrain.timing.cycles import NO_CYCLES, CycleEstimate, total
from mcutrain.timing.engine import Engine, Exits, branches
from mcutrain.timing.instruction import Instruction, UnknownInstructionError, decode_block
from mcutrain.timing.m4 import M4Engine
from mcutrain.timing.m7 import M7Engine
from mcutrain.timing.memory import FlashMemory
from mcutrain.timing.predication import Instructions, Outcomes, outcomes
from mcutrain.timing.tables import m4_table, m7_table

BlockKey = tuple[int, int]  # address and number of instructions, as the plugin tells blocks apart


@dataclass(frozen=True)
class Cell:
    """What ran of one function for one mark. stalls: cycles more for waiting on flash, if that is modelled."""

    mark: str
    function: str
    instructions: int
    estimate: CycleEstimate
    stalls: CycleEstimate = NO_CYCLES


@dataclass(frozen=True)
class ProfileEstimate:
    """Estimated cycles of a profile, by mark and function."""

    cells: tuple[Cell, ...]

    @property
    def estimate(self) -> CycleEstimate:
        """Of all that ran, at zero wait states."""
        return total([cell.estimate for cell in self.cells])

    def mark(self, name: str) -> CycleEstimate:
        """Of what ran for a mark, at zero wait states."""
        return total([cell.estimate for cell in self.cells if cell.mark == name])

    def stalls(self, name: str) -> CycleEstimate:
        """Cycles more for a mark's waiting on flash."""
        return total([cell.stalls for cell in self.cells if cell.mark == name])


def make_engine(core: str) -> Engine[Any]:
    """The engine of a core. UsageError where there is none."""
    if core == "cortex-m4":
        return M4Engine(m4_table())
    if core == "cortex-m7":
        return M7Engine(m7_table())
    raise UsageError(f"there is no timing model of {core!r}: there are cortex-m4 and cortex-m7")


def estimate_profile(
    profile: Profile, core: str, functions: Mapping[str, tuple[int, int]], memory: FlashMemory | None = None
) -> ProfileEstimate:
    """Estimate the cycles of a profile.

    Args:
        profile: of one run on an emulator.
        core: cortex-m4 or cortex-m7.
        functions: address and size in bytes of each function of the firmware.
        memory: whose caches the profile simulated, for what the wait for its flash adds.

    Raises:
        UnknownInstructionError: an instruction that ran is not in the tables.
        UsageError: there is no model of the core.
        MismatchError: the profile simulated no caches, and memory is given.
    """
    if memory is not None and not profile.fills:
        raise MismatchError(
            "the profile has no cache fills; run it with the caches of the memory that is to be modelled"
        )
    return _Estimator(profile, make_engine(core), FunctionIndex(functions), memory).run()


class FunctionIndex:
    """Finds the function at an address by bisection. One without a size, as in assembly, goes up to the next."""

    def __init__(self, functions: Mapping[str, tuple[int, int]]) -> None:
        unique: dict[int, tuple[str, int]] = {}
        for name, (start, size) in sorted(functions.items()):
            if start not in unique or size > unique[start][1]:
                unique[start] = (name, size)
        self._starts = sorted(unique)
        self._rows = [unique[start] for start in self._starts]

    def at(self, address: int) -> str:
        """The function's name, or "" where there is none."""
        found = bisect.bisect_right(self._starts, address) - 1
        if found < 0:
            return ""
        name, size = self._rows[found]
        return name if size == 0 or address < self._starts[found] + size else ""


@dataclass(eq=False)
class _Code:
    """A block, decoded, and what is known of it while the profile is added up."""

    block: Block
    instructions: tuple[Instruction, ...]
    function: str
    outcomes: Outcomes
    # How often it follows each block; what it takes when it is entered from the most frequent of these, the state behind it then,
    # and what it takes less if a branch under an IT at its end is not taken.
    from_counts: dict[BlockKey, int] = field(default_factory=lambda: defaultdict(int))
    usual: CycleEstimate = NO_CYCLES
    after: Any = None
    less_if_not_taken: float = 0.0

    @property
    def end(self) -> int:
        return self.block.pc + sum(instruction.size for instruction in self.instructions)


class _Estimator:
    def __init__(
        self, profile: Profile, engine: Engine[Any], functions: FunctionIndex, memory: FlashMemory | None
    ) -> None:
        self.profile = profile
        self.engine = engine
        self.functions = functions
        self.memory = memory
        self.codes: dict[BlockKey, _Code] = {}
        self.edge_cycles: dict[tuple[BlockKey, BlockKey], CycleEstimate] = {}
        self.instructions: dict[tuple[str, str], int] = defaultdict(int)
        self.cells: dict[tuple[str, str], CycleEstimate] = defaultdict(CycleEstimate)
        self.stalls: dict[tuple[str, str], CycleEstimate] = defaultdict(CycleEstimate)

    def run(self) -> ProfileEstimate:
        for run in self.profile.blocks:
            self._code(run.block)
        for edge in self.profile.edges:
            source, target = self._code(edge.block), self._code(edge.to_block)
            target.from_counts[_key(source.block)] += edge.count
        for code in self.codes.values():
            self._enter_as_usual(code)
        self._add_blocks()
        self._add_branches()
        self._add_stalls()
        cells = tuple(
            Cell(mark, function, self.instructions[mark, function], cycles, self.stalls[mark, function])
            for (mark, function), cycles in sorted(self.cells.items())
        )
        return ProfileEstimate(cells)

    def _code(self, block: Block) -> _Code:
        key = _key(block)
        if key not in self.codes:
            instructions = decode_block(block, self.functions.at)
            function = self.functions.at(block.pc)

            def alone(part: Instructions) -> float:
                return self._run(part, self.engine.start, block, function)[0]

            self.codes[key] = _Code(block, instructions, function, outcomes(instructions, alone))
        return self.codes[key]

    def _enter_as_usual(self, code: _Code) -> None:
        """Run a block as it is entered from its most frequent predecessor, itself entered from nowhere."""
        entry = self.engine.start
        if code.from_counts:
            usual = self.codes[max(code.from_counts, key=lambda key: (code.from_counts[key], key))]
            entry = self._enter(code, self._cycles(usual, entry)[1], usual)
        code.usual, code.after = self._cycles(code, entry)
        if code.outcomes.not_taken is not None:
            not_taken = self._run(code.outcomes.not_taken, entry, code.block, code.function)[0]
            code.less_if_not_taken = self._run(code.outcomes.dear, entry, code.block, code.function)[0] - not_taken

    def _enter(self, code: _Code, state: Any, source: _Code) -> Any:
        taken = branches(source.instructions[-1], source.end, code.block.pc)
        return self.engine.after_branch(state) if taken else state

    def _cycles(self, code: _Code, state: Any) -> tuple[CycleEstimate, Any]:
        """Cycles of a block that is entered in ``state``, and the state behind it: halfway between what its ITs can take."""
        shorter, longer = self.engine.divide_range()
        most, after = self._run(code.outcomes.dear, state, code.block, code.function)
        least = most
        if code.outcomes.doubtful:
            least = self._run(code.outcomes.cheap, state, code.block, code.function)[0]
        least, most = min(least, most), max(least, most)
        low = least - shorter * _divisions(code.outcomes.cheap)
        return CycleEstimate((least + most) / 2, low, most + longer * _divisions(code.outcomes.dear)), after

    def _run(self, instructions: Instructions, state: Any, block: Block, function: str) -> tuple[int, Any]:
        try:
            return self.engine.run(instructions, state)
        except UnknownInstructionError as error:
            raise UnknownInstructionError(
                f"the timing model of this core does not have '{error}', which ran at {block.pc:#x} "
                f"({function or 'no function'})"
            ) from None

    def _add_blocks(self) -> None:
        """Every run of every block, by the edge that it was entered on; the first block of all is entered from nowhere."""
        entered: dict[tuple[str, BlockKey], int] = defaultdict(int)
        for edge in self.profile.edges:
            code = self._code(edge.to_block)
            pair = (_key(edge.block), _key(edge.to_block))
            if pair not in self.edge_cycles:
                source = self._code(edge.block)
                self.edge_cycles[pair] = self._cycles(code, self._enter(code, source.after, source))[0]
            self._add(edge.to_mark, code, self.edge_cycles[pair].times(edge.count))
            entered[edge.to_mark, pair[1]] += edge.count
        for run in self.profile.blocks:
            code = self._code(run.block)
            rest = run.count - entered[run.mark, _key(run.block)]
            if rest > 0:
                self._add(run.mark, code, self._cycles(code, self.engine.start)[0].times(rest))
            self.instructions[run.mark, code.function] += run.count * run.block.instructions

    def _add(self, mark: str, code: _Code, cycles: CycleEstimate) -> None:
        self.cells[mark, code.function] = self.cells[mark, code.function].plus(cycles)

    def _add_branches(self) -> None:
        targets: dict[tuple[str, BlockKey], list[tuple[int, int]]] = defaultdict(list)
        for edge in self.profile.edges:
            targets[edge.mark, _key(edge.block)].append((edge.to_block.pc, edge.count))
        for (mark, key), reached in targets.items():
            code = self.codes[key]
            if not code.instructions[-1].branch:
                continue
            exits = Exits(code.instructions[-1], code.block.pc, code.end, tuple(reached))
            less = -code.less_if_not_taken * (exits.total - exits.taken)
            self._add(mark, code, self.engine.lost(exits, code.after).plus(CycleEstimate(less, less, less)))

    def _add_stalls(self) -> None:
        for fills in self.profile.fills if self.memory is not None else ():
            code = self._code(fills.block)
            assert self.memory is not None
            stalls = self.memory.stalls(fills, code.usual.cycles)
            self.stalls[fills.mark, code.function] = self.stalls[fills.mark, code.function].plus(stalls)


def _divisions(instructions: Instructions) -> int:
    return sum(instruction.kind == "divide" for instruction in instructions)


def _key(block: Block) -> BlockKey:
    return block.pc, block.instructions
