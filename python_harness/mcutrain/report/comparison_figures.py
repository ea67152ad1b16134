"""Figures that hold the episodes of a page against each other."""

from __future__ import annotations

from collections.abc import Sequence

from mcutrain.episode.record import PHASES, EpisodeRecord
from mcutrain.report import wording
from mcutrain.report.figures import Figure, Json, byte_ticks, colour, episode_label, fill, label, layout, rows
from mcutrain.report.summary import sram_parts, wilson_interval

_SRAM_NAMES = {
    "arena": "arena",
    "trainable": "trainable state",
    "static": "other static data",
    "stack": "stack peak",
    "free": "free",
}


def comparison_figures(records: Sequence[EpisodeRecord]) -> list[Figure]:
    """Accuracy, SRAM and instructions of all episodes; a figure nobody measured is left out."""
    found = [_accuracy(records), _sram(records), _instructions(records)]
    return [figure for figure in found if figure is not None]


def _height(records: Sequence[EpisodeRecord], row: int) -> int:
    return 130 + row * len(records)


def _accuracy(records: Sequence[EpisodeRecord]) -> Figure | None:
    measured = [r for r in records if r.accuracy_before is not None or r.accuracy_after is not None]
    if not measured:
        return None
    data: list[Json] = []
    for role, offset in (("before", -0.2), ("after", 0.2)):
        values = [(i, r, r.accuracy_before if role == "before" else r.accuracy_after) for i, r in enumerate(measured)]
        known = [(i, r, v) for i, r, v in values if v is not None]
        intervals = [wilson_interval(v, r.samples_test) for _, r, v in known]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": f"{role} training",
                "x": [100 * v for _, _, v in known],
                "y": [i + offset for i, _, _ in known],
                "width": 0.36,
                "marker": fill(role),
                "text": [wording.accuracy(v, r.samples_test) for _, r, v in known],
                "textposition": "inside",
                "insidetextanchor": "start",
                "insidetextfont": {"color": colour("on-bar")},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * (high - v) for (_, _, v), (_, high) in zip(known, intervals, strict=True)],
                    "arrayminus": [100 * (v - low) for (_, _, v), (low, _) in zip(known, intervals, strict=True)],
                    "color": colour("text"),
                    "thickness": 1.2,
                    "width": 4,
                },
                "hoverinfo": "text",
                "hovertext": [
                    f"{label(r.episode)} {role} training: {wording.accuracy(v, r.samples_test)}"
                    f"<br>95 % interval {100 * low:.1f} to {100 * high:.1f} %, "
                    f"{wording.plural(r.samples_test, 'test sample')}"
                    for (_, r, v), (low, high) in zip(known, intervals, strict=True)
                ],
            }
        )
    said = "; ".join(
        f"{wording.printable(r.episode)}: {wording.accuracy(r.accuracy_before, r.samples_test)} to "
        f"{wording.accuracy(r.accuracy_after, r.samples_test)}"
        for r in measured
    )
    return Figure(
        "accuracy",
        "Test accuracy before and after training",
        "On the samples held out from training. Whiskers: 95 % Wilson interval of the number of test samples.",
        f"Test accuracy before and after training. {said}.",
        _height(measured, 64),
        data,
        layout(
            xaxis={"range": [0, 101], "dtick": 25, "ticksuffix": " %", "title": {"text": "test accuracy"}},
            yaxis=rows([episode_label(r) for r in measured]),
        ),
    )


def _without_input(record: EpisodeRecord) -> str:
    """What has to be said of a figure of SRAM that is without the sample."""
    placed = wording.input_words(record.input_placement, record.input_bytes)
    return f", {placed}" if record.input_placement == "external" else ""


def _sram(records: Sequence[EpisodeRecord]) -> Figure:
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
            "y": list(range(len(records))),
            "marker": fill(role),
            "text": [f"{value:,}" for value in values],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "insidetextfont": {"color": colour("text" if role == "free" else "on-bar")},
            "hoverinfo": "text",
            "hovertext": [
                f"{label(r.episode)}: {_SRAM_NAMES[role]} {wording.byte_count(value)} "
                f"({wording.share(value, r.sram_limit_bytes)} of the limit){_without_input(r)}"
                for r, value in zip(records, values, strict=True)
            ],
        }
        for role, values in sizes.items()
    ]
    data.append(_limit_marks(records))
    said = "; ".join(
        f"{wording.printable(r.episode)}: peak {wording.byte_count(r.sram_peak_bytes)} "
        f"of {wording.byte_count(r.sram_limit_bytes)}{_without_input(r)}"
        for r in records
    )
    largest = max(r.sram_limit_bytes for r in records)
    largest = max(largest, *(r.sram_peak_bytes for r in records))
    return Figure(
        "sram",
        "SRAM: where the bytes are",
        "Measured: the linked sections and the painted stack's high-water mark. The parts in use sum to the peak.",
        f"SRAM use by part. {said}.",
        _height(records, 52),
        data,
        layout(
            xaxis={"range": [0, largest * 1.02], "title": {"text": "bytes"}, **byte_ticks(largest)},
            yaxis=rows([episode_label(r) + ("<br>input external" if _without_input(r) else "") for r in records]),
        )
        | {"barmode": "stack"},
    )


def _limit_marks(records: Sequence[EpisodeRecord]) -> Json:
    """A tall vertical tick at the limit of each row."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "SRAM limit",
        "x": [r.sram_limit_bytes for r in records],
        "y": list(range(len(records))),
        "marker": {
            "symbol": "line-ns",
            "size": 22,
            "color": colour("limit"),
            "line": {"width": 3, "color": colour("limit")},
        },
        "hoverinfo": "text",
        "hovertext": [
            f"SRAM limit: {wording.byte_count(r.sram_limit_bytes)}<br>peak: {wording.byte_count(r.sram_peak_bytes)}"
            for r in records
        ],
    }


def _instructions(records: Sequence[EpisodeRecord]) -> Figure | None:
    measured = [(r, r.instructions_per_step) for r in records if r.instructions_per_step is not None]
    if not measured:
        return None
    data: list[Json] = []
    for role in (*PHASES, "other"):
        values = [float(getattr(counts, role)) for _, counts in measured]
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
                "text": [wording.share(v, counts.total) for v, (_, counts) in zip(values, measured, strict=True)],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "insidetextfont": {"color": colour("on-bar")},
                "hoverinfo": "text",
                "hovertext": [
                    f"{label(r.episode)}, {role}: {wording.count(v)} instructions "
                    f"({wording.share(v, counts.total)} of a step)"
                    for v, (r, counts) in zip(values, measured, strict=True)
                ],
            }
        )
    said = "; ".join(f"{wording.printable(r.episode)}: {wording.count(counts.total)}" for r, counts in measured)
    return Figure(
        "instructions",
        "Instructions per training step, by phase",
        "Exact counts of the emulator, mean over the steps. Instructions are not cycles.",
        f"Instructions per training step. {said}.",
        _height(measured_records := [r for r, _ in measured], 52),
        data,
        layout(
            xaxis={"rangemode": "tozero", "title": {"text": "instructions per step (exact count)"}, "nticks": 6},
            yaxis=rows([episode_label(r) for r in measured_records]),
        )
        | {"barmode": "stack"},
    )
