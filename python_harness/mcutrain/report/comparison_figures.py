"""Figures that hold the entries of a page against each other."""

from __future__ import annotations

from collections.abc import Sequence

from mcutrain.episode.record import PHASES, EpisodeRecord, PhaseCounts
from mcutrain.report import wording
from mcutrain.report.figures import Figure, Json, byte_ticks, colour, fill, label, layout, row_label, rows
from mcutrain.report.limits import of_sram, sram_limit
from mcutrain.report.seeds import Entry, Spread
from mcutrain.report.summary import sram_parts, wilson_interval

_MANY = 12
_LEAST_ROW = 46  # three lines of a label
_SRAM_NAMES = {
    "arena": "arena",
    "trainable": "trainable state",
    "static": "other static data",
    "stack": "stack peak",
    "free": "free",
}


def comparison_figures(entries: Sequence[Entry]) -> list[Figure]:
    """Accuracy, SRAM and instructions of all entries; a figure nobody measured is left out."""
    if not entries:
        return []
    found = [_accuracy(entries), _sram(entries), _instructions(entries)]
    return [figure for figure in found if figure is not None]


def _height(entries: Sequence[Entry], row: int) -> int:
    """Rows of many are closer together."""
    return 130 + (row if len(entries) <= _MANY else _LEAST_ROW) * len(entries)


def _before(record: EpisodeRecord) -> float | None:
    return record.accuracy_before


def _after(record: EpisodeRecord) -> float | None:
    return record.accuracy_after


def _accuracy(entries: Sequence[Entry]) -> Figure | None:
    measured = [e for e in entries if e.spread(_before) is not None or e.spread(_after) is not None]
    if not measured:
        return None
    data = [_accuracy_bars(measured, "before", -0.2), _accuracy_bars(measured, "after", 0.2)]
    said = "; ".join(
        f"{e.label}: {_written(e, e.spread(_before))} to {_written(e, e.spread(_after))}" for e in measured
    )
    alone, many = any(e.seeds == 1 for e in measured), any(e.seeds > 1 for e in measured)
    whiskers = [
        *(["sample standard deviation over the n seeds of an entry"] if many else []),
        *([f"95 % Wilson interval of the number of test samples{' of a single run' if many else ''}"] if alone else []),
    ]
    return Figure(
        "accuracy",
        "Test accuracy before and after training",
        f"On the samples held out from training. Whiskers: {'; '.join(whiskers)}.",
        f"Test accuracy before and after training. {said}.",
        _height(measured, 64),
        data,
        layout(
            xaxis={"range": [0, 101], "dtick": 25, "ticksuffix": " %", "title": {"text": "test accuracy"}},
            yaxis=rows([row_label(e.label) for e in measured]),
        ),
    )


def _written(entry: Entry, found: Spread | None) -> str:
    if found is None:
        return wording.NOT_MEASURED
    return wording.accuracy_spread(found.mean, found.deviation, entry.first.samples_test)


def _whiskers(entry: Entry, found: Spread) -> tuple[float, float, str]:
    """Low and high end as fractions, and what they are."""
    if found.n > 1:
        deviation = found.deviation or 0.0
        return found.mean - deviation, found.mean + deviation, f"mean ± standard deviation of {found.n} seeds"
    samples = entry.first.samples_test
    low, high = wilson_interval(found.mean, samples)
    return (
        low,
        high,
        f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, {wording.plural(samples, 'test sample')}",
    )


def _accuracy_bars(measured: Sequence[Entry], role: str, offset: float) -> Json:
    spreads = [(i, e, e.spread(_before if role == "before" else _after)) for i, e in enumerate(measured)]
    known = [(i, e, found, _whiskers(e, found)) for i, e, found in spreads if found is not None]
    return {
        "type": "bar",
        "orientation": "h",
        "name": f"{role} training",
        "x": [100 * found.mean for _, _, found, _ in known],
        "y": [i + offset for i, *_ in known],
        "width": 0.36,
        "marker": fill(role),
        "text": [_written(e, found) for _, e, found, _ in known],
        "textposition": "inside",
        "insidetextanchor": "start",
        "insidetextfont": {"color": colour("on-bar")},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (high - found.mean) for _, _, found, (_, high, _) in known],
            "arrayminus": [100 * (found.mean - low) for _, _, found, (low, _, _) in known],
            "color": colour("text"),
            "thickness": 1.2,
            "width": 4,
        },
        "hoverinfo": "text",
        "hovertext": [
            f"{label(e.label, 80)}<br>{role} training: {_written(e, found)}<br>{what}"
            for _, e, found, (_, _, what) in known
        ],
    }


def _without_input(record: EpisodeRecord) -> str:
    """What has to be said of a figure of SRAM that is without the sample."""
    placed = wording.input_words(record.input_placement, record.input_bytes)
    return f", {placed}" if record.input_placement == "external" else ""


def _largest(entry: Entry) -> EpisodeRecord:
    """The seed with the highest peak: seeds differ in the stack's bytes at most."""
    return max(entry.records, key=lambda record: record.sram_peak_bytes)


