"""Operators that move elements: CONCATENATION, PAD, RESHAPE and its kin, slices and splits, TRANSPOSE, blocks, nearest neighbours, TILE."""

from __future__ import annotations

from collections.abc import Sequence

from tflite import ActivationFunctionType, BuiltinOperator

from mcutrain.graph.attributes import ConcatenateAttributes, ReshapeAttributes, ResizeNearestAttributes
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import MAX_TENSORS, UnsupportedError
from mcutrain.importers.movement import Movement, check_resized, litert_nearest
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import Context, Rule


def _integers(m: Context, index: int) -> list[int]:
    return [int(n) for n in m.values(index, "int32", "int64").reshape(-1)]


def _axis(axis: int, x: Tensor) -> int:
    """The Graph's axis of an axis of the file."""
    rank = len(x.shape) + 1
    if not -rank <= axis < rank or axis % rank == 0:
        raise UnsupportedError(f"its axis is {axis}, the batch or outside the {rank} dimensions")
    return axis % rank - 1


def _movement(m: Context, kind: str, op: FileOperator, suffix: str = "") -> Movement:
    return Movement(m.graph, f"{kind}{op.index}{suffix}", op.kind)


def _same_quantization(op: FileOperator, inputs: Sequence[Tensor], y: Tensor) -> None:
    if any((x.scale, x.zero_point) != (y.scale, y.zero_point) for x in inputs):
        raise UnsupportedError(
            "its inputs and its output have different scales or zero points, which LiteRT refuses too"
        )


def _concatenation(m: Context, op: FileOperator) -> None:
    inputs, y = [m.activation(i) for i in op.inputs], m.activation(op.outputs[0])
    if op.options["FusedActivationFunction"] != ActivationFunctionType.NONE:
        raise UnsupportedError("it has a fused activation, which LiteRT refuses too")
    _same_quantization(op, inputs, y)
    axis = _axis(int(op.options["Axis"]), y)
    names = tuple(x.name for x in inputs)
    m.emit(op, "concatenate", names, y.name, ConcatenateAttributes(axis))


