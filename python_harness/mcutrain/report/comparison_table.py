"""The table of all entries of a page: what is shown in each cell, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mcutrain.episode.record import EpisodeRecord, PhaseCounts
from mcutrain.report import wording
from mcutrain.report.limits import sram_limit
from mcutrain.report.seeds import Entry, Spread
from mcutrain.report.summary import Status, golden_phrase, judge
from mcutrain.report.wording import input_words

_DIFFER = "differ"


@dataclass(frozen=True)
class Cell:
    """The text that is shown; order is what its column is sorted by (None sorts last); bad: it has to be seen."""

    text: str
    order: float | str | None
    bad: bool = False


@dataclass(frozen=True)
class Column:
    """A heading, the unit or kind below it, whether it holds numbers (aligned right), and the cell of an entry.

    more: shown on demand only.
    """

    heading: str
    unit: str
    numeric: bool
    cell: Callable[[Entry], Cell]
    more: bool = True

    @property
    def css(self) -> str:
        """The classes of its cells in the page."""
        return " ".join(["number"] * self.numeric + ["more"] * self.more)


@dataclass(frozen=True)
class Line:
    """A line of the table: an entry, or one of its seeds; the cells of the columns behind the first. status: what its badge says."""

    entry: Entry
    status: Status
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Part:
    """An entry's line, and those of its seeds, which are shown on demand."""

    line: Line
    members: tuple[Line, ...]


def columns(entries: Sequence[Entry]) -> list[Column]:
    """The columns for these entries, behind that of their names: a kind of figure that none has gets no column."""
    found = [column for column, wanted in _COLUMNS if any(wanted(entry) for entry in entries)]
    # Of the two kinds of work one is shown at first: cycles, where there are any.
    if any(column.heading == "Cycles / step" for column in found):
        found = [replace(c, more=True) if c.heading == "Instructions / step" else c for c in found]
    return found


def parts(entries: Sequence[Entry], shown: Sequence[Column]) -> list[Part]:
    """The lines of the table."""
    return [Part(_line(entry, shown), tuple(_line(member, shown) for member in _members(entry))) for entry in entries]


def status_of(entry: Entry) -> Status:
    """The worst verdict of its seeds."""
    found = [judge(record).status for record in entry.records]
    return next(status for status in (Status.FAIL, Status.UNCHECKED, Status.PASS) if status in found)


def _members(entry: Entry) -> list[Entry]:
    if entry.seeds == 1:
        return []
    return [Entry(entry.key, text, (row,), (text,)) for row, text in zip(entry.rows, entry.labels, strict=True)]


def _line(entry: Entry, shown: Sequence[Column]) -> Line:
    return Line(entry, status_of(entry), tuple(column.cell(entry) for column in shown))


def _has(what: Callable[[EpisodeRecord], object]) -> Callable[[Entry], bool]:
    return lambda entry: what(entry.first) is not None


def _always(_: Entry) -> bool:
    return True


def _classifies(entry: Entry) -> bool:
    return entry.first.loss != "mse"


def _puts_out_values(entry: Entry) -> bool:
    return entry.first.loss == "mse"


def _name(of: Callable[[EpisodeRecord], str]) -> Callable[[Entry], Cell]:
    def cell(entry: Entry) -> Cell:
        texts = dict.fromkeys(wording.printable(of(record)) for record in entry.records)
        text = next(iter(texts)) if len(texts) == 1 else _DIFFER
        return Cell(text, text.casefold())

    return cell


def _spread(
    of: Callable[[EpisodeRecord], float | None], text: Callable[[Entry, Spread], str]
) -> Callable[[Entry], Cell]:
    def cell(entry: Entry) -> Cell:
        found = entry.spread(of)
        return Cell("-", None) if found is None else Cell(text(entry, found), found.mean)

    return cell


def _number(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Entry], Cell]:
    """A count; over several seeds their mean, of whose work the data decide little."""
    return _spread(of, lambda _, found: wording.count(found.mean))


def _estimate(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Entry], Cell]:
    """Estimated cycles: no part of one would mean anything."""
    return _spread(of, lambda _, found: wording.count(round(found.mean)))


def _accuracy(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Entry], Cell]:
    return _spread(
        of, lambda entry, found: wording.accuracy_spread(found.mean, found.deviation, entry.first.samples_test)
    )


def _error(of: Callable[[EpisodeRecord], float | None]) -> Callable[[Entry], Cell]:
    return _spread(of, lambda _, found: wording.value_spread(found.mean, found.deviation))


def _gain(record: EpisodeRecord) -> float | None:
    before, after = record.accuracy_before, record.accuracy_after
    return None if before is None or after is None else after - before


def _points(entry: Entry, found: Spread) -> str:
    return wording.points_spread(found.mean, found.deviation, entry.first.samples_test)


