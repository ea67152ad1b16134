"""A fresh classifier on a network's features: transfer learning to other classes than the network was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import ConvAttributes, MeanAttributes, ReshapeAttributes
from mcutrain.graph.model import Graph, Operator, Quantization, Tensor
from mcutrain.graph.validate import validate
from mcutrain.methods.classifier_head import is_dense
from mcutrain.methods.loss import PROBABILITIES

MOST_CLASSES = 1 << 16


def new_head(graph: Graph, classes: int) -> Graph:
    """``graph`` with its classifier replaced by one of ``classes`` classes whose weights and biases are 0.

    Its classifier is the last layer, where that is fully connected or a convolution over all of its input, with the reshapes and the
    softmax behind it; or, before a softmax, a convolution of single pixels and the mean over them: the new one is over the mean. A network
    without a classifier gets one on what it puts out, before its softmax. The first steps of training move the head alone: errors pass
    through its weights, which are 0 until then. Raises UsageError for fewer than 2 or too many classes.
    """
    if not 2 <= classes <= MOST_CLASSES:
        raise UsageError(f"a head of {classes} classes: give 2 to {MOST_CLASSES}")
    kept, features, averaged = _without_classifier(graph)
    used = {name for op in kept for name in (*op.inputs, *op.outputs)} | {graph.input, features.name}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    if averaged:
        mean = Tensor("new_head_mean", (features.shape[2],), "int8", features.quantization)
        pixels = MeanAttributes(axes=tuple(range(len(features.shape) - 1)))
        kept.append(Operator("new_head_mean", "mean", (features.name,), (mean.name,), pixels, "new head"))
        tensors[mean.name] = features = mean
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


def _without_classifier(graph: Graph) -> tuple[list[Operator], Tensor, bool]:
    """The operators before the classifier, the tensor that it reads, and whether it reads the mean of its pixels."""
    operators = list(graph.operators)
    tail = len(operators)
    ends = tail  # where the probabilities begin
    while tail > 0 and operators[tail - 1].kind in (*PROBABILITIES, "reshape"):
        tail -= 1
        if operators[tail].kind in PROBABILITIES:
            ends = tail
    last = operators[tail - 1] if tail > 0 else None
    if last is not None and is_dense(graph, last):
        return operators[: tail - 1], graph.tensors[last.inputs[0]], False
    classifies = ends < len(operators)
    if classifies and tail > 1 and _is_of_pixels(graph, operators[tail - 2], operators[tail - 1]):
        return operators[: tail - 2], graph.tensors[operators[tail - 2].inputs[0]], True
    return operators[:ends], graph.tensors[operators[ends].inputs[0] if classifies else graph.output], False


def _is_of_pixels(graph: Graph, layer: Operator, pool: Operator) -> bool:
    """Whether ``layer`` is a convolution of single pixels, and ``pool`` averages all that it puts out."""
    weights = graph.tensors[layer.inputs[1]].shape if layer.kind == "conv2d" else ()
    y = graph.tensors[pool.outputs[0]]
    averages = (
        pool.kind in ("average_pool", "mean") and y.elements == y.shape[-1] and pool.inputs[0] == layer.outputs[0]
    )
    return averages and weights[1:3] == (1, 1)


def _scale(scale: float) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.zeros(1, np.int32))


def _constants(features: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    weights = np.zeros((classes, features.elements), np.int8)
    bias = np.zeros(classes, np.int32)
    return (
        Tensor("new_head_weights", weights.shape, "int8", _scale(1.0), weights),
        Tensor("new_head_bias", bias.shape, "int32", _scale(features.scale), bias),
    )
