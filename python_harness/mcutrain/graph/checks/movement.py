"""Checks of pad and reshape."""

from __future__ import annotations

import math

from mcutrain.graph.attributes import PadAttributes, ReshapeAttributes
from mcutrain.graph.checks.base import (
    MAX_SIDE,
    Check,
    check_image,
    check_image_shape,
    check_operands,
    check_same_quantization,
    require,
)
from mcutrain.graph.model import Graph, Operator


def _pad(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, PadAttributes, (False,))
    assert isinstance(op.attributes, PadAttributes)
    height, width, channels = check_image(op, x)
    p = op.attributes.padding
    edges = (p.top, p.bottom, p.left, p.right)
    require(all(0 <= n <= MAX_SIDE for n in edges), f"{op.name}: {p} is out of range")
    check_image_shape(op, x, y, (height + p.top + p.bottom, width + p.left + p.right, channels))
    check_same_quantization(op, x, y)


def _reshape(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, ReshapeAttributes, (False,))
    same = math.prod(x.shape) == math.prod(y.shape)
    require(same, f"{op.name}: input '{x.name}' {x.shape} and output '{y.name}' {y.shape} differ in elements")
    check_same_quantization(op, x, y)


CHECKS: dict[str, Check] = {"pad": _pad, "reshape": _reshape}
