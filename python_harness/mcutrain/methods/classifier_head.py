"""The head of a network in float32 over dequantised features, and its loss: softmax cross-entropy, or the mean squared error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, Operator, Padding
from mcutrain.methods.loss import PROBABILITIES
from mcutrain.methods.minibatch import Minibatch
from mcutrain.methods.training_graph import LABEL, LEARNING_RATE, LOSS, PREDICTION, TARGET, LossName
from mcutrain.ops.base import Params
from mcutrain.ops.head import HeadF32Params
from mcutrain.ops.loss import MeanSquaredErrorF32Params, SoftmaxCrossEntropyF32Params
from mcutrain.ops.rules import Lowering, weight_scales
from mcutrain.ops.steps import Phase

LAYER_KINDS = ("conv2d", "depthwise_conv2d", "fully_connected")


@dataclass(frozen=True)
class Head:
    """The last layer with weights, and its place among the operators."""

    op: Operator
    index: int


def find_head(graph: Graph, loss: LossName = "cross_entropy") -> Head:
    """The layer that trains in float32: fully connected, or a convolution that is as much, which one window covers.

    Only reshapes may follow it, and a softmax where the loss is the cross entropy, which takes what comes before it. Raises UsageError
    where the network ends otherwise.
    """
    for index in range(len(graph.operators) - 1, -1, -1):
        op = graph.operators[index]
        if is_dense(graph, op):
            assert isinstance(op.attributes, ConvAttributes)
            if op.attributes.clamp != (-128, 127):
                raise UsageError(f"{graph.name}: the last layer {op.name} has an activation; the head must be linear")
            return Head(op, index)
        if op.kind in PROBABILITIES and loss == "mse":
            raise UsageError(
                f"{graph.name}: {op.name} ({op.kind}) puts out probabilities: train them by loss: cross_entropy"
            )
        if op.kind not in (*PROBABILITIES, "reshape"):
            raise UsageError(f"{graph.name}: {_no_head(graph, op)}; new_head: CLASSES puts a fresh classifier there")
    raise UsageError(f"{graph.name}: the network has no fully connected layer to train as its head")


def is_dense(graph: Graph, op: Operator) -> bool:
    """Whether ``op`` is a fully connected layer over one row, or a convolution of one window over all of its input: the same sums."""
    if op.kind not in ("conv2d", "fully_connected"):
        return False
    x, weights, y = (graph.tensors[name] for name in (op.inputs[0], op.inputs[1], op.outputs[0]))
    one_row = y.elements == weights.shape[0] and x.elements * y.elements == weights.elements
    assert isinstance(op.attributes, ConvAttributes)
    covers = op.kind == "fully_connected" or (weights.shape[1:] == x.image and op.attributes.padding == Padding())
    return one_row and covers


def _no_head(graph: Graph, op: Operator) -> str:
    """Why training finds no head at ``op``, in words."""
    shape = " x ".join(map(str, graph.tensors[op.outputs[0]].shape))
    if op.kind in LAYER_KINDS:
        return (
            f"training needs a last layer of one row of outputs, as a fully connected one has, but {op.name} ({op.kind}) comes last "
            f"and puts out {shape}"
        )
    made_by = {other.outputs[0]: other for other in graph.operators}
    before = made_by.get(op.inputs[0])
    if before is not None and before.kind == "conv2d" and op.kind in ("average_pool", "mean"):
        return (
            f"training needs a fully connected layer behind the last pool, but {op.name} ({op.kind}) averages what {before.name} "
            "says of each pixel, rounded to int8"
        )
    return f"training needs a network that ends in a fully connected layer (and a softmax), but {op.name} ({op.kind}) comes last"


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
    # A convolution's weights lie as its window does over the features: row by row, channels innermost.
    codes = weights.data.reshape(weights.shape[0], -1)
    classes, features = codes.shape
    params = HeadF32Params(features=features, classes=classes)
    float_weights = (codes.astype(np.float64) * scales[:, None]).astype(np.float32)
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


def add_loss(context: Lowering, head: FloatHead, loss: LossName) -> str:
    """Add the loss over the head's outputs; returns the buffer of its gradient with respect to them, float32 (classes,)."""
    build, layer, classes = context.build, head.layer, head.params.classes
    gradient = build.buffer(f"{layer}.logits_gradient", "float32", (classes,))
    params: Params
    if loss == "mse":
        kernel, params = "mean_squared_error_f32", MeanSquaredErrorF32Params(outputs=classes)
        operands = {"outputs": head.logits, "target": TARGET, "gradient": gradient, "loss": LOSS}
    else:
        kernel, params = "softmax_cross_entropy_f32", SoftmaxCrossEntropyF32Params(classes=classes)
        operands = {"logits": head.logits, "label": LABEL, "gradient": gradient, "loss": LOSS}
    build.step(f"{layer}.loss", kernel, params, Phase.LOSS, layer, operands)
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
