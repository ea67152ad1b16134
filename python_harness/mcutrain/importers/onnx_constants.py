"""Fold what an exporter leaves to be computed from constants: shapes, limits, and weights that it moves, clips or quantises.

Each function takes a node and the constants it reads and returns the constant it writes; ``FOLDS`` names them all. What they make is never
larger than ``MAX_ELEMENTS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.model import Quantization
from mcutrain.importers.common import MAX_ELEMENTS, MAX_RANK, UnsupportedError, is_usable_scale
from mcutrain.importers.onnx_file import Array, FileNode
from mcutrain.importers.onnx_values import Constant

Fold = Callable[[FileNode, list[Constant | None]], Constant]

_CASTS: dict[int, type[np.generic]] = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 11: np.float64}
_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int32": (-(2**31), 2**31 - 1)}


def fold(node: FileNode, operands: list[Constant | None]) -> Constant | None:
    """The constant that ``node`` writes, or None where it is no operator of constants.

    operands: what its inputs stand for, None for one that is left out. Raises UnsupportedError where the node makes no sense.
    """
    function = FOLDS.get(node.kind)
    if function is None or not operands or operands[0] is None:
        return None
    try:
        with np.errstate(all="ignore"):
            made = function(node, operands)
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise UnsupportedError(f"its constants do not fit together ({str(error).splitlines()[0]})") from None
    if made.values.size > MAX_ELEMENTS or made.values.ndim > MAX_RANK:
        raise UnsupportedError(f"it makes a constant of shape {list(made.values.shape)}")
    return replace(made, name=node.outputs[0])


def fold_shape(node: FileNode, shape: tuple[int, ...]) -> Constant:
    """The constant that Shape or Size of a tensor of this shape (the file's, batch 1 included) writes."""
    if node.kind == "Size":
        return Constant(node.outputs[0], np.array(math.prod(shape), np.int64))
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    if not isinstance(start, int) or not isinstance(end, int):
        raise UnsupportedError("its start and end are no integers")
    return Constant(node.outputs[0], np.array(shape[start:end], np.int64))


def _value(operands: list[Constant | None], position: int) -> Array | None:
    operand = operands[position] if position < len(operands) else None
    return None if operand is None else operand.values


def _needed(operands: list[Constant | None], position: int) -> Array:
    value = _value(operands, position)
    if value is None:
        raise ValueError(f"operand {position} is missing")
    return value


def _integers(node: FileNode, operands: list[Constant | None], position: int, name: str) -> list[int] | None:
    """Integers of an operand, or of the attribute that older opsets have in its place."""
    value = _value(operands, position)
    stated = node.attributes.get(name) if value is None else value.reshape(-1).tolist()
    if stated is None:
        return None
    listed = stated if isinstance(stated, list | tuple) else [stated]
    return [int(n) for n in listed if isinstance(n, int)]


def _plain(operands: list[Constant | None]) -> list[Array]:
    """All operands as arrays; codes with a scale are no numbers to compute with."""
    arrays = []
    for operand in operands:
        if operand is None or operand.quantization is not None:
            raise ValueError("an operand is missing or quantised")
        arrays.append(operand.values)
    return arrays


def _moved(operand: Constant, values: Array, axis: Callable[[int], int]) -> Constant:
    """A constant whose elements were moved. axis: where each axis now is, for that of its scales."""
    q = operand.quantization
    if q is None or q.axis is None:
        return Constant(operand.name, values, q)
    return Constant(operand.name, values, Quantization(q.scale, q.zero_point, axis(q.axis % operand.values.ndim)))


def _identity(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    return operands[0]


def _transpose(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    x = operands[0]
    stated = node.attributes.get("perm", tuple(reversed(range(x.values.ndim))))
    perm = [int(a) for a in stated if isinstance(a, int)] if isinstance(stated, tuple) else []
    return _moved(x, x.values.transpose(perm), perm.index)


def _reshape(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    x = operands[0]
    target = [int(n) for n in _needed(operands, 1).reshape(-1)]
    if node.attributes.get("allowzero", 0) == 0:
        target = [x.values.shape[i] if n == 0 else n for i, n in enumerate(target)]
    q = x.quantization
    values = x.values.reshape(target)
    if q is None or q.axis is None:
        return Constant(x.name, values, q)
    # The scales keep their axis where everything before and behind it keeps its size.
    before = math.prod(x.values.shape[: q.axis])
    for axis, length in enumerate(values.shape):
        if math.prod(values.shape[:axis]) == before and length == q.scale.size:
            return Constant(x.name, values, Quantization(q.scale, q.zero_point, axis))
    raise ValueError("the scales of its channels lose their axis")


def _squeeze(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    x = operands[0]
    axes = _integers(node, operands, 1, "axes")
    rank = x.values.ndim
    gone = [a for a in range(rank) if x.values.shape[a] == 1] if axes is None else [a % rank for a in axes]
    return _moved(x, np.squeeze(x.values, tuple(gone)), lambda a: a - sum(g < a for g in gone))


def _unsqueeze(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    x = operands[0]
    axes = _integers(node, operands, 1, "axes") or []
    rank = x.values.ndim + len(axes)
    if rank > MAX_RANK:
        raise ValueError(f"it makes {rank} dimensions")
    new = {a % rank for a in axes}
    kept = [a for a in range(rank) if a not in new]
    return _moved(x, np.expand_dims(x.values, tuple(sorted(new))), lambda a: kept[a])


def _flatten(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    x = operands[0]
    axis = node.attributes.get("axis", 1)
    if not isinstance(axis, int) or (x.quantization is not None and x.quantization.axis not in (None, 0)):
        raise ValueError("the scales of its channels lose their axis")
    axis = axis % x.values.ndim if axis < 0 else axis
    rows = math.prod(x.values.shape[:axis])
    return Constant(x.name, x.values.reshape(rows, -1), x.quantization)


def _cast(node: FileNode, operands: list[Constant | None]) -> Constant:
    (x,) = _plain(operands[:1])
    to = node.attributes.get("to")
    if not isinstance(to, int) or to not in _CASTS:
        raise ValueError(f"it casts to type {to}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError("it casts a number that is not finite")
    return Constant("", x.astype(_CASTS[to]))


def _concat(node: FileNode, operands: list[Constant | None]) -> Constant:
    arrays = _plain(operands)
    if sum(a.size for a in arrays) > MAX_ELEMENTS:
        raise ValueError("it makes too many elements")
    axis = node.attributes.get("axis", 0)
    return Constant("", np.concatenate(arrays, int(axis) if isinstance(axis, int) else 0))


def _gather(node: FileNode, operands: list[Constant | None]) -> Constant:
    x, index = _plain(operands[:2])
    if index.dtype.kind != "i" or x.size * max(index.size, 1) > MAX_ELEMENTS:
        raise ValueError("its indices are no integers, or too many")
    axis = node.attributes.get("axis", 0)
    return Constant("", np.asarray(np.take(x, index.astype(np.int64), int(axis) if isinstance(axis, int) else 0)))


def _slice(node: FileNode, operands: list[Constant | None]) -> Constant:
    (x,) = _plain(operands[:1])
    starts = _integers(node, operands, 1, "starts") or []
    ends = _integers(node, operands, 2, "ends") or []
    axes = _integers(node, operands, 3, "axes") or list(range(len(starts)))
    steps = _integers(node, operands, 4, "steps") or [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # An end before the first element, counted downwards, has no other spelling in a slice of Python's.
        cut[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return Constant("", x[tuple(cut)])


def _arithmetic(function: Callable[[Array, Array], Array]) -> Fold:
    def rule(node: FileNode, operands: list[Constant | None]) -> Constant:
        a, b = _plain(operands[:2])
        if a.dtype != b.dtype:
            raise ValueError("its operands are of two types")
        if math.prod(np.broadcast_shapes(a.shape, b.shape)) > MAX_ELEMENTS:
            raise ValueError("it makes too many elements")
        return Constant("", np.asarray(function(a, b)).astype(a.dtype))

    return rule


def _divided(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.true_divide(a, b))
    if not b.all():
        raise ValueError("it divides by 0")
    # Integers are divided towards zero.
    dividend, divisor = a.astype(np.int64), b.astype(np.int64)
    whole: NDArray[np.int64] = np.abs(dividend) // np.abs(divisor)
    return np.asarray(np.where((dividend < 0) == (divisor < 0), whole, -whole))


def _clip(node: FileNode, operands: list[Constant | None]) -> Constant:
    assert operands[0] is not None
    x = operands[0]
    if x.quantization is not None:
        raise ValueError("it clips codes that are dequantised")
    limits: list[Array | float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        stated = node.attributes.get(name)
        given = _value(operands, position)
        limits.append(given if given is not None else float(stated) if isinstance(stated, int | float) else None)
    low, high = limits
    values = x.values
    if low is not None:
        values = np.maximum(values, np.asarray(low).astype(values.dtype))
    if high is not None:
        values = np.minimum(values, np.asarray(high).astype(values.dtype))
    return Constant("", values)


def _quantize_linear(node: FileNode, operands: list[Constant | None]) -> Constant:
    """Codes from real constants, such as weights that are quantised where they are used: rounded half to even, saturated."""
    x, scale = _plain(operands[:2])
    zero_point = _value(operands, 2)
    dtype = "uint8" if zero_point is None else str(zero_point.dtype)
    if dtype not in _RANGES or x.dtype != np.float32 or scale.dtype != np.float32:
        raise ValueError(f"it quantises {x.dtype} to {dtype}")
    steps = scale.astype(np.float32)
    if not np.isfinite(x).all() or not is_usable_scale(steps):
        raise ValueError("a number in it is not finite, or a scale not positive")
    axis = node.attributes.get("axis", 1)
    shape = [1] * x.ndim
    if scale.size > 1 and isinstance(axis, int):
        shape[axis] = scale.size
    zeros = np.zeros(scale.shape, np.int64) if zero_point is None else zero_point.astype(np.int64)
    codes = np.rint(x.astype(np.float32) / steps.reshape(shape)).astype(np.float64) + zeros.reshape(shape)
    return Constant("", np.clip(codes, *_RANGES[dtype]).astype(dtype))


FOLDS: dict[str, Fold] = {
    "Add": _arithmetic(np.add),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Div": _arithmetic(_divided),
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Mul": _arithmetic(np.multiply),
    "QuantizeLinear": _quantize_linear,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _arithmetic(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
