"""Estimated cycles as ``profile`` and ``estimate`` print them: as tables, and as entries of --json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from mcutrain.report import wording
from mcutrain.timing.breakdown import Share, sum_shares


def plain_table() -> Table:
    """A table without a frame, to which columns are added."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")


def shares_table(title: str, shares: Sequence[Share], clock_hz: int, rows: int, *, in_flash: bool) -> Table:
    """One row a share, the last of ``rows`` for all that do not fit. in_flash: with a column of the cycles in flash.

    shares: of all that is to sum to 100 %; of a training step the driver's work too.
    """
    table = plain_table()
    table.add_column(title, overflow="fold")
    for header in ("estimated cycles", "share", "ms", "instructions", "cycles each"):
        table.add_column(header, justify="right", no_wrap=True)
    if in_flash:
        table.add_column("cycles in flash", justify="right", no_wrap=True)
    whole = sum(share.estimate.cycles for share in shares)
    rest = shares[rows - 1 :] if len(shares) > rows else ()
    shown = [*shares[: rows - 1], sum_shares(f"{len(rest)} more", rest)] if rest else shares
    for share in shown:
        cycles = share.estimate.cycles
        table.add_row(
            Text(wording.printable(share.name)),
            f"{cycles:,.0f}",
            wording.share(cycles, whole),
            f"{1000 * cycles / clock_hz:,.2f}",
            f"{share.instructions:,.0f}",
            f"{cycles / share.instructions:.2f}" if share.instructions else "-",
            *([f"{share.in_flash.cycles:,.0f}"] if in_flash else []),
        )
    return table


def share_entry(share: Share, clock_hz: int, *, in_flash: bool) -> dict[str, Any]:
    """A share as --json gives it."""
    estimates = {"": share.estimate, **({"_in_flash": share.in_flash} if in_flash else {})}
    entry: dict[str, Any] = {"name": share.name, "instructions": share.instructions}
    for where, estimate in estimates.items():
        entry[f"estimated_cycles{where}"] = estimate.cycles
        entry[f"estimated_cycles{where}_low"] = estimate.low
        entry[f"estimated_cycles{where}_high"] = estimate.high
        entry[f"estimated_milliseconds{where}"] = 1000 * estimate.cycles / clock_hz
    return entry
