"""What a run's SRAM is held against: its board's, or, of a run on the host, that of the episode's first board."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report.wording import byte_count, printable, share


@dataclass(frozen=True)
class SramLimit:
    """size_bytes: more than 0. board: whose it is. own: whether the run was on that board, so that the limit was real."""

    size_bytes: int
    board: str
    own: bool


def sram_limit(record: EpisodeRecord) -> SramLimit | None:
    """The limit; None where the run had none and its record names no board."""
    if record.sram_limit_bytes:
        return SramLimit(record.sram_limit_bytes, record.board, True)
    if record.reference_board and record.reference_sram_limit_bytes:
        return SramLimit(record.reference_sram_limit_bytes, record.reference_board, False)
    return None


def of_sram(record: EpisodeRecord) -> str:
    """``of 262,144 B (18.1 %)``, with the board's name where the run was not on it; empty where there is no limit."""
    limit = sram_limit(record)
    if limit is None:
        return ""
    whose = "" if limit.own else f" of {printable(limit.board)}"
    return f"of {byte_count(limit.size_bytes)}{whose} ({share(record.sram_peak_bytes, limit.size_bytes)})"


def of_flash(record: EpisodeRecord) -> str:
    """The same of flash; empty where the run had none."""
    if not record.flash_limit_bytes:
        return ""
    used = share(record.flash_bytes, record.flash_limit_bytes)
    return f"of {byte_count(record.flash_limit_bytes)} ({used})"


def without_limit(record: EpisodeRecord) -> str:
    """What has to be said of a run that had no limit; empty where it had one."""
    if record.sram_limit_bytes:
        return ""
    limit = sram_limit(record)
    place = printable(record.board)
    if limit is None:
        return f"{place} has no limit"
    return f"{place} has no limit; {printable(limit.board)} has {byte_count(limit.size_bytes)}"
