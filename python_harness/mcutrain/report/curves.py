"""Curves over training steps, thinned to what a screen can show without hiding a spike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mcutrain.episode.record import StepRecord

MAX_POINTS = 1000
_ROWS = 8192  # windows that are summed at once: some MB


@dataclass(frozen=True)
class Curve:
    """Points of a line; y is None where there is no finite value."""

    x: tuple[int, ...]
    y: tuple[float | None, ...]


def losses(steps: Sequence[StepRecord]) -> NDArray[np.float64]:
    """The loss of each step, float64 (steps,)."""
    return np.array([step.loss for step in steps], dtype=np.float64)


def correct(steps: Sequence[StepRecord]) -> NDArray[np.float64]:
    """1.0 where the step's sample was predicted right before its update, else 0.0; float64 (steps,). Of a classifier's steps."""
    return np.array([bool(step.correct) for step in steps], dtype=np.float64)


def window_of(steps: int) -> int:
    """The window of the running means: about a twentieth of the run, in round numbers, from 10 to 500 steps."""
    return next((w for w in (10, 20, 50, 100, 200) if w * 20 >= steps), 500)


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of the finite ones of the last `window` values at each position, float64; NaN where they are too few.

    Too few is less than a fifth of the window: the first points would show the first samples and not the training.
    """
    least = max(1, min(window // 5, len(values)))
    finite = np.isfinite(values)
    ahead = np.zeros(window - 1)
    kept = np.concatenate([ahead, np.where(finite, values, 0.0)])
    counted = np.concatenate([ahead, finite])
    means = np.full(len(values), np.nan)
    # Every window is summed anew and not by differences of cumulative sums: one loss of 1e30 must not blur all that follow it.
    for start in range(0, len(values), _ROWS):
        part = slice(start, start + _ROWS + window - 1)
        sums, counts = (sliding_window_view(each[part], window).sum(axis=1) for each in (kept, counted))
        enough = counts >= least
        means[start : start + _ROWS][enough] = sums[enough] / counts[enough]
    return means


def envelope(x: Sequence[int], values: NDArray[np.float64], max_points: int = MAX_POINTS) -> Curve:
    """The curve thinned to max_points at most: the lowest and the highest value of each stretch, in their order.

    So no spike is lost and none is invented. A stretch without a finite value leaves a gap.
    """
    if len(values) <= max_points:
        return _curve(x, values, range(len(values)))
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(values)), max_points // 2):
        finite = stretch[np.isfinite(values[stretch])]
        if finite.size:
            kept += sorted({int(finite[np.argmin(values[finite])]), int(finite[np.argmax(values[finite])])})
        else:
            kept.append(int(stretch[0]))
    return _curve(x, values, kept)


def thin(x: Sequence[int], values: NDArray[np.float64], max_points: int = MAX_POINTS) -> Curve:
    """A smooth curve thinned to max_points at most, evenly, the first and the last point kept."""
    if len(values) <= max_points:
        return _curve(x, values, range(len(values)))
    return _curve(x, values, [int(i) for i in np.linspace(0, len(values) - 1, max_points).round()])


def _curve(x: Sequence[int], values: NDArray[np.float64], kept: Sequence[int]) -> Curve:
    return Curve(tuple(x[i] for i in kept), tuple(_short(float(values[i])) for i in kept))


def _short(value: float) -> float | None:
    """Six significant digits: finer than a pixel, and half the bytes in the page."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
