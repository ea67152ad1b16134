"""Episodes and hand-written models for the tests of the runners."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcutrain.emulators.base import Runner
from mcutrain.emulators.build import BuiltFirmware, BuiltHost
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.request import Model, TracedVisit

MODELS = Path(__file__).parent / "models"
PERCEPTRON = MODELS / "perceptron"
PLAN_CRC32 = 0x1234ABCD

# What the perceptron's lines have to say of it: 3 classes of 4 inputs and a bias, and two operators with something to trace.
PERCEPTRON_MODEL = Model(
    plan_crc32=PLAN_CRC32,
    arena_bytes=16,
    trainable_bytes=64,
    classes=3,
    has_output=False,
    batch=1,
    sample=(TracedVisit(0, 0, 0, 12), TracedVisit(2, 0, 0, 48), TracedVisit(2, 0, 1, 12)),
    update=(),
)

# Builds a model's folder, or a model.c given as text (which may include minimal.h), for a board.
FirmwareBuilder = Callable[[Path | str, str], BuiltFirmware]
HostBuilder = Callable[[Path | str], BuiltHost]
Emulated = Callable[[BuiltFirmware], Runner]


def perceptron_image(
    steps: int = 60,
    *,
    predictions: bool = False,
    trace_step: int | None = None,
    dump_op: int | None = None,
    digest_every: int = 1,
) -> EpisodeImage:
    """Samples that the perceptron's first weights get wrong: class c is large in input c + 1."""
    rng = np.random.default_rng(5)
    return EpisodeImage(
        PLAN_CRC32,
        *_samples(rng, 30),
        *_samples(rng, 40),
        rng.integers(0, 30, steps).astype(np.uint16),
        np.array([0.5, 0.25, 0.125], np.float32),
        steps_per_learning_rate=3,  # few: the losses of the first steps are not 0
        seed=12345,
        predictions=predictions,
        trace_step=trace_step,
        dump_op=dump_op,
        digest_every=digest_every,
    )


def one_step() -> EpisodeImage:
    """One step on one sample, and no evaluation."""
    sample, label = np.zeros((1, 4), np.int8), np.zeros(1, np.uint16)
    return EpisodeImage(
        *(PLAN_CRC32, sample, label, sample[:0], label[:0], label, np.ones(1, np.float32)),
        evaluate_before=False,
        evaluate_after=False,
    )


def one_inference() -> EpisodeImage:
    """One evaluation of one sample."""
    none = np.zeros(0, np.uint16)
    sample = np.zeros((1, 4), np.int8)
    return EpisodeImage(
        *(PLAN_CRC32, sample[:0], none, sample, np.zeros(1, np.uint16), none, np.zeros(0, np.float32)),
        evaluate_after=False,
    )


def _samples(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    labels = rng.integers(0, 3, count).astype(np.uint16)
    samples = rng.integers(-20, 20, (count, 4))
    samples[np.arange(count), labels + 1] += 60
    return samples.astype(np.int8), labels
