"""Records in the terminal, with rich: a panel for one episode, a table for several, at 80 columns and without a tty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report import wording
from mcutrain.report.comparison_table import status_of
from mcutrain.report.estimates import NO_CURRENT, estimate_rows
from mcutrain.report.limits import of_flash, of_sram, without_limit
from mcutrain.report.measure import measure, measure_of
from mcutrain.report.observed import input_words, loss_words, updates_words
from mcutrain.report.seeds import entries_of
from mcutrain.report.summary import Status, golden_phrase, held_against_golden, judge, notes

_STYLE = {Status.PASS: "bold green", Status.FAIL: "bold red", Status.UNCHECKED: "bold yellow"}


def render_episode(record: EpisodeRecord, report: Path | None = None) -> Panel:
    """The panel of one episode: verdict, accuracy, golden, instructions, SRAM, flash, and the report's path if given.

    Everything is plain ASCII but the frame, which rich draws in ASCII itself where the terminal needs it.
    """
    verdict = judge(record)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row(measure(record).name, _measured(record))
    golden = golden_phrase(record)
    facts.add_row("golden", Text(golden, style=_golden_style(record)))
    facts.add_row("instructions per step", _instructions(record))
    for row in estimate_rows(record):
        energy = "" if row.millijoules is None else f", {row.millijoules:,.3g} mJ"
        cycles = f"{wording.count(round(row.cycles))} cycles, {row.milliseconds:,.2f} ms{energy}"
        facts.add_row(f"estimate per {row.what.removeprefix('training ')}", Text(cycles))
    if record.estimated_cycles_per_step is not None:
        facts.add_row("cycles by phase", Text(wording.shares(record.estimated_cycles_per_step.parts())))
    if estimate_rows(record):
        current = "datasheet current" if record.supply_source else NO_CURRENT
        facts.add_row("estimates", Text(f"timing model, not measured; {current}"))
    facts.add_row("peak SRAM", _used(record.sram_peak_bytes, of_sram(record)))
    if without_limit(record):
        facts.add_row("", Text(without_limit(record), style="dim"))
    placed = wording.input_words(record.input_placement, record.input_bytes)
    if placed:
        facts.add_row("", Text(placed, style="yellow" if record.input_placement == "external" else "dim"))
    facts.add_row("flash", _used(record.flash_bytes, of_flash(record)))
    facts.add_row("steps", Text(f"{wording.count(record.steps)} of {wording.printable(record.method)}"))
    _add_observations(facts, record)
    if report is not None:
        facts.add_row("report", Text(wording.printable(str(report))))
    warnings = [Text(note, style="yellow") for note in notes(record)]
    if record.observations is not None:
        said = map(wording.printable, record.observations.warnings)
        warnings += [Text(f"warning: {warning}", style="bold yellow") for warning in said]
    reasons = [Text(reason, style="bold red") for reason in verdict.reasons if reason != golden]
    title = Text.assemble(
        (verdict.status.value.upper(), _STYLE[verdict.status]),
        f"  {wording.printable(record.episode)} on {wording.printable(record.board)}",
        (f" ({wording.printable(record.core)}, {wording.printable(record.runner)})", "dim"),
    )
    return Panel(Group(*reasons, facts, *warnings), title=title, title_align="left", padding=(0, 1))


def _add_observations(facts: Table, record: EpisodeRecord) -> None:
    seen = record.observations
    if seen is None:
        return
    for name, words in (
        ("input", input_words(seen.input) if seen.input else ""),
        ("updates", updates_words(seen)),
        ("loss", loss_words(seen)),
    ):
        if words:
            facts.add_row(name, Text(words))


def render_table(records: Sequence[EpisodeRecord]) -> Table:
    """One row per episode, settings and board, on all its emulators and of all its seeds, called by what differs between them.

    Verdict, accuracy or error, instructions per step, peak SRAM, flash.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("verdict", max_width=7)
    table.add_column("episode", overflow="fold")
    heading = " or ".join(dict.fromkeys("mse" if record.loss == "mse" else "accuracy %" for record in records))
    table.add_column(heading or "accuracy %", justify="right", no_wrap=True)
    table.add_column("instructions\nper step", justify="right", no_wrap=True)
    table.add_column("peak SRAM\nB", justify="right", no_wrap=True)
    table.add_column("flash\nB", justify="right", no_wrap=True)
    entries, _ = entries_of(records)
    for entry in entries:
        record, row, found = entry.first, entry.rows[0], measure_of(entry)
        status = status_of(entry)
        runners = () if row.runners == (record.board,) else row.runners  # the host is board and runner
        place = f"{wording.printable(record.board)}{', ' if runners else ''}" + ",\n".join(
            map(wording.printable, runners)
        )
        name = wording.printable(record.episode)
        # What differs stands first; the episode is in it, or below.
        below = place if entry.label.startswith(name) else f"{name}, {place}"
        if entry.seeds > 1:
            below += f"\n+- std, {entry.seeds} seeds"
        agreement = "; ".join(dict.fromkeys(wording.printable(r.agreement) for r in entry.rows if r.agreement))
        differs = any(r.differences for r in entry.rows)
        counts = entry.spread(lambda r: None if r.instructions_per_step is None else r.instructions_per_step.total)
        table.add_row(
            Text(status.value, style=_STYLE[status]),
            Text.assemble(
                f"{entry.label}\n",
                (below, "dim"),
                (f"\n{agreement}" if agreement else "", _STYLE[Status.FAIL] if differs else "dim"),
            ),
            Text(f"{_short(found.before)} -> {_short(found.after)}"),
            Text("-" if counts is None else wording.count(round(counts.mean))),
            Text.assemble(
                f"{record.sram_peak_bytes:,}",
                ("\ninput external", "dim") if record.input_placement == "external" else "",
            ),
            Text(f"{record.flash_bytes:,}" if record.flash_bytes else "-"),
        )
    return table


def _golden_style(record: EpisodeRecord) -> str:
    if record.matches_golden is False:
        return _STYLE[Status.FAIL]
    return _STYLE[Status.PASS if held_against_golden(record) else Status.UNCHECKED]


def _measured(record: EpisodeRecord) -> Text:
    found = measure(record)
    text = Text.assemble(f"{found.before} -> ", (found.after, "bold"))
    return (
        text.append(f"  ({found.change}, {wording.plural(record.samples_test, 'test sample')})")
        if found.change
        else text
    )


def _instructions(record: EpisodeRecord) -> Text:
    counts = record.instructions_per_step
    if counts is None and record.steps and "training" in record.instructions_by_part:
        mean = record.instructions_by_part["training"] / record.steps
        return Text.assemble((wording.count(mean), "bold"), "  (of the run's training part, with digests and lines)")
    if counts is None:
        return Text(f"{wording.NOT_MEASURED} by this runner", style="dim")
    # Shares are of the whole step, as everywhere, and so of more than the operators that are counted here.
    said = f"  (of {wording.count(counts.whole)} in all: {wording.shares(counts.parts())})"
    return Text.assemble((wording.count(counts.total), "bold"), said)


def _used(used: int, of_limit: str) -> Text:
    """Bytes, and of how many where there is a limit."""
    if not of_limit:
        return Text(f"{used:,} B" if used else wording.NOT_MEASURED)
    return Text.assemble((f"{used:,}", "bold"), f" {of_limit}")


def _short(measured: str) -> str:
    return "-" if measured == wording.NOT_MEASURED else measured.removesuffix(" %").replace(" ± ", "+-")
