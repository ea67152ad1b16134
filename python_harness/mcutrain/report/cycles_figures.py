"""Figures of the timing model's cycles: by layer and phase, and as a flame graph down to C functions."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.episode.record import PHASES, EpisodeRecord, OperatorCounts, PhaseCounts
from mcutrain.report import wording
from mcutrain.report.figures import Figure, Json, colour, fill, label, layout, rows
from mcutrain.report.layers import BETWEEN_OPERATORS

# Functions below this share of a step are left out of the flame graph: nobody could see them.
_SMALLEST_SHARE = 0.002


def cycles_figures(record: EpisodeRecord, key: str) -> list[Figure]:
    """The figures of a record with estimated cycles, their keys starting with key; none where it has no estimate."""
    operators = [row for row in record.operators if row.estimated_cycles is not None]
    total = record.estimated_cycles_per_step
    if not operators or total is None or not total.whole:
        return []
    return [_bars(operators, total, key), _flames(record, operators, total, key)]


def _bars(operators: list[OperatorCounts], counts: PhaseCounts, key: str) -> Figure:
    total = counts.whole
    sums: dict[tuple[str, str], float] = {}
    for row in operators:
        sums[row.layer, row.phase] = sums.get((row.layer, row.phase), 0.0) + (row.estimated_cycles or 0.0)
    if counts.other:
        sums[BETWEEN_OPERATORS, "other"] = counts.other
    names = list(dict.fromkeys(name for name, _ in sums))
    data: list[Json] = []
    for phase in (*PHASES, "other"):
        values = [sums.get((name, phase), 0.0) for name in names]
        if not any(values):
            continue
        hover = [
            f"{label(name)}, {phase}: {value:,.0f} estimated cycles ({wording.share(value, total)} of a step)"
            for name, value in zip(names, values, strict=True)
        ]
        bar: Json = {"type": "bar", "orientation": "h", "name": phase, "x": values, "y": list(range(len(names)))}
        data.append({**bar, "marker": fill(phase), "hoverinfo": "text", "hovertext": hover})
    layers = {name: sum(sums.get((name, phase), 0.0) for phase in (*PHASES, "other")) for name in names}
    most = max(layers, key=lambda name: layers[name])
    return Figure(
        f"{key}-cycles",
        "Estimated cycles by layer and phase",
        "The timing model's estimate at zero wait states, mean of one training step; not measured on hardware.",
        f"Estimated cycles per training step of {len(names)} layers. The most: {wording.printable(most)} with "
        f"{layers[most]:,.0f}, {wording.share(layers[most], total)} of the step.",
        100 + 24 * len(names),
        data,
        layout(
            xaxis={"rangemode": "tozero", "title": {"text": "estimated cycles per step (timing model)"}, "nticks": 6},
            yaxis=rows([label(name, 22) for name in names]),
        )
        | {"barmode": "stack", "bargap": 0.2},
    )


@dataclass
class _Frame:
    """A box of the flame graph: its name, the role of its colour, its parent's key, its cycles."""

    name: str
    role: str
    parent: str
    cycles: float = 0.0


def _flames(record: EpisodeRecord, operators: list[OperatorCounts], counts: PhaseCounts, key: str) -> Figure:
    total = counts.whole
    frames: dict[str, _Frame] = {"step": _Frame("training step", "other", "")}
    parents = {row.op: _add_operator(frames, row) for row in operators}
    if counts.other:
        frames["step"].cycles += counts.other
        frames["step/other"] = _Frame(BETWEEN_OPERATORS, "other", "step", counts.other)
        parents[-1] = "step/other"
    for at, part in enumerate(record.functions):
        if part.op in parents and part.estimated_cycles >= _SMALLEST_SHARE * total:
            parent = parents[part.op]
            frames[f"{parent}/{at}"] = _Frame(part.name, frames[parent].role, parent, part.estimated_cycles)
    texts = [
        f"{label(f.name)}: {f.cycles:,.0f} estimated cycles ({wording.share(f.cycles, total)})" for f in frames.values()
    ]
    trace: Json = {
        "type": "icicle",
        "branchvalues": "total",
        "sort": False,
        "ids": list(frames),
        "labels": [label(frame.name) for frame in frames.values()],
        "parents": [frame.parent for frame in frames.values()],
        "values": [frame.cycles for frame in frames.values()],
        "marker": {
            "colors": [colour(frame.role) for frame in frames.values()],
            "line": {"width": 1, "color": colour("surface")},
        },
        "tiling": {"orientation": "v"},
        "hoverinfo": "text",
        "hovertext": texts,
    }
    largest = max(operators, key=lambda row: row.estimated_cycles or 0.0)
    return Figure(
        f"{key}-flames",
        "Flame graph of a training step",
        "Estimated cycles by phase, layer, operator and C function, in the order of execution; select a box to enlarge it.",
        f"Estimated cycles of a training step, {total:,.0f} in all. The largest operator: "
        f"{wording.printable(largest.name)} with {wording.share(largest.estimated_cycles or 0.0, total)}.",
        420,
        [trace],
        layout(),
    )


def _add_operator(frames: dict[str, _Frame], row: OperatorCounts) -> str:
    """Add an operator's cycles to its box and to those above it, which are made where they are missing; returns its key."""
    cycles = row.estimated_cycles or 0.0
    frames["step"].cycles += cycles
    parent = "step"
    for name in (row.phase, row.layer, f"{row.op}"):
        own = f"{parent}/{name}"
        shown = row.name if name == f"{row.op}" else name
        frames.setdefault(own, _Frame(shown, row.phase, parent)).cycles += cycles
        parent = own
    return parent
