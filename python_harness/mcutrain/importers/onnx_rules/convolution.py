"""Conv, Gemm and MatMul."""

from __future__ import annotations

from dataclasses import replace

from mcutrain.graph.attributes import ConvAttributes
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.movement import Movement
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    add_weights,
    codes_operand,
    constant_operand,
    graph_axis,
    image_operand,
    integer_attribute,
    integer_attributes,
    optional_constant,
    window,
)
from mcutrain.importers.onnx_rules.base import WINDOW, Rule
from mcutrain.importers.onnx_values import Pending, Value


def _conv(context: Context, node: FileNode) -> Value:
    weights = constant_operand(context, node.inputs[1], "weights")
    x = image_operand(context, node.inputs[0])
    rank, shape = len(x.tensor.shape) + 1, weights.values.shape
    if len(shape) != rank:
        raise UnsupportedError(f"its weights have {len(shape)} dimensions, not {rank}")
    outputs, depth, *sides = shape
    height, width = (1, *sides) if len(sides) == 1 else sides
    group = integer_attribute(node, "group", 1)
    depthwise = group > 1 and depth == 1
    if group < 1 or outputs % group:
        raise UnsupportedError(f"its {outputs} output channels are no multiple of its group of {group}")
    if integer_attributes(node, "kernel_shape", tuple(sides)) != tuple(sides):
        raise UnsupportedError("its kernel_shape is not that of its weights")
    channels = x.tensor.shape[-1]
    if depth * group != channels:
        raise UnsupportedError(f"its weights take {depth * group} channels, its input has {channels}")
    stride, padding, out_sides, dilation = window(node, x, (height, width))
    groups = 1 if depthwise else group
    bias = optional_constant(context, node, 2, "bias")
    filters = weights.values.reshape(outputs, depth, height, width)
    codes = filters[:, 0] if depthwise else filters.transpose(0, 2, 3, 1)
    operands = (x.tensor.name, *add_weights(context, node, weights, codes, 0, x, bias))
    return Pending(
        f"{'depthwise' if depthwise else 'conv'}{node.position}",
        "depthwise_conv2d" if depthwise else "conv2d",
        node.kind,
        operands,
        (*out_sides, outputs),
        None,
        lambda clamp: ConvAttributes(clamp, stride, padding, dilation, groups),
    )


def _gemm(context: Context, node: FileNode) -> Value:
    for name, expected in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if node.attributes.get(name, expected) != expected:
            raise UnsupportedError(f"its {name} is {node.attributes[name]}, not {expected:g}")
    return _matrix_product(context, node, transposed=integer_attribute(node, "transB", 0) != 0)


def _matmul(context: Context, node: FileNode) -> Value:
    return replace(_matrix_product(context, node, transposed=False), awaits_bias=True)


def _matrix_product(context: Context, node: FileNode, *, transposed: bool) -> Pending:
    """A fully connected operator along the file's last axis: of a vector, or of each row or pixel of what has more axes."""
    weights = constant_operand(context, node.inputs[1], "weights")
    if weights.values.ndim != 2:
        raise UnsupportedError(f"its weights have {weights.values.ndim} dimensions, not 2")
    codes = weights.values if transposed else weights.values.T
    x = codes_operand(context, node.inputs[0], or_rows=True)
    if x.whole_shape[-1] != codes.shape[1]:
        raise UnsupportedError(f"its weights take rows of {codes.shape[1]}, its input is {list(x.whole_shape)}")
    if x.order is not None:
        # The file flattens channels first, the Graph channels last: the columns follow the elements.
        codes = codes.reshape(-1, *x.order).transpose(0, 2, 3, 1).reshape(codes.shape)
    bias = optional_constant(context, node, 2, "bias")
    constants = add_weights(context, node, weights, codes, 0 if transposed else 1, x, bias)
    name = f"fully_connected{node.position}"
    axis = graph_axis(-1, x)
    rows, turned = Movement(context.graph, f"{name}_rows", node.kind).axis_last(x.tensor, axis)
    shape = tuple(len(codes) if a == axis else n for a, n in enumerate(x.tensor.shape))
    operands = (rows.name, *constants)
    return Pending(
        name, "fully_connected", node.kind, operands, shape, None, ConvAttributes, rows=x.rows, turned=turned
    )


RULES: dict[str, Rule] = {
    "Conv": Rule(_conv, (2, 3), WINDOW | {"group"}),
    "Gemm": Rule(_gemm, (2, 3), frozenset({"alpha", "beta", "transA", "transB"})),
    "MatMul": Rule(_matmul, (2, 2)),
}