def _total(counts: PhaseCounts | None) -> float | None:
    return None if counts is None else counts.total


def _share(record: EpisodeRecord) -> float | None:
    limit = sram_limit(record)
    return None if limit is None else record.sram_peak_bytes / limit.size_bytes


def _limit(record: EpisodeRecord) -> str:
    limit = sram_limit(record)
    if limit is None:
        return "none"
    return f"{limit.size_bytes:,}" if limit.own else f"{limit.size_bytes:,} of {limit.board}"


def _verdict(entry: Entry) -> Cell:
    status = status_of(entry)
    return Cell(status.value, list(Status).index(status))


def _runner(entry: Entry) -> Cell:
    text = wording.printable(", ".join(entry.rows[0].runners))
    return Cell(text, text.casefold())


def _agreement(entry: Entry) -> Cell:
    said = dict.fromkeys(wording.printable(row.agreement) for row in entry.rows if row.agreement)
    text = "; ".join(said)
    return Cell(text or "-", text or None, bad=any(row.differences for row in entry.rows))


def _seeds(entry: Entry) -> Cell:
    return Cell(f"{entry.seeds}", entry.seeds)


_COLUMNS: tuple[tuple[Column, Callable[[Entry], bool]], ...] = (
    (Column("Accuracy after", "test set", True, _accuracy(lambda r: r.accuracy_after), more=False), _classifies),
    (Column("Change", "points", True, _spread(_gain, _points), more=False), _classifies),
    (
        Column("Mean squared error before", "test set", True, _error(lambda r: r.mse_before), more=False),
        _puts_out_values,
    ),
    (
        Column("Mean squared error after", "test set", True, _error(lambda r: r.mse_after), more=False),
        _puts_out_values,
    ),
    (Column("SRAM peak", "bytes", True, _number(lambda r: r.sram_peak_bytes), more=False), _always),
    (
        Column("Cycles / step", "estimate", True, _estimate(lambda r: _total(r.estimated_cycles_per_step)), more=False),
        _has(lambda r: r.estimated_cycles_per_step),
    ),
    (
        Column(
            "Instructions / step", "exact count", True, _number(lambda r: _total(r.instructions_per_step)), more=False
        ),
        _has(lambda r: r.instructions_per_step),
    ),
    (
        Column("Trained", "parameters", True, _number(lambda r: r.trained_parameters), more=False),
        _has(lambda r: r.trained_parameters),
    ),
    (Column("Verdict", "", False, _verdict, more=False), _always),
    (Column("Emulators", "agreement", False, _agreement, more=False), lambda e: any(row.agreement for row in e.rows)),
    (Column("Accuracy before", "test set", True, _accuracy(lambda r: r.accuracy_before)), _classifies),
    (Column("Seeds", "n", True, _seeds), lambda entry: entry.seeds > 1),
    (
        Column(
            "Energy / step",
            "estimate, mJ",
            True,
            _spread(lambda r: r.estimated_millijoules_per_step, lambda _, found: f"{found.mean:,.3g}"),
        ),
        _has(lambda r: r.estimated_millijoules_per_step),
    ),
    (
        Column("Instructions / inference", "exact count", True, _number(lambda r: r.instructions_per_inference)),
        _has(lambda r: r.instructions_per_inference),
    ),
    (
        Column("Cycles / inference", "estimate", True, _estimate(lambda r: r.estimated_cycles_per_inference)),
        _has(lambda r: r.estimated_cycles_per_inference),
    ),
    (Column("SRAM limit", "bytes", True, _name(_limit)), lambda entry: sram_limit(entry.first) is not None),
    (
        Column("of limit", "SRAM peak", True, _spread(_share, lambda _, found: wording.share(found.mean, 1))),
        lambda entry: sram_limit(entry.first) is not None,
    ),
    (
        Column(
            "Input",
            "where the sample lies",
            False,
            _name(lambda r: input_words(r.input_placement, r.input_bytes) or "-"),
        ),
        _has(lambda r: r.input_placement),
    ),
    (
        Column("Flash", "bytes", True, _number(lambda r: r.flash_bytes or None)),
        lambda entry: entry.first.flash_bytes > 0,
    ),
    (Column("Golden", "", False, _name(golden_phrase)), _always),
    (Column("Episode", "", False, _name(lambda r: r.episode)), _always),
    (Column("Board", "", False, _name(lambda r: r.board)), _always),
    (Column("Runner", "", False, _runner), _always),
    (Column("Method", "", False, _name(lambda r: r.method)), _always),
    (Column("Scheme", "", False, _name(lambda r: r.scheme)), _always),
    (Column("Errors", "number format", False, _name(lambda r: r.error_mode)), _always),
    (Column("Weights", "rounding", False, _name(lambda r: r.weight_rounding)), _always),
    (Column("Steps", "", True, _number(lambda r: r.steps)), _always),
)
