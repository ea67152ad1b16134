"""A fresh classifier on a network's features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.classifier_head import trainable_layers
from mcutrain.methods.new_head import new_head
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import (
    NETWORKS,
    averaged_classes,
    chain,
    convolutional_head,
    perceptron,
    samples,
    separable,
)
from support.traced_step import run_step


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_head_leaves_the_layers_before_it(name: str) -> None:
    graph = NETWORKS[name]()
    made = new_head(graph, 7)
    assert trainable_layers(made) == trainable_layers(graph)
    assert made.tensors[made.output].shape == (7,)
    assert made.operators[: len(made.operators) - 1] == graph.operators[: len(made.operators) - 1]


def test_the_softmax_goes_with_the_old_head() -> None:
    assert [op.kind for op in new_head(chain(), 3).operators[-2:]] == ["reshape", "fully_connected"]


def test_only_the_last_fully_connected_layer_is_replaced() -> None:
    kinds = [op.kind for op in new_head(perceptron(), 3).operators]
    assert kinds == [op.kind for op in perceptron().operators]


@pytest.mark.parametrize("kernel", [1, 4])
def test_a_convolution_over_all_of_its_input_is_replaced_with_its_reshape_and_softmax(kernel: int) -> None:
    graph = convolutional_head(kernel)
    made = new_head(graph, 7)
    assert trainable_layers(made) == trainable_layers(graph)
    assert [op.kind for op in made.operators[len(graph.operators) - 3 :]] == ["reshape", "fully_connected"]
    assert made.tensors[made.operators[-1].inputs[0]].elements == graph.tensors[graph.operators[-3].inputs[0]].elements


def test_classes_of_pixels_that_are_averaged_are_replaced_by_a_head_on_the_mean_of_the_pixels() -> None:
    graph = averaged_classes()
    made = new_head(graph, 7)
    assert [op.kind for op in made.operators] == ["conv2d", "conv2d", "mean", "fully_connected"]
    features = made.tensors[made.operators[-1].inputs[0]]
    assert features.shape == (8,) and features.quantization == graph.tensors[graph.operators[1].outputs[0]].quantization


def test_a_softmax_of_features_is_not_stood_on() -> None:
    graph = averaged_classes()
    pooled = dataclasses.replace(graph, operators=graph.operators[:2] + graph.operators[3:])
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in ("t2", "w2", "b2")}
    tensors |= {name: dataclasses.replace(tensors[name], shape=(8,)) for name in ("t4", "t5")}
    tensors["t3"] = dataclasses.replace(tensors["t1"], name="t3", shape=(1, 1, 8))
    tensors["t4"] = dataclasses.replace(tensors["t4"], quantization=tensors["t1"].quantization)
    pool = dataclasses.replace(graph.operators[3], inputs=("t1",))
    pooled = dataclasses.replace(pooled, tensors=tensors, operators=(*graph.operators[:2], pool, *graph.operators[4:]))
    kinds = [op.kind for op in new_head(pooled, 3).operators]
    assert kinds == ["conv2d", "conv2d", "average_pool", "reshape", "fully_connected"]


def headless() -> Graph:
    graph = separable()
    operators = graph.operators[:-1]
    used = {name for op in operators for name in (*op.inputs, *op.outputs)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    return dataclasses.replace(graph, operators=operators, tensors=tensors, output=operators[-1].outputs[0])


def test_a_network_without_classifier_gets_one_on_its_output() -> None:
    graph = headless()
    made = new_head(graph, 3)
    assert [op.name for op in made.operators] == [*(op.name for op in graph.operators), "new_head"]
    image = dataclasses.replace(graph, operators=graph.operators[:-1], output=graph.operators[-1].inputs[0])
    flat = new_head(image, 3)
    assert flat.operators[-2].kind == "reshape"
    assert flat.tensors[flat.operators[-1].inputs[0]].shape == (5 * 4 * 6,)


def test_a_new_head_learns_from_nothing() -> None:
    """All classes are equally likely at first; then its own samples tell it which one is which."""
    graph = new_head(separable(), 3)
    executor = GoldenExecutor(compile_plan(sparse_update(graph, SparseUpdateOptions(scheme="biases"))))
    executor.seed(1)
    images = samples(graph, 3)
    losses = []
    for _ in range(40):
        for label, image in enumerate(images):
            run_step(executor, image, label, 2.0)
            losses.append(float(executor.loss))
    assert losses[0] == pytest.approx(np.log(3), rel=1e-6)
    assert max(losses[-3:]) < 0.5


@pytest.mark.parametrize("classes", [-1, 0, 1, 65537])
def test_a_senseless_number_of_classes_is_refused(classes: int) -> None:
    with pytest.raises(UsageError, match=f"a head of {classes} classes: give 2 to 65536"):
        new_head(separable(), classes)
