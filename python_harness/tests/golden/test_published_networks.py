"""Published networks with depthwise convolutions: LiteRT's reference kernels, golden and the host build agree to the bit."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from PIL import Image

from mcutrain.emulators.host import HostModel
from mcutrain.episode.prepare import plan_inference
from mcutrain.episode.targets import build_for_host
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.importers import load_model

MODELS = Path(os.environ.get("MCUTRAIN_MODELS") or ".")
DATA = Path(os.environ.get("MCUTRAIN_DATA") or ".")
KWS = MODELS / "mlperf_tiny" / "kws_ref_model.tflite"
VWW = MODELS / "mlperf_tiny" / "vww_96_int8.tflite"
MCUNET = MODELS / "mcunet" / "mcunet-5fps.pkl"
KWS_DATA = DATA / "kws01_mfcc"
FLOWERS = DATA / "flowers12"

Codes = NDArray[np.int8]


class LiteRT:
    """A network in LiteRT's reference kernels."""

    def __init__(self, path: Path) -> None:
        resolver = OpResolverType.BUILTIN_REF
        self._interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def run(self, codes: Codes) -> Codes:
        self._interpreter.set_tensor(self._input["index"], codes.reshape(self._input["shape"]))
        self._interpreter.invoke()
        output: Codes = self._interpreter.get_tensor(self._output).reshape(-1)
        return output


def assert_same_bits(path: Path, inputs: list[Codes], golden: int) -> list[int]:
    """Every input on the host build, the first ``golden`` of them also in golden; the classes."""
    plan = plan_inference(load_model(path))
    host, executor, litert = HostModel(build_for_host(plan)), GoldenExecutor(plan), LiteRT(path)
    classes, outputs = [], set()
    for index, codes in enumerate(inputs):
        expected = litert.run(codes)
        predicted, actual = host.infer(codes)
        np.testing.assert_array_equal(actual, expected, err_msg=f"input {index} on the host build")
        if index < golden:
            executor.infer(codes)
            np.testing.assert_array_equal(executor.output(), expected, err_msg=f"input {index} in golden")
        classes.append(predicted)
        outputs.add(actual.tobytes())
    assert len(outputs) > len(inputs) // 20
    return classes


def photo(path: Path, side: int) -> Codes:
    """A photo as the network takes it: resized, pixel - 128."""
    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return (np.asarray(image).astype(np.int16) - 128).astype(np.int8)


@pytest.mark.skipif(not (KWS.is_file() and KWS_DATA.is_dir()), reason="no kws_ref_model.tflite or no kws01_mfcc here")
def test_the_keyword_network_has_the_bits_of_litert_on_a_thousand_inputs() -> None:
    rows = list(csv.reader((KWS_DATA / "y_labels.csv").read_text().splitlines()))
    inputs = [np.fromfile(KWS_DATA / name, np.int8) for name, _, _ in rows]
    classes = assert_same_bits(KWS, inputs, golden=20)
    assert len(classes) == 1000
    assert np.mean([predicted == int(label) for predicted, (_, _, label) in zip(classes, rows, strict=True)]) >= 0.9


@pytest.mark.skipif(not (VWW.is_file() and FLOWERS.is_dir()), reason="no vww_96_int8.tflite or no flowers12 here")
def test_the_visual_wake_words_network_has_the_bits_of_litert_on_random_and_photo_inputs() -> None:
    random = np.random.default_rng(1)
    noise = [random.integers(-128, 128, (96, 96, 3)).astype(np.int8) for _ in range(100)]
    blobs = [np.kron(image[:12, :12], np.ones((8, 8, 1))).astype(np.int8) for image in noise[:20]]
    photos = [photo(path, 96) for path in sorted(FLOWERS.glob("test/*/*.jpg"))[:: 240 // 80]]
    assert len(photos) == 80
    assert_same_bits(VWW, [*photos, *blobs, *noise], golden=4)


def features_of(graph: Graph) -> Graph:
    """``graph`` up to the mean of every channel."""
    end = next(index for index, op in enumerate(graph.operators) if op.kind == "average_pool")
    return dataclasses.replace(graph, operators=graph.operators[: end + 1], output=graph.operators[end].outputs[0])


def ridge_classes(train: NDArray[np.float64], labels: NDArray[np.int_], test: NDArray[np.float64]) -> NDArray[np.int_]:
    """The classes that ridge regression on standardised features predicts."""
    mean, deviation = train.mean(0), train.std(0) + 1e-9
    rows, test_rows = ((values - mean) / deviation for values in (train, test))
    rows, test_rows = (np.column_stack([values, np.ones(len(values))]) for values in (rows, test_rows))
    targets = np.eye(labels.max() + 1)[labels]
    solved = np.linalg.solve(rows.T @ rows + 100.0 * np.eye(rows.shape[1]), rows.T @ targets)
    predicted: NDArray[np.int_] = (test_rows @ solved).argmax(1)
    return predicted


@pytest.mark.skipif(not (MCUNET.is_file() and FLOWERS.is_dir()), reason="no mcunet-5fps.pkl or no flowers12 here")
def test_the_features_of_mcunet_tell_twelve_flowers_apart() -> None:
    host = HostModel(build_for_host(plan_inference(features_of(load_model(MCUNET)))))
    features: dict[str, NDArray[np.float64]] = {}
    labels: dict[str, NDArray[np.int_]] = {}
    for split, count in (("train", 720), ("test", 240)):
        paths = sorted(FLOWERS.glob(f"{split}/*/*.jpg"))
        assert len(paths) == count
        classes = sorted({path.parent.name for path in paths})
        labels[split] = np.array([classes.index(path.parent.name) for path in paths])
        features[split] = np.stack([host.infer(photo(path, 128))[1] for path in paths]).astype(np.float64)
    predicted = ridge_classes(features["train"], labels["train"], features["test"])
    assert np.mean(predicted == labels["test"]) >= 0.92
