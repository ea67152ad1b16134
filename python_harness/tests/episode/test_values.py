"""Episodes of networks that put out values: an autoencoder and a regression, from the data file to the record and its report."""

from __future__ import annotations

import dataclasses
import io
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

from episode.conftest import MakeTarget
from mcutrain.datasets import read_npz
from mcutrain.emulators.image import EpisodeImage
from mcutrain.episode.baseline import differences, lock
from mcutrain.episode.compare import compared_lines, first_difference
from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.errors import MismatchError, UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.report.html import write_report
from mcutrain.report.json_report import dump_records, load_records
from mcutrain.report.text import render_episode, render_table
from support.onnx_models import FloatModel, quantize

SIZE, MIDDLE = 24, 6

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)


def spectra(count: int, seed: int) -> Any:
    """Samples of few degrees of freedom, as those of a machine that is well: float32 (count, SIZE)."""
    random = np.random.default_rng(seed)
    shapes = np.random.default_rng(0).normal(size=(3, SIZE))
    return (random.normal(size=(count, 3)) @ shapes + 0.05 * random.normal(size=(count, SIZE))).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An autoencoder SIZE -> MIDDLE -> SIZE and a regression SIZE -> MIDDLE -> 1, untrained, as onnxruntime quantises them."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for name, outputs in (("autoencoder", SIZE), ("regression", 1)):
        model = FloatModel((SIZE,), seed=4)
        hidden = model.node("Relu", model.node("Gemm", "x", model.random(MIDDLE, SIZE), model.random(MIDDLE), transB=1))
        y = model.node("Gemm", hidden, model.random(outputs, MIDDLE), model.random(outputs), transB=1)
        made[name] = folder / f"{name}.onnx"
        onnx.save(quantize(model.build(y), list(spectra(50, 1))), made[name])
    return made


def saved(folder: Path, **arrays: Any) -> str:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return str(path)


def episode(model: Path, file: str, **changes: Any) -> EpisodeDefinition:
    keys = {
        "name": "values",
        "description": "a test",
        "model": str(model),
        "data": {"file": file, **changes.pop("data", {})},
        "boards": ["m4-256k"],
        "scheme": "full",
        "learning_rate": 0.05,
        "epochs": 3,
        "golden_steps": 20,
    }
    return EpisodeDefinition.model_validate({**keys, **changes})


def autoencoder(models: dict[str, Path], folder: Path, **changes: Any) -> PreparedEpisode:
    file = saved(folder, adapt_samples=spectra(150, 2), test_samples=spectra(40, 3))
    return prepare(episode(models["autoencoder"], file, **changes))


def heights(samples: Any) -> Any:
    """What the regression is to say of a sample."""
    return (0.5 * samples[:, :4].sum(axis=1, keepdims=True)).astype(np.float32)


def regression(models: dict[str, Path], folder: Path, **changes: Any) -> PreparedEpisode:
    adapt, test = spectra(150, 2), spectra(40, 3)
    file = saved(
        folder, adapt_samples=adapt, adapt_targets=heights(adapt), test_samples=test, test_targets=heights(test)
    )
    return prepare(episode(models["regression"], file, **changes))


def squared_errors(prepared: PreparedEpisode, image: EpisodeImage) -> Any:
    """Of golden's initial state on each test sample, by NumPy in double precision."""
    executor, found = GoldenExecutor(prepared.plan), []
    assert image.test_targets is not None and prepared.plan.training.logits is not None
    for sample, target in zip(image.test_samples, image.test_targets, strict=True):
        executor.infer(sample)
        outputs = np.frombuffer(executor.bytes_of(prepared.plan.training.logits), np.float32).astype(np.float64)
        found.append(np.mean((outputs - target) ** 2))
    return np.array(found)


@pytest.fixture(scope="module")
def record(models: dict[str, Path], target: MakeTarget, tmp_path_factory: pytest.TempPathFactory) -> EpisodeRecord:
    prepared = autoencoder(models, tmp_path_factory.mktemp("data"))
    found, divergence = run_episode(prepared, target(prepared, "host"), RunOptions())
    assert divergence is None
    return found


def test_an_autoencoder_trains_on_its_own_input_and_its_record_says_by_how_much_the_error_fell(
    record: EpisodeRecord, models: dict[str, Path], tmp_path: Path
) -> None:
    prepared = autoencoder(models, tmp_path)
    tensor = prepared.graph.tensors[prepared.graph.input]
    image = prepared.image()
    assert image.test_targets is not None and image.target_values == SIZE and image.adapt_labels.size == 0
    expected = (image.test_samples.astype(np.float64) - tensor.zero_point) * tensor.scale
    np.testing.assert_allclose(image.test_targets, expected, rtol=2.0**-23)
    assert record.loss == "mse" and record.options["loss"] == "mse"
    assert (record.accuracy_before, record.accuracy_after, record.samples_test) == (None, None, 40)
    assert record.matches_golden and record.golden_steps == 20
    assert record.mse_before == pytest.approx(squared_errors(prepared, image).mean(), rel=1e-6)
    assert record.mse_after is not None and record.mse_before is not None and record.mse_after < 0.3 * record.mse_before
    assert all(step.correct is None for step in record.step_records) and len(record.step_records) == 450


