"""The memory map and the timeline of live bytes that the `plan` command prints, as rich renderables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mcutrain.compiler.arena import ArenaPlan, Block

_NARROWEST_BAR = 8
_EIGHTHS = " ▏▎▍▌▋▊▉"
_PHASE_STYLES = {"forward": "cyan", "loss": "magenta", "backward": "yellow", "update": "green"}


@dataclass(frozen=True)
class Region:
    """A part of a memory. name: "arena"; kind: the memory it lies in, "flash" or "sram"; size_bytes: at least 0."""

    name: str
    kind: str
    size_bytes: int


@dataclass(frozen=True)
class TimelineRow:
    """An operator of the plan. op: its index; phase: "forward", "loss", "backward" or "update"; live_bytes: during it."""

    op: int
    phase: str
    name: str
    live_bytes: int


def render_memory_map(
    regions: Sequence[Region], limits: Mapping[str, int], blocks: Sequence[Block], plan: ArenaPlan
) -> RenderableType:
    """The regions of each memory against its limit, and below them the blocks of the arena by offset.

    limits: bytes of each kind of memory; its order is that of the table. Raises ValueError for a region of another kind.
    """
    above = plan.size_bytes - plan.lower_bound_bytes
    bound = "the lower bound" if above == 0 else f"{above:,} B above the lower bound"
    proof = "proven minimal" if plan.optimal else "not proven minimal"
    return Group(
        _heading("Memory map"),
        _region_table(regions, limits),
        Text(),
        _heading(f"Arena: {plan.size_bytes:,} B, {bound}, {proof} ({plan.method})"),
        _block_table(blocks, plan),
    )


def render_timeline(rows: Sequence[TimelineRow], arena_bytes: int) -> RenderableType:
    """One row per operator: its live bytes as a bar, a full bar being the arena; every operator at the peak is marked."""
    peak = max((row.live_bytes for row in rows), default=0)
    table = _table(expand=True)
    table.add_column("Op", justify="right", no_wrap=True)
    table.add_column("Phase", no_wrap=True)
    table.add_column("Operator", overflow="fold", max_width=40)
    table.add_column("", ratio=1, min_width=_NARROWEST_BAR)
    table.add_column("Live B", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=4)
    for row in rows:
        at_peak = row.live_bytes == peak
        style = _PHASE_STYLES.get(row.phase, "")
        table.add_row(
            str(row.op),
            Text(row.phase, style),
            Text(row.name),
            _Bar(row.live_bytes, arena_bytes, "bold red" if at_peak else style),
            f"{row.live_bytes:,}",
            "peak" if at_peak else "",
            style="bold" if at_peak else "",
        )
    return Group(_heading(f"Live bytes per operator (a full bar is the arena, {arena_bytes:,} B)"), table)


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _table(*, expand: bool = False) -> Table:
    return Table(box=None, pad_edge=False, header_style="dim", expand=expand)


def _region_table(regions: Sequence[Region], limits: Mapping[str, int]) -> Table:
    for region in regions:
        if region.kind not in limits:
            raise ValueError(f"region {region.name}: no limit is known for memory {region.kind}")
    table = _table()
    table.add_column("Memory", no_wrap=True)
    table.add_column("Region", overflow="fold", min_width=24)
    table.add_column("Size B", justify="right", no_wrap=True)
    table.add_column("Of limit", justify="right", no_wrap=True)
    for kind, limit in limits.items():
        own = [region for region in regions if region.kind == kind]
        total = sum(region.size_bytes for region in own)
        for region in own:
            table.add_row(kind, Text(region.name), f"{region.size_bytes:,}", _share(region.size_bytes, limit))
        over = total > limit
        verdict = f"over by {total - limit:,} B" if over else f"{limit - total:,} B free"
        table.add_row(
            kind,
            f"total of {limit:,} B, {verdict}",
            f"{total:,}",
            _share(total, limit),
            style="bold red" if over else "bold",
        )
    return table


def _share(size_bytes: int, limit_bytes: int) -> str:
    return f"{100 * size_bytes / limit_bytes:.1f} %" if limit_bytes else "-"


def _block_table(blocks: Sequence[Block], plan: ArenaPlan) -> Table:
    table = _table()
    table.add_column("Offset", justify="right", no_wrap=True)
    table.add_column("End", justify="right", no_wrap=True)
    table.add_column("Size B", justify="right", no_wrap=True)
    table.add_column("Live in ops", justify="right", no_wrap=True)
    table.add_column("Tensor", overflow="fold")
    for block in sorted(blocks, key=lambda block: (plan.offsets[block.name], block.first_op, block.name)):
        offset = plan.offsets[block.name]
        table.add_row(
            f"{offset:,}",
            f"{offset + block.size_bytes:,}",
            f"{block.size_bytes:,}",
            f"{block.first_op}-{block.last_op}",
            Text(block.name),
        )
    return table


@dataclass(frozen=True)
class _Bar:
    """value out of full as a bar of the width it is given, to an eighth of a character where the terminal can."""

    value: int
    full: int
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        eighths = round(8 * options.max_width * min(self.value / self.full, 1.0)) if self.full else 0
        if self.value > 0:
            eighths = max(eighths, 1)  # something live is never drawn as nothing
        whole, rest = divmod(eighths, 8)
        bar = "#" * (whole + (rest >= 4)) if options.ascii_only else "█" * whole + _EIGHTHS[rest] * (rest > 0)
        yield Segment(bar.ljust(options.max_width), console.get_style(self.style))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_NARROWEST_BAR, options.max_width), options.max_width)
