"""Method 1: sparse update with quantisation-aware scaling.

Biases of chosen layers, weights of chosen layers (all of them or the input channels of largest magnitude) and the float32 head train
by SGD with batch 1: ``W' = saturate(round(W - lr * G_W / s_W^2))``, ``b' = b - lr * G_b / (s_x s_W)^2`` (docs/arithmetic.md, "Update").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, Operator
from mcutrain.methods.scheme import Scheme, parse_scheme
from mcutrain.methods.training_graph import (
    LABEL,
    LEARNING_RATE,
    LOSS,
    PREDICTION,
    RANDOM,
    TrainingGraph,
    add_io,
)
from mcutrain.ops.bounds import largest_bias
from mcutrain.ops.errors import ERROR_MODES
from mcutrain.ops.head import HeadF32Params
from mcutrain.ops.loss import SoftmaxCrossEntropyF32Params
from mcutrain.ops.rules import (
    RULES,
    LayerTraining,
    Lowering,
    effective_scales,
    inputs_per_output,
    layer_window,
    weight_scales,
)
from mcutrain.ops.steps import Phase, StepBuilder
from mcutrain.ops.update_bias import UpdateBiasParams
from mcutrain.ops.update_weights import UpdateWeightsParams

WEIGHT_ROUNDINGS = ("master16", "stochastic8", "nearest8")
GRADIENT_SCALINGS = ("qas", "none")
LAYER_KINDS = ("conv2d", "depthwise_conv2d", "fully_connected")
_UNIT_RANGE_SCALE = 1.0 / 255.0


@dataclass(frozen=True)
class SparseUpdateOptions:
    """What a user can choose.

    scheme: see Scheme. error_mode: b16 or f32. weight_rounding: master16, stochastic8 or nearest8. step_cap: largest step of a tensor
    in LSB (weights) or output LSB (biases), 0 for none. gradient_scaling: qas or none (for comparison). input_scale_correction: count
    the input's scale as 1/255 in the layer that reads it.
    """

    scheme: str = "biases"
    error_mode: str = "b16"
    weight_rounding: str = "master16"
    step_cap: float = 0.5
    gradient_scaling: str = "qas"
    input_scale_correction: bool = True


def _check_choice(what: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise UsageError(f"{what} {value!r} is not one of {', '.join(valid)}")


@dataclass(frozen=True)
class _Head:
    """The last fully connected layer, and what follows it."""

    op: Operator
    index: int


def find_head(graph: Graph) -> _Head:
    """The last fully connected layer; only softmax and reshape may follow it. Raises UsageError where the network ends otherwise."""
    for index in range(len(graph.operators) - 1, -1, -1):
        op = graph.operators[index]
        if op.kind == "fully_connected":
            assert isinstance(op.attributes, ConvAttributes)
            if op.attributes.clamp != (-128, 127):
                raise UsageError(
                    f"{graph.name}: the last layer {op.name} has an activation; a classifier's head must be linear"
                )
            return _Head(op, index)
        if op.kind not in ("softmax", "reshape"):
            raise UsageError(
                f"{graph.name}: training needs a classifier that ends in a fully connected layer (and a softmax), "
                f"but {op.name} ({op.kind}) comes last"
            )
    raise UsageError(f"{graph.name}: the network has no fully connected layer to train as its head")


def trainable_layers(graph: Graph) -> tuple[str, ...]:
    """Names of the layers a scheme may name: convolutions and hidden fully connected, in order, without the head."""
    head = find_head(graph)
    return tuple(op.name for op in graph.operators[: head.index] if op.kind in LAYER_KINDS)


def largest_channels(graph: Graph, op: Operator, count: int) -> NDArray[np.int32]:
    """The ``count`` input channels with the largest sum of |s_w[o] * w|, ascending; the lower index wins a tie.

    Of a depthwise convolution they are output channels.
    """
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    scaled = np.abs(weights.astype(np.float64)) * weight_scales(graph, op).reshape(-1, *[1] * (weights.ndim - 1))
    channel_axis = 0 if op.kind == "depthwise_conv2d" else weights.ndim - 1
    magnitude = scaled.sum(axis=tuple(axis for axis in range(weights.ndim) if axis != channel_axis))
    order = np.argsort(-magnitude, kind="stable")[:count]
    return np.sort(order).astype(np.int32)


def selectable_channels(graph: Graph, op: Operator) -> int:
    """The channels that a share of a layer is of: its input channels; of a depthwise convolution, its output channels."""
    window = layer_window(graph, op)
    return window.out_channels if op.kind == "depthwise_conv2d" else window.in_channels


def _layer_training(graph: Graph, scheme: Scheme, layers: tuple[str, ...]) -> dict[str, LayerTraining]:
    training: dict[str, LayerTraining] = {}
    operators = {op.name: op for op in graph.operators}
    for name in layers:
        if not scheme.trains(name):
            continue
        op, selected = operators[name], None
        if name in scheme.weights:
            channels = selectable_channels(graph, op)
            count = int(channels * scheme.weights[name])
            if count == 0:
                raise UsageError(
                    f"scheme {scheme.text!r}: {scheme.weights[name]} of the {channels} channels of {name} is none"
                )
            selected = largest_channels(graph, op, count)
        training[name] = LayerTraining(bias=name in scheme.biases, selected=selected)
    return training


def wanted_errors(graph: Graph, operators: tuple[Operator, ...], training: dict[str, LayerTraining]) -> frozenset[str]:
    """Tensors whose error must be computed: outputs of trained layers and everything between them and the loss.

    Dead-code elimination: a tensor with no trained layer above it gets no error.
    """
    wanted: set[str] = set()
    for op in operators:
        if op.name in training or any(name in wanted for name in op.inputs):
            wanted.add(op.outputs[0])
    return frozenset(wanted)


@dataclass(frozen=True)
class _QasTrainer:
    """Adds the update steps of a layer."""

    options: SparseUpdateOptions

    def update_weights(self, context: Lowering, op: Operator, gradient: str) -> None:
        build, mode, rounding = context.build, context.errors, self.options.weight_rounding
        training = context.training[op.name]
        assert training.selected is not None
        window = layer_window(context.graph, op)
        weights = context.tensor(op.inputs[1]).data
        assert weights is not None
        selected, factor = training.selected, self._weight_factor(context, op)
        part = f"{op.name}.selected" if selected.size < selectable_channels(context.graph, op) else None
        depthwise = op.kind == "depthwise_conv2d"
        params = UpdateWeightsParams(
            out_channels=window.out_channels,
            taps=window.kernel_height * window.kernel_width,
            in_channels=1 if depthwise else window.in_channels,
            most_rows=int(selected.size) if depthwise else window.out_channels,
            most_selected=1 if depthwise else int(selected.size),
            weight_min=min(-127, int(weights.min())),
            step_cap=self.options.step_cap,
        )
        operands: dict[str, str | None] = {
            "gradient": gradient,
            "factor": build.constant(f"{op.name}.weight_factor", factor),
            "index": None if depthwise else part,
            "rows": part if depthwise else None,
            "learning_rate": LEARNING_RATE,
            "weights": f"{op.name}.weights",
        }
        if rounding == "master16":
            shape = build.buffers[gradient].shape
            operands["fraction"] = build.trainable(f"{op.name}.fraction", np.zeros(shape, dtype=np.int8))
        elif rounding == "stochastic8":
            operands["random"] = RANDOM
        kernel = f"update_weights_{rounding}_{mode.suffix}"
        build.step(f"{op.name}.update_weights", kernel, params, Phase.UPDATE, op.name, operands)

    def update_bias(self, context: Lowering, op: Operator, gradient: str) -> None:
        build, mode = context.build, context.errors
        window = layer_window(context.graph, op)
        terms = window.kernel_height * window.kernel_width * inputs_per_output(context.graph, op)
        params = UpdateBiasParams(
            channels=window.out_channels, bias_limit=largest_bias(terms), step_cap=self.options.step_cap
        )
        output_scale = effective_scales(context.graph, op).astype(np.float32)
        operands = {
            "gradient": gradient,
            "factor": build.constant(f"{op.name}.bias_factor", self._bias_factor(context, op)),
            "output_scale": build.constant(f"{op.name}.output_scale", output_scale),
            "learning_rate": LEARNING_RATE,
            "bias": f"{op.name}.bias",
        }
        build.step(f"{op.name}.update_bias", f"update_bias_{mode.suffix}", params, Phase.UPDATE, op.name, operands)

    def _weight_factor(self, context: Lowering, op: Operator) -> NDArray[np.float32]:
        """1 / s_w[c]^2; in a layer that reads the network's input, whose scale counts as 1/255: 1 / (255 s_x s_w[c])^2."""
        scales = weight_scales(context.graph, op)
        if self.options.gradient_scaling == "none":
            return np.ones_like(scales, dtype=np.float32)
        if self.options.input_scale_correction and reads_input(context.graph, op):
            scales = scales * context.tensor(op.inputs[0]).scale / _UNIT_RANGE_SCALE
        return _inverse_square(op, scales)

    def _bias_factor(self, context: Lowering, op: Operator) -> NDArray[np.float32]:
        """1 / (s_x s_w[c])^2."""
        scales = weight_scales(context.graph, op) * context.tensor(op.inputs[0]).scale
        if self.options.gradient_scaling == "none":
            return np.ones_like(scales, dtype=np.float32)
        return _inverse_square(op, scales)


