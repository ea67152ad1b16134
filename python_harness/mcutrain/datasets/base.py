"""What every data set looks like to the rest of the harness, and how one is split reproducibly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError

Samples = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, and what each is: a class, or values, or nothing but itself.

    samples: uint8 pixels, float32 values or int8 input codes of the network, shape (n, ...), images (n, height, width, channels).
    labels: int64, shape (n,), indices into classes; empty where classes is. targets: float32, shape (n, ...), the real values that the
    network is to put out for each sample; None where there are none.
    pixel_scale: the real value the network was trained on is ``sample * pixel_scale``: 1.0 for a network that sees
    pixels 0..255, 1/255 for one that sees 0..1. It belongs to the network as much as to the data, so an episode may
    choose another (``with_pixel_scale``).
    Raises UsageError when samples, labels, classes and targets do not belong together.
    """

    name: str
    samples: Samples
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    pixel_scale: float = 1.0
    targets: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check that the fields belong together."""
        if len(self.samples) != len(self.labels) and self.has_labels:
            raise UsageError(f"data set {self.name}: {len(self.samples)} samples but {len(self.labels)} labels")
        outside = self.labels[(self.labels < 0) | (self.labels >= len(self.classes))]
        if outside.size:
            raise UsageError(f"data set {self.name}: label {outside[0]} is outside its {len(self.classes)} classes")
        if self.targets is not None and len(self.samples) != len(self.targets):
            raise UsageError(f"data set {self.name}: {len(self.samples)} samples but {len(self.targets)} targets")
        if not self.pixel_scale > 0.0:
            raise UsageError(f"data set {self.name}: pixel_scale is {self.pixel_scale}, it must be above 0")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def has_labels(self) -> bool:
        """Whether each sample has a class."""
        return bool(self.classes) or self.labels.size > 0

    def take(self, indices: NDArray[np.intp], name: str) -> Dataset:
        """The samples at ``indices``, in that order, under another name."""
        return replace(
            self,
            name=name,
            samples=self.samples[indices],
            labels=self.labels[indices] if self.has_labels else self.labels,
            targets=None if self.targets is None else self.targets[indices],
        )

    def first(self, count: int) -> Dataset:
        """The first ``count`` samples; all where there are fewer."""
        return replace(
            self,
            samples=self.samples[:count],
            labels=self.labels[:count],
            targets=None if self.targets is None else self.targets[:count],
        )

    def with_pixel_scale(self, pixel_scale: float) -> Dataset:
        """The same samples for a network whose real input is ``sample * pixel_scale``."""
        return replace(self, pixel_scale=pixel_scale)

    def digest(self) -> str:
        """SHA-256 (hex) over the type, shape and bytes of samples, labels and targets: equal digests mean equal data."""
        sha256 = hashlib.sha256()
        for array in (self.samples, self.labels, *(() if self.targets is None else (self.targets,))):
            little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            sha256.update(f"{array.dtype.name}{array.shape}".encode())
            sha256.update(little_endian.tobytes())
        return sha256.hexdigest()


@dataclass(frozen=True, eq=False)
class EpisodeData:
    """What one training episode sees: the samples it adapts to, in order, and others it is tested on.

    shift says how the deployed domain was made, in words for the record, e.g. "gaussian_noise severity 5 seed 0".
    validate: samples of the same domain that are in neither part, to choose settings on; None where the source has no third part.
    """

    adapt: Dataset
    test: Dataset
    shift: str
    validate: Dataset | None = None

    def with_pixel_scale(self, pixel_scale: float) -> EpisodeData:
        """The same samples for a network whose real input is ``sample * pixel_scale``."""
        return replace(
            self,
            adapt=self.adapt.with_pixel_scale(pixel_scale),
            test=self.test.with_pixel_scale(pixel_scale),
            validate=None if self.validate is None else self.validate.with_pixel_scale(pixel_scale),
        )

    def for_validation(self) -> EpisodeData:
        """The data as settings are chosen on it: validation samples in the place of the test samples, which nobody sees.

        Where there is no third part, every fourth adapt sample of each class (of all, without classes) is taken from those that are
        trained on, the same ones each time. Raises UsageError where that leaves nothing to train on, or nothing to validate.
        """
        if self.validate is not None:
            return replace(self, test=self.validate, validate=None)
        held_out = _every_fourth(self.adapt)
        trained = np.setdiff1d(np.arange(len(self.adapt)), held_out)
        if not (held_out.size and trained.size):
            raise UsageError(
                f"data set {self.adapt.name}: {len(self.adapt)} samples are too few to hold some back for validation; give a validate part"
            )
        kind = self.adapt.name
        return replace(
            self, adapt=self.adapt.take(trained, kind), test=self.adapt.take(held_out, f"{kind}, held back to validate")
        )


_HELD_BACK_PURPOSE = 6


def _every_fourth(dataset: Dataset) -> NDArray[np.intp]:
    """Indices, ascending, of every fourth sample of each class, drawn without regard to their order in the set."""
    random = random_stream(0, _HELD_BACK_PURPOSE)
    labels = dataset.labels if dataset.has_labels else np.zeros(len(dataset), np.int64)
    drawn = [random.permutation(np.flatnonzero(labels == label))[3::4] for label in np.unique(labels)]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.intp)


def random_stream(seed: int, purpose: int) -> np.random.RandomState:
    """The random numbers of ``seed`` for one purpose (streams of different purposes are unrelated).

    RandomState and not Generator: NumPy has frozen its streams for good, and locked baselines rest on them.
    Raises UsageError for a seed outside 0 .. 2^32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed {seed}: give a whole number from 0 to {2**32 - 1}")
    return np.random.RandomState(np.array([purpose, seed], dtype=np.uint32))


def balanced_split(
    dataset: Dataset, per_class: Sequence[int], random: np.random.RandomState
) -> tuple[NDArray[np.intp], ...]:
    """Indices of disjoint, class-balanced, shuffled subsets of ``dataset``: one of ``count * classes`` for each count.

    What the first subsets are does not depend on those behind them. Raises UsageError when a class has too few samples.
    """
    ends = np.cumsum([0, *per_class])
    parts: list[list[NDArray[np.intp]]] = [[] for _ in per_class]
    wanted = int(ends[-1])
    for label, class_name in enumerate(dataset.classes):
        of_class = random.permutation(np.flatnonzero(dataset.labels == label))
        if len(of_class) < wanted:
            raise UsageError(
                f"data set {dataset.name}: class {class_name!r} has {len(of_class)} samples, {wanted} are asked for; "
                "ask for fewer per class"
            )
        for part, begin, end in zip(parts, ends, ends[1:], strict=False):
            part.append(of_class[begin:end])
    return tuple(random.permutation(np.concatenate(part)) for part in parts)
