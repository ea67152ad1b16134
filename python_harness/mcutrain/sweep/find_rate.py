"""Find a learning rate for an episode on its validation part: decades by short runs, then by whole ones where those did best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.runners import HOST
from mcutrain.errors import UsageError
from mcutrain.sweep.engine import Engine
from mcutrain.sweep.grid import Axis, points_of
from mcutrain.sweep.sweep import Describer, Pick, Settings, Swept, pick, require_any

_KEY = "learning_rate"
# Rates between which any network trains that trains at all: behind the step cap, larger ones do the same; smaller ones move no weight.
DECADES = tuple(float(f"1e{power}") for power in range(-6, 2))
# A third of a decade: finer steps differ by less than what a few hundred validation samples can tell.
STEP = 10 ** (1 / 3)
_MOST_STEPS = 9


def find_learning_rate(
    definition: EpisodeDefinition,
    engine: Engine,
    on_tried: Callable[[Pick], None] | None = None,
    steps: int | None = None,
) -> float:
    """The rate with the best accuracy, or the least error, on the validation part; no test sample is seen.

    First every decade for one epoch; then whole runs, at the middle of the decades that did as well as the best, and in steps of a third of
    a decade to either side for as long as the last one was the best. steps: cuts each run short.
    Raises UsageError where no rate can be run, with the first reason.
    """
    describer = Describer()
    decades = _validated(definition.changed({"epochs": 1}), DECADES, steps, engine, describer)
    if on_tried is not None:
        on_tried(decades)
    rates = [_middle(decades) * STEP**power for power in (-1, 0, 1)]
    while True:
        found = _validated(definition, [_rounded(rate) for rate in rates], steps, engine, describer)
        if not found.is_at_edge or len(rates) >= _MOST_STEPS:
            break
        low = found.chosen.value == found.candidates[0].value
        rates = [rates[0] / STEP, *rates] if low else [*rates, rates[-1] * STEP]
    if on_tried is not None:
        on_tried(found)
    return float(found.chosen.value)


def _middle(decades: Pick) -> float:
    """The geometric middle of the rates beside the best one that are no worse than it by its standard error."""
    candidates, best = decades.candidates, decades.chosen
    if decades.of == "mse":
        return float(best.value)
    error = math.sqrt(best.mean * (1 - best.mean) / decades.samples) if decades.samples else 0.0
    first = last = candidates.index(best)
    while first > 0 and candidates[first - 1].mean >= best.mean - error:
        first -= 1
    while last + 1 < len(candidates) and candidates[last + 1].mean >= best.mean - error:
        last += 1
    return math.sqrt(float(candidates[first].value) * float(candidates[last].value))


def _rounded(rate: float) -> float:
    """Two digits, as one writes a rate."""
    return float(f"{rate:.2g}")


def _validated(
    definition: EpisodeDefinition, rates: Sequence[float], steps: int | None, engine: Engine, describer: Describer
) -> Pick:
    points = points_of([definition], [Axis(_KEY, tuple(rates))], ())
    _, picks, failures = pick(points, _KEY, Settings((HOST,), steps, golden_steps=0), engine, describer)
    if not picks:
        require_any(Swept(failures=failures))
        raise UsageError(f"{definition.name}: no learning rate can be compared: the episode evaluates nothing")
    return picks[0]
