"""Accuracy against what it costs: one figure a kind of cost, the Pareto front drawn, each point a link to its entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report import wording
from mcutrain.report.figures import Figure, Json, byte_ticks, colour, label, layout
from mcutrain.report.pareto import Candidate, front
from mcutrain.report.seeds import Entry, Spread

SERIES = 6
_WIDE = 50
"""Costs further apart than this stand on a logarithmic axis."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Cost:
    """What an entry may cost: as it is said in a title and on an axis, how it is written, why a record may not have it."""

    key: str
    title: str
    axis: str
    of: Callable[[EpisodeRecord], float | None]
    text: Callable[[float], str]
    why_missing: str


_UNCOUNTED = "no record has any; runners that count instructions give them, as a board on QEMU does"

COSTS = (
    Cost(
        "sram",
        "SRAM peak",
        "SRAM peak, bytes",
        lambda r: r.sram_peak_bytes,
        lambda value: f"{value:,.0f} B",
        "no record has one",
    ),
    Cost(
        "cycles",
        "estimated cycles per step",
        "estimated cycles per step (timing model)",
        lambda r: None if r.estimated_cycles_per_step is None else r.estimated_cycles_per_step.total,
        lambda value: f"{value:,.0f} estimated cycles",
        _UNCOUNTED,
    ),
    Cost(
        "energy",
        "estimated energy per step",
        "estimated energy per step, mJ",
        lambda r: r.estimated_millijoules_per_step,
        lambda value: f"{value:,.3g} mJ (estimate)",
        f"{_UNCOUNTED}, where the board's file has a supply current",
    ),
    Cost(
        "parameters",
        "trained parameters",
        "trained parameters",
        lambda r: r.trained_parameters,
        lambda value: f"{value:,.0f} trained parameters",
        "no record says how many it trains: an older mcutrain wrote them",
    ),
)


@dataclass(frozen=True)
class _Point:
    entry: Entry
    cost: Spread
    gain: Spread


@dataclass(frozen=True)
class ParetoFigures:
    """The figures, and a sentence for each that is left out."""

    figures: list[Figure]
    left_out: list[str]


def pareto_figures(entries: Sequence[Entry]) -> ParetoFigures:
    """One figure for each kind of cost. A single entry, or none with an accuracy, gives no figure, and nothing to say."""
    accurate = [entry for entry in entries if entry.spread(lambda r: r.accuracy_after) is not None]
    if len(accurate) < 2:
        return ParetoFigures([], [])
    figures, left_out = [], []
    for cost in COSTS:
        points = _points(accurate, cost)
        if points:
            figures.append(_figure(cost, points, len(entries) - len(points)))
        else:
            left_out.append(f"Accuracy against {cost.title} is not drawn: {cost.why_missing}.")
    return ParetoFigures(figures, left_out)


def _points(entries: Sequence[Entry], cost: Cost) -> list[_Point]:
    found = []
    for entry in entries:
        spent, gained = entry.spread(cost.of), entry.spread(lambda r: r.accuracy_after)
        if spent is not None and gained is not None:
            found.append(_Point(entry, spent, gained))
    return found


def _task(record: EpisodeRecord) -> str:
    """What entries of one front have in common: network and data, whatever the episode is called; its name where there are no settings."""
    settings = record.settings
    if settings is None:
        return record.episode
    data = settings.definition.get("data")
    kept = {key: value for key, value in data.items() if key != "seed"} if isinstance(data, dict) else {}
    asked = [settings.definition.get(key) for key in ("output", "new_head")]
    return json.dumps([settings.model_sha256, *asked, kept], sort_keys=True, default=str)


