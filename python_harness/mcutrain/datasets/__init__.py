"""Data sets by name, and the shifted domains that episodes adapt to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mcutrain.datasets import cifar10 as _cifar10
from mcutrain.datasets import digits as _digits
from mcutrain.datasets import kws01 as _kws01
from mcutrain.datasets.base import Dataset, EpisodeData
from mcutrain.datasets.cifar10 import cifar10_shifted
from mcutrain.datasets.digits import digits_held_out, digits_shifted, digits_training
from mcutrain.datasets.kws01 import kws01_shifted
from mcutrain.datasets.npz import read_npz
from mcutrain.datasets.quantize import quantize, to_codes
from mcutrain.errors import UsageError

__all__ = [
    "Dataset",
    "EpisodeData",
    "cifar10_shifted",
    "dataset_names",
    "digits_held_out",
    "digits_shifted",
    "digits_training",
    "kws01_shifted",
    "load_dataset",
    "load_episode_data",
    "quantize",
    "read_npz",
    "shift_names",
    "to_codes",
]


@dataclass(frozen=True)
class _Entry:
    """A data set: how to load it clean, its shifts, and how to make one: (shift, severity, seed) -> EpisodeData."""

    load: Callable[[], Dataset]
    shifts: tuple[str, ...]
    shifted: Callable[[str, int, int], EpisodeData]


CLEAN = "none"
"""The shift of an episode that only evaluates: the whole set as it is, with nothing to adapt to."""

_REGISTRY: Mapping[str, _Entry] = {
    "cifar10": _Entry(_cifar10.cifar10, _cifar10.SHIFTS, cifar10_shifted),
    "digits": _Entry(_digits.digits, _digits.SHIFTS, lambda shift, severity, seed: digits_shifted(severity, seed)),
    "kws01": _Entry(_kws01.kws01, _kws01.SHIFTS, lambda shift, severity, seed: kws01_shifted(severity, seed)),
}


def dataset_names() -> tuple[str, ...]:
    """The names ``load_dataset`` takes."""
    return tuple(_REGISTRY)


def shift_names(name: str) -> tuple[str, ...]:
    """The shifts of a data set. Raises UsageError for an unknown data set."""
    return *_entry(name).shifts, CLEAN


def load_dataset(name: str) -> Dataset:
    """A clean data set by name.

    Raises UsageError for an unknown name, NotAvailableError when the set is not on this machine.
    """
    return _entry(name).load()


def load_episode_data(name: str, shift: str, severity: int = 5, seed: int = 0) -> EpisodeData:
    """The adapt and test samples of a data set under one of its shifts, severity 1..5, drawn by ``seed``.

    Raises UsageError for an unknown name or shift, NotAvailableError when the set is not on this machine.
    """
    entry = _entry(name)
    if shift not in shift_names(name):
        raise UsageError(f"unknown shift {shift!r} of data set {name}: give one of {', '.join(shift_names(name))}")
    if shift == CLEAN:
        everything = entry.load()
        return EpisodeData(everything.take(np.arange(0), f"{name} adapt"), everything, CLEAN)
    return entry.shifted(shift, severity, seed)


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        raise UsageError(f"unknown data set {name!r}: give one of {', '.join(_REGISTRY)}")
    return _REGISTRY[name]