def _pad(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    amounts = _integers(m, op.inputs[1])
    rank, value = len(x.shape) + 1, None
    if len(amounts) != 2 * rank or any(n < 0 for n in amounts):
        raise UnsupportedError(f"its amounts {amounts} are not two for each of {rank} dimensions")
    if amounts[:2] != [0, 0]:
        raise UnsupportedError("it pads the batch")
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        t = m.model.tensors[op.inputs[2]]
        if list(t.scale) != [y.scale] or list(t.zero_point) != [y.zero_point]:
            raise UnsupportedError("its value has another scale or zero point than its output")
        values = m.values(op.inputs[2], "int8").reshape(-1)
        if values.size != 1:
            raise UnsupportedError(f"it pads with {values.size} values")
        value = int(values[0])
    _same_quantization(op, [x], y)
    moved = _movement(m, "pad", op)
    moved.finish(moved.pad(x, list(zip(amounts[2::2], amounts[3::2], strict=True)), value), y)


def _reshape(m: Context, op: FileOperator) -> None:
    # The output tensor has the shape; the operand that repeats it only must not be computed.
    if len(op.inputs) > 1 and op.inputs[1] >= 0:
        m.values(op.inputs[1], "int32", "int64")
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    m.emit(op, "reshape", (x.name,), y.name, ReshapeAttributes())


def _same_values(m: Context, op: FileOperator) -> None:
    """SQUEEZE and EXPAND_DIMS: the output tensor has the shape, and the values keep their order."""
    if len(op.inputs) > 1:
        m.values(op.inputs[1], "int32", "int64")
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    m.emit(op, "reshape", (x.name,), y.name, ReshapeAttributes())


def _slice(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    begin, size = (_integers(m, i) for i in op.inputs[1:])
    shape = (1, *x.shape)
    if len(begin) != len(shape) or len(size) != len(shape):
        raise UnsupportedError(f"its begin {begin} and size {size} are not one for each of {len(shape)} dimensions")
    ends = [n if count == -1 else first + count for first, count, n in zip(begin, size, shape, strict=True)]
    if any(not 0 <= first < end <= n for first, end, n in zip(begin, ends, shape, strict=True)):
        raise UnsupportedError(f"its begin {begin} and size {size} reach outside {list(shape)}")
    _emit_slice(m, op, x, y, [range(first, end) for first, end in zip(begin, ends, strict=True)])


def _strided_slice(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    begin, end, stride = (_integers(m, i) for i in op.inputs[1:])
    shape = (1, *x.shape)
    if not len(begin) == len(end) == len(stride) <= len(shape) or 0 in stride:
        raise UnsupportedError(f"its begin {begin}, end {end} and strides {stride} for {len(shape)} dimensions")
    for name in ("EllipsisMask", "NewAxisMask"):
        if op.options[name]:
            raise UnsupportedError(f"its {name} is {op.options[name]:g}, not 0")
    masks = [int(op.options[name]) for name in ("BeginMask", "EndMask", "ShrinkAxisMask")]
    if op.options["Offset"]:
        end = [b + e for b, e in zip(begin, end, strict=True)]
    ranges = [range(n) for n in shape]
    for a, (first, last, step) in enumerate(zip(begin, end, stride, strict=True)):
        from_begin, to_end, shrinks = (bool(mask >> a & 1) for mask in masks)
        if shrinks:
            place = first + shape[a] if first < 0 else first
            if step < 0 or not 0 <= place < shape[a]:
                raise UnsupportedError(f"its begin {begin} reaches outside {list(shape)}")
            ranges[a] = range(place, place + 1)
        else:
            taken = slice(None if from_begin else first, None if to_end else last, step)
            ranges[a] = range(*taken.indices(shape[a]))
    _emit_slice(m, op, x, y, ranges)


def _emit_slice(m: Context, op: FileOperator, x: Tensor, y: Tensor, ranges: Sequence[range]) -> None:
    """ranges: of every dimension of the file."""
    if len(ranges[0]) != 1:
        raise UnsupportedError("it takes nothing of the batch")
    _same_quantization(op, [x], y)
    moved = _movement(m, "slice", op)
    moved.finish(moved.slice(x, ranges[1:]), y)


def _split(m: Context, op: FileOperator) -> None:
    x, axes = m.activation(op.inputs[1]), _integers(m, op.inputs[0])
    if len(axes) != 1:
        raise UnsupportedError(f"it has {len(axes)} axes")
    axis, parts = _axis(axes[0], x), len(op.outputs)
    if x.shape[axis] % parts:
        raise UnsupportedError(f"it splits {x.shape[axis]} elements into {parts}")
    _emit_parts(m, op, x, axis, [x.shape[axis] // parts] * parts)


def _split_v(m: Context, op: FileOperator) -> None:
    x, sizes, axes = m.activation(op.inputs[0]), _integers(m, op.inputs[1]), _integers(m, op.inputs[2])
    if len(axes) != 1 or len(sizes) != len(op.outputs):
        raise UnsupportedError(f"it has {len(axes)} axes, and {len(sizes)} sizes for {len(op.outputs)} outputs")
    axis = _axis(axes[0], x)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    if min(sizes) < 1 or sum(sizes) != x.shape[axis]:
        raise UnsupportedError(f"it splits {x.shape[axis]} elements into {sizes}")
    _emit_parts(m, op, x, axis, sizes)


def _emit_parts(m: Context, op: FileOperator, x: Tensor, axis: int, sizes: Sequence[int]) -> None:
    """One slice for each output that is read."""
    read = {i for other in m.model.operators for i in other.inputs} | set(m.model.outputs)
    at = 0
    for number, (index, size) in enumerate(zip(op.outputs, sizes, strict=True)):
        if index in read:
            y = m.activation(index)
            _same_quantization(op, [x], y)
            moved = _movement(m, "slice", op, f"_{number}")
            moved.finish(
                moved.slice(x, [range(at, at + size) if a == axis else range(n) for a, n in enumerate(x.shape)]), y
            )
        at += size


def _transpose(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    permutation = _integers(m, op.inputs[1])
    if sorted(permutation) != list(range(len(x.shape) + 1)) or permutation[0] != 0:
        raise UnsupportedError(
            f"its permutation {permutation} moves the batch, or is none of {len(x.shape) + 1} dimensions"
        )
    _same_quantization(op, [x], y)
    moved = _movement(m, "transpose", op)
    moved.finish(moved.transpose(x, tuple(axis - 1 for axis in permutation[1:])), y)


def _image(m: Context, op: FileOperator) -> tuple[Tensor, Tensor]:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    if len(x.shape) != 3:
        raise UnsupportedError(f"its input has {len(x.shape) + 1} dimensions, not 4")
    _same_quantization(op, [x], y)
    return x, y


def _space_to_depth(m: Context, op: FileOperator) -> None:
    x, y = _image(m, op)
    moved = _movement(m, "space_to_depth", op)
    moved.finish(moved.space_to_depth(x, int(op.options["BlockSize"])), y)


def _depth_to_space(m: Context, op: FileOperator) -> None:
    x, y = _image(m, op)
    moved = _movement(m, "depth_to_space", op)
    moved.finish(moved.depth_to_space(x, int(op.options["BlockSize"])), y)


def _resize_nearest(m: Context, op: FileOperator) -> None:
    x, y = _image(m, op)
    if _integers(m, op.inputs[1]) != list(y.shape[:2]):
        raise UnsupportedError(f"its size {_integers(m, op.inputs[1])} is not that of its output {list(y.shape[:2])}")
    check_resized(*y.shape)
    align, half = bool(op.options["AlignCorners"]), bool(op.options["HalfPixelCenters"])
    rows, columns = (
        litert_nearest(x.shape[a], y.shape[a], align_corners=align, half_pixel_centers=half) for a in range(2)
    )
    m.emit(op, "resize_nearest", (x.name,), y.name, ResizeNearestAttributes(rows, columns))


def _tile(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    repeats = _integers(m, op.inputs[1])
    if len(repeats) != len(x.shape) + 1 or repeats[0] != 1:
        raise UnsupportedError(f"it repeats {repeats} times, the batch among it")
    _same_quantization(op, [x], y)
    moved = _movement(m, "tile", op)
    moved.finish(moved.tile(x, tuple(repeats[1:])), y)


_MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")
_NEAREST = ("ResizeNearestNeighborOptions", ("AlignCorners", "HalfPixelCenters"))
_CONCATENATION = ("ConcatenationOptions", ("Axis", "FusedActivationFunction"))

RULES: dict[int, Rule] = {
    BuiltinOperator.CONCATENATION: Rule("CONCATENATION", _concatenation, (1, MAX_TENSORS), _CONCATENATION),
    BuiltinOperator.DEPTH_TO_SPACE: Rule(
        "DEPTH_TO_SPACE", _depth_to_space, (1, 1), ("DepthToSpaceOptions", ("BlockSize",))
    ),
    BuiltinOperator.EXPAND_DIMS: Rule("EXPAND_DIMS", _same_values, (2, 2)),
    BuiltinOperator.PAD: Rule("PAD", _pad, (2, 2)),
    BuiltinOperator.PADV2: Rule("PADV2", _pad, (3, 3)),
    BuiltinOperator.RESHAPE: Rule("RESHAPE", _reshape, (1, 2)),
    BuiltinOperator.RESIZE_NEAREST_NEIGHBOR: Rule("RESIZE_NEAREST_NEIGHBOR", _resize_nearest, (2, 2), _NEAREST),
    BuiltinOperator.SLICE: Rule("SLICE", _slice, (3, 3)),
    BuiltinOperator.SPACE_TO_DEPTH: Rule(
        "SPACE_TO_DEPTH", _space_to_depth, (1, 1), ("SpaceToDepthOptions", ("BlockSize",))
    ),
    BuiltinOperator.SPLIT: Rule("SPLIT", _split, (2, 2), several_outputs=True),
    BuiltinOperator.SPLIT_V: Rule("SPLIT_V", _split_v, (3, 3), several_outputs=True),
    BuiltinOperator.SQUEEZE: Rule("SQUEEZE", _same_values, (1, 1)),
    BuiltinOperator.STRIDED_SLICE: Rule("STRIDED_SLICE", _strided_slice, (4, 4), ("StridedSliceOptions", _MASKS)),
    BuiltinOperator.TILE: Rule("TILE", _tile, (2, 2)),
    BuiltinOperator.TRANSPOSE: Rule("TRANSPOSE", _transpose, (2, 2)),
}