def _figure(cost: Cost, points: Sequence[_Point], without: int) -> Figure:
    tasks = list(dict.fromkeys(_task(point.entry.first) for point in points))
    data: list[Json] = []
    said = []
    for number, task in enumerate(tasks):
        series = [point for point in points if _task(point.entry.first) == task]
        episode = ", ".join(dict.fromkeys(point.entry.first.episode for point in series))
        best = [series[i] for i in front([Candidate(point.cost.mean, point.gain.mean) for point in series])]
        data += _series(cost, episode, number, series, best)
        names = ", ".join(f"{point.entry.label} {100 * point.gain.mean:.1f} %" for point in best)
        said.append(f"{wording.printable(episode)}: {names}")
    missing = f" {wording.plural(without, 'entry', 'entries')} without these figures left out." if without else ""
    each = " One front for each network and its data." if len(tasks) > 1 else ""
    spread = " Bars: sample standard deviation over n seeds." if any(p.gain.deviation for p in points) else ""
    largest = max(point.cost.mean for point in points)
    axis: Json = {"title": {"text": cost.axis}, "rangemode": "tozero", "nticks": 5, "tickformat": ",d"}
    if cost.key == "energy":
        axis["tickformat"] = "~g"
    if cost.key == "sram":
        axis |= byte_ticks(round(largest))
    smallest = min(point.cost.mean for point in points)
    if cost.key == "parameters" and largest > _WIDE * smallest > 0:  # the head alone, and a whole network
        del axis["rangemode"]
        axis |= {"type": "log", "dtick": 1}
    return Figure(
        f"pareto-{cost.key}",
        f"Accuracy against {cost.title}",
        f"The line joins what nothing else beats in both (Pareto front).{each} Click a point for its entry.{spread}{missing}",
        f"Test accuracy after training against {cost.title}. On the Pareto front: {'; '.join(said)}.",
        400,
        data,
        layout(xaxis=axis, yaxis={"title": {"text": "test accuracy after training"}, "ticksuffix": " %"}),
    )


def _series(cost: Cost, episode: str, number: int, points: Sequence[_Point], best: Sequence[_Point]) -> list[Json]:
    role = colour(f"series-{number % SERIES}")
    line: Json = {
        "type": "scatter",
        "mode": "lines",
        "name": f"front of {label(episode, 32)}",
        "x": [point.cost.mean for point in best],
        "y": [100 * point.gain.mean for point in best],
        "line": {"shape": "hv", "color": role, "width": 1.5, "dash": DASHES[number % SERIES]},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    on_front = {point.entry.key for point in best}
    marks: Json = {
        "type": "scatter",
        "mode": "markers",
        "name": label(episode, 32),
        "x": [point.cost.mean for point in points],
        "y": [100 * point.gain.mean for point in points],
        "error_y": {
            "type": "data",
            "visible": any(point.gain.deviation for point in points),
            "array": [100 * (point.gain.deviation or 0.0) for point in points],
            "color": role,
            "thickness": 1.2,
            "width": 4,
        },
        "cliponaxis": False,
        "marker": {
            "symbol": _SYMBOLS[number % SERIES],
            "size": 12,
            "color": role,
            # What is on the front is filled, the rest is faint: not told by the line alone.
            "opacity": [1.0 if point.entry.key in on_front else 0.45 for point in points],
            "line": {"width": 1, "color": colour("surface")},
        },
        "customdata": [point.entry.key for point in points],
        "hoverinfo": "text",
        "hovertext": [_hover(cost, point, point.entry.key in on_front) for point in points],
    }
    return [line, marks]


def _hover(cost: Cost, point: _Point, on_front: bool) -> str:
    record, gain = point.entry.first, point.gain
    accuracy = wording.accuracy_spread(gain.mean, gain.deviation, record.samples_test)
    lines = [f"<b>{label(point.entry.label, 80)}</b>", f"accuracy after training: {accuracy}"]
    if gain.n > 1:
        lines.append(f"mean ± standard deviation of {gain.n} seeds")
    lines.append(cost.text(point.cost.mean))
    if cost.key == "sram" and record.sram.stack_peak == 0:
        lines.append("without the stack, which was not measured")
    lines.append("on the Pareto front" if on_front else "another entry is better in both, or in one at no cost")
    return "<br>".join(lines)
