"""The operators of an ONNX QDQ network: how each becomes an operator of the Graph.

To add an operator: a function from the file's node to its value, and one entry in ``RULES``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mcutrain.graph.model import (
    AddAttributes,
    ConvAttributes,
    MeanAttributes,
    PadAttributes,
    Padding,
    PoolAttributes,
    Quantization,
    RequantizeAttributes,
    ReshapeAttributes,
    SoftmaxAttributes,
)
from mcutrain.importers.common import UnsupportedError, quoted
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    UnknownInputError,
    add_weights,
    bias_codes,
    codes_operand,
    constant_operand,
    image_operand,
    integer_attribute,
    integer_attributes,
    optional_constant,
    positive_pair,
    window,
)
from mcutrain.importers.onnx_values import (
    Codes,
    Constant,
    Pending,
    Shape,
    Unknown,
    Value,
    file_shape,
    flattened_order,
    graph_shape,
)

_SOFTMAX_OUTPUT = Quantization(np.array([1 / 256], np.float32), np.array([-128], np.int32))


@dataclass(frozen=True)
class Rule:
    """How one operator is imported. inputs: fewest and most operands. attributes: those whose meaning is handled."""

    function: Callable[[Context, FileNode], Value]
    inputs: tuple[int, int]
    attributes: frozenset[str] = frozenset()

    def apply(self, context: Context, node: FileNode) -> Value:
        """The value of ``node``. Raises UnsupportedError with the reason."""
        strange = sorted(set(node.attributes) - self.attributes)
        if strange:
            raise UnsupportedError(f"attribute {', '.join(quoted(name) for name in strange)}")
        fewest, most = self.inputs
        if not fewest <= len(node.inputs) <= most or not all(node.inputs[:fewest]):
            raise UnsupportedError(f"{len(node.inputs)} inputs")
        try:
            return self.function(context, node)
        except UnknownInputError:
            return Unknown()


def _conv(context: Context, node: FileNode) -> Value:
    weights = constant_operand(context, node.inputs[1], "weights")
    if weights.values.ndim != 4:
        raise UnsupportedError(f"its weights have {weights.values.ndim} dimensions, not 4")
    outputs, depth, height, width = weights.values.shape
    group = integer_attribute(node, "group", 1)
    depthwise = group > 1 and depth == 1
    if group != 1 and not depthwise:
        # Noted, not raised, so that what follows in the file is checked too.
        context.problems.add(
            f"Conv #{node.index} (output {quoted(node.outputs[0])}): group {group}, neither 1 nor one for each channel"
        )
    if integer_attributes(node, "kernel_shape", (height, width)) != (height, width):
        raise UnsupportedError("its kernel_shape is not that of its weights")
    x = image_operand(context, node.inputs[0])
    if depth * group != x.tensor.shape[2]:
        raise UnsupportedError(f"its weights take {depth * group} channels, its input has {x.tensor.shape[2]}")
    stride, padding, sides = window(node, x, (height, width))
    bias = optional_constant(context, node, 2, "bias")
    codes = weights.values[:, 0] if depthwise else weights.values.transpose(0, 2, 3, 1)
    operands = (x.tensor.name, *add_weights(context, node, weights, codes, 0, x, bias))
    return Pending(
        f"{'depthwise' if depthwise else 'conv'}{node.position}",
        "depthwise_conv2d" if depthwise else "conv2d",
        node.kind,
        operands,
        (*sides, outputs),
        None,
        lambda clamp: ConvAttributes(clamp, stride, padding),
    )


def _gemm(context: Context, node: FileNode) -> Value:
    for name, expected in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if node.attributes.get(name, expected) != expected:
            raise UnsupportedError(f"its {name} is {node.attributes[name]}, not {expected:g}")
    return _matrix_product(context, node, transposed=integer_attribute(node, "transB", 0) != 0)


def _matmul(context: Context, node: FileNode) -> Value:
    return replace(_matrix_product(context, node, transposed=False), awaits_bias=True)


def _matrix_product(context: Context, node: FileNode, *, transposed: bool) -> Pending:
    weights = constant_operand(context, node.inputs[1], "weights")
    if weights.values.ndim != 2:
        raise UnsupportedError(f"its weights have {weights.values.ndim} dimensions, not 2")
    codes = weights.values if transposed else weights.values.T
    x = codes_operand(context, node.inputs[0])
    if x.tensor.shape != (codes.shape[1],):
        raise UnsupportedError(
            f"its weights take a vector of {codes.shape[1]}, its input is {file_shape(x.tensor.shape)}"
        )
    if x.order is not None:
        # The file flattens channels first, the Graph channels last: the columns follow the elements.
        codes = codes.reshape(-1, *x.order).transpose(0, 2, 3, 1).reshape(codes.shape)
    bias = optional_constant(context, node, 2, "bias")
    operands = (x.tensor.name, *add_weights(context, node, weights, codes, 0 if transposed else 1, x, bias))
    name = f"fully_connected{node.position}"
    return Pending(name, "fully_connected", node.kind, operands, (len(codes),), None, ConvAttributes)


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


def _pending_pool(node: FileNode, kind: str, x: Codes, shape: Shape, attributes: PoolAttributes) -> Pending:
    # A pool writes the scale it reads; a change of scale becomes a requantize after it.
    own = x.tensor.quantization
    return Pending(
        f"{kind}{node.position}", kind, node.kind, (x.tensor.name,), shape, None, lambda _: attributes, own=own
    )


def _pool(kind: str) -> Callable[[Context, FileNode], Value]:
    def rule(context: Context, node: FileNode) -> Value:
        if integer_attribute(node, "storage_order", 0) != 0:
            raise UnsupportedError("its storage_order is not 0")
        x = image_operand(context, node.inputs[0], or_input=kind == "max_pool")
        kernel = positive_pair(node, "kernel_shape", (0, 0))
        stride, padding, sides = window(node, x, kernel)
        if integer_attribute(node, "count_include_pad", 0) != 0 and padding != Padding():
            raise UnsupportedError("its average counts the padding (count_include_pad)")
        shape = (*sides, x.tensor.shape[2])
        return _pending_pool(node, kind, x, shape, PoolAttributes(kernel, stride, padding))

    return rule


def _global_pool(kind: str) -> Callable[[Context, FileNode], Value]:
    def rule(context: Context, node: FileNode) -> Value:
        x = image_operand(context, node.inputs[0])
        height, width, channels = x.tensor.shape
        return _pending_pool(node, kind, x, (1, 1, channels), PoolAttributes((height, width), (1, 1)))

    return rule


def _reduce_mean(context: Context, node: FileNode) -> Value:
    given = optional_constant(context, node, 1, "the axes")
    stated = node.attributes.get("axes", ()) if given is None else tuple(int(a) for a in given.values.reshape(-1))
    axes = sorted(a % 4 for a in stated if isinstance(a, int)) if isinstance(stated, tuple) else []
    if axes != [2, 3]:
        raise UnsupportedError(f"it is the mean over the axes {axes}, not over rows and columns (2 and 3)")
    x = image_operand(context, node.inputs[0])
    channels = x.tensor.shape[2]
    shape = (1, 1, channels) if integer_attribute(node, "keepdims", 1) != 0 else (channels,)
    return Pending(f"mean{node.position}", "mean", node.kind, (x.tensor.name,), shape, None, MeanAttributes)


def _flatten(context: Context, node: FileNode) -> Value:
    if integer_attribute(node, "axis", 1) not in (1, 1 - 4):
        raise UnsupportedError(f"its axis is {node.attributes['axis']}, not 1")
    x = codes_operand(context, node.inputs[0], or_input=True)
    return _pending_reshape(node, x, (x.tensor.elements,))


def _reshape(context: Context, node: FileNode) -> Value:
    target = constant_operand(context, node.inputs[1], "the numbers of its shape").values
    if target.dtype != np.int64 or target.ndim != 1 or not 1 <= target.size <= 8:
        raise UnsupportedError("its shape is not a list of integers")
    x = codes_operand(context, node.inputs[0], or_input=True)
    before = (1, *file_shape(x.tensor.shape))
    after = [int(n) for n in target]
    if integer_attribute(node, "allowzero", 0) == 0:
        after = [before[i] if n == 0 and i < len(before) else n for i, n in enumerate(after)]
    known = math.prod(n for n in after if n != -1)
    if after.count(-1) == 1 and known > 0 and x.tensor.elements % known == 0:
        after[after.index(-1)] = x.tensor.elements // known
    if min(after) < 1 or math.prod(after) != x.tensor.elements or after[0] != 1 or len(after) not in (2, 4):
        raise UnsupportedError(
            f"it makes {list(before)} into {target.tolist()}, not into a vector or an image of batch 1"
        )
    return _pending_reshape(node, x, tuple(after[1:]))


def _pending_reshape(node: FileNode, x: Codes, after: Shape) -> Pending:
    """A reshape to ``after``, in the file's layout; refused where it would have to move elements."""
    before = file_shape(x.tensor.shape)
    was = x.order if len(before) == 1 else flattened_order((before[0], before[1], before[2]))
    becomes = flattened_order((after[0], after[1], after[2])) if len(after) == 3 else was
    if was != becomes:
        raise UnsupportedError(f"it makes {before} into {after}, which would move elements in channels-last layout")
    return Pending(
        f"reshape{node.position}",
        "reshape",
        node.kind,
        (x.tensor.name,),
        graph_shape(after),
        was if len(after) == 1 else None,
        lambda _: ReshapeAttributes(),
        own=x.tensor.quantization,
    )


