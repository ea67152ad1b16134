"""Turn folders of photos, one a class, into the .npz file that an episode trains and tests on.

    python photos_to_npz.py --adapt photos/train --test photos/test --side 128 --output photos.npz

Photos become uint8 (n, side, side, 3), a class is the place of its folder's name in alphabetical order.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png")


class InputError(Exception):
    """The photos are not as they have to be; the message says what to do."""


def class_names(folder: Path) -> list[str]:
    """The names of the folders in ``folder``, in order. Raises InputError where there are none."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not names:
        raise InputError(f"{folder} holds no folders: make one for each class and put its photos there")
    return names


def read_photos(folder: Path, classes: list[str], side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All photos below ``folder`` as uint8 (n, side, side, 3), and their classes (n,). Raises InputError where one is not readable."""
    samples, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise InputError(f"{folder / name} holds no photos ({', '.join(SUFFIXES)})")
        for path in paths:
            try:
                with Image.open(path) as image:
                    square = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            except (UnidentifiedImageError, OSError) as error:
                raise InputError(f"{path} is not a photo: {error}") from error
            samples.append(np.asarray(square))
            labels.append(label)
    return np.stack(samples), np.array(labels)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Folders of photos, one a class, become the .npz file of an episode.")
    parser.add_argument("--adapt", type=Path, required=True, help="folder of class folders to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder of the same class folders to test on")
    parser.add_argument("--side", type=int, required=True, help="rows and columns of the network's input")
    parser.add_argument("--output", type=Path, required=True, help="the .npz file to write")
    arguments = parser.parse_args()
    try:
        classes = class_names(arguments.adapt)
        if class_names(arguments.test) != classes:
            raise InputError(f"{arguments.adapt} and {arguments.test} do not hold folders of the same names")
        adapt_samples, adapt_labels = read_photos(arguments.adapt, classes, arguments.side)
        test_samples, test_labels = read_photos(arguments.test, classes, arguments.side)
    except InputError as error:
        print(f"photos_to_npz.py: {error}", file=sys.stderr)
        return 2
    # Class by class would be a bad order to learn in; an episode shuffles, but one that takes only some takes the first.
    order = np.random.RandomState(0).permutation(len(adapt_labels))
    test_order = np.random.RandomState(1).permutation(len(test_labels))
    np.savez_compressed(
        arguments.output,
        adapt_samples=adapt_samples[order],
        adapt_labels=adapt_labels[order],
        test_samples=test_samples[test_order],
        test_labels=test_labels[test_order],
    )
    print(f"{arguments.output}: {len(order)} photos to adapt to, {len(test_order)} to test on, {len(classes)} classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
