"""scikit-learn's handwritten digits: the data set that is always there.

1,797 images of 8x8 pixels. 997 train the network that is shipped (the source domain); 80 a class are kept from it.
Those 800, turned, paler and noisy, are the deployed domain the device trains itself back to.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets.base import Dataset, EpisodeData, balanced_split, random_stream
from mcutrain.datasets.corruptions import add_gaussian_noise, check_severity, rotate, scale_contrast

SHIFT = "rotation_contrast_noise"
SHIFTS = (SHIFT,)

# At severity 5; weaker severities are proportionally nearer to no change. Strong enough to cost the shipped network
# about half of its accuracy, weak enough that 400 images bring most of it back.
ROTATION_DEGREES = 20.0
CONTRAST_FACTOR = 0.7
NOISE_SIGMA = 0.04

FULL_VALUE = 16  # scikit-learn's values are 0..16
ADAPT_PER_CLASS = 40
TEST_PER_CLASS = 40

# The shipped network has seen the rest of the images, so which ones are held out never changes.
_HELD_OUT_SEED = 0
_HELD_OUT_PURPOSE = 2
_SPLIT_PURPOSE = 3


def digits() -> Dataset:
    """All 1,797 images: uint8 (1797, 8, 8, 1), pixel_scale 1/255.

    scikit-learn's values v of 0..16 become v * 255 / 16, rounded half-even.
    """
    from sklearn.datasets import load_digits  # imported here: it takes a second

    bunch = load_digits()
    images = np.rint(bunch.images * (255.0 / FULL_VALUE)).astype(np.uint8)[..., np.newaxis]
    classes = tuple(str(name) for name in bunch.target_names)
    return Dataset("digits", images, bunch.target.astype(np.int64), classes, pixel_scale=1.0 / 255.0)


def digits_training() -> Dataset:
    """The 997 images the shipped network is trained on, in scikit-learn's order."""
    everything = digits()
    training = np.setdiff1d(np.arange(len(everything)), _held_out_indices(everything))
    return everything.take(training, "digits training")


def digits_held_out() -> Dataset:
    """The other 800 images (80 a class), as they are: what clean accuracy is measured on."""
    everything = digits()
    return everything.take(_held_out_indices(everything), "digits held out")


def digits_shifted(severity: int = 5, seed: int = 0) -> EpisodeData:
    """400 shifted images to adapt to (40 a class) and 400 others to test on, drawn by ``seed`` from the held-out ones.

    The shift is a rotation, then a loss of contrast, then noise; severity 1..5. Samples are uint8 (400, 8, 8, 1).
    Raises UsageError for a severity or a seed out of range.
    """
    check_severity(severity)
    held_out = digits_held_out()
    adapt, test = balanced_split(held_out, (ADAPT_PER_CLASS, TEST_PER_CLASS), random_stream(seed, _SPLIT_PURPOSE))
    drawn = held_out.take(np.concatenate([adapt, test]), held_out.name)
    strength = severity / 5.0
    images = rotate(np.asarray(drawn.samples, np.uint8), ROTATION_DEGREES * strength)
    images = scale_contrast(images, 1.0 - (1.0 - CONTRAST_FACTOR) * strength)
    shifted = replace(drawn, samples=add_gaussian_noise(images, NOISE_SIGMA * strength, seed))
    return EpisodeData(
        adapt=shifted.take(np.arange(len(adapt)), "digits adapt"),
        test=shifted.take(np.arange(len(adapt), len(drawn)), "digits test"),
        shift=f"{SHIFT} severity {severity} seed {seed}",
    )


def _held_out_indices(everything: Dataset) -> NDArray[np.intp]:
    random = random_stream(_HELD_OUT_SEED, _HELD_OUT_PURPOSE)
    (held_out,) = balanced_split(everything, (ADAPT_PER_CLASS + TEST_PER_CLASS,), random)
    return np.sort(held_out)
