"""The table of all episodes of a page: what is shown in each cell, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord, PhaseCounts
from mcutrain.report import wording
from mcutrain.report.summary import Status, golden_phrase, judge
from mcutrain.report.table_rows import Row
from mcutrain.report.wording import input_words


@dataclass(frozen=True)
class Cell:
    """The text that is shown; order is what its column is sorted by (None sorts last); bad: it has to be seen."""

    text: str
    order: float | str | None
    bad: bool = False


@dataclass(frozen=True)
class Column:
    """A heading, the unit or kind below it, whether it holds numbers (aligned right), and the cell of a row."""

    heading: str
    unit: str
    numeric: bool
    cell: Callable[[Row], Cell]


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns for these rows: a kind of count that no row has gets no column."""
    return [column for column, wanted in _COLUMNS if any(wanted(row) for row in rows)]


def _always(_: Row) -> bool:
    return True


def _has(what: Callable[[EpisodeRecord], object]) -> Callable[[Row], bool]:
    return lambda row: what(row.record) is not None


def _classifies(row: Row) -> bool:
    return row.record.loss != "mse"


def _puts_out_values(row: Row) -> bool:
    return row.record.loss == "mse"


def _name(of: Callable[[EpisodeRecord], str]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        text = wording.printable(of(row.record))
        return Cell(text, text.casefold())

    return cell


def _number(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = of(row.record)
        return Cell("-" if value is None else wording.count(value), value)

    return cell


def _accuracy(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = of(row.record)
        return Cell("-" if value is None else wording.accuracy(value, row.record.samples_test), value)

    return cell


def _error(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = of(row.record)
        return Cell("-" if value is None else wording.value(value), value)

    return cell


def _change(row: Row) -> Cell:
    record = row.record
    before, after = record.accuracy_before, record.accuracy_after
    if before is None or after is None:
        return Cell("-", None)
    return Cell(wording.points(before, after, record.samples_test).removesuffix(" points"), after - before)


def _total(counts: PhaseCounts | None) -> float | None:
    return None if counts is None else counts.total


def _share_of_limit(row: Row) -> Cell:
    record = row.record
    share = record.sram_peak_bytes / record.sram_limit_bytes if record.sram_limit_bytes else None
    return Cell(wording.share(record.sram_peak_bytes, record.sram_limit_bytes), share)


def _verdict(row: Row) -> Cell:
    status = judge(row.record).status
    return Cell(status.value, list(Status).index(status))


def _runner(row: Row) -> Cell:
    text = wording.printable(", ".join(row.runners))
    return Cell(text, text.casefold())


def _agreement(row: Row) -> Cell:
    text = wording.printable(row.agreement)
    return Cell(text or "-", text or None, bad=bool(row.differences))


_COLUMNS: tuple[tuple[Column, Callable[[Row], bool]], ...] = (
    (Column("Episode", "", False, _name(lambda r: r.episode)), _always),
    (Column("Verdict", "", False, _verdict), _always),
    (Column("Board", "", False, _name(lambda r: r.board)), _always),
    (Column("Runner", "", False, _runner), _always),
    (Column("Emulators", "agreement", False, _agreement), lambda row: bool(row.agreement)),
    (Column("Accuracy before", "test set", True, _accuracy(lambda r: r.accuracy_before)), _classifies),
    (Column("Accuracy after", "test set", True, _accuracy(lambda r: r.accuracy_after)), _classifies),
    (Column("Change", "points", True, _change), _classifies),
    (Column("Mean squared error before", "test set", True, _error(lambda r: r.mse_before)), _puts_out_values),
    (Column("Mean squared error after", "test set", True, _error(lambda r: r.mse_after)), _puts_out_values),
    (Column("Golden", "", False, _name(golden_phrase)), _always),
    (
        Column(
            "Instructions / step",
            "exact count",
            True,
            _number(lambda r: _total(r.instructions_per_step)),
        ),
        _has(lambda r: r.instructions_per_step),
    ),
    (
        Column("Instructions / inference", "exact count", True, _number(lambda r: r.instructions_per_inference)),
        _has(lambda r: r.instructions_per_inference),
    ),
    (
        Column(
            "Cycles / step",
            "estimate of the timing model",
            True,
            _number(lambda r: _total(r.estimated_cycles_per_step)),
        ),
        _has(lambda r: r.estimated_cycles_per_step),
    ),
    (
        Column(
            "Cycles / inference",
            "estimate of the timing model",
            True,
            _number(lambda r: r.estimated_cycles_per_inference),
        ),
        _has(lambda r: r.estimated_cycles_per_inference),
    ),
    (Column("SRAM peak", "bytes", True, _number(lambda r: r.sram_peak_bytes)), _always),
    (Column("of limit", "SRAM", True, _share_of_limit), _always),
    (
        Column(
            "Input",
            "where the sample lies",
            False,
            _name(lambda r: input_words(r.input_placement, r.input_bytes) or "-"),
        ),
        _has(lambda r: r.input_placement),
    ),
    (Column("Flash", "bytes", True, _number(lambda r: r.flash_bytes)), _always),
    (Column("Method", "", False, _name(lambda r: r.method)), _always),
    (Column("Scheme", "", False, _name(lambda r: r.scheme)), _always),
    (Column("Errors", "number format", False, _name(lambda r: r.error_mode)), _always),
    (Column("Weights", "rounding", False, _name(lambda r: r.weight_rounding)), _always),
    (Column("Steps", "", True, _number(lambda r: r.steps)), _always),
)