def _inverse_square(op: Operator, scales: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", under="ignore"):
        factors = (1.0 / scales**2).astype(np.float32)
    if not np.all(np.isfinite(factors) & (factors > 0)):
        raise UsageError(
            f"{op.name}: 1 / scale^2 of its scales ({scales.min():.3g} to {scales.max():.3g}) is outside float32; leave the layer "
            "out of the scheme, or take gradient scaling 'none'"
        )
    return factors


def reads_input(graph: Graph, op: Operator) -> bool:
    """Whether ``op`` reads the network's input, possibly padded or reshaped."""
    name = op.inputs[0]
    while name != graph.input:
        producer = graph.producer(name)
        if producer is None or producer.kind not in ("pad", "reshape"):
            return False
        name = producer.inputs[0]
    return True


def sparse_update(graph: Graph, options: SparseUpdateOptions) -> TrainingGraph:
    """The training graph of ``graph`` under ``options``.

    Raises UsageError for a network that cannot be trained, or for options that do not fit it.
    """
    _check_choice("error mode", options.error_mode, tuple(ERROR_MODES))
    _check_choice("weight rounding", options.weight_rounding, WEIGHT_ROUNDINGS)
    _check_choice("gradient scaling", options.gradient_scaling, GRADIENT_SCALINGS)
    head = find_head(graph)
    body = graph.operators[: head.index]
    layers = trainable_layers(graph)
    training = _layer_training(graph, parse_scheme(options.scheme, layers), layers)
    build = StepBuilder()
    context = Lowering(
        graph=graph,
        build=build,
        mode=ERROR_MODES[options.error_mode],
        trainer=_QasTrainer(options),
        training=training,
        wanted=wanted_errors(graph, body, training),
    )
    context.place[graph.input] = add_io(build, graph)
    for op in body:
        RULES[op.kind].forward(context, op)
    error = _head_and_loss(context, head.op)
    _backward(context, body, head.op.inputs[0], error)
    return TrainingGraph(
        graph=graph,
        method="sparse_update",
        scheme=options.scheme,
        error_mode=options.error_mode,
        weight_rounding=options.weight_rounding,
        buffers=build.buffers,
        steps=tuple(build.steps),
        classes=layer_window(graph, head.op).out_channels,
    )


def _head_and_loss(context: Lowering, op: Operator) -> str:
    """The float32 head over dequantised features, the loss and the head's update; returns the features' float32 error."""
    build, graph = context.build, context.graph
    x, weights, bias = (context.tensor(name) for name in op.inputs)
    assert weights.data is not None and bias.data is not None
    scales = weight_scales(graph, op)
    classes, features = weights.shape
    params = HeadF32Params(features=features, classes=classes)
    quantization = build.quantization(f"{op.name}.input_quantization", x.scale, x.zero_point)
    float_weights = (weights.data.astype(np.float64) * scales[:, None]).astype(np.float32)
    float_bias = (bias.data.astype(np.float64) * scales * x.scale).astype(np.float32)
    place, layer = context.place[x.name], op.name
    head_weights = build.trainable(f"{layer}.weights", float_weights)
    head_bias = build.trainable(f"{layer}.bias", float_bias)
    logits = build.buffer(f"{layer}.logits", "float32", (classes,))
    gradient = build.buffer(f"{layer}.logits_gradient", "float32", (classes,))
    features_of = {"x": place, "x_quantization": quantization}
    forward = {**features_of, "weights": head_weights, "bias": head_bias, "logits": logits, "prediction": PREDICTION}
    build.step(layer, "head_f32", params, Phase.FORWARD, layer, forward)
    loss = {"logits": logits, "label": LABEL, "gradient": gradient, "loss": LOSS}
    loss_params = SoftmaxCrossEntropyF32Params(classes=classes)
    build.step(f"{layer}.loss", "softmax_cross_entropy_f32", loss_params, Phase.LOSS, layer, loss)
    error = build.buffer(f"{layer}.input_error", "float32", x.shape)
    if x.name in context.wanted:
        operands = {"weights": head_weights, "gradient": gradient, "x_quantization": quantization, "error": error}
        build.step(f"{layer}.input_error", "head_error_f32", params, Phase.BACKWARD, layer, operands)
    update = {
        **features_of,
        "gradient": gradient,
        "learning_rate": LEARNING_RATE,
        "weights": head_weights,
        "bias": head_bias,
    }
    build.step(f"{layer}.update", "head_update_f32", params, Phase.UPDATE, layer, update)
    return error


def _backward(context: Lowering, body: tuple[Operator, ...], features: str, head_error: str) -> None:
    """Propagate errors from the features to the earliest trained layer; errors that meet at a branch add up."""
    if features not in context.wanted:
        del context.build.buffers[head_error]
        return
    mode, build = context.errors, context.build
    errors = {features: mode.from_float(build, "features_error", "loss", head_error)}
    for op in reversed(body):
        error = errors.pop(op.outputs[0], None)
        if error is None:
            continue
        for name, contribution in RULES[op.kind].backward(context, op, error).items():
            if name in errors:
                meeting = f"{op.name}.meeting_error"
                contribution = mode.add(build, meeting, op.name, errors[name], contribution)
            errors[name] = contribution
