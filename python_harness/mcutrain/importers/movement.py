"""What both importers share of the operators that move elements: slices, depth to space and back, nearest coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mcutrain.graph.attributes import (
    Attributes,
    ConcatenateAttributes,
    PadAttributes,
    Padding,
    ReshapeAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import MAX_ELEMENTS, GraphBuilder, UnsupportedError

Shape = tuple[int, ...]
MOST_REPEATS = 64  # of a tile: each is an operand of a concatenation
MOST_ROWS = 1 << 16  # of a resized image: each is a number in a table


@dataclass
class Movement:
    """The Graph operators of one operator of the file, one after the other; each takes the tensor it reads and returns the one it writes.

    name: of the last operator; those before it, and the tensors between them, get a suffix. source: what the file calls the operator.
    """

    graph: GraphBuilder
    name: str
    source: str
    _count: int = field(default=0)

    def add(self, kind: str, inputs: Sequence[Tensor], shape: Shape, attributes: Attributes) -> Tensor:
        """An operator of the quantisation of its first input."""
        self._count += 1
        step = f"{self.name}_{kind}{self._count}"
        y = Tensor(f"{step}.out", shape, "int8", inputs[0].quantization)
        self.graph.add_tensor(y)
        self.graph.add_operator(step, kind, tuple(x.name for x in inputs), y.name, attributes, self.source)
        return y

    def finish(self, x: Tensor, y: Tensor) -> None:
        """``y``, of the file, is ``x``: what writes ``x`` writes ``y``, or a reshape does."""
        last = self.graph.operators[-1] if self._count else None
        if last is None or last.outputs != (x.name,) or x.shape != y.shape:
            self.graph.add_operator(self.name, "reshape", (x.name,), y.name, ReshapeAttributes(), self.source)
            return
        del self.graph.tensors[x.name], self.graph.operators[-1]
        self.graph.add_operator(self.name, last.kind, last.inputs, y.name, last.attributes, self.source)

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """The same bytes under another shape; nothing where that is the shape."""
        return x if x.shape == shape else self.add("reshape", [x], shape, ReshapeAttributes())

    def transpose(self, x: Tensor, permutation: Shape) -> Tensor:
        """The axes in another order; nothing where that is the order."""
        if permutation == tuple(range(len(x.shape))):
            return x
        shape = tuple(x.shape[axis] for axis in permutation)
        return self.add("transpose", [x], shape, TransposeAttributes(permutation))

    def axis_last(self, x: Tensor, axis: int) -> tuple[Tensor, Shape | None]:
        """The axes rotated until ``axis`` is the last, and the permutation that turns them back; None where there is nothing to turn.

        The Graph's order of axes is a rotation of ONNX's: what was brought into the one is so brought into the other.
        """
        rank = len(x.shape)
        rotation = tuple((axis + 1 + place) % rank for place in range(rank))
        back = tuple(rotation.index(place) for place in range(rank))
        return self.transpose(x, rotation), None if axis == rank - 1 else back

    def slice(self, x: Tensor, ranges: Sequence[range]) -> Tensor:
        """The elements of a range along each axis; nothing where these are all. Raises UnsupportedError where a range is empty."""
        if any(len(taken) == 0 for taken in ranges):
            raise UnsupportedError(f"nothing is left of {list(x.shape)}")
        if all(taken == range(n) for taken, n in zip(ranges, x.shape, strict=True)):
            return x
        begin, step = tuple(taken.start for taken in ranges), tuple(taken.step for taken in ranges)
        return self.add("slice", [x], tuple(map(len, ranges)), SliceAttributes(begin, step))

    def concatenate(self, inputs: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors one behind the other."""
        shape = list(inputs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in inputs)
        return self.add("concatenate", inputs, tuple(shape), ConcatenateAttributes(axis))

    def tile(self, x: Tensor, repeats: Shape) -> Tensor:
        """The whole tensor so many times along each axis."""
        if any(not 1 <= n <= MOST_REPEATS for n in repeats):
            raise UnsupportedError(f"it repeats {list(repeats)} times, where 1 to {MOST_REPEATS} are possible")
        for axis, n in enumerate(repeats):
            if n > 1:
                x = self.concatenate([x] * n, axis)
        return x

    def pad(self, x: Tensor, amounts: Sequence[tuple[int, int]], value: int | None = None) -> Tensor:
        """Elements of one code before and behind along each axis; negative amounts cut.

        value: the code; None: the zero point.
        """
        x = self.slice(x, [range(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, amounts, strict=True)])
        added = [(max(0, a), max(0, b)) for a, b in amounts]
        if not any(map(any, added)):
            return x
        if len(x.shape) > 3:
            # A pad is of an image: the axes behind the second first, and then the first two, of which an element is all of those.
            first, second, *inner = x.shape
            images = self.pad(self.reshape(x, (first * second, *inner)), [(0, 0), *added[2:]], value)
            inner = list(images.shape[1:])
            whole = self.pad(self.reshape(images, (first, second, math.prod(inner))), [*added[:2], (0, 0)], value)
            return self.reshape(whole, (*whole.shape[:2], *inner))
        rows, columns, channels = (*[(0, 0)] * (3 - len(added)), *added)
        attributes = PadAttributes(Padding(*rows, *columns), channels, value)
        image = self.reshape(x, (1, *x.shape)) if len(x.shape) == 1 else x
        edges = [(0, 0)] * (len(image.shape) - len(added)) + added
        shape = tuple(n + before + behind for n, (before, behind) in zip(image.shape, edges, strict=True))
        padded = self.add("pad", [image], shape, attributes)
        return self.reshape(padded, shape[1:]) if len(x.shape) == 1 else padded

    def space_to_depth(self, x: Tensor, block: int) -> Tensor:
        """Blocks of pixels of an image become pixels: their channels row by row, one pixel's behind the other's."""
        height, width, channels = x.shape
        if block < 1 or height % block or width % block:
            raise UnsupportedError(f"blocks of {block} do not divide an image of {height}x{width}")
        rows, columns = height // block, width // block
        split = self.transpose(self.reshape(x, (rows, block, columns, block * channels)), (0, 2, 1, 3))
        return self.reshape(split, (rows, columns, block * block * channels))

    def depth_to_space(self, x: Tensor, block: int, *, blocks_innermost: bool = False) -> Tensor:
        """The inverse of `space_to_depth`; blocks_innermost: the place in the block is the innermost part of a channel's number."""
        height, width, channels = x.shape
        if block < 1 or channels % (block * block):
            raise UnsupportedError(f"blocks of {block} do not divide {channels} channels")
        inner = channels // (block * block)
        if blocks_innermost:
            split = self.transpose(self.reshape(x, (height, width, inner, block, block)), (0, 3, 1, 4, 2))
        else:
            split = self.transpose(self.reshape(x, (height, width, block, block * inner)), (0, 2, 1, 3))
        return self.reshape(split, (height * block, width * block, inner))


