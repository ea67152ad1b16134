"""A softmax or its logarithm behind the head takes no part in training: the float32 loss stands for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcutrain.graph import Graph, LogSoftmaxAttributes, Operator, SoftmaxAttributes, Tensor
from mcutrain.graph.attributes import Attributes
from mcutrain.graph.validate import validate
from mcutrain.methods.classifier_head import find_head
from mcutrain.methods.new_head import new_head
from support.graphs import quantization
from support.networks import NETWORKS
from support.plans import training_of


def ended(kind: str, attributes: Attributes, scale: float, zero_point: int) -> Graph:
    """The perceptron, whose logits go through one more operator."""
    graph = NETWORKS["perceptron"]()
    logits = graph.tensors[graph.output]
    y = Tensor("y", logits.shape, "int8", quantization(scale, zero_point))
    op = Operator(f"{kind}9", kind, (logits.name,), (y.name,), attributes, kind.upper())
    graph = replace(graph, tensors={**graph.tensors, "y": y}, operators=(*graph.operators, op), output="y")
    validate(graph)
    return graph


ENDS = [
    ended("softmax", SoftmaxAttributes(), 1 / 256, -128),
    ended("log_softmax", LogSoftmaxAttributes(), 1 / 16, 127),
]


@pytest.mark.parametrize("graph", ENDS, ids=lambda graph: graph.operators[-1].kind)
def test_training_is_that_of_the_network_without_it(graph: Graph) -> None:
    plain = NETWORKS["perceptron"]()
    assert find_head(graph).op == find_head(plain).op
    steps = [training_of(g, "full").programs for g in (graph, plain)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("graph", ENDS, ids=lambda graph: graph.operators[-1].kind)
def test_a_new_head_replaces_it_too(graph: Graph) -> None:
    assert [op.kind for op in new_head(graph, 7).operators] == [
        op.kind for op in new_head(NETWORKS["perceptron"](), 7).operators
    ]