def _pad(context: Context, node: FileNode) -> Value:
    if node.attributes.get("mode", "constant") != "constant":
        raise UnsupportedError(f"its mode is {node.attributes['mode']!r}, not 'constant'")
    amounts = constant_operand(context, node.inputs[1], "the amounts").values
    value = optional_constant(context, node, 2, "the value")
    if value is not None and (value.values.size != 1 or float(value.real().reshape(())) != 0.0):
        raise UnsupportedError("it pads with another value than 0")
    axes = optional_constant(context, node, 3, "the axes")
    listed = [0, 1, 2, 3] if axes is None else [int(a) % 4 for a in axes.values.reshape(-1)]
    if amounts.dtype != np.int64 or amounts.size != 2 * len(listed) or len(set(listed)) != len(listed):
        raise UnsupportedError(f"it has {amounts.size} amounts for {len(listed)} axes")
    flat = [int(n) for n in amounts.reshape(-1)]
    edges = {axis: (flat[i], flat[i + len(listed)]) for i, axis in enumerate(listed)}
    if edges.get(0, (0, 0)) != (0, 0) or edges.get(1, (0, 0)) != (0, 0) or min(flat, default=0) < 0:
        raise UnsupportedError("it pads the batch or the channels, or cuts")
    x = image_operand(context, node.inputs[0], or_input=True)
    padding = Padding(*edges.get(2, (0, 0)), *edges.get(3, (0, 0)))
    height, width, channels = x.tensor.shape
    shape = (height + padding.top + padding.bottom, width + padding.left + padding.right, channels)
    name, own = f"pad{node.position}", x.tensor.quantization
    return Pending(name, "pad", node.kind, (x.tensor.name,), shape, None, lambda _: PadAttributes(padding), own=own)


