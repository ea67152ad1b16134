"""Add, Sub, Mul and Div, with a second operand that is computed or constant, and BatchNormalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import AddAttributes, Attributes, ConvAttributes, MultiplyAttributes
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers.common import UnsupportedError, is_usable_scale, quoted
from mcutrain.importers.movement import Movement
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    bias_codes,
    codes_operand,
    constant_operand,
    graph_axis,
    integer_attribute,
)
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_values import Clamp, Codes, Constant, Pending, Shape, Value, file_shape, graph_axes

Real = NDArray[np.float64]

_UNIT = 127  # the code of 1 in a constant of one magnitude: its scale is that magnitude / 127


def _add(context: Context, node: FileNode) -> Value:
    values = [context.value(name) for name in node.inputs]
    for value, other in (values, values[::-1]):
        if isinstance(value, Pending) and value.awaits_bias and isinstance(other, Constant):
            return _add_bias(context, node, value, other)
    return _elementwise(context, node, "add", AddAttributes)


def _subtract(context: Context, node: FileNode) -> Value:
    return _elementwise(context, node, "add", lambda clamp: AddAttributes(clamp, subtracts=True))


def _multiply(context: Context, node: FileNode) -> Value:
    return _elementwise(context, node, "multiply", MultiplyAttributes)


def _divide(context: Context, node: FileNode) -> Value:
    divisor = constant_operand(context, node.inputs[1], "its divisors")
    x = _operand(context, node.inputs[0])
    with np.errstate(divide="ignore"):
        inverse = 1 / _real(divisor)
    if not np.all(np.isfinite(inverse)):
        raise UnsupportedError(f"it divides by the constant {quoted(divisor.name)}, which has zeros")
    return _with_constant(context, node, "multiply", MultiplyAttributes, x, inverse, f"{divisor.name}_of_{node.index}")


def _add_bias(context: Context, node: FileNode, product: Pending, bias: Constant) -> Value:
    """MatMul and the addition of a constant: one fully connected operator, as exact as the two with a Q between."""
    x, weights, zeros = (context.graph.tensors[name] for name in product.inputs)
    if bias.values.size == 1:
        bias = replace(bias, values=np.broadcast_to(bias.values.reshape(1), zeros.shape))
    assert zeros.quantization is not None
    assert weights.quantization is not None and weights.data is not None
    exact = bias_codes(bias, zeros.quantization.scale, zeros.shape[0])
    scales = weights.quantization.scale
    codes, values, wider = context.graph.with_room(f"MatMul before #{node.index}", weights.data, exact, scales)
    del context.graph.tensors[zeros.name]
    weights_name, quantization = weights.name, zeros.quantization
    if wider is not scales:
        no_shift = np.zeros(wider.shape, np.int32)
        weights_name = context.graph.constant(
            f"{weights.name}_of_{node.index}", codes, Quantization(wider, no_shift, 0)
        )
        with np.errstate(over="ignore", under="ignore"):
            quantization = Quantization(np.float32(x.scale) * wider, no_shift, 0)
    name = context.graph.constant(f"{bias.name}_of_{node.index}", values, quantization)
    return replace(product, inputs=(x.name, weights_name, name), awaits_bias=False)


def _elementwise(context: Context, node: FileNode, kind: str, attributes: Callable[[Clamp], Attributes]) -> Value:
    """``attributes`` of two operands of which one may be a constant."""
    values = [context.value(name) for name in node.inputs]
    constants = [isinstance(value, Constant) for value in values]
    if all(constants):
        raise UnsupportedError("both of its operands are constants")
    if any(constants):
        first = constants[0]
        x = _operand(context, node.inputs[1 if first else 0])
        constant = values[0 if first else 1]
        assert isinstance(constant, Constant)
        name = f"{constant.name}_of_{node.index}"
        q, codes = constant.quantization, constant.values
        if isinstance(x, Pending) or q is None or q.scale.size != 1 or codes.dtype not in (np.int8, np.uint8):
            return _with_constant(context, node, kind, attributes, x, _real(constant), name, first=first)
        shift = 128 if codes.dtype == np.uint8 else 0
        values8 = _graph_layout(x.tensor.shape, x.order, codes.astype(np.int32) - shift, constant.name).astype(np.int8)
        added = context.graph.constant(name, values8, Quantization(q.scale, (q.zero_point - shift).astype(np.int32)))
        return _pending(context, node, kind, attributes, x, added, first=first)
    a, b = (codes_operand(context, name, or_rows=True) for name in node.inputs)
    if len(a.tensor.shape) != len(b.tensor.shape) or a.rows != b.rows:
        raise UnsupportedError(f"it broadcasts {list(a.whole_shape)} and {list(b.whole_shape)}")
    if a.order != b.order:
        raise UnsupportedError("its operands are flattened from different shapes")
    return _pending(context, node, kind, attributes, a, b.tensor.name)


def _pending(
    context: Context,
    node: FileNode,
    kind: str,
    attributes: Callable[[Clamp], Attributes],
    x: Codes,
    other: str,
    *,
    first: bool = False,
) -> Pending:
    """The operator of x and another tensor of the Graph, which is the first operand where ``first``."""
    shapes = x.tensor.shape, context.graph.tensors[other].shape
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise UnsupportedError(f"it broadcasts {file_shape(shapes[0])} and {file_shape(shapes[1])}") from None
    operands = (other, x.tensor.name) if first else (x.tensor.name, other)
    return Pending(f"{kind}{node.position}", kind, node.kind, operands, shape, x.order, attributes, rows=x.rows)


def _with_constant(
    context: Context,
    node: FileNode,
    kind: str,
    attributes: Callable[[Clamp], Attributes],
    x: Codes | Pending,
    values: Real,
    name: str,
    *,
    first: bool = False,
) -> Pending:
    """X and a constant of real values: exact where they have one magnitude, or one value for each element of an axis."""
    shape = x.shape if isinstance(x, Pending) else x.tensor.shape
    laid = _graph_layout(shape, x.order, values, name)
    largest = float(np.abs(laid).max())
    units = laid / largest if largest > 0 else laid
    if isinstance(x, Codes) and largest > 0 and np.all(np.isin(units, (-1.0, 0.0, 1.0))):
        q = Quantization(np.array([largest / _UNIT], np.float32), np.zeros(1, np.int32))
        added = context.graph.constant(name, (units * _UNIT).astype(np.int8), q)
        return _pending(context, node, kind, attributes, x, added, first=first)
    rank = len(shape)
    axes = [a for a, n in enumerate(laid.shape) if n == laid.size and laid.size in (1, shape[a])]
    # Sums of products can have an offset or a gain for each of their channels.
    axis = _channel_axis(x) if isinstance(x, Pending) and _channel_axis(x) in axes else max(axes, default=rank)
    if axis == rank or rank > 3:
        raise UnsupportedError(f"its constant {quoted(name)} is not quantised; quantise it with the network")
    channels = shape[axis]
    each = np.broadcast_to(laid.reshape(-1), (channels,))
    if kind == "multiply":
        return _affine(context, node, x, axis, each, np.zeros(channels))
    sign = -1.0 if isinstance(found := attributes((-128, 127)), AddAttributes) and found.subtracts else 1.0
    gain = np.full(channels, sign if first else 1.0)
    return _affine(context, node, x, axis, gain, each if first else sign * each)


_WEIGHTED = frozenset({"conv2d", "depthwise_conv2d", "fully_connected"})


def _operand(context: Context, name: str) -> Codes | Pending:
    """Codes, or sums of products that nothing else reads and that are not quantised yet: they take a gain and an offset into themselves."""
    value = context.value(name)
    if (
        isinstance(value, Pending)
        and value.kind in _WEIGHTED
        and (value.low, value.high, value.written) == (None, None, None)
        and context.sole_reader(name) is not None
    ):
        return value
    return codes_operand(context, name, or_rows=True)


def _channel_axis(p: Pending) -> int:
    """Where the channels of an operator with weights are, in the Graph's layout of its result."""
    last = len(p.shape) - 1
    return last if p.turned is None else p.turned.index(last)


