"""ResNet8 of MLPerf Tiny: our inference gives the bits of LiteRT's reference kernels, on the host and on both cores."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.datasets.cifar10 import cifar10
from mcutrain.emulators.host import HostModel
from mcutrain.emulators.image import EpisodeImage
from mcutrain.episode.prepare import plan_inference
from mcutrain.episode.targets import build_for_host, make_target
from mcutrain.errors import NotAvailableError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.importers import load_model
from mcutrain.paths import find_model

Codes = NDArray[np.int8]
MODEL = "mlperf_tiny/pretrainedResnet_quant.tflite"
CORRECT_OF_ALL = 8707


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return find_model(MODEL)
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def images() -> tuple[Codes, NDArray[np.int64]]:
    """The 10,000 test images as input codes, and their labels."""
    try:
        data = cifar10()
    except NotAvailableError as error:
        pytest.skip(str(error))
    return (np.asarray(data.samples).astype(np.int16) - 128).astype(np.int8), data.labels


@pytest.fixture(scope="module")
def plan(model: Path) -> Plan:
    return plan_inference(load_model(model))


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


@pytest.fixture(scope="module")
def host(plan: Plan, build_folder: None) -> HostModel:
    return HostModel(build_for_host(plan))


def litert_outputs(model: Path, codes: Codes) -> Codes:
    """The output codes of LiteRT's reference kernels, one row a sample."""
    resolver = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_path=str(model), experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert source["dtype"] == np.int8
    rows = []
    for sample in codes:
        interpreter.set_tensor(source["index"], sample[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(result["index"])[0].copy())
    return np.array(rows)


def host_outputs(host: HostModel, codes: Codes) -> tuple[Codes, list[int]]:
    rows = [host.infer(sample) for sample in codes]
    return np.array([output for _, output in rows]), [prediction for prediction, _ in rows]


def assert_same(ours: Codes, theirs: Codes) -> None:
    differs = np.flatnonzero((ours != theirs).any(axis=1))
    assert differs.size == 0, (
        f"{differs.size} of {len(ours)} images differ, the first is {differs[0]}: {ours[differs[0]]}"
    )


def test_five_hundred_images_have_the_bits_of_litert_on_the_host(
    model: Path, images: tuple[Codes, NDArray[np.int64]], host: HostModel
) -> None:
    codes = images[0][::20]
    theirs = litert_outputs(model, codes)
    ours, predictions = host_outputs(host, codes)
    assert len(codes) == 500 and len(np.unique(theirs, axis=0)) > 100
    assert_same(ours, theirs)
    np.testing.assert_array_equal(predictions, theirs.argmax(axis=1))


@pytest.mark.slow
def test_all_ten_thousand_images_have_the_bits_of_litert_and_its_accuracy(
    model: Path, images: tuple[Codes, NDArray[np.int64]], host: HostModel
) -> None:
    codes, labels = images
    ours, predictions = host_outputs(host, codes)
    assert len(codes) == 10_000
    assert_same(ours, litert_outputs(model, codes))
    assert int((np.array(predictions) == labels).sum()) == CORRECT_OF_ALL


def test_golden_has_the_bits_of_litert(model: Path, images: tuple[Codes, NDArray[np.int64]], plan: Plan) -> None:
    codes = images[0][7::2000]
    executor = GoldenExecutor(plan)
    rows = []
    for sample in codes:
        executor.infer(sample)
        rows.append(executor.output().copy())
    assert_same(np.array(rows), litert_outputs(model, codes))


@pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)
@pytest.mark.qemu
@pytest.mark.parametrize("board", ["m4-256k", "m4-1m", "m7-256k", "m7-1m"])
def test_a_hundred_images_have_the_bits_of_litert_on_a_board(
    board: str, model: Path, images: tuple[Codes, NDArray[np.int64]], plan: Plan, build_folder: None
) -> None:
    codes, labels = images[0][3::100], images[1][3::100]
    theirs = litert_outputs(model, codes)
    lines = make_target(plan, board).run(evaluation_image(plan, codes, labels))
    predictions = [line for line in lines if line.kind == "prediction"]
    assert len(predictions) == 100
    assert [line.text("output") for line in predictions] == crcs(theirs)
    assert [line.integer("class") for line in predictions] == theirs.argmax(axis=1).tolist()
    assert len(set(crcs(theirs))) > 30


def crcs(outputs: Codes) -> Sequence[str]:
    return [f"{zlib.crc32(row.tobytes()):08x}" for row in outputs]


def evaluation_image(plan: Plan, codes: Codes, labels: NDArray[np.int64]) -> EpisodeImage:
    """One evaluation with a line a sample, no training."""
    rows = codes.reshape(len(codes), -1)
    return EpisodeImage(
        plan_crc32=plan.crc32,
        adapt_samples=rows[:0],
        adapt_labels=np.zeros(0, np.uint16),
        test_samples=rows,
        test_labels=labels.astype(np.uint16),
        order=np.zeros(0, np.uint16),
        learning_rates=np.zeros(0, np.float32),
        evaluate_after=False,
        predictions=True,
    )
