"""The head of a classifier in float32, and its loss: softmax cross-entropy over dequantised features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, Operator
from mcutrain.methods.minibatch import Minibatch
from mcutrain.methods.training_graph import LABEL, LEARNING_RATE, LOSS, PREDICTION
from mcutrain.ops.head import HeadF32Params
from mcutrain.ops.loss import SoftmaxCrossEntropyF32Params
from mcutrain.ops.rules import Lowering, weight_scales
from mcutrain.ops.steps import Phase

LAYER_KINDS = ("conv2d", "depthwise_conv2d", "fully_connected")


@dataclass(frozen=True)
class Head:
    """The last fully connected layer, and its place among the operators."""

    op: Operator
    index: int


def find_head(graph: Graph) -> Head:
    """The last fully connected layer; only softmax and reshape may follow it. Raises UsageError where the network ends otherwise."""
    for index in range(len(graph.operators) - 1, -1, -1):
        op = graph.operators[index]
        if op.kind == "fully_connected":
            assert isinstance(op.attributes, ConvAttributes)
            if op.attributes.clamp != (-128, 127):
                raise UsageError(
                    f"{graph.name}: the last layer {op.name} has an activation; a classifier's head must be linear"
                )
            return Head(op, index)
        if op.kind not in ("log_softmax", "softmax", "reshape"):
            raise UsageError(
                f"{graph.name}: training needs a classifier that ends in a fully connected layer (and a softmax), "
                f"but {op.name} ({op.kind}) comes last"
            )
    raise UsageError(f"{graph.name}: the network has no fully connected layer to train as its head")


def trainable_layers(graph: Graph) -> tuple[str, ...]:
    """Names of the layers a scheme may name: convolutions and hidden fully connected, in order, without the head."""
    head = find_head(graph)
    return tuple(op.name for op in graph.operators[: head.index] if op.kind in LAYER_KINDS)


@dataclass(frozen=True)
class FloatHead:
    """A head whose forward step has been added.

    Buffers: x int8 (features,) and its quantisation, weights (classes, features), bias and logits (classes,).
    """

    layer: str
    params: HeadF32Params
    x: str
    quantization: str
    weights: str
    bias: str
    logits: str


def add_head(context: Lowering, op: Operator) -> FloatHead:
    """Add the forward step of the head ``op``: logits = W x + b over dequantised features, with trainable float32 weights and biases."""
    build, graph = context.build, context.graph
    x, weights, bias = (context.tensor(name) for name in op.inputs)
    assert weights.data is not None and bias.data is not None
    for shared in op.inputs[1:]:
        context.require_unshared(op, shared)
    scales = weight_scales(graph, op)
    classes, features = weights.shape
    params = HeadF32Params(features=features, classes=classes)
    float_weights = (weights.data.astype(np.float64) * scales[:, None]).astype(np.float32)
    float_bias = (bias.data.astype(np.float64) * scales * x.scale).astype(np.float32)
    layer = op.name
    head = FloatHead(
        layer=layer,
        params=params,
        x=context.place[x.name],
        quantization=build.quantization(f"{layer}.input_quantization", x.scale, x.zero_point),
        weights=build.trainable(f"{layer}.weights", float_weights),
        bias=build.trainable(f"{layer}.bias", float_bias),
        logits=build.buffer(f"{layer}.logits", "float32", (classes,)),
    )
    operands = {
        "x": head.x,
        "x_quantization": head.quantization,
        "weights": head.weights,
        "bias": head.bias,
        "logits": head.logits,
        "prediction": PREDICTION,
    }
    build.step(layer, "head_f32", params, Phase.FORWARD, layer, operands)
    return head


def add_loss(context: Lowering, head: FloatHead) -> str:
    """Add the loss over the head's logits; returns the buffer of its gradient with respect to them, float32 (classes,)."""
    build, layer, classes = context.build, head.layer, head.params.classes
    gradient = build.buffer(f"{layer}.logits_gradient", "float32", (classes,))
    operands = {"logits": head.logits, "label": LABEL, "gradient": gradient, "loss": LOSS}
    params = SoftmaxCrossEntropyF32Params(classes=classes)
    build.step(f"{layer}.loss", "softmax_cross_entropy_f32", params, Phase.LOSS, layer, operands)
    return gradient


def add_head_error(context: Lowering, head: FloatHead, gradient: str) -> str:
    """Add the step of d loss / d code of the features; returns its buffer, float32 (features,)."""
    build, layer = context.build, head.layer
    error = build.buffer(f"{layer}.input_error", "float32", build.buffers[head.x].shape)
    operands = {
        "weights": head.weights,
        "gradient": gradient,
        "x_quantization": head.quantization,
        "error": error,
    }
    build.step(f"{layer}.input_error", "head_error_f32", head.params, Phase.BACKWARD, layer, operands)
    return error


def add_head_update(context: Lowering, head: FloatHead, gradient: str, minibatch: Minibatch) -> None:
    """Add the head's own update, by SGD: at once, or once a minibatch by sums of float32."""
    build, layer = context.build, head.layer
    if minibatch.waits:
        sums = {
            "weight_gradient": build.state(
                f"{layer}.weight_gradient_sum", "float32", build.buffers[head.weights].shape
            ),
            "bias_gradient": build.state(f"{layer}.bias_gradient_sum", "float32", build.buffers[head.bias].shape),
        }
        operands = {"x": head.x, "x_quantization": head.quantization, "gradient": gradient, **sums}
        build.step(f"{layer}.accumulate", "head_accumulate_f32", head.params, Phase.UPDATE, layer, operands)
        operands = {"learning_rate": minibatch.learning_rate, **sums, "weights": head.weights, "bias": head.bias}
        build.step(f"{layer}.update", "head_step_f32", head.params, Phase.UPDATE, layer, operands, once_a_batch=True)
        return
    operands = {
        "x": head.x,
        "x_quantization": head.quantization,
        "gradient": gradient,
        "learning_rate": LEARNING_RATE,
        "weights": head.weights,
        "bias": head.bias,
    }
    build.step(f"{layer}.update", "head_update_f32", head.params, Phase.UPDATE, layer, operands)
