"""Flash with wait states behind caches: what the fills that the profile plugin counted cost."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.boards import Board
from mcutrain.emulators.profile import Caches, CacheShape, FillCount
from mcutrain.errors import UsageError
from mcutrain.timing.cycles import CycleEstimate
from mcutrain.timing.tables import CacheTable, MemoryPart, memory_parts

ZERO_WAIT_STATES = "zero wait states"

# Memory of every M-class core that holds neither code nor constants: devices, and the core's own registers.
_DEVICES = (0x40000000, 0x20000000)
_SYSTEM = (0xE0000000, 0x20000000)


@dataclass(frozen=True)
class FlashMemory:
    """A board's flash. SRAM, the external memory that brings the samples, and devices cost nothing."""

    part: MemoryPart
    wait_states: int
    caches: Caches

    @property
    def label(self) -> str:
        """What stands beside every figure."""
        return f"flash, {self.wait_states} wait states, caches"

    def stalls(self, fills: FillCount, block_cycles: float) -> CycleEstimate:
        """Cycles that a block's fills add to its runs.

        block_cycles: of one run without them. With a prefetcher the read of a line goes on while the line before runs; at the low
        end of the range it hides all of it, at the high end nothing.
        """
        fill = [float(self.wait_states + bus) for bus in self.part.bus.ends]
        next_line = fill
        if self.part.prefetch:
            line_cycles = block_cycles * self.part.instructions.line_bytes / len(fills.block.code)
            next_line = [max(0.0, fill[0] + 1 - line_cycles), 0.0, fill[2]]
        others = fills.at_jumps + fills.data
        return CycleEstimate(
            *(others * one + fills.in_sequence * two for one, two in zip(fill, next_line, strict=True))
        )


def flash_memory(board: Board) -> FlashMemory:
    """The flash of a board.

    Raises:
        UsageError: the board's file does not say which it has, or names one that memory.yaml does not have.
    """
    if board.flash_part is None or board.flash_wait_states is None:
        raise UsageError(f"{board.name}.yaml has no flash_part and flash_wait_states, which a profile in flash needs")
    part = memory_parts().get(board.flash_part)
    if part is None:
        known = ", ".join(memory_parts())
        raise UsageError(f"{board.name}.yaml: no flash_part {board.flash_part!r} in memory.yaml: there are {known}")
    free = ((board.sram_base, board.sram_bytes), (board.external_base, board.external_bytes), _DEVICES, _SYSTEM)
    caches = Caches(_shape(part.instructions), _shape(part.data), (board.flash_base, board.flash_bytes), free)
    return FlashMemory(part, board.flash_wait_states, caches)


def _shape(cache: CacheTable) -> CacheShape:
    return CacheShape(cache.line_bytes, cache.sets, cache.ways)
