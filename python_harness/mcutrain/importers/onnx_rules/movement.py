"""Flatten, Pad, Reshape, Squeeze and Unsqueeze."""

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
    listed_axes,
    optional_constant,
)
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_values import (
    Codes,
    Pending,
    Shape,
    Value,
    are_same_order,
    file_shape,
    flattened_order,
    graph_shape,
)


def _flatten(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True)
    if integer_attribute(node, "axis", 1) not in (1, -len(x.tensor.shape)):
        raise UnsupportedError(f"its axis is {node.attributes['axis']}, not 1")
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
    if min(after) < 1 or math.prod(after) != x.tensor.elements or after[0] != 1 or len(after) not in (2, 3, 4):
        raise UnsupportedError(
            f"it makes {list(before)} into {target.tolist()}, not into a vector, a sequence or an image of batch 1"
        )
    return _pending_reshape(node, x, tuple(after[1:]))


def _squeeze(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True)
    before = (1, *file_shape(x.tensor.shape))
    axes = listed_axes(context, node, len(before), tuple(a for a, n in enumerate(before) if n == 1))
    after = tuple(n for a, n in enumerate(before) if a not in axes)
    if any(before[a] != 1 for a in axes) or 0 in axes or len(after) < 2:
        raise UnsupportedError(f"it takes the axes {axes} from {list(before)}")
    return _pending_reshape(node, x, after[1:])


def _unsqueeze(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True)
    before = (1, *file_shape(x.tensor.shape))
    given = optional_constant(context, node, 1, "the axes")
    count = len(node.attributes.get("axes", ())) if given is None else given.values.size  # type: ignore[arg-type]
    axes = listed_axes(context, node, len(before) + count)
    left = iter(before)
    after = [1 if axis in axes else next(left, 0) for axis in range(len(before) + count)]
    if len(set(axes)) != count or 0 in axes or len(after) > 4:
        raise UnsupportedError(f"it adds the axes {axes} to {list(before)}")
    return _pending_reshape(node, x, tuple(after[1:]))


def _pending_reshape(node: FileNode, x: Codes, after: Shape) -> Pending:
    """A reshape to ``after``, in the file's layout; refused where it would have to move elements."""
    before = file_shape(x.tensor.shape)
    was = x.order if len(before) == 1 else flattened_order(before)
    becomes = flattened_order(after) if len(after) > 1 else was
    if not are_same_order(was, becomes):
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
    x = image_operand(context, node.inputs[0], or_input=True)
    rank = len(x.tensor.shape) + 1
    listed = list(range(rank)) if axes is None else [int(a) % rank for a in axes.values.reshape(-1)]
    if amounts.dtype != np.int64 or amounts.size != 2 * len(listed) or len(set(listed)) != len(listed):
        raise UnsupportedError(f"it has {amounts.size} amounts for {len(listed)} axes")
    flat = [int(n) for n in amounts.reshape(-1)]
    edges = {axis: (flat[i], flat[i + len(listed)]) for i, axis in enumerate(listed)}
    if edges.get(0, (0, 0)) != (0, 0) or edges.get(1, (0, 0)) != (0, 0) or min(flat, default=0) < 0:
        raise UnsupportedError("it pads the batch or the channels, or cuts")
    sides = [edges.get(axis, (0, 0)) for axis in range(2, rank)]
    padding = Padding(*(0, 0) * (4 - rank), *(n for side in sides for n in side))
    *lengths, channels = x.tensor.shape
    shape = (*(n + sum(side) for n, side in zip(lengths, sides, strict=True)), channels)
    name, own = f"pad{node.position}", x.tensor.quantization
    return Pending(name, "pad", node.kind, (x.tensor.name,), shape, None, lambda _: PadAttributes(padding), own=own)


RULES: dict[str, Rule] = {
    "Flatten": Rule(_flatten, (1, 1), frozenset({"axis"})),
    "Pad": Rule(_pad, (2, 4), frozenset({"mode"})),
    "Reshape": Rule(_reshape, (2, 2), frozenset({"allowzero"})),
    "Squeeze": Rule(_squeeze, (1, 2), frozenset({"axes"})),
    "Unsqueeze": Rule(_unsqueeze, (1, 2), frozenset({"axes"})),
}