def _sram(entries: Sequence[Entry]) -> Figure:
    records = [_largest(entry) for entry in entries]
    split = [sram_parts(r) for r in records]
    sizes = {
        "arena": [p.arena for p in split],
        "trainable": [p.trainable for p in split],
        "static": [p.other_static for p in split],
        "stack": [p.stack_peak for p in split],
        "free": [p.free for p in split],
    }
    data: list[Json] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _SRAM_NAMES[role],
            "x": values,
            "y": list(range(len(entries))),
            "marker": fill(role),
            "text": [f"{value:,}" for value in values],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "insidetextfont": {"color": colour("text" if role == "free" else "on-bar")},
            "hoverinfo": "text",
            "hovertext": [
                f"{label(e.label, 80)}<br>{_SRAM_NAMES[role]} {wording.byte_count(value)}{_of_limit(r, value)}{_without_input(r)}"
                for e, r, value in zip(entries, records, values, strict=True)
            ],
        }
        for role, values in sizes.items()
        if any(values)
    ]
    marks = _limit_marks(records)
    if marks["x"]:
        data.append(marks)
    said = "; ".join(
        f"{e.label}: peak {wording.byte_count(r.sram_peak_bytes)} {of_sram(r)}".rstrip() + _without_input(r)
        for e, r in zip(entries, records, strict=True)
    )
    limits = [sram_limit(r) for r in records]
    largest = max([*(r.sram_peak_bytes for r in records), *(limit.size_bytes for limit in limits if limit)])
    borrowed = dict.fromkeys(wording.printable(limit.board) for limit in limits if limit and not limit.own)
    held = f" Runs on the host have no limit: they are held against {', '.join(borrowed)}." if borrowed else ""
    seeds = " Of several seeds, the one with the highest peak." if any(e.seeds > 1 for e in entries) else ""
    return Figure(
        "sram",
        "SRAM: where the bytes are",
        "Measured: the linked sections and the painted stack's high-water mark. The parts in use sum to the peak."
        f"{seeds}{held}",
        f"SRAM use by part. {said}.",
        _height(entries, 56),
        data,
        layout(
            xaxis={"range": [0, largest * 1.02], "title": {"text": "bytes"}, **byte_ticks(largest)},
            yaxis=rows(
                [
                    row_label(e.label) + ("<br>input external" if _without_input(r) else "")
                    for e, r in zip(entries, records, strict=True)
                ]
            ),
        )
        | {"barmode": "stack"},
    )


def _of_limit(record: EpisodeRecord, value: int) -> str:
    limit = sram_limit(record)
    return "" if limit is None else f" ({wording.share(value, limit.size_bytes)} of the limit)"


def _limit_marks(records: Sequence[EpisodeRecord]) -> Json:
    """A tall vertical tick at the limit of each row that has one."""
    limits = [(i, r, limit) for i, r in enumerate(records) if (limit := sram_limit(r)) is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "SRAM limit",
        "x": [limit.size_bytes for _, _, limit in limits],
        "y": [i for i, *_ in limits],
        "marker": {
            "symbol": "line-ns",
            "size": 22,
            "color": colour("limit"),
            "line": {"width": 3, "color": colour("limit")},
        },
        "hoverinfo": "text",
        "hovertext": [
            f"SRAM limit{'' if limit.own else f' of {label(limit.board)}'}: {wording.byte_count(limit.size_bytes)}"
            f"<br>peak: {wording.byte_count(r.sram_peak_bytes)}"
            for _, r, limit in limits
        ],
    }


def _instructions(entries: Sequence[Entry]) -> Figure | None:
    measured = [(e, counts) for e in entries if (counts := e.first.instructions_per_step) is not None]
    if not measured:
        return None
    data: list[Json] = []
    for role in (*PHASES, "other"):
        values = [_mean_of(e, role) for e, _ in measured]
        if not any(values):
            continue
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": role,
                "x": values,
                "y": list(range(len(measured))),
                "marker": fill(role),
                "text": [wording.share(v, _mean_of(e, "whole")) for v, (e, _) in zip(values, measured, strict=True)],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "insidetextfont": {"color": colour("on-bar")},
                "hoverinfo": "text",
                "hovertext": [
                    f"{label(e.label, 80)}<br>{role}: {wording.count(v)} instructions "
                    f"({wording.share(v, _mean_of(e, 'whole'))} of a step)"
                    for v, (e, _) in zip(values, measured, strict=True)
                ],
            }
        )
    said = "; ".join(f"{e.label}: {wording.count(_mean_of(e, 'whole'))}" for e, _ in measured)
    return Figure(
        "instructions",
        "Instructions per training step, by phase",
        "Exact counts of the emulator, mean over the steps. Shares are of the whole step; other is the driver's own work between "
        "operators (digest, protocol). Instructions are not cycles.",
        f"Instructions per training step. {said}.",
        _height([e for e, _ in measured], 56),
        data,
        layout(
            xaxis={"rangemode": "tozero", "title": {"text": "instructions per step (exact count)"}, "nticks": 6},
            yaxis=rows([row_label(e.label) for e, _ in measured]),
        )
        | {"barmode": "stack"},
    )


def _mean_of(entry: Entry, part: str) -> float:
    def count(record: EpisodeRecord) -> float | None:
        counts: PhaseCounts | None = record.instructions_per_step
        return None if counts is None else float(getattr(counts, part))

    found = entry.spread(count)
    return found.mean if found else count(entry.first) or 0.0
