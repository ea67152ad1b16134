"""The memory timeline: every tensor of the arena as a rectangle, operators across, bytes up.

Across are moments: operators where they stand in the text of the programs, one program behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mcutrain.episode.record import PHASES, EpisodeRecord, TensorLife
from mcutrain.errors import UsageError
from mcutrain.report import wording
from mcutrain.report.figures import Figure, Json, byte_ticks, colour, fill, label, layout
from mcutrain.report.limits import sram_limit

# Below this share of the room for the arena, an axis up to the limit would flatten the rectangles.
_LIMIT_IN_VIEW = 0.5

_MOST_OPERATORS = 100_000
_SAMPLE = "sample"  # the program whose phases are told apart


@dataclass(frozen=True)
class LiveBytes:
    """Bytes that hold live tensors at each operator, int64 (operators,); their peak and the operator it is at."""

    at: NDArray[np.int64]
    peak: int
    op: int


def live_bytes(tensors: Sequence[TensorLife]) -> LiveBytes:
    """Live bytes over the operators. A byte that an operator reads and then writes in place counts once."""
    ops = max(t.last_op for t in tensors) + 1
    alive: list[list[tuple[int, int]]] = [[] for _ in range(ops)]
    for tensor in tensors:
        for op in range(tensor.first_op, tensor.last_op + 1):
            alive[op].append((tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes))
    at = np.array([_covered(spans) for spans in alive], dtype=np.int64)
    return LiveBytes(at, int(at.max()), int(at.argmax()))


def _covered(spans: Sequence[tuple[int, int]]) -> int:
    """Bytes in the union of [begin, end) spans."""
    covered = reached = 0
    for begin, end in sorted(spans):
        covered += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


def operator_name(record: EpisodeRecord, op: int) -> str:
    """``operator 12 (conv3.dx)``, or without the name where the record has none."""
    names = record.operator_names
    return f"operator {op} ({names[op]})" if 0 <= op < len(names) else f"operator {op}"


def arena_figure(record: EpisodeRecord, key: str) -> Figure | None:
    """The timeline of a record, or None when it holds no tensors."""
    tensors = record.arena_tensors
    if not tensors:
        return None
    _refuse_impossible(record)
    live = live_bytes(tensors)
    held = sram_limit(record)
    room = None if held is None else held.size_bytes - (record.sram_peak_bytes - record.sram.arena)
    top = max(record.sram.arena, *(t.offset_bytes + t.size_bytes for t in tensors))
    in_view = room is not None and top >= _LIMIT_IN_VIEW * room
    highest = max(top, room) if room is not None and in_view else top
    ops = len(live.at)
    data = _rectangles(record)
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "live bytes",
            "yaxis": "y2",
            "fill": "tozeroy",
            "fillcolor": colour("free"),
            "x": [edge for op in range(ops) for edge in (op - 0.5, op + 0.5)],
            "y": [int(value) for value in live.at for _ in range(2)],
            "line": {"color": colour("muted"), "width": 1.5},
            "hoverinfo": "text",
            "hovertext": [
                f"{wording.byte_count(int(value))} live at {label(operator_name(record, op))}"
                for op, value in enumerate(live.at)
                for _ in range(2)
            ],
        }
    )
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "peak of live bytes",
            "yaxis": "y2",
            "cliponaxis": False,
            "x": [live.op],
            "y": [live.peak],
            "marker": {
                "symbol": "triangle-down",
                "size": 12,
                "color": colour("text"),
                "line": {"width": 1, "color": colour("surface")},
            },
            "hoverinfo": "text",
            "hovertext": [
                f"peak of live bytes: {wording.byte_count(live.peak)}<br>at {label(operator_name(record, live.op))}"
            ],
        }
    )
    shapes, annotations = _phase_bands(record, ops)
    levels = [(record.sram.arena, f"arena {wording.byte_count(record.sram.arena)}", "text", "solid")]
    limit = "The run had no SRAM limit."
    if held is not None and room is not None:
        above = "" if in_view else ", far above this axis"
        whose = "The SRAM limit" if held.own else f"The SRAM of {wording.printable(held.board)}"
        limit = f"{whose} leaves room for an arena of {wording.byte_count(room)}{above}."
        levels += [(room, f"limit: room for {wording.byte_count(room)}", "limit", "dash")] if in_view else []
    for value, text, role, dash in levels:
        shapes.append(_level(value, role, dash))
        annotations.append(_level_label(value, text, role))
    slack = record.sram.arena - live.peak
    return Figure(
        f"{key}-arena",
        "Memory timeline of the arena",
        "Each rectangle is a tensor: the bytes it holds, from the operator that makes it to the last that reads it. "
        f"Live bytes peak at {wording.byte_count(live.peak)}; the arena has {wording.byte_count(max(0, slack))} more, "
        f"for the gaps between them. {limit}",
        f"{len({t.name for t in tensors}):,} tensors in an arena of {wording.byte_count(record.sram.arena)} over {ops:,} "
        f"operators; live bytes peak at {wording.byte_count(live.peak)} "
        f"at {wording.printable(operator_name(record, live.op))}. {limit}",
        560,
        data,
        layout(
            xaxis={
                "title": {"text": "operator, in the order of the programs"},
                "range": [-0.5, ops - 0.5],
                "zeroline": False,
                "anchor": "y2",
            },
            yaxis={
                "title": {"text": "offset in the arena, bytes"},
                "range": [0, highest * 1.09],
                "domain": [0.27, 1],
                **byte_ticks(highest),
            },
            yaxis2={
                "title": {"text": "live bytes"},
                "range": [0, 1.1 * live.peak],
                "domain": [0, 0.2],
                **byte_ticks(2 * live.peak),
            },
        )
        | {"barmode": "overlay", "shapes": shapes, "annotations": annotations},
    )


def _refuse_impossible(record: EpisodeRecord) -> None:
    """Records may come from a file: lifetimes and places have to be possible before anything is sized by them."""
    for t in record.arena_tensors:
        if not (0 <= t.first_op <= t.last_op < _MOST_OPERATORS and t.offset_bytes >= 0 and t.size_bytes >= 0):
            raise UsageError(
                f"record of {wording.printable(record.episode)}: tensor {wording.printable(t.name)} has "
                f"{t.size_bytes} B at offset {t.offset_bytes} over operators {t.first_op} to {t.last_op}, which "
                "cannot be; run the episode again"
            )


def _rectangles(record: EpisodeRecord) -> list[Json]:
    """Bars that float: a trace for each phase in which tensors are made (one where the record knows no phases)."""
    phases = _phases(record, max(t.last_op for t in record.arena_tensors) + 1)
    traces: list[Json] = []
    for role in (*PHASES, "other"):
        made = [t for t in record.arena_tensors if phases[t.first_op] == role]
        if not made:
            continue
        traces.append(
            {
                "type": "bar",
                "name": f"made in {role}" if role != "other" else "tensor",
                "x": [(t.first_op + t.last_op) / 2 for t in made],
                "width": [t.last_op - t.first_op + 1 for t in made],
                "base": [t.offset_bytes for t in made],
                "y": [t.size_bytes for t in made],
                "marker": fill(role),
                "text": [label(t.name, 30) for t in made],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "insidetextfont": {"color": colour("on-bar")},
                "hoverinfo": "text",
                "hovertext": [_hover(record, t) for t in made],
            }
        )
    return traces


def _hover(record: EpisodeRecord, tensor: TensorLife) -> str:
    return (
        f"<b>{label(tensor.name, 60)}</b><br>{wording.byte_count(tensor.size_bytes)} at offset {tensor.offset_bytes:,}"
        f" to {tensor.offset_bytes + tensor.size_bytes:,}<br>from {label(operator_name(record, tensor.first_op), 60)}"
        f"<br>to {label(operator_name(record, tensor.last_op), 60)}"
    )


def _phase_bands(record: EpisodeRecord, ops: int) -> tuple[list[Json], list[Json]]:
    """A line where a phase begins, its name between the panels. Updates run among the backward operators."""
    shapes: list[Json] = []
    names: list[Json] = []
    places = list(enumerate(zip(_programs(record, ops), _phases(record, ops), strict=True)))
    if not record.operators:
        return [], []
    for name, group in groupby(places, lambda place: _band(*place[1])):
        members = [at for at, _ in group]
        start, end = members[0] - 0.5, members[-1] + 0.5
        if start > -0.5:
            shapes.append(
                {
                    "type": "line",
                    "x0": start,
                    "x1": start,
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "layer": "below",
                    "line": {"color": colour("faint")},
                }
            )
        if end - start >= 0.2 * ops:
            place: Json = {"x": (start + end) / 2, "yref": "paper", "y": 0.235, "yanchor": "middle", "showarrow": False}
            names.append({**place, "text": name, "font": {"color": colour("muted"), "size": 12}})
    return shapes, names


def _phases(record: EpisodeRecord, moments: int) -> list[str]:
    """The phase of each moment; "other" where the record does not know it."""
    of_name: dict[str, str] = {operator.name: operator.phase for operator in record.operators}
    known = [of_name.get(name, "other") for name in record.operator_names[:moments]]
    return known + ["other"] * (moments - len(known))


def _programs(record: EpisodeRecord, moments: int) -> list[str]:
    """The program of each moment; empty where the record does not know it."""
    known = list(record.operator_programs[:moments])
    return known + [""] * (moments - len(known))


def _band(program: str, phase: str) -> str:
    """What the timeline calls a stretch of moments: the program where it is not that of a sample, else the phase."""
    if program not in ("", _SAMPLE):
        return program
    return "backward and update" if phase in ("backward", "update") else phase


def _level(value: int, role: str, dash: str) -> Json:
    line = {"color": colour(role), "width": 1.5, "dash": dash}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}


def _level_label(value: int, text: str, role: str) -> Json:
    place: Json = {"xref": "paper", "x": 1, "xanchor": "right", "y": value, "yanchor": "bottom", "showarrow": False}
    return {**place, "text": text, "font": {"color": colour(role), "size": 12}}
