"""Episodes of a user's own .npz file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episode.conftest import MakeTarget, digits
from mcutrain.datasets import digits_shifted
from mcutrain.episode.compare import compared_lines, first_difference
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.run import profile_steps
from mcutrain.errors import UsageError

STEPS, TESTED = 20, 30

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)


@pytest.fixture(scope="module")
def codes() -> dict[str, Any]:
    """What a user saves who has the network's input codes: those of the shifted digits."""
    data = digits_shifted()
    return {
        "adapt_samples": (data.adapt.samples.astype(np.int16) - 128).astype(np.int8),
        "adapt_labels": data.adapt.labels,
        "test_samples": (data.test.samples.astype(np.int16) - 128).astype(np.int8),
        "test_labels": data.test.labels,
    }


def of_file(folder: Path, arrays: Mapping[str, Any]) -> PreparedEpisode:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return prepare(digits(data={"file": str(path)}))


def test_an_episode_of_saved_codes_is_the_one_of_their_pixels(
    codes: dict[str, Any], target: MakeTarget, tmp_path: Path
) -> None:
    saved, pixels = of_file(tmp_path, codes), prepare(digits())
    lines, expected = (
        target(episode, "host").run(episode.image(steps=STEPS, test=TESTED)) for episode in (saved, pixels)
    )
    assert len(compared_lines(expected)) == STEPS + 2
    assert first_difference(lines, expected) is None


@needs_qemu
@pytest.mark.qemu
def test_an_episode_of_test_samples_alone_evaluates_on_the_board_and_trains_nothing(
    codes: dict[str, Any], target: MakeTarget, tmp_path: Path
) -> None:
    episode = of_file(tmp_path, {name: array[:TESTED] for name, array in codes.items() if name.startswith("test_")})
    golden, board = (compared_lines(target(episode, name).run(episode.image())) for name in ("golden", "m4-256k"))
    assert [(line.kind, line.integer("total")) for line in golden] == [("evaluation", TESTED)] * 2
    assert golden[0].integer("correct") == golden[1].integer("correct") > 10
    assert first_difference(golden, board) is None
    with pytest.raises(UsageError, match="trains in no step, so there is none to profile"):
        profile_steps(episode, target(episode, "m4-256k"), 0)