def check_resized(rows: int, columns: int, channels: int) -> None:
    """Raise UnsupportedError for an image that no microcontroller has, before its tables are made."""
    if max(rows, columns) > MOST_ROWS or rows * columns * channels > MAX_ELEMENTS:
        raise UnsupportedError(f"it makes an image of {rows}x{columns} pixels")


def litert_nearest(size: int, output: int, *, align_corners: bool, half_pixel_centers: bool) -> Shape:
    """Which of ``size`` rows each of ``output`` rows is, as LiteRT computes it in float32."""
    aligned = align_corners and output > 1
    scale = np.float32(size - 1) / np.float32(output - 1) if aligned else np.float32(size) / np.float32(output)
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    places = (np.arange(output, dtype=np.float32) + offset) * scale
    # A float32 below 2^23 plus a half is exact in double: half away from zero, of what is not negative.
    taken = np.floor(places.astype(np.float64) + 0.5) if align_corners else np.floor(places)
    return tuple(int(n) for n in np.clip(taken, 0, size - 1))


def onnx_nearest(size: int, output: int, scale: float, coordinates: str, rounding: str) -> Shape:
    """Which of ``size`` rows each of ``output`` rows is, as onnxruntime computes it in float32.

    coordinates, rounding: ONNX's coordinate_transformation_mode and nearest_mode. Raises UnsupportedError for others than these here.
    """
    at, by, half = np.arange(output, dtype=np.float32), np.float32(scale), np.float32(0.5)
    aligned = at * np.float32(size - 1) / np.float32(max(output - 1, 1))
    places = {
        "align_corners": aligned if output > 1 else at * 0,
        "asymmetric": at / by,
        "half_pixel": (at + half) / by - half,
        "pytorch_half_pixel": (at + half) / by - half if output > 1 else at * 0,
        "tf_half_pixel_for_nn": (at + half) / by,
    }.get(coordinates)
    if places is None:
        raise UnsupportedError(f"its coordinate_transformation_mode is {coordinates!r}")
    exact = places.astype(np.float64)  # adding a half rounds nothing there
    taken = {
        "ceil": np.ceil(exact),
        "floor": np.floor(exact),
        "round_prefer_ceil": np.floor(exact + 0.5),
        "round_prefer_floor": np.ceil(exact - 0.5),
    }.get(rounding)
    if taken is None:
        raise UnsupportedError(f"its nearest_mode is {rounding!r}")
    # At a scale of 1 onnxruntime takes each row for itself, whatever the modes say.
    return tuple(int(n) for n in np.clip(at if by == 1 else taken, 0, size - 1))
