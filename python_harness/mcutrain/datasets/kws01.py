"""MLPerf Tiny's keyword-spotting test set: 1,000 words as the int8 MFCC features that its network takes.

Each is a file of 490 codes, 49 frames of 10 cepstral coefficients; y_labels.csv lists them as ``file,classes,label``.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets.base import Dataset, EpisodeData, balanced_split, random_stream
from mcutrain.datasets.corruptions import check_severity
from mcutrain.datasets.locate import locate_file
from mcutrain.errors import UsageError

FOLDER = "kws01_mfcc"
LABELS_FILE = "y_labels.csv"
CLASSES = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
SHAPE = (49, 10, 1)  # frames, coefficients, channels

SHIFT = "microphone"
SHIFTS = (SHIFT,)
ADAPT_PER_CLASS = 35
TEST_PER_CLASS = 35

_SPLIT_PURPOSE = 4
_MICROPHONE_PURPOSE = 5


def kws01() -> Dataset:
    """The 1,000 words: int8 codes (1000, 49, 10, 1).

    Raises NotAvailableError when they are not on this machine, UsageError when a file is damaged.
    """
    return read_features(locate_file(FOLDER, LABELS_FILE))


def kws01_shifted(severity: int = 5, seed: int = 0) -> EpisodeData:
    """420 words through another microphone to adapt to (35 a class) and 420 others to test on, drawn by ``seed``.

    Samples are int8 codes (420, 49, 10, 1), in shuffled order.
    Raises UsageError for a severity or a seed out of range, and what ``kws01`` raises.
    """
    check_severity(severity)
    clean = kws01()
    adapt, test = balanced_split(clean, (ADAPT_PER_CLASS, TEST_PER_CLASS), random_stream(seed, _SPLIT_PURPOSE))
    heard = replace(clean, samples=through_microphone(np.asarray(clean.samples, np.int8), float(severity), seed))
    return EpisodeData(
        adapt=heard.take(adapt, "kws01 adapt"),
        test=heard.take(test, "kws01 test"),
        shift=f"{SHIFT} severity {severity} seed {seed}",
    )


def through_microphone(codes: NDArray[np.int8], deviation: float, seed: int) -> NDArray[np.int8]:
    """The features of another microphone: each coefficient is moved by an amount of its own, the same in all frames.

    A linear filter multiplies the spectrum, so it adds to the logarithm of it, and to the cepstrum that is linear in that.
    codes: int8 (n, frames, coefficients, 1); deviation: of the normal amounts, in codes. Saturates.
    """
    moved = random_stream(seed, _MICROPHONE_PURPOSE).normal(0.0, deviation, codes.shape[2])
    amounts = np.rint(moved).astype(np.int64)[:, np.newaxis]
    heard: NDArray[np.int8] = np.clip(codes + amounts, -128, 127).astype(np.int8)
    return heard


def read_features(labels_file: Path) -> Dataset:
    """Read the files that a y_labels.csv names; they lie beside it.

    Raises UsageError when a row is not ``file,12,label``, or a file does not hold 490 codes.
    """
    samples, labels = [], []
    for number, row in enumerate(csv.reader(labels_file.read_text(encoding="utf-8").splitlines()), 1):
        match row:
            case [name, count, label] if count == str(len(CLASSES)) and label in map(str, range(len(CLASSES))):
                samples.append(_read_word(labels_file.parent / Path(name).name))
                labels.append(int(label))
            case _:
                raise UsageError(f"{labels_file}: line {number} is not 'file,{len(CLASSES)},label'; get the file again")
    if not samples:
        raise UsageError(f"{labels_file}: no rows; get the file again")
    return Dataset("kws01", np.stack(samples), np.array(labels, np.int64), CLASSES)


def _read_word(path: Path) -> NDArray[np.int8]:
    try:
        codes = np.fromfile(path, np.int8)
    except OSError as error:
        raise UsageError(f"{path}: {LABELS_FILE} names it, but it cannot be read: {error.strerror}") from error
    if codes.size != np.prod(SHAPE):
        raise UsageError(f"{path}: {codes.size} bytes, a word has {np.prod(SHAPE)}; get the file again")
    return codes.reshape(SHAPE)
