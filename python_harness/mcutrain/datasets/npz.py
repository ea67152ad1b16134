"""A user's own samples: a .npz file of adapt_samples, adapt_labels, test_samples, test_labels."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets.base import Dataset, EpisodeData
from mcutrain.errors import UsageError

MOST_CLASSES = 255  # a prediction is one byte


def read_npz(path: Path) -> EpisodeData:
    """The samples and labels of a .npz file; never unpickles.

    samples: uint8 pixels, float32 values or int8 input codes, (n, *input shape), images as rows, columns, channels, sequences as length,
    channels. labels: integers (n,), from 0. A file of test arrays alone has nothing to adapt to: an episode then only evaluates.
    Raises UsageError when the file or an array is not so.
    """
    arrays = _arrays(path)
    test_samples, test_labels = _part(path, arrays, "test")
    adapt_samples, adapt_labels = test_samples[:0], test_labels[:0]
    if any(name.startswith("adapt_") for name in arrays):
        adapt_samples, adapt_labels = _part(path, arrays, "adapt")
    if adapt_samples.dtype != test_samples.dtype:
        raise UsageError(
            f"{path.name}: adapt_samples are {adapt_samples.dtype}, test_samples {test_samples.dtype}: give both as one type"
        )
    count = 1 + max((int(labels.max()) for labels in (adapt_labels, test_labels) if labels.size), default=0)
    names = tuple(str(label) for label in range(count))
    return EpisodeData(
        adapt=Dataset(f"{path.name} adapt", adapt_samples, adapt_labels, names),
        test=Dataset(f"{path.name} test", test_samples, test_labels, names),
        shift=path.name,
    )


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


def _part(path: Path, arrays: Mapping[str, NDArray[Any]], part: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The samples of "adapt" or "test", and their labels."""
    names = f"{part}_samples", f"{part}_labels"
    for name in names:
        if name not in arrays:
            raise UsageError(f"{path.name}: no array {name!r}; a data file has adapt_ and test_ samples and labels")
    samples, labels = (arrays[name] for name in names)
    if samples.ndim < 2:
        raise UsageError(f"{path.name}: {names[0]} have shape {samples.shape}: the first axis counts samples")
    if samples.dtype not in (np.uint8, np.float32, np.int8):
        raise UsageError(
            f"{path.name}: {names[0]} are {samples.dtype}: give uint8 pixels, float32 values or int8 input codes"
        )
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"{path.name}: {names[1]} are {labels.dtype} of shape {labels.shape}: give one whole number a sample, its class"
        )
    outside = labels[(labels < 0) | (labels >= MOST_CLASSES)]
    if outside.size:
        raise UsageError(f"{path.name}: {names[1]} hold {outside[0]}: classes are numbers from 0 to {MOST_CLASSES - 1}")
    return samples, labels.astype(np.int64)
