"""A user's own samples: a .npz file of adapt_samples, test_samples and what they are to be, adapt_labels and test_labels or targets."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets.base import Dataset, EpisodeData
from mcutrain.errors import UsageError

MOST_CLASSES = 1 << 16  # as many as a new head can have


def read_npz(path: Path) -> EpisodeData:
    """The samples of a .npz file, and what each is to be; never unpickles.

    samples: uint8 pixels, float32 values or int8 input codes, (n, *input shape), images as rows, columns, channels, sequences as length,
    channels. labels: integers (n,), from 0. targets: float32 (n, ...), finite. A file has labels or targets, or neither: an
    autoencoder's samples are their own targets. A file of test arrays alone has nothing to adapt to: an episode then only evaluates.
    Raises UsageError when the file or an array is not so.
    """
    arrays = _arrays(path)
    test = _part(path, arrays, "test")
    adapt = _Part(test.samples[:0], _first(test.labels, 0), _first(test.targets, 0))
    if any(name.startswith("adapt_") for name in arrays):
        adapt = _part(path, arrays, "adapt")
    if adapt.samples.dtype != test.samples.dtype:
        raise UsageError(
            f"{path.name}: adapt_samples are {adapt.samples.dtype}, test_samples {test.samples.dtype}: give both as one type"
        )
    for kind, one, other in (("labels", adapt.labels, test.labels), ("targets", adapt.targets, test.targets)):
        if (one is None) != (other is None):
            missing = "adapt" if one is None else "test"
            raise UsageError(
                f"{path.name}: no array '{missing}_{kind}'; a data file has them for both parts, or for neither"
            )
    count = 0
    if test.labels is not None and adapt.labels is not None:
        count = 1 + max((int(labels.max()) for labels in (adapt.labels, test.labels) if labels.size), default=0)
    names = tuple(str(label) for label in range(count))
    return EpisodeData(
        adapt=adapt.dataset(f"{path.name} adapt", names), test=test.dataset(f"{path.name} test", names), shift=path.name
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The adapt or the test arrays of a file."""

    samples: NDArray[Any]
    labels: NDArray[np.int64] | None
    targets: NDArray[np.float32] | None

    def dataset(self, name: str, classes: tuple[str, ...]) -> Dataset:
        labels = np.zeros(0, np.int64) if self.labels is None else self.labels
        return Dataset(name, self.samples, labels, classes, targets=self.targets)


def _first(array: NDArray[Any] | None, count: int) -> NDArray[Any] | None:
    return None if array is None else array[:count]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise UsageError(f"{path.name}: one array alone; np.savez writes several into a .npz file")
        with file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: cannot be read as a .npz data file: {reason}") from error


def _part(path: Path, arrays: Mapping[str, NDArray[Any]], part: str) -> _Part:
    """The arrays of "adapt" or "test"."""
    name = f"{part}_samples"
    if name not in arrays:
        raise UsageError(
            f"{path.name}: no array {name!r}; a data file has adapt_ and test_ samples and labels or targets"
        )
    samples = arrays[name]
    if samples.ndim < 2:
        raise UsageError(f"{path.name}: {name} have shape {samples.shape}: the first axis counts samples")
    if samples.dtype not in (np.uint8, np.float32, np.int8):
        raise UsageError(
            f"{path.name}: {name} are {samples.dtype}: give uint8 pixels, float32 values or int8 input codes"
        )
    if f"{part}_labels" in arrays and f"{part}_targets" in arrays:
        raise UsageError(
            f"{path.name}: both {part}_labels and {part}_targets: leave out what the network is not to learn"
        )
    return _Part(samples, _labels(path, arrays, f"{part}_labels"), _targets(path, arrays, f"{part}_targets"))


def _labels(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.int64] | None:
    labels = arrays.get(name)
    if labels is None:
        return None
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"{path.name}: {name} are {labels.dtype} of shape {labels.shape}: give one whole number a sample, its class "
            f"({name.replace('labels', 'targets')} hold values)"
        )
    outside = labels[(labels < 0) | (labels >= MOST_CLASSES)]
    if outside.size:
        raise UsageError(f"{path.name}: {name} hold {outside[0]}: classes are numbers from 0 to {MOST_CLASSES - 1}")
    return labels.astype(np.int64)


def _targets(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float32] | None:
    targets = arrays.get(name)
    if targets is None:
        return None
    if targets.ndim == 0 or targets.dtype != np.float32:
        raise UsageError(
            f"{path.name}: {name} are {targets.dtype} of shape {targets.shape}: give float32 values, a row a sample"
        )
    if not np.isfinite(targets).all():
        raise UsageError(f"{path.name}: {name} hold a value that is not finite")
    return targets
