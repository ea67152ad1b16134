import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mcutrain.datasets import Dataset, cifar10_shifted, load_dataset, to_codes
from mcutrain.datasets.cifar10 import CLASSES, RECORD_BYTES, SHIFTS, read_batch
from mcutrain.errors import UsageError

# Accuracy of MLPerf Tiny's int8 ResNet8 before it adapts, by another implementation of the same protocol. 1,000 images
# have a standard error of about 1.5 points; three of them, on the difference of two such measurements.
BEFORE = {
    "gaussian_noise": 0.172,
    "gaussian_blur": 0.538,
    "contrast": 0.238,
    "brightness": 0.812,
    "pixelate": 0.448,
    "jpeg_compression": 0.672,
}
TOLERANCE = 3 * 0.015 * 2**0.5


def write_batch(folder: Path, per_class: int = 300, extra: bytes = b"") -> Path:
    """A file of the published format: in record r, plane c has r % 251 in its first row and c elsewhere."""
    records = np.zeros((10 * per_class, RECORD_BYTES), dtype=np.uint8)
    records[:, 0] = np.arange(len(records)) % 10
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    planes[:] = np.arange(3, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    planes[:, :, 0, :] = (np.arange(len(records)) % 251)[:, np.newaxis, np.newaxis]
    path = folder / "cifar-10-batches-bin" / "test_batch.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(records.tobytes() + extra)
    return path


def real_file(variable: str, path: str) -> Path:
    root = os.environ.get(variable)
    if root is None or not (Path(root) / path).is_file():
        pytest.skip(f"needs {path} in ${variable}")
    return Path(root) / path


def test_a_record_is_a_label_and_three_planes(tmp_path: Path) -> None:
    data = read_batch(write_batch(tmp_path, per_class=2))
    assert data.samples.shape == (20, 32, 32, 3)
    assert data.samples.dtype == np.uint8
    assert data.labels.tolist() == 2 * list(range(10))
    assert data.samples[7, 0, 5].tolist() == [7, 7, 7]
    assert data.samples[7, 1, 5].tolist() == [0, 1, 2]


def test_the_set_is_found_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_batch(tmp_path)
    monkeypatch.setenv("MCUTRAIN_DATA", str(tmp_path))
    assert len(load_dataset("cifar10")) == 3000


def test_a_shifted_set_has_every_class_equally_often_and_other_images_to_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batch(tmp_path)
    monkeypatch.setenv("MCUTRAIN_DATA", str(tmp_path))
    data = cifar10_shifted("brightness", severity=1)
    assert np.bincount(data.adapt.labels).tolist() == [100] * 10
    assert np.bincount(data.test.labels).tolist() == [100] * 10
    assert data.validate is not None
    assert np.bincount(data.validate.labels).tolist() == [100] * 10
    # All 3,000 records are drawn, so together the parts hold each record once.
    drawn = np.concatenate([data.adapt.samples, data.test.samples, data.validate.samples])[:, 0, 0, 0]
    clean = read_batch(tmp_path / "cifar-10-batches-bin" / "test_batch.bin").samples
    brighter = np.minimum(np.rint(clean[:, 0, 0, 0] + 255 * 0.05), 255)
    assert sorted(drawn) == sorted(brighter)


def test_the_same_call_gives_the_same_data_and_another_seed_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batch(tmp_path)
    monkeypatch.setenv("MCUTRAIN_DATA", str(tmp_path))
    first, again, other = (cifar10_shifted("gaussian_noise", seed=seed) for seed in (3, 3, 4))
    assert first.adapt.digest() == again.adapt.digest()
    assert first.test.digest() == again.test.digest()
    assert first.adapt.digest() != other.adapt.digest()
    assert first.shift == "gaussian_noise severity 5 seed 3"
    # Below their first row all these images are the same, so what differs there is the noise.
    assert not np.array_equal(first.adapt.samples[0, 1:], other.adapt.samples[0, 1:])


def test_a_jpeg_shift_names_the_codec_that_decides_its_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_batch(tmp_path)
    monkeypatch.setenv("MCUTRAIN_DATA", str(tmp_path))
    assert "Pillow" in cifar10_shifted("jpeg_compression").shift


@pytest.mark.parametrize("extra", [b"x", b"\x00" * (RECORD_BYTES - 1)])
def test_a_file_cut_within_a_record_is_refused(tmp_path: Path, extra: bytes) -> None:
    path = write_batch(tmp_path, per_class=1, extra=extra)
    with pytest.raises(
        UsageError, match=r"test_batch.bin: \d+ bytes are not a whole number of 3073-byte records; delete"
    ):
        read_batch(path)


def test_a_label_above_nine_is_refused_with_its_record(tmp_path: Path) -> None:
    path = write_batch(tmp_path, per_class=1, extra=b"\x0a" + bytes(RECORD_BYTES - 1))
    with pytest.raises(UsageError, match="record 10 has label 10, above 9"):
        read_batch(path)


def test_the_classes_are_those_of_the_published_list() -> None:
    listed = real_file("MCUTRAIN_DATA", "cifar-10-batches-bin/batches.meta.txt").read_text().split()
    assert tuple(listed) == CLASSES


@pytest.fixture(scope="module")
def resnet8() -> Interpreter:
    model = real_file("MCUTRAIN_MODELS", "mlperf_tiny/pretrainedResnet_quant.tflite")
    real_file("MCUTRAIN_DATA", "cifar-10-batches-bin/test_batch.bin")
    return Interpreter(str(model), num_threads=1)


def accuracy(interpreter: Interpreter, data: Dataset) -> float:
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], data.samples.shape)
    interpreter.allocate_tensors()
    input_scale, input_zero_point = source["quantization"]
    codes = to_codes(data.samples, data.pixel_scale, input_scale, input_zero_point, "int8 codes")
    interpreter.set_tensor(source["index"], codes)
    interpreter.invoke()
    return float(np.mean(interpreter.get_tensor(target["index"]).argmax(axis=1) == data.labels))


@pytest.mark.parametrize("shift", SHIFTS)
def test_resnet8_is_as_accurate_before_adapting_as_measured_elsewhere(resnet8: Interpreter, shift: str) -> None:
    assert accuracy(resnet8, cifar10_shifted(shift).test) == pytest.approx(BEFORE[shift], abs=TOLERANCE)


@pytest.mark.parametrize("shift", ["gaussian_noise", "contrast"])
def test_the_three_parts_share_no_image(shift: str) -> None:
    real_file("MCUTRAIN_DATA", "cifar-10-batches-bin/test_batch.bin")
    clean = load_dataset("cifar10")
    from mcutrain.datasets.base import balanced_split, random_stream

    parts = balanced_split(clean, (100, 100, 100), random_stream(0, 0))
    assert len(set(np.concatenate(parts).tolist())) == 3000
    data = cifar10_shifted(shift)
    assert data.validate is not None
    for part, indices in zip((data.adapt, data.test, data.validate), parts, strict=True):
        np.testing.assert_array_equal(part.labels, clean.labels[indices])