def _softmax(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0])
    if len(x.tensor.shape) != 1 or x.order is not None or integer_attribute(node, "axis", 1) not in (1, -1):
        raise UnsupportedError("it is not over the elements of one vector")
    name, operands = f"softmax{node.position}", (x.tensor.name,)
    return Pending(
        name, "softmax", node.kind, operands, x.tensor.shape, None, lambda _: SoftmaxAttributes(), own=_SOFTMAX_OUTPUT
    )


_WINDOW = frozenset({"auto_pad", "dilations", "kernel_shape", "pads", "strides"})

RULES: dict[str, Rule] = {
    "Add": Rule(_add, (2, 2)),
    "AveragePool": Rule(_pool("average_pool"), (1, 1), _WINDOW | {"ceil_mode", "count_include_pad"}),
    "Clip": Rule(_clip, (1, 3), frozenset({"min", "max"})),
    "Conv": Rule(_conv, (2, 3), _WINDOW | {"group"}),
    "Flatten": Rule(_flatten, (1, 1), frozenset({"axis"})),
    "Gemm": Rule(_gemm, (2, 3), frozenset({"alpha", "beta", "transA", "transB"})),
    "GlobalAveragePool": Rule(_global_pool("average_pool"), (1, 1)),
    "GlobalMaxPool": Rule(_global_pool("max_pool"), (1, 1)),
    "MatMul": Rule(_matmul, (2, 2)),
    "MaxPool": Rule(_pool("max_pool"), (1, 1), _WINDOW | {"ceil_mode", "storage_order"}),
    "Pad": Rule(_pad, (2, 4), frozenset({"mode"})),
    "ReduceMean": Rule(_reduce_mean, (1, 2), frozenset({"axes", "keepdims", "noop_with_empty_axes"})),
    "Relu": Rule(_relu, (1, 1)),
    "Reshape": Rule(_reshape, (2, 2), frozenset({"allowzero"})),
    "Softmax": Rule(_softmax, (1, 1), frozenset({"axis"})),
}
