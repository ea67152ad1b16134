"""Checks of the operators that move elements: concatenate, pad, reshape, resize_nearest, slice and transpose."""

from __future__ import annotations

import math
from collections import Counter

from mcutrain.graph.attributes import (
    ConcatenateAttributes,
    PadAttributes,
    ReshapeAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from mcutrain.graph.checks.base import (
    INT32_MAX,
    MAX_SIDE,
    Check,
    check_image,
    check_image_shape,
    check_operands,
    check_same_quantization,
    check_shape,
    require,
)
from mcutrain.graph.model import Graph, Operator

_LARGEST_MANTISSA = 2**15 - 1
_DIMENSIONS = 5


def _concatenate(graph: Graph, op: Operator) -> None:
    require(bool(op.inputs), f"{op.name} has no inputs")
    *inputs, y = check_operands(graph, op, ConcatenateAttributes, (False,) * len(op.inputs))
    assert isinstance(op.attributes, ConcatenateAttributes)
    axis = op.attributes.axis
    require(0 <= axis < len(y.shape), f"{op.name}: axis {axis} of {len(y.shape)}")
    for x in inputs:
        check_same_quantization(op, x, y)
        fits = len(x.shape) == len(y.shape) and all(
            n == m or a == axis for a, (n, m) in enumerate(zip(x.shape, y.shape, strict=True))
        )
        require(
            fits, f"{op.name}: input '{x.name}' {x.shape} and output '{y.name}' {y.shape} differ beside axis {axis}"
        )
    total = sum(x.shape[axis] for x in inputs)
    require(
        total == y.shape[axis], f"{op.name}: its inputs have {total} elements along axis {axis}, not {y.shape[axis]}"
    )


def _pad(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, PadAttributes, (False,))
    assert isinstance(op.attributes, PadAttributes)
    image, amounts, value = check_image(op, x), op.attributes.amounts, op.attributes.value
    sound = all(0 <= n <= MAX_SIDE for edges in amounts for n in edges)
    require(sound, f"{op.name}: {op.attributes.padding} or {op.attributes.channels} channels are out of range")
    require(value is None or -128 <= value <= 127, f"{op.name}: the border's code {value} is outside [-128, 127]")
    height, width, channels = (n + before + behind for n, (before, behind) in zip(image, amounts, strict=True))
    check_image_shape(op, x, y, (height, width, channels))
    check_same_quantization(op, x, y)


def _reshape(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, ReshapeAttributes, (False,))
    same = math.prod(x.shape) == math.prod(y.shape)
    require(same, f"{op.name}: input '{x.name}' {x.shape} and output '{y.name}' {y.shape} differ in elements")
    check_same_quantization(op, x, y)


def _resize_nearest(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, ResizeNearestAttributes, (False,))
    assert isinstance(op.attributes, ResizeNearestAttributes)
    height, width, channels = check_image(op, x)
    rows, columns = op.attributes.rows, op.attributes.columns
    for what, taken, size in (("row", rows, height), ("column", columns, width)):
        require(all(0 <= n < size for n in taken), f"{op.name}: a {what} lies outside the {size} of '{x.name}'")
    check_shape(op, y, (len(rows), len(columns), channels))
    check_same_quantization(op, x, y)
    # The error of an element is the sum of those of its copies, in int32.
    copies = max(Counter(rows).values()) * max(Counter(columns).values())
    fits = copies * _LARGEST_MANTISSA <= INT32_MAX
    require(fits, f"{op.name}: {copies} copies of one element are more than the sum of their errors has room for")


def _slice(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, SliceAttributes, (False,))
    assert isinstance(op.attributes, SliceAttributes)
    begin, step = op.attributes.begin, op.attributes.step
    ranks = {len(x.shape), len(y.shape), len(begin), len(step)}
    require(len(ranks) == 1 and 0 not in step, f"{op.name}: begin {begin} and step {step} for '{x.name}' {x.shape}")
    for first, each, count, size in zip(begin, step, y.shape, x.shape, strict=True):
        last = first + (count - 1) * each
        require(
            min(first, last) >= 0 and max(first, last) < size, f"{op.name}: it reaches outside '{x.name}' {x.shape}"
        )
    check_same_quantization(op, x, y)


def _transpose(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, TransposeAttributes, (False,))
    assert isinstance(op.attributes, TransposeAttributes)
    permutation = op.attributes.permutation
    sound = sorted(permutation) == list(range(len(x.shape)))
    require(sound, f"{op.name}: {permutation} is no permutation of the axes of '{x.name}' {x.shape}")
    moved = sum(n > 1 for n in x.shape)
    require(moved <= _DIMENSIONS, f"{op.name}: '{x.name}' has {moved} dimensions, more than {_DIMENSIONS}")
    check_shape(op, y, tuple(x.shape[axis] for axis in permutation))
    check_same_quantization(op, x, y)


CHECKS: dict[str, Check] = {
    "concatenate": _concatenate,
    "pad": _pad,
    "reshape": _reshape,
    "resize_nearest": _resize_nearest,
    "slice": _slice,
    "transpose": _transpose,
}