def test_a_regression_learns_the_targets_of_its_file(
    models: dict[str, Path], target: MakeTarget, tmp_path: Path
) -> None:
    prepared = regression(models, tmp_path)
    found, divergence = run_episode(prepared, target(prepared, "host"), RunOptions())
    assert divergence is None and found.loss == "mse"
    assert found.mse_before is not None and found.mse_after is not None and found.mse_after < 0.2 * found.mse_before


@needs_qemu
@pytest.mark.qemu
@pytest.mark.parametrize("make", [autoencoder, regression])
def test_every_runner_leaves_the_same_bits(
    make: Any, models: dict[str, Path], target: MakeTarget, tmp_path: Path
) -> None:
    prepared = make(models, tmp_path, batch=4)
    image = prepared.image(steps=30, test=12)
    golden, host, board = (target(prepared, name).run(image) for name in ("golden", "host", "m4-256k"))
    assert [line.kind for line in compared_lines(golden)] == ["regression", *["step"] * 30, "regression"]
    assert len({line.text("loss") for line in golden if line.kind == "step"}) == 30
    assert first_difference(golden, host) is None
    assert first_difference(golden, board) is None


@needs_qemu
@pytest.mark.qemu
def test_inference_measures_the_dequantised_output_everywhere(
    models: dict[str, Path], target: MakeTarget, tmp_path: Path
) -> None:
    file = saved(tmp_path, adapt_samples=spectra(2, 2), test_samples=spectra(20, 3))
    keys = episode(models["autoencoder"], file).model_dump(exclude={"options", "method"})
    prepared = prepare(EpisodeDefinition.model_validate({**keys, "method": "inference"}))
    image = prepared.image()
    golden, host, board = (target(prepared, name).run(image) for name in ("golden", "host", "m4-256k"))
    assert first_difference(golden, host) is None and first_difference(golden, board) is None
    executor, output = GoldenExecutor(prepared.plan), prepared.graph.tensors[prepared.graph.output]
    errors = []
    for sample, values in zip(image.test_samples, image.test_targets, strict=True):  # type: ignore[arg-type]
        executor.infer(sample)
        errors.append(
            np.mean(((executor.output().astype(np.float64) - output.zero_point) * output.scale - values) ** 2)
        )
    bits = np.uint32(next(line.bits("error") for line in golden if line.kind == "regression"))
    assert bits.view(np.float32) == pytest.approx(np.mean(errors), rel=1e-6)


def test_training_that_diverges_ends_in_the_same_words_on_golden_and_host(
    models: dict[str, Path], target: MakeTarget, tmp_path: Path
) -> None:
    prepared = regression(models, tmp_path, learning_rate=1e30)
    for name in ("golden", "host"):
        with pytest.raises(MismatchError, match=r"status 2 .*diverged"):
            target(prepared, name).result(prepared.image(steps=10))


VALUES, TEST_TARGETS = 23, 13  # words of the header


