"""Add, Relu, Clip and Softmax."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcutrain.graph.attributes import AddAttributes, RequantizeAttributes, SoftmaxAttributes
from mcutrain.graph.model import Quantization
from mcutrain.importers.common import INT8_RANGE, UnsupportedError
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, bias_codes, codes_operand, is_over_last_axis
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_rules.limits import clip_limits
from mcutrain.importers.onnx_values import Clamp, Constant, Pending, Value, file_shape

_SOFTMAX_OUTPUT = Quantization(np.array([1 / 256], np.float32), np.array([-128], np.int32))


def _add(context: Context, node: FileNode) -> Value:
    values = [context.value(name) for name in node.inputs]
    for value, other in (values, values[::-1]):
        if isinstance(value, Pending) and value.awaits_bias and isinstance(other, Constant):
            return _add_bias(context, node, value, other)
    a, b = (codes_operand(context, name) for name in node.inputs)
    if a.tensor.shape != b.tensor.shape:
        raise UnsupportedError(f"it broadcasts {file_shape(a.tensor.shape)} and {file_shape(b.tensor.shape)}")
    if a.order != b.order:
        raise UnsupportedError("its operands are flattened from different shapes")
    operands = (a.tensor.name, b.tensor.name)
    return Pending(f"add{node.position}", "add", node.kind, operands, a.tensor.shape, a.order, AddAttributes)


def _add_bias(context: Context, node: FileNode, product: Pending, bias: Constant) -> Value:
    """MatMul and the addition of a constant: one fully connected operator, as exact as the two with a Q between."""
    x, weights, zeros = (context.graph.tensors[name] for name in product.inputs)
    assert zeros.quantization is not None
    codes = bias_codes(bias, zeros.quantization.scale, zeros.shape[0])
    del context.graph.tensors[zeros.name]
    name = context.graph.constant(f"{bias.name}_of_{node.index}", codes, zeros.quantization)
    return replace(product, inputs=(x.name, weights.name, name), awaits_bias=False)


def _activation(context: Context, node: FileNode, low: float | None, high: float | None) -> Value:
    value = context.value(node.inputs[0])
    if isinstance(value, Pending):
        if context.sole_reader(node.inputs[0]) is None:
            raise UnsupportedError("its input is also read before it is quantised")
        lows = [limit for limit in (value.low, low) if limit is not None]
        highs = [limit for limit in (value.high, high) if limit is not None]
        return replace(value, low=max(lows, default=None), high=min(highs, default=None), awaits_bias=False)
    x = codes_operand(context, node.inputs[0])
    operands, shape = (x.tensor.name,), x.tensor.shape
    name = f"requantize{node.position}"
    return Pending(name, "requantize", node.kind, operands, shape, x.order, RequantizeAttributes, low=low, high=high)


def _relu(context: Context, node: FileNode) -> Value:
    return _activation(context, node, 0.0, None)


def _clip(context: Context, node: FileNode) -> Value:
    return _activation(context, node, *clip_limits(context, node))


def _softmax(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0])
    if not is_over_last_axis(context, node, x.tensor.shape):
        raise UnsupportedError("it is not over the elements of a vector or the channels of an image")
    name, shape = f"softmax{node.position}", x.tensor.shape
    return Pending(
        name,
        "softmax",
        node.kind,
        (x.tensor.name,),
        shape,
        x.order,
        _softmax_attributes,
        unstated=_SOFTMAX_OUTPUT,
    )


def _softmax_attributes(clamp: Clamp) -> SoftmaxAttributes:
    if clamp != INT8_RANGE:
        raise UnsupportedError("a Relu or Clip cuts its output off")
    return SoftmaxAttributes()


RULES: dict[str, Rule] = {
    "Add": Rule(_add, (2, 2)),
    "Clip": Rule(_clip, (1, 3), frozenset({"min", "max"})),
    "Relu": Rule(_relu, (1, 1)),
    "Softmax": Rule(_softmax, (1, 1), frozenset({"axis"})),
}
