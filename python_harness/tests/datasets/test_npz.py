"""A user's own .npz file: what it may hold, and the one line for everything else."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
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
        ({"test_labels": None}, "no array 'test_labels'; a data file has them for all its parts, or for none"),
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
            "samples are (n, 1, 8, 8): channels first; digits reads them last: transpose(0, 2, 3, 1)",
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


# Files that are no honest ones


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def claiming(shape: str, dtype: str = "|u1", content: bytes = b"\0" * 64) -> bytes:
    """An array whose header says what its content is not."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def zipped(folder: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "mine.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def good_members() -> list[tuple[str, bytes]]:
    return [(f"{name}.npy", npy(array)) for name, array in arrays().items()]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (claiming("(1000000, 1000, 1000)"), "claims 1,000,000,000,000 bytes, and has 64"),
        (claiming(f"({10**30},)"), "claims 1,000,000,000,000,000"),
        (claiming("(-1, 8)"), "no samples"),
        (claiming("(0, " + str(10**30) + ")", content=b""), "cannot be read as a .npz data file"),
        (claiming("(2,)"), "claims 2 bytes, and has 64"),
        (claiming("(65,)"), "claims 65 bytes, and has 64"),
        (claiming("(8, 8"), "cannot be read as a .npz data file"),
        (claiming("(" * 3000), "cannot be read as a .npz data file"),
        (claiming("(8, 8.0)"), "cannot be read as a .npz data file"),
        (claiming("(64,)", "|O"), "Object arrays cannot be loaded"),
        (claiming("(8,)", "<M8[s]"), "no samples"),
        (claiming("(1,)", "|S64"), "no samples"),
        (claiming("(" + "1, " * 9 + "64)"), "10 axes"),
        (npy(np.zeros(4, [("a", "<i4"), ("b", "<f4")])), "no samples"),
        (npy(np.array([{}, 1], object)), "Object arrays cannot be loaded"),
        (npy(np.zeros((4, 8, 8, 1), np.float16)), "test_samples are float16: give uint8 pixels"),
        (npy(np.zeros((4, 8, 8, 1), bool)), "test_samples are bool"),
        (npy(np.zeros((4, 8, 8, 1), complex)), "test_samples are complex128"),
        (npy(np.zeros((4, 8, 8, 1), np.longdouble)), "test_samples are "),
        (npy(np.uint8(3)), "the first axis counts samples"),
        (npy(np.zeros((0, 8, 8, 1), np.uint8)), "0 samples but 4 labels"),
        (b"", "cannot be read as a .npz data file"),
        (b"hello", "cannot be read as a .npz data file"),
        (b"\x93NUMPY\x03\x00\x00\x00\x00\x00", "of .npy version 3.0"),
    ],
)
def test_a_member_that_is_no_array_of_numbers_is_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    members = [member for member in good_members() if member[0] != "test_samples.npy"]
    assert said in refusal_of(zipped(tmp_path, [*members, ("test_samples.npy", content)]), pixel_scale=1 / 255)


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_order_of_bytes_and_axes_reads_alike(order: str, fortran: bool, tmp_path: Path) -> None:
    saved = arrays(np.float32)
    for name in saved:
        other = saved[name].astype(saved[name].dtype.newbyteorder(order))
        saved[name] = np.asfortranarray(other) if fortran else other
    test = read_npz(written(tmp_path, saved)).test
    assert test.samples.dtype == np.dtype(np.float32) and test.samples.flags.c_contiguous
    np.testing.assert_array_equal(test.samples, arrays(np.float32)["test_samples"])


def test_an_array_that_is_not_read_costs_nothing_whatever_it_is(tmp_path: Path) -> None:
    giant = claiming("(1000000000000,)")
    members = [*good_members(), ("giant.npy", giant), ("zeros.npy", bytes(1 << 26)), ("notes.txt", b"hello")]
    path = zipped(tmp_path, members, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    assert len(read_npz(path).test) == 4
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    bomb = ("test_samples.npy", npy(np.zeros((1 << 20, 8, 8, 1), np.uint8)))
    path = zipped(tmp_path, [*good_members()[:2], bomb], zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"mine\.npz: test_samples\.npy would unpack [0-9,]+ bytes to 67,108,992"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_size_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path, good_members())
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")  # the directory's entry of the last array: its size in the file, and unpacked
    content[at + 20 : at + 28] = struct.pack("<II", 0xF0000000, 0xF0000000)
    path.write_bytes(content)
    assert "at most 1,073,741,824 are read" in refusal_of(path)


def test_an_encrypted_a_cut_and_a_changed_member_are_refused_in_one_line(tmp_path: Path) -> None:
    content = zipped(tmp_path, good_members()).read_bytes()
    path = tmp_path / "mine.npz"
    encrypted = bytearray(content)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(mark) + flags] |= 1
    changed = bytearray(content)
    changed[content.index(b"\x93NUMPY") + 200] ^= 1
    unknown = bytearray(content)
    for mark, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        unknown[unknown.index(mark) + method] = 77
    for damaged, said in (
        (encrypted, "is encrypted"), (content[:-30], "not a zip file"), (changed, "Bad CRC-32"), (unknown, "compression"),
    ):  # fmt: skip
        path.write_bytes(damaged)
        assert said in refusal_of(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for again in ("test_labels.npy", "test_labels"):
        path = zipped(tmp_path, [*good_members(), (again, npy(np.zeros(4, int)))])
        assert "'test_labels' is in the file twice" in refusal_of(path)


def test_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        saved = arrays(np.float32)
        saved["test_samples"][2, 3, 4, 0] = value
        with pytest.raises(UsageError, match="samples hold a value that is not finite"):
            read_back(written(tmp_path, saved))


def read_back(path: Path) -> None:
    graph = load_model(find_model("examples/digits/digits.onnx"))
    load_coded_data(DataSource(file=str(path)), inference(graph))


def test_a_validate_part_is_a_third_one(tmp_path: Path) -> None:
    saved = arrays()
    saved |= {"validate_samples": saved["test_samples"][:3] + 1, "validate_labels": np.array([11, 0, 3])}
    data = read_npz(written(tmp_path, saved))
    assert data.validate is not None and len(data.validate.classes) == len(data.adapt.classes) == 12
    chosen_on = data.for_validation()
    np.testing.assert_array_equal(chosen_on.test.samples, saved["validate_samples"])
    np.testing.assert_array_equal(chosen_on.adapt.samples, saved["adapt_samples"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validate_labels": None}, "no array 'validate_labels'"),
        ({"validate_samples": None}, "no array 'validate_samples'"),
        ({"validate_samples": np.zeros((3, 8, 8, 1), np.float32)}, "validate_samples are float32, test_samples uint8"),
        ({"validate_labels": np.array([1, 2])}, "3 samples but 2 labels"),
    ],
    ids=str,
)
def test_a_validate_part_that_is_not_like_the_others_is_refused(changes: Arrays, said: str, tmp_path: Path) -> None:
    saved = {
        **arrays(),
        "validate_samples": np.zeros((3, 8, 8, 1), np.uint8),
        "validate_labels": np.array([1, 2, 3]),
        **changes,
    }
    path = written(tmp_path, {name: array for name, array in saved.items() if array is not None})
    with pytest.raises(UsageError, match=said):
        read_npz(path)
