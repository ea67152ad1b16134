"""A user's own samples: a .npz file of adapt_samples, test_samples and what they are to be, adapt_labels and test_labels or targets.

validate_samples and what they are to be may stand beside them, to choose settings on.
"""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets.base import Dataset, EpisodeData
from mcutrain.errors import UsageError

MOST_BYTES = 1 << 30
"""Of all arrays of a file together: as much as fits what boards have of memory many times over."""
_FREE_BYTES = 1 << 24
_MOST_RATIO = 200
_MOST_AXES = 8
_NAMES = frozenset(
    f"{part}_{kind}" for part in ("adapt", "test", "validate") for kind in ("samples", "labels", "targets")
)
_NPY_MAGIC = b"\x93NUMPY"
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
    parts = {"adapt": adapt, "test": test}
    if any(name.startswith("validate_") for name in arrays):
        parts["validate"] = _part(path, arrays, "validate")
    _check_alike(path, parts)
    labels = [part.labels for part in parts.values() if part.labels is not None]
    count = 1 + max((int(of_part.max()) for of_part in labels if of_part.size), default=0) if labels else 0
    names = tuple(str(label) for label in range(count))
    datasets = {name: part.dataset(f"{path.name} {name}", names) for name, part in parts.items()}
    return EpisodeData(**datasets, shift=path.name)


def _check_alike(path: Path, parts: Mapping[str, _Part]) -> None:
    """Refuse parts of other types than the test samples', and labels or targets that one has and another lacks."""
    test = parts["test"]
    for name, part in parts.items():
        if part.samples.dtype != test.samples.dtype:
            raise UsageError(
                f"{path.name}: {name}_samples are {part.samples.dtype}, test_samples {test.samples.dtype}: give both as one type"
            )
        for kind, one, other in (("labels", part.labels, test.labels), ("targets", part.targets, test.targets)):
            if (one is None) != (other is None):
                missing = name if one is None else "test"
                raise UsageError(
                    f"{path.name}: no array '{missing}_{kind}'; a data file has them for all its parts, or for none"
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
    """The arrays that are read, and no other: what a file has besides costs nothing. Sizes are checked before anything is unpacked."""
    try:
        with path.open("rb") as file:
            if file.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
                raise UsageError(f"{path.name}: one array alone; np.savez writes several into a .npz file")
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.removesuffix(".npy") in _NAMES]
            names = [member.filename.removesuffix(".npy") for member in members]
            for name in names:
                if names.count(name) > 1:
                    raise UsageError(f"{path.name}: array {name!r} is in the file twice; write it anew with np.savez")
            _check_sizes(path, members)
            return {name: _array(archive, member) for name, member in zip(names, members, strict=True)}
    # RuntimeError: a member is encrypted; NotImplementedError: it is packed in a way that zipfile does not know; the others: it is damaged.
    except (
        OSError,
        ValueError,
        RuntimeError,
        EOFError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        reason = "".join(c if c.isprintable() else " " for c in " ".join(str(error).split()))
        raise UsageError(f"{path}: cannot be read as a .npz data file: {reason[:300]}") from error


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES:
        raise UsageError(
            f"{path.name}: its arrays take {total:,} bytes, at most {MOST_BYTES:,} are read; give fewer samples"
        )
    for member in members:
        # Real samples, even black pictures, do not come near; a bomb does. Small ones may be anything.
        if member.file_size > max(_FREE_BYTES, _MOST_RATIO * member.compress_size):
            raise UsageError(
                f"{path.name}: {member.filename} would unpack {member.compress_size:,} bytes to {member.file_size:,}: "
                "no samples; save them with np.savez"
            )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """The array of one member; of its header the type and the shape are held against the member's size before it is read."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{member.filename} is of .npy version {version[0]}.{version[1]}")
        try:
            shape, fortran_order, dtype = read_header(file)
        except Exception as error:  # NumPy evaluates the header's text: any error can come of that
            raise ValueError(f"{member.filename} has a damaged header") from error
        if dtype.hasobject:
            raise ValueError(f"Object arrays cannot be loaded: {member.filename} holds Python objects, give numbers")
        if dtype.kind not in "biufc" or len(shape) > _MOST_AXES or any(length < 0 for length in shape):
            raise ValueError(f"{member.filename} has {dtype} of {len(shape)} axes, which are no samples")
        size = dtype.itemsize * math.prod(shape)
        if size != member.file_size - file.tell():
            raise ValueError(f"{member.filename} claims {size:,} bytes, and has {member.file_size - file.tell():,}")
        content = file.read(size)  # to the end of the member, where zipfile compares the checksum
    if len(content) != size:
        raise ValueError(f"{member.filename} is cut short")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)


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