@pytest.mark.parametrize(
    "what", ["labels for values", "a value less", "targets behind the end", "a target is not finite"]
)
def test_a_device_refuses_an_image_whose_targets_are_not_its_own(
    what: str, models: dict[str, Path], target: MakeTarget, tmp_path: Path
) -> None:
    prepared = autoencoder(models, tmp_path)
    data = bytearray(prepared.image(steps=2).to_bytes())
    words = np.frombuffer(data, "<u4")
    at = int(words[TEST_TARGETS])
    place, value = {
        "labels for values": (VALUES, 0),
        "a value less": (VALUES, SIZE - 1),
        "targets behind the end": (TEST_TARGETS, len(data) - 4 * SIZE),
        "a target is not finite": (at // 4 + 40 * SIZE - 1, 0x7F800000),
    }[what]
    words[place] = value
    words[3] = zlib.crc32(data[16:])
    runner = target(prepared, "host").runner
    assert runner is not None
    result = runner.run(bytes(data), expect_status=3)
    assert [line.kind for line in result.lines] == ["boot", "end"]


def test_an_image_of_values_is_read_back_as_it_was_written(models: dict[str, Path], tmp_path: Path) -> None:
    image = regression(models, tmp_path).image(steps=9)
    again = EpisodeImage.from_bytes(image.to_bytes())
    for name in ("adapt_targets", "test_targets", "order", "test_samples"):
        np.testing.assert_array_equal(getattr(again, name), getattr(image, name))
    assert again.target_values == 1 and len(again.to_bytes()) == again.size_bytes
    values = image.adapt_targets
    assert values is not None
    for change, message in (
        ({"test_targets": None}, "for the adapt samples and for the test samples"),
        ({"adapt_targets": values[1:]}, "150 adapt samples, but 149 adapt targets"),
        ({"adapt_targets": np.repeat(values, 2, axis=1)}, "test targets of 1 values"),
        ({"adapt_targets": values * np.float32(np.inf)}, "a value of the adapt targets is not finite"),
        ({"adapt_targets": values.astype(np.float64)}, "adapt_targets must be float32"),
        ({"adapt_labels": np.zeros(150, np.uint32)}, "150 adapt targets and 150 labels"),
    ):
        with pytest.raises(UsageError, match=message):
            dataclasses.replace(image, **change)


def text_of(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_reports_show_the_error_where_they_show_the_accuracy_of_a_classifier(
    record: EpisodeRecord, tmp_path: Path
) -> None:
    before, after = f"{record.mse_before:.4g}", f"{record.mse_after:.4g}"
    panel, table = text_of(render_episode(record)), text_of(render_table([record]))
    assert "mean squared error" in panel and f"{before} -> {after}" in panel and "accuracy" not in panel
    assert f"{before} -> {after}" in table and "mse" in table and "accuracy" not in table
    page = tmp_path / "report.html"
    write_report([record], page, title="values")
    shown = page.read_text(encoding="utf-8")
    body = shown[shown.index("<body>") : shown.index("<script")]
    assert f"{before} → <b>{after}</b>" in body and "Mean squared error after" in body and "test accuracy" not in body


def test_a_record_of_values_is_read_back_and_locked(record: EpisodeRecord, tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(dump_records([record]), encoding="utf-8")
    assert load_records(path) == (record,)
    assert record.mse_after is not None
    worse = record.model_copy(update={"mse_after": 2 * record.mse_after})
    assert differences(lock(record), lock(record)) == []
    assert differences(lock(record), lock(worse)) == [f"mse_after: {record.mse_after} -> {2 * record.mse_after}"]


FLAT = spectra(4, 5)


@pytest.mark.parametrize(
    ("model", "arrays", "changes", "message"),
    [
        ("regression", {"labels": np.zeros(4, np.int64)}, {}, "has labels, but regression trains the values that it puts out"),
        ("regression", {"labels": np.zeros(4, np.int64)}, {"loss": "cross_entropy"}, "regression is no classifier: it puts out one value"),
        ("regression", {}, {}, "has no targets, and regression is no autoencoder: it reads 24 values and puts out 1; give adapt_targets"),
        ("regression", {"targets": np.zeros((4, 2), np.float32)}, {}, "targets of 2 values a sample, but regression puts out 1"),
        ("autoencoder", {"labels": np.zeros(4, np.int64)}, {}, "targets: input for an autoencoder, or train its outputs as classes"),
        ("autoencoder", {"targets": np.zeros((4, 24), np.float32)}, {"loss": "cross_entropy"}, "has targets, but autoencoder trains as a"),
        ("autoencoder", {}, {"loss": "cross_entropy"}, "has no labels, but autoencoder trains as a classifier, by labels; say loss: mse"),
        ("autoencoder", {"targets": np.zeros((4, 24))}, {}, "adapt_targets are float64|test_targets are float64"),
        ("autoencoder", {"targets": np.full((4, 24), np.nan, np.float32)}, {}, "targets hold a value that is not finite"),
        ("autoencoder", {"targets": np.zeros((3, 24), np.float32)}, {}, "4 samples but 3 targets"),
        ("autoencoder", {"targets": np.zeros((4, 24), np.float32), "labels": np.zeros(4, int)}, {}, "both test_labels and test_targets"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_the_loss_is_refused_in_one_line(
    model: str, arrays: dict[str, Any], changes: dict[str, Any], message: str, models: dict[str, Path], tmp_path: Path
) -> None:
    both = {f"{part}_{name}": array for part in ("adapt", "test") for name, array in arrays.items()}
    file = saved(tmp_path, adapt_samples=FLAT, test_samples=FLAT, **both)
    with pytest.raises(UsageError, match=message) as refusal:
        prepare(episode(models[model], file, **changes))
    assert "\n" not in str(refusal.value)


def test_targets_of_one_part_alone_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, adapt_samples=FLAT, test_samples=FLAT, test_targets=FLAT)
    with pytest.raises(UsageError, match="no array 'adapt_targets'"):
        read_npz(Path(path))


def test_a_labelled_set_trains_an_autoencoder_where_it_is_asked_to(models: dict[str, Path], tmp_path: Path) -> None:
    labels = np.zeros(4, np.int64)
    file = saved(tmp_path, adapt_samples=FLAT, test_samples=FLAT, adapt_labels=labels, test_labels=labels)
    prepared = prepare(episode(models["autoencoder"], file, data={"targets": "input"}))
    assert prepared.image().target_values == SIZE
    outputs_as_classes = prepare(episode(models["autoencoder"], file, loss="cross_entropy"))
    assert outputs_as_classes.image().target_values == 0
