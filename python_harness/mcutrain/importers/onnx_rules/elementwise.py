"""Add, Relu, Clip and Softmax."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mcutrain.graph.attributes import AddAttributes, RequantizeAttributes, SoftmaxAttributes
from mcutrain.graph.model import Quantization
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, bias_codes, codes_operand, integer_attribute, optional_constant
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_values import Constant, Pending, Value, file_shape

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
    limits: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        limit = node.attributes.get(name)
        given = optional_constant(context, node, position, f"its {name}")
        if given is not None:
            if given.values.size != 1:
                raise UnsupportedError(f"its {name} is not one number")
            limit = float(given.real().reshape(()))
        if limit is not None and not (isinstance(limit, int | float) and not math.isnan(limit)):
            raise UnsupportedError(f"its {name} is not a number")
        limits.append(None if limit is None or math.isinf(limit) else limit)
    low, high = limits
    if low is not None and high is not None and low > high:
        raise UnsupportedError(f"its min {low:g} is above its max {high:g}")
    return _activation(context, node, low, high)


def _softmax(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0])
    if len(x.tensor.shape) != 1 or x.order is not None or integer_attribute(node, "axis", 1) not in (1, -1):
        raise UnsupportedError("it is not over the elements of one vector")
    name, operands = f"softmax{node.position}", (x.tensor.name,)
    return Pending(
        name, "softmax", node.kind, operands, x.tensor.shape, None, lambda _: SoftmaxAttributes(), own=_SOFTMAX_OUTPUT
    )


RULES: dict[str, Rule] = {
    "Add": Rule(_add, (2, 2)),
    "Clip": Rule(_clip, (1, 3), frozenset({"min", "max"})),
    "Relu": Rule(_relu, (1, 1)),
    "Softmax": Rule(_softmax, (1, 1), frozenset({"axis"})),
}
