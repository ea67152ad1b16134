"""Features of the published tiny-training networks: a linear head on them tells twelve kinds of flowers apart."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.emulators.host import HostModel
from mcutrain.episode.targets import build_for_host
from mcutrain.errors import NotAvailableError
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from mcutrain.paths import PROJECT, find_model
from support.published_networks import FLOWERS, photo

DOCUMENT = PROJECT / "docs" / "networks.md"

Features = NDArray[np.float64]
Labels = NDArray[np.int_]


def features_of(graph: Graph) -> Graph:
    """``graph`` up to the mean of every channel."""
    end = next(index for index, op in enumerate(graph.operators) if op.kind == "average_pool")
    return dataclasses.replace(graph, operators=graph.operators[: end + 1], output=graph.operators[end].outputs[0])


def features_of_photos(host: HostModel, split: str, count: int) -> tuple[Features, Labels]:
    """The features of a split's photos, float64 (count, channels), and their classes."""
    paths = sorted(FLOWERS.glob(f"{split}/*/*.jpg"))
    assert len(paths) == count
    classes = sorted({path.parent.name for path in paths})
    assert len(classes) == 12
    features = np.stack([host.infer(photo(path, 128))[1] for path in paths]).astype(np.float64)
    return features, np.array([classes.index(path.parent.name) for path in paths])


def ridge_classes(train: Features, labels: Labels, test: Features) -> Labels:
    """The classes that ridge regression on standardised features predicts."""
    mean, deviation = train.mean(0), train.std(0) + 1e-9
    rows, test_rows = ((values - mean) / deviation for values in (train, test))
    rows, test_rows = (np.column_stack([values, np.ones(len(values))]) for values in (rows, test_rows))
    targets = np.eye(labels.max() + 1)[labels]
    solved = np.linalg.solve(rows.T @ rows + 100.0 * np.eye(rows.shape[1]), rows.T @ targets)
    predicted: Labels = (test_rows @ solved).argmax(1)
    return predicted


def stated(name: str) -> float:
    """The accuracy that docs/networks.md states."""
    line = next(line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| {name} "))
    return float(re.findall(r"([\d.]+) %", line)[-1]) / 100


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="no flowers12 here")
@pytest.mark.parametrize(
    ("model", "name", "least"),
    [
        pytest.param("mcunet-5fps", "MCUNet-5FPS", 0.92, marks=pytest.mark.exhaustive),
        ("mbv2-w0.35", "MobileNetV2-0.35", 0.87),
        pytest.param("proxyless-w0.3", "ProxylessNAS-0.3", 0.9, marks=pytest.mark.exhaustive),
    ],
)
def test_a_ridge_head_on_the_features_tells_twelve_flowers_apart(model: str, name: str, least: float) -> None:
    try:
        path = find_model(f"mcunet/{model}.pkl")
    except NotAvailableError as error:
        pytest.skip(str(error))
    host = HostModel(build_for_host(compile_plan(inference(features_of(load_model(path))))))
    train, labels = features_of_photos(host, "train", 720)
    test, test_labels = features_of_photos(host, "test", 240)
    accuracy = float(np.mean(ridge_classes(train, labels, test) == test_labels))
    assert accuracy >= least
    # Two photos of room: the decoding and shrinking of a photo is Pillow's.
    assert accuracy == pytest.approx(stated(name), abs=0.009)
