"""A fresh classifier on a network's features: transfer learning to other classes than the network was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import ConvAttributes, ReshapeAttributes
from mcutrain.graph.model import Graph, Operator, Quantization, Tensor
from mcutrain.graph.validate import validate

MOST_CLASSES = 1 << 16
_TRAILING = ("fully_connected", "log_softmax", "softmax", "reshape")


def new_head(graph: Graph, classes: int) -> Graph:
    """``graph`` with its classifier replaced by one of ``classes`` classes whose weights and biases are 0.

    A network without a classifier gets one on what it puts out. The first steps of training move the head alone: errors pass
    through its weights, which are 0 until then. Raises UsageError for fewer than 2 or too many classes.
    """
    if not 2 <= classes <= MOST_CLASSES:
        raise UsageError(f"a head of {classes} classes: give 2 to {MOST_CLASSES}")
    operators = list(graph.operators)
    tail = len(operators)
    while tail > 0 and operators[tail - 1].kind in _TRAILING:
        tail -= 1
        if operators[tail].kind == "fully_connected":
            break
    old = operators[tail] if tail < len(operators) and operators[tail].kind == "fully_connected" else None
    kept = operators[:tail] if old is not None else operators
    features = graph.tensors[old.inputs[0] if old is not None else graph.output]
    used = {name for op in kept for name in (*op.inputs, *op.outputs)} | {graph.input, features.name}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    if len(features.shape) != 1:
        flat = Tensor("new_head_features", (features.elements,), "int8", features.quantization)
        kept.append(
            Operator("new_head_flatten", "reshape", (features.name,), (flat.name,), ReshapeAttributes(), "new head")
        )
        tensors[flat.name] = features = flat
    constants = _constants(features, classes)
    # The scale of the logits serves the int8 form alone; training reads them in float32.
    logits = Tensor("new_head_logits", (classes,), "int8", _scale(features.scale))
    tensors |= {tensor.name: tensor for tensor in (*constants, logits)}
    inputs = (features.name, *(tensor.name for tensor in constants))
    kept.append(Operator("new_head", "fully_connected", inputs, (logits.name,), ConvAttributes(), "new head"))
    made = replace(graph, tensors=tensors, operators=tuple(kept), output=logits.name)
    validate(made)
    return made


def _scale(scale: float) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.zeros(1, np.int32))


def _constants(features: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    weights = np.zeros((classes, features.elements), np.int8)
    bias = np.zeros(classes, np.int32)
    return (
        Tensor("new_head_weights", weights.shape, "int8", _scale(1.0), weights),
        Tensor("new_head_bias", bias.shape, "int32", _scale(features.scale), bias),
    )
