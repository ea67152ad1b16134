"""What a classifier took for what: the confusion matrix of an evaluation, from its ``prediction`` lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcutrain.emulators.lines import Line
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.record import MOST_CONFUSION_CLASSES

Confusion = tuple[tuple[int, ...], ...]


def confusion_of(prepared: PreparedEpisode, lines: Sequence[Line], which: str) -> Confusion | None:
    """Counts of the test samples, a row a true class, a column a predicted one. which: "before" or "after".

    None where the network trains values, where there are no such lines, and above MOST_CONFUSION_CLASSES classes.
    """
    predicted = [line for line in lines if line.kind == "prediction" and line.text("set") == which]
    classes = prepared.plan.training.classes
    if not predicted or prepared.data.test.targets is not None or classes > MOST_CONFUSION_CLASSES:
        return None
    counts = np.zeros((classes, classes), np.int64)
    labels = prepared.data.test.labels
    for line in predicted:
        counts[labels[line.integer("n")], line.integer("class")] += 1
    return tuple(tuple(int(count) for count in row) for row in counts)


def class_names_of(prepared: PreparedEpisode) -> tuple[str, ...]:
    """The names of the classes that the samples have; empty where they are not known, or where no matrix is kept."""
    names, classes = prepared.data.class_names, prepared.plan.training.classes
    fits = prepared.data.test.targets is None and len(names) <= classes <= MOST_CONFUSION_CLASSES
    return names if fits else ()
