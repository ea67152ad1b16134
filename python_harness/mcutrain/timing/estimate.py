"""Estimated cycles of a profile: each executed block in the state that each of its predecessors leaves, times the edge's count."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcutrain.emulators.profile import Block, Profile
from mcutrain.errors import UsageError
from mcutrain.timing.cycles import CycleEstimate, total
from mcutrain.timing.engine import Engine, Exits, branches
from mcutrain.timing.instruction import Instruction, UnknownInstructionError, decode_block
from mcutrain.timing.m4 import M4Engine
from mcutrain.timing.m7 import M7Engine
from mcutrain.timing.tables import m4_table, m7_table

BlockKey = tuple[int, int]  # address and number of instructions, as the plugin tells blocks apart


@dataclass(frozen=True)
class Cell:
    """What ran of one function for one mark."""

    mark: str
    function: str
    instructions: int
    estimate: CycleEstimate


@dataclass(frozen=True)
class ProfileEstimate:
    """Estimated cycles of a profile, by mark and function."""

    cells: tuple[Cell, ...]

    @property
    def estimate(self) -> CycleEstimate:
        """Of all that ran."""
        return total([cell.estimate for cell in self.cells])

    def mark(self, name: str) -> CycleEstimate:
        """Of what ran for a mark."""
        return total([cell.estimate for cell in self.cells if cell.mark == name])


def make_engine(core: str) -> Engine[Any]:
    """The engine of a core. UsageError where there is none."""
    if core == "cortex-m4":
        return M4Engine(m4_table())
    if core == "cortex-m7":
        return M7Engine(m7_table())
    raise UsageError(f"there is no timing model of {core!r}: there are cortex-m4 and cortex-m7")


def estimate_profile(profile: Profile, core: str, functions: Mapping[str, tuple[int, int]]) -> ProfileEstimate:
    """Estimate the cycles of a profile.

    Args:
        profile: of one run on an emulator.
        core: cortex-m4 or cortex-m7.
        functions: address and size in bytes of each function of the firmware.

    Raises:
        UnknownInstructionError: an instruction that ran is not in the tables.
        UsageError: there is no model of the core.
    """
    return _Estimator(profile, make_engine(core), FunctionIndex(functions)).run()


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
    divisions: int
    # How often it follows each block, and the state behind it when it is entered from the most frequent of these.
    from_counts: dict[BlockKey, int] = field(default_factory=lambda: defaultdict(int))
    after: Any = None

    @property
    def end(self) -> int:
        return self.block.pc + sum(instruction.size for instruction in self.instructions)


class _Estimator:
    def __init__(self, profile: Profile, engine: Engine[Any], functions: FunctionIndex) -> None:
        self.profile = profile
        self.engine = engine
        self.functions = functions
        self.codes: dict[BlockKey, _Code] = {}
        self.edge_cycles: dict[tuple[BlockKey, BlockKey], int] = {}
        self.instructions: dict[tuple[str, str], int] = defaultdict(int)
        self.cells: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])

    def run(self) -> ProfileEstimate:
        for run in self.profile.blocks:
            self._code(run.block)
        for edge in self.profile.edges:
            source, target = self._code(edge.block), self._code(edge.to_block)
            target.from_counts[_key(source.block)] += edge.count
        for code in self.codes.values():
            code.after = self._usual_state(code)
        self._add_blocks()
        self._add_branches()
        cells = tuple(
            Cell(mark, function, self.instructions[mark, function], CycleEstimate(*cycles))
            for (mark, function), cycles in sorted(self.cells.items())
        )
        return ProfileEstimate(cells)

    def _code(self, block: Block) -> _Code:
        key = _key(block)
        if key not in self.codes:
            instructions = decode_block(block, self.functions.at)
            divisions = sum(instruction.kind == "divide" for instruction in instructions)
            self.codes[key] = _Code(block, instructions, self.functions.at(block.pc), divisions)
        return self.codes[key]

    def _usual_state(self, code: _Code) -> Any:
        """The state behind a block when it is entered from its most frequent predecessor, itself entered from nowhere."""
        entry = self.engine.start
        if code.from_counts:
            usual = self.codes[max(code.from_counts, key=lambda key: (code.from_counts[key], key))]
            entry = self._enter(code, self._cycles(usual, entry)[1], usual)
        return self._cycles(code, entry)[1]

    def _enter(self, code: _Code, state: Any, source: _Code) -> Any:
        taken = branches(source.instructions[-1], source.end, code.block.pc)
        return self.engine.after_branch(state) if taken else state

    def _cycles(self, code: _Code, state: Any) -> tuple[int, Any]:
        try:
            return self.engine.run(code.instructions, state)
        except UnknownInstructionError as error:
            raise UnknownInstructionError(
                f"the timing model of this core does not have '{error}', which ran at {code.block.pc:#x} "
                f"({code.function or 'no function'})"
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
            self._add(edge.to_mark, code, edge.count, self.edge_cycles[pair])
            entered[edge.to_mark, pair[1]] += edge.count
        for run in self.profile.blocks:
            code = self._code(run.block)
            rest = run.count - entered[run.mark, _key(run.block)]
            if rest > 0:
                self._add(run.mark, code, rest, self._cycles(code, self.engine.start)[0])
            self.instructions[run.mark, code.function] += run.count * run.block.instructions

    def _add(self, mark: str, code: _Code, count: int, cycles: int) -> None:
        shorter, longer = self.engine.divide_range()
        cell = self.cells[mark, code.function]
        cell[0] += count * cycles
        cell[1] += count * (cycles - code.divisions * shorter)
        cell[2] += count * (cycles + code.divisions * longer)

    def _add_branches(self) -> None:
        targets: dict[tuple[str, BlockKey], list[tuple[int, int]]] = defaultdict(list)
        for edge in self.profile.edges:
            targets[edge.mark, _key(edge.block)].append((edge.to_block.pc, edge.count))
        for (mark, key), reached in targets.items():
            code = self.codes[key]
            if not code.instructions[-1].branch:
                continue
            exits = Exits(code.instructions[-1], code.block.pc, code.end, tuple(reached))
            lost = self.engine.lost(exits, code.after)
            cell = self.cells[mark, code.function]
            for at, cycles in enumerate(lost):
                cell[at] += cycles


def _key(block: Block) -> BlockKey:
    return block.pc, block.instructions
