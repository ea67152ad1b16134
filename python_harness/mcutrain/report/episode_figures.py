"""Figures of one episode: its curves, its instructions by layer and phase."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.episode.record import PHASES, EpisodeRecord
from mcutrain.report import curves, wording
from mcutrain.report.arena_figure import arena_figure
from mcutrain.report.cycles_figures import cycles_figures
from mcutrain.report.figures import Figure, Json, colour, fill, label, layout, rows
from mcutrain.report.layers import BETWEEN_OPERATORS, layer_counts

_MOST_EPOCH_LINES = 20


def episode_figures(record: EpisodeRecord, key: str, points: int = curves.MAX_POINTS) -> list[Figure]:
    """The figures of a record, their keys starting with key; what the record does not hold is left out. points: the most of a curve."""
    found = [
        _curves(record, key, points),
        arena_figure(record, key),
        _layers(record, key),
        *cycles_figures(record, key),
    ]
    return [figure for figure in found if figure is not None]


def _curves(record: EpisodeRecord, key: str, points: int) -> Figure | None:
    steps = record.step_records
    if not steps:
        return None
    x = [step.n for step in steps]
    loss = curves.losses(steps)
    window = curves.window_of(len(steps))
    mean = curves.running_mean(loss, window)
    raw = curves.envelope(x, loss, points)
    top, highest = _loss_axis(loss, mean)
    thinned = ""
    if len(steps) > points:
        thinned = f"; drawn as lowest and highest of each {len(steps) / (points // 2):.0f} steps"
    data: list[Json] = [
        _line("loss of a step", raw, "faint", 1, "%{y:.4g}"),
        _line(f"running mean of {window} steps", curves.thin(x, mean, points), "loss-line", 2.5, "%{y:.4g}"),
    ]
    first, last = _ends(mean)
    said = f"Loss over {len(steps):,} steps: the running mean goes from {first} to {last}"
    x_axis: Json = {"title": {"text": "training step"}, "tickformat": ",d"}
    y_axis: Json = {"title": {"text": "loss"}, "range": [0, top]}
    drawn = {"shapes": _epoch_lines(record, x), "hovermode": "x unified"}
    if record.loss == "mse":
        caption = f"Mean squared error of each training sample before its update{thinned}. {highest}"
        shown = layout(xaxis=x_axis, yaxis=y_axis)
        return Figure(f"{key}-curves", "Loss", caption.strip(), f"{said}.", 360, data, shown | drawn)
    correct = curves.running_mean(curves.correct(steps), window)
    data += [
        _line("training accuracy", curves.thin(x, 100 * correct, points), "after", 2.5, "%{y:.1f} %", "dash")
        | {"yaxis": "y2"},
        *_test_points(record, x),
    ]
    said += f"; at the end {100 * correct[-1]:.1f} % of the last {min(window, len(steps)):,} training samples are predicted right."
    return Figure(
        f"{key}-curves",
        "Loss and training accuracy",
        f"Cross-entropy of each training sample before its update{thinned}. {highest}Training accuracy is the "
        f"share of the last {window} samples that were predicted right before they were trained on.",
        said,
        460,
        data,
        layout(
            xaxis=x_axis | {"anchor": "y2"},
            yaxis=y_axis | {"domain": [0.45, 1]},
            yaxis2={
                "title": {"text": "accuracy"},
                "domain": [0, 0.38],
                "range": [0, 103],
                "ticksuffix": " %",
                "anchor": "x",
            },
        )
        | drawn,
    )


def _loss_axis(loss: NDArray[np.float64], mean: NDArray[np.float64]) -> tuple[float, str]:
    """Top of the loss axis, and what the caption says where single steps reach far above it.

    A few samples have ten times the loss of the others; on an axis that holds them, the running mean would be flat.
    """
    finite = loss[np.isfinite(loss)]
    if not finite.size:
        return 1.0, ""
    most = float(finite.max())
    useful = 1.15 * max(float(np.quantile(finite, 0.97)), float(np.nanmax(mean)))
    if most <= 1.8 * useful:
        return (1.05 * most) or 1.0, ""
    over = int((finite > useful).sum())
    return useful, f"{wording.plural(over, 'step')} above {useful:.3g} are cut off, the highest at {most:.4g}. "


def _line(name: str, curve: curves.Curve, role: str, width: float, hover: str, dash: str = "solid") -> Json:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(curve.x),
        "y": list(curve.y),
        "line": {"color": colour(role), "width": width, "dash": dash},
        "hovertemplate": f"{hover}<extra>{name}</extra>",
    }


def _test_points(record: EpisodeRecord, x: list[int]) -> list[Json]:
    ends = [(x[0], record.accuracy_before), (x[-1], record.accuracy_after)]
    known = [(n, value) for n, value in ends if value is not None]
    if not known:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "test accuracy",
            "x": [n for n, _ in known],
            "y": [100 * value for _, value in known],
            "yaxis": "y2",
            "cliponaxis": False,
            "marker": {
                "symbol": "diamond",
                "size": 11,
                "color": colour("limit"),
                "line": {"width": 1.5, "color": colour("surface")},
            },
            "hovertemplate": "%{y:.2f} %<extra>test accuracy</extra>",
        }
    ]


def _epoch_lines(record: EpisodeRecord, x: list[int]) -> list[Json]:
    """A dotted line where a pass over the adaptation samples ends (a step is one sample)."""
    size = record.samples_adapt
    if size <= 0 or not 1 < len(x) / size <= _MOST_EPOCH_LINES:
        return []
    return [
        {
            "type": "line",
            "x0": x[end - 1] + 0.5,
            "x1": x[end - 1] + 0.5,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": colour("faint"), "width": 1, "dash": "dot"},
        }
        for end in range(size, len(x), size)
    ]


def _ends(mean: NDArray[np.float64]) -> tuple[str, str]:
    """First and last finite value of the running mean, in words."""
    finite = mean[np.isfinite(mean)]
    return (f"{finite[0]:.4g}", f"{finite[-1]:.4g}") if finite.size else ("not a number", "not a number")


def _layers(record: EpisodeRecord, key: str) -> Figure | None:
    layers = layer_counts(record)
    total = record.instructions_per_step
    if not layers or total is None:
        return None
    data: list[Json] = []
    for role in (*PHASES, "other"):
        values = [layer.phases.get(role, 0.0) for layer in layers]
        if not any(values):
            continue
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": role,
                "x": values,
                "y": list(range(len(layers))),
                "marker": fill(role),
                "hoverinfo": "text",
                "hovertext": [
                    f"{label(layer.name)}, {role}: {wording.count(value)} instructions "
                    f"({wording.share(value, total.whole)} of a step)"
                    for layer, value in zip(layers, values, strict=True)
                ],
            }
        )
    most = max(layers, key=lambda layer: layer.total)
    return Figure(
        f"{key}-layers",
        "Instructions by layer and phase",
        "Exact counts of the emulator, mean of one training step. What runs "
        f"{BETWEEN_OPERATORS} is the driver's own work: digest, protocol.",
        f"Instructions per training step of {len(layers)} layers. The most: {wording.printable(most.name)} with "
        f"{wording.count(most.total)}, {wording.share(most.total, total.whole)} of the step.",
        100 + 24 * len(layers),
        data,
        layout(
            xaxis={
                "rangemode": "tozero",
                "title": {"text": "instructions per step (exact count)"},
                "nticks": 6,
                "side": "bottom",
            },
            yaxis=rows([label(layer.name, 22) for layer in layers]),
        )
        | {"barmode": "stack", "bargap": 0.2},
    )
