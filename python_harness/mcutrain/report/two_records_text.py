"""The comparison of two records in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mcutrain.report import wording
from mcutrain.report.two_records import Change, Comparison, bits_words, difference_words, written


def render_comparison(comparison: Comparison, rows: int) -> Iterator[RenderableType]:
    """What changed from the first to the second, a part at a time. rows: the most operators."""
    a, b = comparison.names
    yield Text.assemble(("A  ", "bold"), a)
    yield Text.assemble(("B  ", "bold"), b)
    yield Text()
    if comparison.settings:
        yield Text("settings", style="bold")
        for phrase in comparison.settings:
            yield Text(f"  {wording.printable(phrase)}")
    else:
        yield Text("settings: equal" + ("" if comparison.settings_known else ", as far as both records state them"))
    yield Text(f"bits: {bits_words(comparison)}")
    yield Text()
    for title, changes in (
        ("test set", comparison.accuracy),
        ("memory", comparison.memory),
        ("work of a step", comparison.work),
        ("operator, instructions", comparison.operators[:rows]),
        ("operator, estimated cycles", comparison.operator_cycles[:rows]),
    ):
        if changes:
            yield _table(title, changes)
            yield Text()
    if rows < len(comparison.operators):
        yield Text(f"the {rows} largest of {len(comparison.operators):,} changed operators", style="dim")


def _table(title: str, changes: Sequence[Change]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(title, overflow="fold")
    for heading in ("A", "B", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in changes:
        sides = (written(change, change.a), written(change, change.b))
        said = difference_words(change)
        table.add_row(Text(wording.printable(change.what)), *sides, Text(said, style="dim" if said == "equal" else ""))
    return table
