"""examples/own_data: folders of photos become a data file that episodes take, and its episode is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mcutrain.datasets import read_npz
from mcutrain.episode.definition import load_episode

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_data"
COLOURS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


def run_script(folder: Path, *, test: str = "test") -> subprocess.CompletedProcess[str]:
    arguments = ["--adapt", folder / "train", "--test", folder / test, "--side", "4", "--output", folder / "out.npz"]
    command = [sys.executable, str(EXAMPLE / "photos_to_npz.py"), *map(str, arguments)]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three plain photos a class to train on, one to test on."""
    for split, count in (("train", 3), ("test", 1)):
        for name, colour in COLOURS.items():
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (9, 6 + index), colour).save(folder / f"{index}.png")
    return tmp_path


def test_folders_of_photos_become_samples_and_classes(photos: Path) -> None:
    result = run_script(photos)
    assert result.returncode == 0, result.stderr
    assert "6 photos to adapt to, 2 to test on, 2 classes" in result.stdout
    data = read_npz(photos / "out.npz")
    assert data.adapt.samples.shape == (6, 4, 4, 3) and data.test.samples.shape == (2, 4, 4, 3)
    for part in (data.adapt, data.test):
        assert part.samples.dtype == np.uint8
        for sample, label in zip(part.samples, part.labels, strict=True):
            assert (sample == list(COLOURS.values())[label]).all()
    assert sorted(data.adapt.labels) == [0, 0, 0, 1, 1, 1]
    assert sorted(data.adapt.labels) != data.adapt.labels.tolist(), "the classes are mixed"


def test_what_is_wrong_with_the_photos_is_said_in_one_line(photos: Path) -> None:
    assert_refused(run_script(photos, test="none"), "none holds no folders")
    (photos / "test" / "green").mkdir()
    assert_refused(run_script(photos), "do not hold folders of the same names")
    (photos / "train" / "green").mkdir()
    assert_refused(run_script(photos), "green holds no photos (.jpg, .jpeg, .png)")
    (photos / "train" / "green" / "0.png").write_bytes(b"no photo")
    assert_refused(run_script(photos), "0.png is not a photo")


def assert_refused(result: subprocess.CompletedProcess[str], said: str) -> None:
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and said in result.stderr


def test_the_episode_of_the_example_is_one() -> None:
    definition = load_episode(str(EXAMPLE / "photos.yaml"))
    assert (definition.new_head, definition.data.file) == (12, "photos.npz")
    assert definition.options.model_dump()["scheme"] == "head"
