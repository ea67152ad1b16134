"""A user's own .npz file: what it may hold, and the one line for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.datasets import read_npz
from mcutrain.episode.definition import DataSource
from mcutrain.episode.samples import load_coded_data
from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from mcutrain.paths import find_model

Arrays = dict[str, Any]


def arrays(dtype: Any = np.uint8) -> Arrays:
    """Six samples to adapt to and four to test on, of the digits network's shape."""
    random = np.random.default_rng(0)
    return {
        "adapt_samples": random.integers(0, 100, (6, 8, 8, 1)).astype(dtype),
        "adapt_labels": np.array([0, 1, 2, 3, 4, 5], np.uint8),
        "test_samples": random.integers(0, 100, (4, 8, 8, 1)).astype(dtype),
        "test_labels": np.array([9, 8, 7, 6]),
    }


def written(folder: Path, content: Arrays) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **content)
    return path


def refusal_of(path: Path, **source: Any) -> str:
    """What the user reads when an episode of the digits network takes the file."""
    graph = load_model(find_model("examples/digits/digits.onnx"))
    with pytest.raises(UsageError) as refusal:
        load_coded_data(DataSource(file=str(path), **source), inference(graph))
    assert "\n" not in str(refusal.value)
    assert "mine.np" in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int8])
def test_samples_and_labels_come_back_as_they_were_saved(dtype: Any, tmp_path: Path) -> None:
    saved = arrays(dtype)
    data = read_npz(written(tmp_path, saved))
    for part, dataset in (("adapt", data.adapt), ("test", data.test)):
        assert dataset.samples.dtype == dtype
        np.testing.assert_array_equal(dataset.samples, saved[f"{part}_samples"])
        np.testing.assert_array_equal(dataset.labels, saved[f"{part}_labels"])
        assert dataset.classes == tuple("0123456789")


def test_int8_samples_reach_the_network_as_they_are(tmp_path: Path) -> None:
    saved = arrays()
    saved |= {name: (saved[name].astype(np.int16) - 50).astype(np.int8) for name in ("adapt_samples", "test_samples")}
    graph = load_model(find_model("examples/digits/digits.onnx"))
    coded = load_coded_data(DataSource(file=str(written(tmp_path, saved)), test=3), inference(graph))
    np.testing.assert_array_equal(coded.adapt.codes, saved["adapt_samples"])
    np.testing.assert_array_equal(coded.test.codes, saved["test_samples"][:3])


def test_a_file_of_test_arrays_alone_has_nothing_to_adapt_to(tmp_path: Path) -> None:
    saved = arrays()
    data = read_npz(written(tmp_path, {name: saved[name] for name in ("test_samples", "test_labels")}))
    assert (len(data.adapt), len(data.test)) == (0, 4)


def halved(samples: NDArray[Any]) -> NDArray[Any]:
    return samples[:, :4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_labels": None}, "no array 'test_labels'; a data file has them for both parts, or for neither"),
        ({"adapt_labels": None}, "no array 'adapt_labels'"),
        ({"test_samples": np.uint8(1)}, r"test_samples have shape (): the first axis counts samples"),
        (
            {"test_labels": np.array([0.0, 1.0, 2.0, 3.0])},
            "test_labels are float64 of shape (4,): give one whole number",
        ),
        ({"test_labels": np.eye(4, dtype=int)}, "test_labels are int64 of shape (4, 4)"),
        ({"test_labels": np.array([0, 1, 2, -1])}, "test_labels hold -1: classes are numbers from 0"),
        ({"test_labels": np.array([0, 1, 2, 1 << 16])}, "test_labels hold 65536: classes are numbers from 0 to 65535"),
        ({"test_labels": np.array([0, 1])}, "4 samples but 2 labels"),
        ({"test_labels": np.array([0, 1, 2, 10])}, "11 classes, but digits tells only 10 apart"),
        ({"test_samples": arrays(np.float32)["test_samples"]}, "adapt_samples are uint8, test_samples float32"),
        (
            {name: arrays(np.float64)[name] for name in ("adapt_samples", "test_samples")},
            "test_samples are float64: give uint8 pixels, float32 values or int8 input codes",
        ),
        (
            {"test_samples": halved(arrays()["test_samples"])},
            "samples of shape (4, 8, 1) do not fit the input (8, 8, 1)",
        ),
        (
            {"test_samples": arrays()["test_samples"].transpose(0, 3, 1, 2)},
            "samples of shape (1, 8, 8) do not fit the input (8, 8, 1)",
        ),
        (
            {"test_samples": np.array([object()] * 4)},
            "cannot be read as a .npz data file: Object arrays cannot be loaded",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_array_is_refused_in_one_line(change: Arrays, said: str, tmp_path: Path) -> None:
    content = {name: array for name, array in {**arrays(), **change}.items() if array is not None}
    assert said in refusal_of(written(tmp_path, content), pixel_scale=1 / 255)


def test_what_is_no_npz_file_is_refused_in_one_line(tmp_path: Path) -> None:
    alone = tmp_path / "mine.npy"
    np.save(alone, np.zeros(3))
    assert "one array alone" in refusal_of(alone)
    for content in (b"", b"PK\x03\x04", b"samples"):
        broken = tmp_path / "mine.npz"
        broken.write_bytes(content)
        assert "cannot be read as a .npz data file" in refusal_of(broken)
    assert "No such file" in refusal_of(tmp_path / "none" / "mine.npz")


def test_a_pixel_scale_for_int8_codes_is_refused(tmp_path: Path) -> None:
    said = refusal_of(written(tmp_path, arrays(np.int8)), pixel_scale=1.0)
    assert "int8 samples are input codes already; leave pixel_scale out" in said