def _into_weights(context: Context, node: FileNode, p: Pending, gain: Real, offset: Real) -> Pending:
    """``gain y + offset`` of each channel of an operator with weights: these, its scales and its bias at so many times the scale."""
    x, weights, bias = (context.graph.tensors[name] for name in p.inputs)
    assert weights.data is not None and weights.quantization is not None
    assert bias.data is not None and bias.quantization is not None
    shape = (-1, *[1] * (weights.data.ndim - 1))
    codes = weights.data.astype(np.int32) * np.sign(gain).astype(np.int32).reshape(shape)
    if codes.max() > 127:
        raise UnsupportedError("it turns the sign of a weight of -128; quantise weights to codes of -127 to 127")
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        scales = (weights.quantization.scale * np.where(gain == 0, 1.0, np.abs(gain))).astype(np.float32)
        real = bias.data.astype(np.float64) * bias.quantization.scale.astype(np.float64) * gain + offset
        exact = np.rint(real / (np.float64(x.scale) * scales.astype(np.float64)))
    if not is_usable_scale(scales):
        raise UnsupportedError("a gain of it is too small or too large for the weights before it")
    made = context.graph.with_room(f"{node.kind} #{node.index}", codes.astype(np.int8), exact, scales)
    zeros = np.zeros(made[2].shape, np.int32)
    name = context.graph.constant(f"{node.outputs[0]}_weights", made[0], Quantization(made[2], zeros, 0))
    with np.errstate(over="ignore", under="ignore"):
        bias_scale = np.float32(x.scale) * made[2]
    biases = context.graph.constant(f"{node.outputs[0]}_bias", made[1], Quantization(bias_scale, zeros, 0))
    return replace(p, inputs=(x.name, name, biases), awaits_bias=False)


