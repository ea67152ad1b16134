"""Compute what is constant in a .tflite file: above all the shapes that Keras's default export computes at run time.

A network with a dynamic batch keeps the arithmetic of its shapes in the file (SHAPE, STRIDED_SLICE, PACK, RESHAPE). At batch 1
all of that is constant; operators over small integer tensors are computed here, once, and leave the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tflite import BuiltinOperator

from mcutrain.importers.common import MAX_RANK
from mcutrain.importers.tflite_file import FileModel, FileOperator, FileTensor, Options

# Shapes have a handful of elements. The limit bounds what a hostile file can make of FILL, GATHER or CONCATENATION.
MAX_FOLDED_ELEMENTS = 1024

_INTEGERS: dict[str, np.dtype[np.generic]] = {"int32": np.dtype("<i4"), "int64": np.dtype("<i8")}

Ints = NDArray[np.int64]

# The options that folding reads: operator code -> the table's name and its fields, as in the rules of activations.
FOLDING_OPTIONS: Options = {
    BuiltinOperator.CONCATENATION: ("ConcatenationOptions", ("Axis",)),
    BuiltinOperator.GATHER: ("GatherOptions", ("Axis", "BatchDims")),
    BuiltinOperator.PACK: ("PackOptions", ("Axis",)),
    BuiltinOperator.REDUCE_PROD: ("ReducerOptions", ("KeepDims",)),
    BuiltinOperator.STRIDED_SLICE: (
        "StridedSliceOptions",
        ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"),
    ),
}


class _NotFoldedError(Exception):
    """An operator that folding leaves to the rules of the import."""


def fold_constants(model: FileModel) -> FileModel:
    """The model with every operator computed whose result is a small integer tensor known at batch 1.

    Reshapes of constants of any type are folded too. What cannot be folded is left as it is; nothing is raised.
    """
    tensors = list(model.tensors)
    left: list[FileOperator] = []
    for op in model.operators:
        folded = _folded(op, tensors)
        if folded is None:
            left.append(op)
        else:
            tensors[folded.index] = folded
        if op.code == BuiltinOperator.RESHAPE and folded is None:
            _settle_shape(op, tensors)
    return replace(model, tensors=tuple(tensors), operators=tuple(left))


def _folded(op: FileOperator, tensors: Sequence[FileTensor]) -> FileTensor | None:
    """The constant that an operator writes, None where it is none."""
    if len(op.outputs) != 1 or op.outputs[0] < 0 or not op.inputs or min(op.inputs) < 0:
        return None
    y, operands = tensors[op.outputs[0]], [tensors[i] for i in op.inputs]
    if y.data is not None:
        return None
    x = operands[0]
    if (
        op.code in _RESHAPES
        and x.data is not None
        and x.dtype == y.dtype
        and 0 < math.prod(y.shape) == math.prod(x.shape)
    ):
        return replace(y, data=x.data)
    if y.dtype not in _INTEGERS:
        return None
    try:
        if op.code in (BuiltinOperator.SHAPE, BuiltinOperator.RANK):
            if min(x.shape, default=0) < 1:
                return None
            result = np.array(x.shape if op.code == BuiltinOperator.SHAPE else len(x.shape), np.int64)
        elif op.code in _FOLDS:
            # One constant may be listed a million times.
            if sum(math.prod(t.shape) for t in operands) > MAX_FOLDED_ELEMENTS:
                return None
            result = np.asarray(_FOLDS[op.code]([_values(t) for t in operands], op.options))
        else:
            return None
    except (_NotFoldedError, ValueError, IndexError, OverflowError):
        # NumPy raises ValueError or IndexError for operands whose shapes do not fit together.
        return None
    values = result.astype(_INTEGERS[y.dtype])
    if result.size > MAX_FOLDED_ELEMENTS or result.ndim > MAX_RANK or not np.array_equal(values, result):
        return None
    # An empty constant would pass for no constant.
    if not result.size:
        return None
    return replace(y, shape=result.shape, data=np.frombuffer(values.tobytes(), np.uint8))


def _values(t: FileTensor) -> Ints:
    """The values of a small integer constant."""
    dtype = _INTEGERS.get(t.dtype)
    if t.data is None or dtype is None or len(t.data) > MAX_FOLDED_ELEMENTS * dtype.itemsize:
        raise _NotFoldedError
    return np.frombuffer(t.data.tobytes(), dtype).reshape(t.shape).astype(np.int64)


def _settle_shape(op: FileOperator, tensors: list[FileTensor]) -> None:
    """Give the output of a RESHAPE the shape its operand says, where that of the file, its open dimension taken as 1, is another."""
    if len(op.inputs) != 2 or len(op.outputs) != 1 or min(*op.inputs, *op.outputs) < 0:
        return
    x, y = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if y.data is not None or min(x.shape, default=0) < 1 or math.prod(x.shape) == math.prod(y.shape):
        return
    try:
        wanted = [int(n) for n in _values(tensors[op.inputs[1]]).reshape(-1)]
    except (_NotFoldedError, ValueError):
        return
    rest = math.prod(n for n in wanted if n != -1)
    if len(wanted) == len(y.shape) and wanted.count(-1) <= 1 and rest > 0 and math.prod(x.shape) % rest == 0:
        shape = tuple(math.prod(x.shape) // rest if n == -1 else n for n in wanted)
        tensors[y.index] = replace(y, shape=shape)


def _axis(axis: float, rank: int) -> int:
    if not -rank <= axis < rank:
        raise _NotFoldedError
    return int(axis) % rank


def _strided_slice(operands: list[Ints], options: Mapping[str, float]) -> Ints:
    x, begin, end, strides = operands
    masks = {name: int(value) for name, value in options.items()}
    if masks["EllipsisMask"] or masks["NewAxisMask"] or not begin.shape == end.shape == strides.shape == (x.ndim,):
        raise _NotFoldedError
    index: list[int | slice] = []
    for axis in range(x.ndim):
        bit = 1 << axis
        if masks["ShrinkAxisMask"] & bit:
            index.append(int(begin[axis]))
            continue
        first = None if masks["BeginMask"] & bit else int(begin[axis])
        last = None if masks["EndMask"] & bit else int(end[axis])
        index.append(slice(first, last, int(strides[axis])))
    return x[tuple(index)]


def _slice(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    x, begin, size = operands
    if not begin.shape == size.shape == (x.ndim,) or begin.min() < 0:
        raise _NotFoldedError
    ends = [None if n == -1 else int(first + n) for first, n in zip(begin, size, strict=True)]
    return x[tuple(slice(int(first), last) for first, last in zip(begin, ends, strict=True))]


def _pack(operands: list[Ints], options: Mapping[str, float]) -> Ints:
    return np.stack(operands, axis=_axis(options["Axis"], operands[0].ndim + 1))


def _concatenation(operands: list[Ints], options: Mapping[str, float]) -> Ints:
    return np.concatenate(operands, axis=_axis(options["Axis"], operands[0].ndim))


def _gather(operands: list[Ints], options: Mapping[str, float]) -> Ints:
    x, indices = operands
    axis = _axis(options["Axis"], x.ndim)
    taken = x.size // max(x.shape[axis], 1) * indices.size
    if options["BatchDims"] or indices.min(initial=0) < 0 or taken > MAX_FOLDED_ELEMENTS:
        raise _NotFoldedError
    return np.take(x, indices, axis)


def _product(operands: list[Ints], options: Mapping[str, float]) -> Ints:
    x, axes = operands
    reduced = tuple(sorted({_axis(int(a), x.ndim) for a in axes.reshape(-1)}))
    # In Python's integers: a product over 2^63 must not wrap into one that fits.
    product = np.prod(x.astype(object), axis=reduced, keepdims=bool(options["KeepDims"]))
    return np.asarray(product, np.int64)


def _fill(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    shape, value = operands
    sizes = [int(n) for n in shape.reshape(-1)]
    if math.prod(sizes) > MAX_FOLDED_ELEMENTS or value.size != 1:
        raise _NotFoldedError
    return np.full(sizes, value.item(), np.int64)


def _range(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    start, limit, step = (int(v.item()) for v in operands)
    if step == 0 or abs(limit - start) > MAX_FOLDED_ELEMENTS * abs(step):
        raise _NotFoldedError
    return np.arange(start, limit, step, dtype=np.int64)


def _same_values(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    return operands[0]


def _squeeze(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    # Of a shape's arithmetic, only single numbers are squeezed: to a number.
    if operands[0].size != 1:
        raise _NotFoldedError
    return operands[0].reshape(())


def _expand_dims(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    x, axis = operands
    return np.expand_dims(x, _axis(int(axis.item()), x.ndim + 1))


def _reshape(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    x, shape = operands
    return x.reshape([int(n) for n in shape.reshape(-1)])


def _broadcast_shapes(operands: list[Ints], _: Mapping[str, float]) -> Ints:
    return np.array(np.broadcast_shapes(*(tuple(int(n) for n in v.reshape(-1)) for v in operands)), np.int64)


def _elementwise(function: Callable[[Ints, Ints], Ints]) -> Callable[[list[Ints], Mapping[str, float]], Ints]:
    def fold(operands: list[Ints], _: Mapping[str, float]) -> Ints:
        a, b = operands
        if math.prod(np.broadcast_shapes(a.shape, b.shape)) > MAX_FOLDED_ELEMENTS:
            raise _NotFoldedError
        # Operands of 32 bits cannot wrap in 64; larger ones are no shapes.
        if max(abs(int(v)) for v in (*a.reshape(-1), *b.reshape(-1))) >= 1 << 31:
            raise _NotFoldedError
        return function(a, b)

    return fold


def _floor_divide(a: Ints, b: Ints) -> Ints:
    if not b.all():
        raise _NotFoldedError
    return a // b


_RESHAPES = (BuiltinOperator.RESHAPE, BuiltinOperator.SQUEEZE, BuiltinOperator.EXPAND_DIMS)

_FOLDS: dict[int, Callable[[list[Ints], Mapping[str, float]], Ints]] = {
    BuiltinOperator.ADD: _elementwise(lambda a, b: a + b),
    BuiltinOperator.BROADCAST_ARGS: _broadcast_shapes,
    BuiltinOperator.CAST: _same_values,
    BuiltinOperator.CONCATENATION: _concatenation,
    BuiltinOperator.EXPAND_DIMS: _expand_dims,
    BuiltinOperator.FILL: _fill,
    BuiltinOperator.FLOOR_DIV: _elementwise(_floor_divide),
    BuiltinOperator.GATHER: _gather,
    BuiltinOperator.MAXIMUM: _elementwise(lambda a, b: np.maximum(a, b)),
    BuiltinOperator.MINIMUM: _elementwise(lambda a, b: np.minimum(a, b)),
    BuiltinOperator.MUL: _elementwise(lambda a, b: a * b),
    BuiltinOperator.PACK: _pack,
    BuiltinOperator.RANGE: _range,
    BuiltinOperator.REDUCE_PROD: _product,
    BuiltinOperator.RESHAPE: _reshape,
    BuiltinOperator.SLICE: _slice,
    BuiltinOperator.SQUEEZE: _squeeze,
    BuiltinOperator.STRIDED_SLICE: _strided_slice,
    BuiltinOperator.SUB: _elementwise(lambda a, b: a - b),
}
