"""Pools, and reductions to the largest or smallest element, the mean or the sum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from mcutrain.graph.attributes import MeanAttributes, PadAttributes, Padding, PoolAttributes
from mcutrain.graph.model import Tensor
from mcutrain.graph.reductions import reduced_shapes
from mcutrain.importers.common import UnsupportedError, add_maximum, add_minimum
from mcutrain.importers.movement import Movement
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    codes_operand,
    image_operand,
    integer_attribute,
    listed_axes,
    sides_attribute,
    window,
)
from mcutrain.importers.onnx_rules.base import WINDOW, Rule
from mcutrain.importers.onnx_values import Codes, Pending, Real, Shape, Value, graph_axes


def _pending_pool(node: FileNode, kind: str, x: Codes, shape: Shape, attributes: PoolAttributes) -> Pending:
    # A maximum keeps the scale it reads; a mean is rounded once, to the scale that is asked for.
    own = x.tensor.quantization if kind == "max_pool" else None
    name, operands = f"{kind}{node.position}", (x.tensor.name,)
    return Pending(
        name, kind, node.kind, operands, shape, None, lambda clamp: replace(attributes, clamp=clamp), own=own
    )


def _pool(kind: str) -> Callable[[Context, FileNode], Value]:
    def rule(context: Context, node: FileNode) -> Value:
        if integer_attribute(node, "storage_order", 0) != 0:
            raise UnsupportedError("its storage_order is not 0")
        x = image_operand(context, node.inputs[0], or_input=kind == "max_pool")
        kernel = sides_attribute(node, "kernel_shape", x, (0, 0))
        stride, padding, sides, dilation = window(node, x, kernel)
        if dilation != (1, 1):
            raise UnsupportedError("it is dilated")
        shape = (*sides, x.tensor.shape[-1])
        if kind == "average_pool" and integer_attribute(node, "count_include_pad", 0) != 0 and padding != Padding():
            # The zeros round the image count: they are part of an image that has them.
            x, padding = _padded(context, node, x, padding), Padding()
        return _pending_pool(node, kind, x, shape, PoolAttributes(kernel, stride, padding))

    return rule


def _padded(context: Context, node: FileNode, x: Codes, padding: Padding) -> Codes:
    """The image with a border of zeros, by an operator of its own."""
    height, width, channels = x.tensor.image
    sides = (height + padding.top + padding.bottom, width + padding.left + padding.right)
    shape = (*sides[-len(x.tensor.shape[:-1]) :], channels)
    border = Tensor(f"{node.outputs[0]}_padded", shape, "int8", x.tensor.quantization)
    context.graph.add_tensor(border)
    name, operands = f"average_pool{node.position}_pad", (x.tensor.name,)
    context.graph.add_operator(name, "pad", operands, border.name, PadAttributes(padding), node.kind)
    return Codes(border)


def _global_pool(kind: str) -> Callable[[Context, FileNode], Value]:
    def rule(context: Context, node: FileNode) -> Value:
        x = image_operand(context, node.inputs[0])
        *sides, channels = x.tensor.shape
        shape = (*[1] * len(sides), channels)
        return _pending_pool(node, kind, x, shape, PoolAttributes(x.tensor.image[:2], (1, 1)))

    return rule


def _reduced(context: Context, node: FileNode, kind: str) -> tuple[Tensor, tuple[int, ...], Shape]:
    """Operand, its axes and the output's shape of a reduction. What is left has the Graph's order of axes."""
    x = codes_operand(context, node.inputs[0])
    rank = len(x.tensor.shape) + 1
    axes = listed_axes(context, node, rank)
    if not axes or 0 in axes:
        raise UnsupportedError(f"it reduces {rank} dimensions over the axes {axes}; the first one is the batch")
    own = graph_axes(rank - 1)
    found = tuple(sorted(own.index(axis - 1) for axis in set(axes)))
    keeps = integer_attribute(node, "keepdims", 1) != 0
    if keeps:
        return x.tensor, found, reduced_shapes(x.tensor.shape, found)[0]
    left = [axis for axis in range(1, rank) if axis not in axes]
    if not left:
        raise UnsupportedError("nothing but the batch is left")
    # The first axis that is left is the last in the Graph.
    last = own.index(left[0] - 1)
    movement = Movement(context.graph, f"{kind}{node.position}_operand", node.kind)
    operand, _ = movement.axis_last(x.tensor, last)
    turned = tuple(sorted((axis - last - 1) % (rank - 1) for axis in found))
    return operand, turned, reduced_shapes(operand.shape, turned)[1]


def _reduce_mean(context: Context, node: FileNode, *, sums: bool = False) -> Value:
    x, axes, shape = _reduced(context, node, "mean")

    def attributes(clamp: tuple[int, int]) -> MeanAttributes:
        return MeanAttributes(clamp, axes)

    times = math.prod(x.shape[axis] for axis in axes) if sums else 1
    return Pending(f"mean{node.position}", "mean", node.kind, (x.name,), shape, None, attributes, times=times)


def _reduce_sum(context: Context, node: FileNode) -> Value:
    return _reduce_mean(context, node, sums=True)


def _extreme(kind: str, add: Callable[..., None]) -> Callable[[Context, FileNode], Value]:
    """The largest or smallest code, whatever quantises it next."""

    def rule(context: Context, node: FileNode) -> Value:
        x, axes, shape = _reduced(context, node, kind)
        y = Tensor(f"{node.outputs[0]}_codes", shape, "int8", x.quantization)
        add(context.graph, f"{kind}{node.position}", x, y, axes, node.kind)
        return Real(Codes(y))

    return rule


_REDUCTION = frozenset({"axes", "keepdims", "noop_with_empty_axes"})

RULES: dict[str, Rule] = {
    "AveragePool": Rule(_pool("average_pool"), (1, 1), WINDOW | {"ceil_mode", "count_include_pad"}),
    "GlobalAveragePool": Rule(_global_pool("average_pool"), (1, 1)),
    "GlobalMaxPool": Rule(_global_pool("max_pool"), (1, 1)),
    "MaxPool": Rule(_pool("max_pool"), (1, 1), WINDOW | {"ceil_mode", "storage_order"}),
    "ReduceMax": Rule(_extreme("max_pool", add_maximum), (1, 2), _REDUCTION),
    "ReduceMean": Rule(_reduce_mean, (1, 2), _REDUCTION),
    "ReduceMin": Rule(_extreme("minimum", add_minimum), (1, 2), _REDUCTION),
    "ReduceSum": Rule(_reduce_sum, (1, 2), _REDUCTION),
}
