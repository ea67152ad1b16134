"""Energy from a supply current in a datasheet: an estimate upon an estimate, no measurement."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.boards import Board


@dataclass(frozen=True)
class Supply:
    """What a board draws while its core runs, and who says so. Microamperes a megahertz, millivolts."""

    ua_per_mhz: float
    millivolts: float
    source: str

    def millijoules(self, cycles: float) -> float:
        """Energy of so many cycles. E = U I t with I proportional to the clock and t to its inverse: the clock drops out."""
        return self.millivolts * 1e-3 * self.ua_per_mhz * 1e-12 * cycles * 1e3


def supply_of(board: Board) -> Supply | None:
    """The supply of a board, None where its file has none."""
    if board.supply_ua_per_mhz is None or board.supply_mv is None or board.supply_source is None:
        return None
    return Supply(board.supply_ua_per_mhz, board.supply_mv, board.supply_source)
