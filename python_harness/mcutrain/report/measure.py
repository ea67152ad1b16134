"""How good a network was before and after training, in words: its accuracy, or the mean squared error of what it puts out."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report import wording
from mcutrain.report.seeds import Entry


@dataclass(frozen=True)
class Measure:
    """name: what is measured. before, after: as they are written. change: of both, empty where one is missing."""

    name: str
    before: str
    after: str
    change: str


def measure(record: EpisodeRecord) -> Measure:
    """The measure of the record's loss, on its test samples."""
    if record.loss == "mse":
        before, after = record.mse_before, record.mse_after
        return Measure("mean squared error", _error(before), _error(after), _relative(before, after))
    before, after, samples = record.accuracy_before, record.accuracy_after, record.samples_test
    return Measure(
        "accuracy",
        wording.accuracy(before, samples),
        wording.accuracy(after, samples),
        wording.points(before, after, samples),
    )


def measure_of(entry: Entry) -> Measure:
    """The measure of an entry: of several seeds the means, with sample standard deviations."""
    record = entry.first
    if entry.seeds == 1:
        return measure(record)
    if record.loss == "mse":
        before, after = entry.spread(lambda r: r.mse_before), entry.spread(lambda r: r.mse_after)
        said = [
            wording.NOT_MEASURED if s is None else wording.value_spread(s.mean, s.deviation) for s in (before, after)
        ]
        change = _relative(before.mean, after.mean) if before and after else ""
        return Measure("mean squared error", said[0], said[1], change)
    before, after = entry.spread(lambda r: r.accuracy_before), entry.spread(lambda r: r.accuracy_after)
    samples = record.samples_test
    said = [
        wording.NOT_MEASURED if s is None else wording.accuracy_spread(s.mean, s.deviation, samples)
        for s in (before, after)
    ]
    change = wording.points(before.mean, after.mean, samples) if before and after else ""
    return Measure("accuracy", said[0], said[1], change)


def _error(value: float | None) -> str:
    return wording.NOT_MEASURED if value is None else wording.value(value)


def _relative(before: float | None, after: float | None) -> str:
    return f"{100.0 * (after / before - 1.0):+.1f} %" if before and after is not None else ""
