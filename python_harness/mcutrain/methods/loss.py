"""Which loss a network has: what it puts out decides it, where the user does not.

A classifier has one row of two outputs or more, one a class; its loss is the cross entropy with a label. Everything else puts out values
(one value, a map, several rows, as many as it reads): their loss is the mean squared error against a sample's own values.
"""

from __future__ import annotations

from typing import Literal

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator
from mcutrain.methods.training_graph import LossName

LossOption = Literal["auto", LossName]
LOSS_DESCRIPTION = "cross_entropy (classes, by labels), mse (values, by targets) or auto: as what the network puts out"
PROBABILITIES = ("softmax", "log_softmax")
"""Operators that turn a classifier's logits into probabilities."""


def chosen_loss(graph: Graph, asked: LossOption) -> LossName:
    """The loss of ``graph``: the one asked for, or the one that its output is made for. Raises UsageError where it is no classifier."""
    why = why_no_classifier(graph)
    if asked == "auto":
        return "mse" if why is not None or is_autoencoder(graph) else "cross_entropy"
    if asked == "cross_entropy" and why is not None:
        raise UsageError(
            f"{graph.name} is no classifier: {why}; leave loss: cross_entropy out and give targets in place of labels, "
            "or give new_head: CLASSES"
        )
    return asked


def why_no_classifier(graph: Graph) -> str | None:
    """Why what ``graph`` puts out is not one class of several, in words; None where it can be."""
    shape = graph.tensors[graph.output].shape
    outputs = graph.tensors[graph.output].elements
    if outputs == 1:
        return "it puts out one value for a sample"
    if outputs != shape[-1]:
        return (
            f"it puts out {' x '.join(map(str, shape))} values for a sample, {outputs // shape[-1]} rows of {shape[-1]}"
        )
    last = last_computation(graph)
    row = graph.tensors[last.inputs[0]].shape[-1]
    if last.kind in PROBABILITIES and row != outputs:
        return f"{last.name} ({last.kind}) makes {outputs // row} classifiers of its {outputs} outputs"
    return None


def is_autoencoder(graph: Graph) -> bool:
    """Whether ``graph`` puts out as many values as it reads, and no probabilities."""
    as_many = graph.tensors[graph.output].elements == graph.tensors[graph.input].elements
    return as_many and last_computation(graph).kind not in PROBABILITIES


def last_computation(graph: Graph) -> Operator:
    """The last operator that is no reshape; the very last where all are."""
    return next((op for op in reversed(graph.operators) if op.kind != "reshape"), graph.operators[-1])
