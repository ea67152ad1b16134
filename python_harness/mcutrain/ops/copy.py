"""copy: a box of elements from one tensor to places of another, by strides.

All operators that only move elements are made of it: concatenate, slice, pad of any axis, transpose, and the gradients of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role

DIMENSIONS = 5


@dataclass(frozen=True)
class CopyParams(Params):
    """mct_copy_params: strides and starts in elements, the outermost dimension first. value: of the rest of the target; errors: 0."""

    size_0: int
    size_1: int
    size_2: int
    size_3: int
    size_4: int
    source_start: int
    source_stride_0: int
    source_stride_1: int
    source_stride_2: int
    source_stride_3: int
    source_stride_4: int
    target_start: int
    target_stride_0: int
    target_stride_1: int
    target_stride_2: int
    target_stride_3: int
    target_stride_4: int
    source_elements: int
    target_elements: int
    value: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the box."""
        return (self.size_0, self.size_1, self.size_2, self.size_3, self.size_4)

    @property
    def source(self) -> Side:
        """Where the box lies in the source."""
        strides = (
            self.source_stride_0,
            self.source_stride_1,
            self.source_stride_2,
            self.source_stride_3,
            self.source_stride_4,
        )
        return Side(self.source_start, strides, self.source_elements)

    @property
    def target(self) -> Side:
        """Where the box lies in the target."""
        strides = (
            self.target_stride_0,
            self.target_stride_1,
            self.target_stride_2,
            self.target_stride_3,
            self.target_stride_4,
        )
        return Side(self.target_start, strides, self.target_elements)


@dataclass(frozen=True)
class Side:
    """Where a box lies in a tensor of so many elements: at ``start``, its dimensions at ``strides``."""

    start: int
    strides: tuple[int, ...]
    elements: int


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor that lies in one piece."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def copy_params(sizes: Sequence[int], source: Side, target: Side, value: int = 0) -> CopyParams:
    """The parameters of a copy, with as few dimensions as it can be said in: runs are as long as they are.

    Raises ValueError where more than DIMENSIONS are left.
    """
    merged: list[tuple[int, int, int]] = []
    for size, source_stride, target_stride in zip(sizes, source.strides, target.strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1:] == (size * source_stride, size * target_stride):
            size *= merged.pop()[0]
        merged.append((size, source_stride, target_stride))
    if len(merged) > DIMENSIONS:
        raise ValueError(f"a copy of {len(merged)} dimensions, more than {DIMENSIONS}")
    # A dimension of one element has the strides of a run, so that the innermost is one even where there is none.
    box = [(1, 1, 1)] * (DIMENSIONS - len(merged)) + merged
    (s0, s1, s2, s3, s4), (x0, x1, x2, x3, x4), (y0, y1, y2, y3, y4) = zip(*box, strict=True)
    return CopyParams(
        *(s0, s1, s2, s3, s4),
        *(source.start, x0, x1, x2, x3, x4),
        *(target.start, y0, y1, y2, y3, y4),
        *(source.elements, target.elements, value),
    )


def reversed_copy(params: CopyParams) -> CopyParams:
    """The copy back: of errors, from where the elements went to where they came from, zeros elsewhere."""
    return copy_params(params.sizes, params.target, params.source)


def _box(memory: NDArray[Any], sizes: tuple[int, ...], side: Side) -> NDArray[Any]:
    """The view of a box in a tensor."""
    reach = [(size - 1) * stride for size, stride in zip(sizes, side.strides, strict=True)]
    lowest, highest = side.start + sum(min(r, 0) for r in reach), side.start + sum(max(r, 0) for r in reach)
    if memory.size != side.elements or lowest < 0 or highest >= side.elements:
        raise IndexError(f"a box from {lowest} to {highest} of {memory.size} elements, planned for {side.elements}")
    strides = [stride * memory.itemsize for stride in side.strides]
    return np.lib.stride_tricks.as_strided(memory[side.start :], sizes, strides)


def _move(params: CopyParams, source: NDArray[Any], target: NDArray[Any], *, fill: bool = True) -> None:
    flat = target.reshape(-1)
    assert np.shares_memory(flat, target), "an operand lies in one piece"
    if fill:
        flat[...] = params.value
    _box(flat, params.sizes, params.target)[...] = _box(source.reshape(-1), params.sizes, params.source)


def _golden_s8(params: CopyParams, views: Mapping[str, Any]) -> None:
    _move(params, views["x"], views["y"])


def _golden_into_s8(params: CopyParams, views: Mapping[str, Any]) -> None:
    _move(params, views["x"], views["y"], fill=False)


def _golden_b16(params: CopyParams, views: Mapping[str, Any]) -> None:
    _move(params, views["error"].mantissa, views["out"].mantissa)
    views["out"].exponent[0] = views["error"].exponent[0]


def _golden_f32(params: CopyParams, views: Mapping[str, Any]) -> None:
    _move(params, views["error"], views["out"])


COPY_S8 = Kernel(
    name="copy_s8",
    c_params="mct_copy_params",
    params=CopyParams,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden_s8,
)

# A concatenation writes its output operand by operand: what others have written is alive through it.
COPY_INTO_S8 = Kernel(
    name="copy_into_s8",
    c_params="mct_copy_params",
    params=CopyParams,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden_into_s8,
    updates=("y",),
)

COPY_ERROR_B16 = Kernel(
    name="copy_error_b16",
    c_params="mct_copy_params",
    params=CopyParams,
    inputs=(Role("error", "b16"),),
    outputs=(Role("out", "b16"),),
    golden=_golden_b16,
)

COPY_ERROR_F32 = Kernel(
    name="copy_error_f32",
    c_params="mct_copy_params",
    params=CopyParams,
    inputs=(Role("error", "float32"),),
    outputs=(Role("out", "float32"),),
    golden=_golden_f32,
)

KERNELS = (COPY_S8, COPY_INTO_S8, COPY_ERROR_B16, COPY_ERROR_F32)
