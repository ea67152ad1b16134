"""The CIFAR-10 test images, clean, and corrupted as the deployed domain of an episode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mcutrain.datasets.base import Dataset, EpisodeData, balanced_split, random_stream
from mcutrain.datasets.corruptions import CORRUPTION_NAMES, corrupt, jpeg_codec
from mcutrain.datasets.locate import Archive, locate_member
from mcutrain.errors import UsageError

FOLDER = "cifar-10-batches-bin"
TEST_FILE = "test_batch.bin"
ARCHIVE = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHIFTS = CORRUPTION_NAMES

SIDE = 32
CHANNELS = 3
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE
ADAPT_PER_CLASS = 100
TEST_PER_CLASS = 100
VALIDATE_PER_CLASS = 100

_SPLIT_PURPOSE = 0


def cifar10() -> Dataset:
    """The 10,000 test images: uint8 (10000, 32, 32, 3), pixel_scale 1.0.

    Raises NotAvailableError when they are not on this machine, UsageError when the file is damaged.
    """
    return read_batch(locate_member(FOLDER, TEST_FILE, ARCHIVE))


def cifar10_shifted(corruption: str, severity: int = 5, seed: int = 0) -> EpisodeData:
    """1,000 corrupted test images to adapt to (100 a class), 1,000 to test on and 1,000 to choose settings on, drawn by ``seed``.

    corruption: one of CORRUPTION_NAMES; severity: 1..5. Samples are uint8 (1000, 32, 32, 3), in shuffled order.
    Raises UsageError for a wrong argument, and what ``cifar10`` raises.
    """
    if corruption not in SHIFTS:
        raise UsageError(f"unknown shift {corruption!r} of cifar10: give one of {', '.join(SHIFTS)}")
    clean = cifar10()
    counts = (ADAPT_PER_CLASS, TEST_PER_CLASS, VALIDATE_PER_CLASS)
    adapt, test, validate = balanced_split(clean, counts, random_stream(seed, _SPLIT_PURPOSE))
    drawn = clean.take(np.concatenate([adapt, test]), clean.name)
    # Both parts in one call, so that they get different noise.
    shifted = replace(drawn, samples=corrupt(np.asarray(drawn.samples, np.uint8), corruption, severity, seed))
    others = clean.take(validate, "cifar10 validate")
    noisy = corrupt(np.asarray(others.samples, np.uint8), corruption, severity, (seed + 1) % 2**32)
    codec = f" ({jpeg_codec()})" if corruption == "jpeg_compression" else ""
    return EpisodeData(
        adapt=shifted.take(np.arange(len(adapt)), "cifar10 adapt"),
        test=shifted.take(np.arange(len(adapt), len(drawn)), "cifar10 test"),
        shift=f"{corruption} severity {severity} seed {seed}{codec}",
        validate=replace(others, samples=noisy),
    )


def read_batch(path: Path) -> Dataset:
    """Read a file of the published binary format: records of a label byte and 3,072 bytes, channel by channel.

    Raises UsageError when the file is not a whole number of records, or a label is not one of the ten.
    """
    content = np.fromfile(path, dtype=np.uint8)
    if content.size == 0 or content.size % RECORD_BYTES:
        raise UsageError(
            f"{path}: {content.size} bytes are not a whole number of {RECORD_BYTES}-byte records; delete it and get it "
            f"again from {ARCHIVE.url}"
        )
    records = content.reshape(-1, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise UsageError(
            f"{path}: record {int(labels.argmax())} has label {labels.max()}, above {len(CLASSES) - 1}; delete the "
            f"file and get it again from {ARCHIVE.url}"
        )
    planes = records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE)
    return Dataset("cifar10", np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels, CLASSES)