def _affine(context: Context, node: FileNode, x: Codes | Pending, axis: int, gain: Real, offset: Real) -> Pending:
    """``gain x + offset`` of each element of an axis: a depthwise convolution of one tap, whose weights are +-127 at their own scales."""
    if isinstance(x, Pending):
        if axis != _channel_axis(x):
            raise UnsupportedError(
                "it is of another axis than the channels of the layer before it; quantise that layer's output"
            )
        return _into_weights(context, node, x, gain, offset)
    own = f"depthwise{node.position}"
    movement = Movement(context.graph, f"{own}_operand", node.kind)
    operand, turned = movement.axis_last(x.tensor, axis)
    written = (1, *operand.shape) if len(operand.shape) == 1 else None
    operand = operand if written is None else movement.reshape(operand, written)
    channels = operand.shape[-1]
    largest = float(np.abs(gain).max())
    scale = (np.where(gain == 0, largest if largest > 0 else 1.0, np.abs(gain)) / _UNIT).astype(np.float32)
    zeros = np.zeros(channels, np.int32)
    codes = (np.sign(gain) * _UNIT).astype(np.int8).reshape(channels, 1, 1)
    weights = context.graph.constant(f"{node.outputs[0]}_gain", codes, Quantization(scale, zeros, 0))
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        bias_scale = np.float32(x.tensor.scale) * scale
        bias = np.rint(offset / bias_scale.astype(np.float64))
    if not np.all(np.abs(bias) < 2**31):
        raise UnsupportedError("an offset does not fit 32 bits at the scale of its gain times the input's")
    name = context.graph.constant(
        f"{node.outputs[0]}_offset", bias.astype(np.int32), Quantization(bias_scale, zeros, 0)
    )
    return Pending(
        own,
        "depthwise_conv2d",
        node.kind,
        (operand.name, weights, name),
        x.tensor.shape,
        x.order,
        ConvAttributes,
        rows=x.rows,
        turned=turned,
        written=written,
    )


def _batch_normalization(context: Context, node: FileNode) -> Value:
    """Of parameters that are constants: a gain and an offset of each channel."""
    if integer_attribute(node, "training_mode", 0) != 0:
        raise UnsupportedError("it is in training mode")
    epsilon = node.attributes.get("epsilon", 1e-5)
    if not isinstance(epsilon, int | float):
        raise UnsupportedError("its epsilon is no number")
    x = _operand(context, node.inputs[0])
    codes = Codes(Tensor(node.inputs[0], x.shape, "int8"), x.order, x.rows) if isinstance(x, Pending) else x
    axis, shape = graph_axis(1, codes), codes.tensor.shape
    if len(shape) > 3:
        raise UnsupportedError(f"it reads {len(codes.whole_shape)} dimensions, more than 4")
    parameters = []
    for operand, what in zip(node.inputs[1:], ("its scales", "its offsets", "its means", "its variances"), strict=True):
        values = _real(constant_operand(context, operand, what)).reshape(-1)
        if values.size != shape[axis]:
            raise UnsupportedError(f"{what} are {values.size} for {shape[axis]} channels")
        # One for each element of a vector: these follow its elements.
        parameters.append(_graph_layout(shape, x.order, values, node.outputs[0]) if len(shape) == 1 else values)
    scales, offsets, means, variances = parameters
    if not np.all(variances + epsilon > 0):
        raise UnsupportedError("one of its variances is negative")
    gain = scales / np.sqrt(variances + epsilon)
    return _affine(context, node, x, axis, gain, offsets - means * gain)


def _real(constant: Constant) -> Real:
    """The real values of a constant, whatever its scales."""
    q, values = constant.quantization, constant.values.astype(np.float64)
    if q is None or q.scale.size == 1:
        return constant.real()
    axis = q.axis if q.axis is not None else 0
    shape = [q.scale.size if i == axis % values.ndim else 1 for i in range(values.ndim)]
    if values.shape[axis % values.ndim] != q.scale.size:
        raise UnsupportedError(f"constant {quoted(constant.name)} has {q.scale.size} scales along axis {axis}")
    real: Real = (values - q.zero_point.reshape(shape)) * q.scale.astype(np.float64).reshape(shape)
    return real


def _graph_layout(of: Shape, order: Shape | None, values: NDArray[Any], name: str) -> NDArray[Any]:
    """A constant that meets codes of the shape and order ``of`` and ``order``, in the Graph's layout, with as many dimensions."""
    rank = len(of)
    shape = (1,) * (rank + 1 - values.ndim) + values.shape
    if len(shape) != rank + 1 or shape[0] != 1:
        raise UnsupportedError(f"its constant {quoted(name)} has the shape {list(values.shape)}")
    laid = values.reshape(shape[1:])
    if rank > 1:
        return laid.transpose(graph_axes(rank))
    if order is not None and laid.size > 1:
        return laid.reshape(order).transpose(1, 2, 0).reshape(-1)
    return laid


RULES: dict[str, Rule] = {
    "Add": Rule(_add, (2, 2)),
    "BatchNormalization": Rule(_batch_normalization, (5, 5), frozenset({"epsilon", "momentum", "training_mode"})),
    "Div": Rule(_divide, (2, 2)),
    "Mul": Rule(_multiply, (2, 2)),
    "Sub": Rule(_subtract, (2, 2)),
}
