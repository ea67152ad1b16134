"""Checks of add and multiply."""

from __future__ import annotations

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import AddAttributes, MultiplyAttributes
from mcutrain.graph.broadcasting import MOST_AXES, broadcast_axes
from mcutrain.graph.checks.base import Check, check_clamp, check_rescale, check_shape, require
from mcutrain.graph.model import Graph, Operator, Tensor

_MAX_ELEMENTS = 1 << 23  # of products of up to 255: sums of errors with mantissas of one bit


def _operands(graph: Graph, op: Operator, attributes: type) -> tuple[Tensor, Tensor, Tensor]:
    """a, b and the output, whose shape is that of the two broadcast."""
    require(isinstance(op.attributes, attributes), f"{op.name} has {type(op.attributes).__name__}")
    require(len(op.inputs) == 2, f"{op.name} has {len(op.inputs)} inputs, not 2")
    a, b = (graph.tensors[name] for name in op.inputs)
    y = graph.tensors[op.outputs[0]]
    require(a.data is None or b.data is None, f"{op.name}: both of its inputs are constants")
    for tensor in (a, b):
        whole = tensor.dtype == "int8" and tensor.quantization is not None and tensor.quantization.axis is None
        require(whole, f"{op.name}: input '{tensor.name}' is not int8 with one scale")
    shapes = f"'{a.name}' {a.shape} and '{b.name}' {b.shape}"
    try:
        axes = broadcast_axes(a.shape, b.shape)
    except ValueError:
        raise UsageError(f"{op.name}: {shapes} do not broadcast") from None
    require(len(axes) <= MOST_AXES, f"{op.name}: {shapes} broadcast along {len(axes)} axes, more than {MOST_AXES}")
    check_shape(op, y, np.broadcast_shapes(a.shape, b.shape))
    require(
        a.shape == b.shape or y.elements < _MAX_ELEMENTS, f"{op.name}: {y.elements} elements are too many to broadcast"
    )
    return a, b, y


def _add(graph: Graph, op: Operator) -> None:
    a, b, y = _operands(graph, op, AddAttributes)
    assert isinstance(op.attributes, AddAttributes)
    check_clamp(op, op.attributes.clamp)
    # Operands are widened by 20 bits and halved: the output's multiplier 2 max(s_a, s_b) / (2^20 s_y) must be below 1.
    smallest = 2 * max(a.scale, b.scale) / 2**20
    require(y.scale > smallest, f"{op.name}: the scale of '{y.name}' is too small for those of its operands")


def _multiply(graph: Graph, op: Operator) -> None:
    a, b, y = _operands(graph, op, MultiplyAttributes)
    assert isinstance(op.attributes, MultiplyAttributes)
    check_clamp(op, op.attributes.clamp)
    check_rescale(op, 255 * 255, a.scale * b.scale / y.scale)


CHECKS: dict[str, Check] = {"add": _add, "multiply": _multiply}
