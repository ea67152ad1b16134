"""The loss of all entries of a page over their training steps, in one figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcutrain.report import curves
from mcutrain.report.figures import Figure, Json, colour, label, layout
from mcutrain.report.pareto_figures import DASHES, SERIES
from mcutrain.report.seeds import Entry

_MOST_LINES = 12
_POINTS = 250


def loss_figure(entries: Sequence[Entry]) -> Figure | None:
    """One line an entry, of several seeds their mean; None for a single entry, for more than a figure can bear, and without steps."""
    if not 2 <= len(entries) <= _MOST_LINES or len({entry.first.loss for entry in entries}) > 1:
        return None
    lines = [(entry, mean) for entry in entries if (mean := _mean_loss(entry)) is not None]
    if len(lines) < 2:
        return None
    data: list[Json] = []
    for number, (entry, mean) in enumerate(lines):
        curve = curves.thin(range(len(mean)), mean, _POINTS)
        style = {
            "color": colour(f"series-{number % SERIES}"),
            "width": 2,
            "dash": DASHES[(number // SERIES) % len(DASHES)],
        }
        name = label(entry.label, 60)
        line: Json = {"type": "scatter", "mode": "lines", "name": label(entry.label, 42), "line": style}
        data.append(
            {**line, "x": list(curve.x), "y": list(curve.y), "hovertemplate": f"%{{y:.4g}}<extra>{name}</extra>"}
        )
    ends = "; ".join(f"{entry.label} {mean[-1]:.4g}" for entry, mean in lines)
    seeds = " Of several seeds, their mean." if any(entry.seeds > 1 for entry, _ in lines) else ""
    kind = "Mean squared error" if lines[0][0].first.loss == "mse" else "Cross-entropy"
    return Figure(
        "losses",
        "Loss while training",
        f"{kind} of the training samples before their updates, running mean over a twentieth of the run.{seeds}",
        f"Running mean of the loss at the end of training: {ends}.",
        380 + 14 * len(lines),
        data,
        layout(
            xaxis={"title": {"text": "training step"}, "tickformat": ",d", "rangemode": "tozero"},
            yaxis={"title": {"text": "loss"}, "rangemode": "tozero"},
        ),
    )


def _mean_loss(entry: Entry) -> NDArray[np.float64] | None:
    """Running mean of the loss, the mean over the seeds, float64 (steps,); None where one has no steps."""
    losses = [curves.losses(record.step_records) for record in entry.records]
    if min(map(len, losses)) == 0 or len({len(loss) for loss in losses}) > 1:
        return None
    window = curves.window_of(len(losses[0]))
    return np.array(np.mean([curves.running_mean(loss, window) for loss in losses], axis=0), dtype=np.float64)
