"""Pools and ReduceMean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mcutrain.graph.attributes import MeanAttributes, PadAttributes, Padding, PoolAttributes
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    image_operand,
    integer_attribute,
    listed_axes,
    sides_attribute,
    window,
)
from mcutrain.importers.onnx_rules.base import WINDOW, Rule
from mcutrain.importers.onnx_values import Codes, Pending, Shape, Value


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


def _reduce_mean(context: Context, node: FileNode) -> Value:
    x = image_operand(context, node.inputs[0])
    *sides, channels = x.tensor.shape
    axes = listed_axes(context, node, len(x.tensor.shape) + 1)
    if axes != [2, 3][: len(sides)]:
        raise UnsupportedError(
            f"it is the mean over the axes {axes}, not over rows and columns (2 and 3) or a length (2)"
        )
    shape = (*[1] * len(sides), channels) if integer_attribute(node, "keepdims", 1) != 0 else (channels,)
    return Pending(f"mean{node.position}", "mean", node.kind, (x.tensor.name,), shape, None, MeanAttributes)


RULES: dict[str, Rule] = {
    "AveragePool": Rule(_pool("average_pool"), (1, 1), WINDOW | {"ceil_mode", "count_include_pad"}),
    "GlobalAveragePool": Rule(_global_pool("average_pool"), (1, 1)),
    "GlobalMaxPool": Rule(_global_pool("max_pool"), (1, 1)),
    "MaxPool": Rule(_pool("max_pool"), (1, 1), WINDOW | {"ceil_mode", "storage_order"}),
    "ReduceMean": Rule(_reduce_mean, (1, 2), frozenset({"axes", "keepdims", "noop_with_empty_axes"})),
}
