"""Flatten, Pad and Reshape."""

from __future__ import annotations

import math

import numpy as np

from mcutrain.graph.attributes import PadAttributes, Padding, ReshapeAttributes
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    codes_operand,
    constant_operand,
    image_operand,
    integer_attribute,
    optional_constant,
)
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_values import Codes, Pending, Shape, Value, file_shape, flattened_order, graph_shape


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


RULES: dict[str, Rule] = {
    "Flatten": Rule(_flatten, (1, 1), frozenset({"axis"})),
    "Pad": Rule(_pad, (2, 4), frozenset({"mode"})),
    "Reshape": Rule(_reshape, (2, 2), frozenset({"allowzero"})),
}
