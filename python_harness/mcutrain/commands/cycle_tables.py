"""Tables of estimated cycles, as ``profile`` and ``estimate`` print them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from mcutrain.report import wording
from mcutrain.timing.breakdown import Share
from mcutrain.timing.cycles import total


def plain_table() -> Table:
    """A table without a frame, to which columns are added."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")


def shares_table(title: str, shares: Sequence[Share], clock_hz: int, rows: int, *, in_flash: bool) -> Table:
    """One row a share, the last of ``rows`` for all that do not fit. in_flash: with a column of the cycles in flash."""
    table = plain_table()
    table.add_column(title, overflow="fold")
    for header in ("estimated cycles", "share", "ms", "instructions", "cycles each"):
        table.add_column(header, justify="right", no_wrap=True)
    if in_flash:
        table.add_column("cycles in flash", justify="right", no_wrap=True)
    whole = sum(share.estimate.cycles for share in shares)
    shown = shares if len(shares) <= rows else [*shares[: rows - 1], _rest(shares[rows - 1 :])]
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


def _rest(shares: Sequence[Share]) -> Share:
    instructions = sum(share.instructions for share in shares)
    stalls = total([share.stalls for share in shares])
    return Share(f"{len(shares)} more", instructions, total([share.estimate for share in shares]), stalls=stalls)
