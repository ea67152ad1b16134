"""MLPerf Tiny's keyword features: read as published, and through another microphone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mcutrain.datasets import Dataset, kws01_shifted, load_dataset
from mcutrain.datasets.kws01 import CLASSES, LABELS_FILE, SHAPE, read_features, through_microphone
from mcutrain.errors import NotAvailableError, UsageError


@pytest.fixture(scope="module")
def words() -> Dataset:
    try:
        return load_dataset("kws01")
    except NotAvailableError as error:
        pytest.skip(str(error))


def published(folder: Path, rows: str, *, word_bytes: int = 490) -> Path:
    """A folder of two words as they are published."""
    for index in range(2):
        (folder / f"{index}.bin").write_bytes(bytes(range(index, index + 200)) + bytes(word_bytes - 200))
    (folder / LABELS_FILE).write_text(rows)
    return folder / LABELS_FILE


def test_codes_are_read_frame_by_frame_with_their_labels(tmp_path: Path) -> None:
    data = read_features(published(tmp_path, "1.bin,12,3\n0.bin,12,11\n"))
    assert data.samples.shape == (2, *SHAPE) and data.samples.dtype == np.int8
    assert data.samples[0, 2, :, 0].tolist() == list(range(21, 31))
    assert data.samples[1, 12, 8:, 0].tolist() == [-128, -127]
    assert [data.classes[label] for label in data.labels] == ["no", "unknown"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "no rows"),
        ("0.bin,12,3\n1.bin,12\n", "line 2 is not 'file,12,label'"),
        ("0.bin,12,12\n", "line 1 is not"),
        ("0.bin,10,1\n", "line 1 is not"),
        ("2.bin,12,1\n", r"2\.bin: y_labels\.csv names it, but it cannot be read: No such file"),
    ],
)
def test_a_wrong_list_is_refused(rows: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_features(published(tmp_path, rows))


def test_a_file_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.bin: 489 bytes, a word has 490"):
        read_features(published(tmp_path, "0.bin,12,3\n", word_bytes=489))


def test_a_list_reaches_no_file_outside_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(490))
    with pytest.raises(UsageError, match="cannot be read"):
        read_features(published(inside, "../outside.bin,12,3\n"))


def test_without_the_folder_the_set_is_not_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUTRAIN_DATA", str(tmp_path))
    with pytest.raises(NotAvailableError, match="looked for folder kws01_mfcc in MCUTRAIN_DATA="):
        load_dataset("kws01")
    (tmp_path / "kws01_mfcc").mkdir()
    published(tmp_path / "kws01_mfcc", "0.bin,12,3\n")
    assert len(load_dataset("kws01")) == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCUTRAIN_DATA")
    with pytest.raises(NotAvailableError, match="MCUTRAIN_DATA, which is not set"):
        load_dataset("kws01")


def test_the_published_set_has_a_thousand_words_of_twelve_classes(words: Dataset) -> None:
    assert words.samples.shape == (1000, 49, 10, 1)
    assert np.bincount(words.labels).min() == 70 and len(np.unique(words.labels)) == len(CLASSES)


def test_a_microphone_moves_a_coefficient_alike_in_all_frames() -> None:
    codes = np.random.default_rng(0).integers(-60, 61, (3, 49, 10, 1)).astype(np.int8)
    moved = through_microphone(codes, 5.0, seed=1).astype(int) - codes
    assert len(np.unique(moved.reshape(-1, 10), axis=0)) == 1
    assert len(np.unique(moved)) > 4
    assert not np.array_equal(through_microphone(codes, 5.0, seed=2), through_microphone(codes, 5.0, seed=1))


def test_a_moved_code_saturates() -> None:
    ends = np.tile(np.array([-128, 127], np.int8).reshape(2, 1, 1, 1), (1, 49, 10, 1))
    moved = through_microphone(ends, 40.0, seed=1).astype(int) - ends
    assert ((moved[0] == 0) | (moved[1] == 0)).all() and (moved != 0).any()


def test_words_to_adapt_to_and_words_to_test_on_are_balanced_and_disjoint(words: Dataset) -> None:
    data = kws01_shifted(severity=3, seed=7)
    assert data.shift == "microphone severity 3 seed 7"
    heard = [codes.tobytes() for codes in through_microphone(np.asarray(words.samples, np.int8), 3.0, 7)]
    drawn = [codes.tobytes() for part in (data.adapt, data.test) for codes in part.samples]
    assert not Counter(drawn) - Counter(heard), "each word is drawn once"
    known = set(zip(heard, words.labels.tolist(), strict=True))
    assert known.issuperset(zip(drawn, [*data.adapt.labels.tolist(), *data.test.labels.tolist()], strict=True))
    for part in (data.adapt, data.test):
        assert np.bincount(part.labels).tolist() == [35] * 12


def test_a_severity_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="severity"):
        kws01_shifted(severity=6)
