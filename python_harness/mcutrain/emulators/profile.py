"""What the QEMU profile plugin counted (emulation/qemu/output.h): instructions, blocks and edges for each mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mcutrain.errors import MismatchError

HEADER = "mcutrain-profile 1"


class MarkCount(NamedTuple):
    """How often a mark was entered, and how many instructions ran from there to the next mark, summed over the visits."""

    visits: int
    instructions: int


@dataclass(frozen=True)
class Block:
    """A straight run of instructions: its address, how many there are, and their code as it lies in memory."""

    pc: int
    instructions: int
    code: bytes


@dataclass(frozen=True)
class BlockCount:
    """How often a block ran for a mark."""

    mark: str
    block: Block
    count: int


@dataclass(frozen=True)
class EdgeCount:
    """How often, while `mark` counted, `block` was followed by `to_block`, which counts for `to_mark`."""

    mark: str
    block: Block
    to_mark: str
    to_block: Block
    count: int


@dataclass(frozen=True)
class FillCount:
    """Lines that the runs of a block for a mark brought from flash into the caches.

    at_jumps and in_sequence are lines of code, the latter those just behind the line that was fetched before.
    """

    mark: str
    block: Block
    at_jumps: int
    in_sequence: int
    data: int


@dataclass(frozen=True)
class CacheShape:
    """A set-associative cache that replaces the line used least recently."""

    line_bytes: int
    sets: int
    ways: int


@dataclass(frozen=True)
class Caches:
    """What the plugin simulates: caches before the flash, and which addresses are of flash and which of memory that costs nothing.

    Regions are pairs of an address and a size in bytes.
    """

    instructions: CacheShape
    data: CacheShape
    flash: tuple[int, int]
    free: tuple[tuple[int, int], ...]

    def description(self) -> str:
        """The plugin's file (emulation/qemu/caches.h)."""
        shapes = (("instructions", self.instructions), ("data", self.data))
        regions = (("flash", self.flash), *(("free", region) for region in self.free))
        return "".join(
            [
                *(f"{name} {shape.line_bytes} {shape.sets} {shape.ways}\n" for name, shape in shapes),
                *(f"{kind} {base:x} {size:x}\n" for kind, (base, size) in regions),
            ]
        )


@dataclass(frozen=True)
class Profile:
    """The exact profile of one run. The mark `reset` stands for what ran before the first mark.

    fills is empty unless caches were simulated.
    """

    instructions: int
    instructions_per_mark: Mapping[str, MarkCount]
    blocks: tuple[BlockCount, ...]
    edges: tuple[EdgeCount, ...]
    fills: tuple[FillCount, ...] = ()


def read_profile(path: Path) -> Profile:
    """Read the plugin's output file.

    Raises:
        MismatchError: it is missing, of another format, or incomplete; its parts do not add up; or the program left the regions
            of the caches' description.
    """
    if not path.exists():
        raise MismatchError("the emulator left no profile; its plugin did not load or it was killed")
    rows = path.read_text(encoding="ascii", errors="replace").splitlines()
    if not rows or rows[0] != HEADER or not rows[-1].startswith("end "):
        raise MismatchError(f"the profile is not a complete '{HEADER}' file; the emulator was stopped while it wrote")
    try:
        return _profile_of(rows)
    except (ValueError, IndexError) as error:
        raise MismatchError(f"the profile has a value that is not understood: {error}") from error


def _profile_of(rows: Sequence[str]) -> Profile:
    marks: list[tuple[str, int]] = []
    blocks: list[Block] = []
    runs: list[BlockCount] = []
    edges: list[EdgeCount] = []
    fills: list[FillCount] = []
    for row in rows[1:-1]:
        match row.split(" "):
            case ["mark", _, _, name, visits]:
                marks.append((name, _count(visits)))
            case ["block", _, pc, instructions, code]:
                blocks.append(Block(int(pc, 16), _count(instructions), bytes.fromhex(code)))
            case ["run", mark, block, count]:
                runs.append(BlockCount(marks[_count(mark)][0], blocks[_count(block)], _count(count)))
            case ["edge", mark, block, to_mark, to_block, count]:
                source, target = blocks[_count(block)], blocks[_count(to_block)]
                edges.append(
                    EdgeCount(marks[_count(mark)][0], source, marks[_count(to_mark)][0], target, _count(count))
                )
            case ["fills", mark, block, at_jumps, in_sequence, data]:
                counts = (_count(at_jumps), _count(in_sequence), _count(data))
                fills.append(FillCount(marks[_count(mark)][0], blocks[_count(block)], *counts))
            case ["outside", address]:
                raise MismatchError(
                    f"the program used address 0x{address}, which is no memory of the board; see its file"
                )
            case _:
                raise MismatchError(f"the profile has a row that is not understood: {row!r}")
    totals = dict.fromkeys((name for name, _ in marks), 0)
    for run in runs:
        totals[run.mark] += run.count * run.block.instructions
    total = _count(rows[-1].split(" ")[1])
    if sum(totals.values()) != total:
        raise MismatchError(
            f"the profile does not add up: {sum(totals.values())} instructions in marks, {total} in all"
        )
    per_mark = {name: MarkCount(visits, totals[name]) for name, visits in marks}
    return Profile(total, per_mark, tuple(runs), tuple(edges), tuple(fills))


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(f"{text} is below 0")
    return value
