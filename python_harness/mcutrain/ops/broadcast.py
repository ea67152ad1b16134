"""Broadcast: how two operands are repeated along the axes of an output; broadcast_error: the error of one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.broadcasting import MOST_AXES, broadcast_axes
from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.block_float import write_block


@dataclass(frozen=True)
class Broadcast:
    """mct_broadcast: sizes of the output, and how far apart its neighbours along each axis lie in a and in b (0: repeated)."""

    size_0: int
    size_1: int
    size_2: int
    size_3: int
    a_step_0: int
    a_step_1: int
    a_step_2: int
    a_step_3: int
    b_step_0: int
    b_step_1: int
    b_step_2: int
    b_step_3: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the output."""
        return (self.size_0, self.size_1, self.size_2, self.size_3)

    @property
    def a_steps(self) -> tuple[int, ...]:
        """In elements of a."""
        return (self.a_step_0, self.a_step_1, self.a_step_2, self.a_step_3)

    @property
    def b_steps(self) -> tuple[int, ...]:
        """In elements of b."""
        return (self.b_step_0, self.b_step_1, self.b_step_2, self.b_step_3)

    def read_by_one(self) -> int:
        """Elements of the output that read one element of a."""
        return math.prod(n for n, step in zip(self.sizes, self.a_steps, strict=True) if step == 0)


def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> Broadcast:
    """Two shapes that broadcast as NumPy's do. Raises ValueError where these are more than four axes."""
    axes = broadcast_axes(a, b)
    if len(axes) > MOST_AXES:
        raise ValueError(f"broadcasting {a} and {b} takes {len(axes)} axes, more than {MOST_AXES}")
    sizes, a_steps, b_steps = zip(*([(1, 0, 0)] * (MOST_AXES - len(axes)) + axes), strict=True)
    return Broadcast(*sizes, *a_steps, *b_steps)


def elements_of(sizes: tuple[int, ...], steps: tuple[int, ...]) -> NDArray[np.int64]:
    """The element of an operand that each element of the output reads, flat."""
    index = np.zeros(sizes, np.int64)
    for axis, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        index += step * np.arange(size).reshape([size if i == axis else 1 for i in range(len(sizes))])
    return index.reshape(-1)


@dataclass(frozen=True)
class BroadcastErrorParams(Params):
    """mct_broadcast_error_params. a: the operand whose error is computed; other_zero_point: of b; negates: 1 for minus the sums."""

    broadcast: Broadcast
    other_zero_point: int
    negates: int


def _factors(params: BroadcastErrorParams, views: Mapping[str, Any]) -> NDArray[np.int64]:
    b = params.broadcast
    factors = np.ones(math.prod(b.sizes), np.int64)
    if "other" in views:
        codes = views["other"].reshape(-1)[elements_of(b.sizes, b.b_steps)]
        factors = codes.astype(np.int64) - params.other_zero_point
    return -factors if params.negates else factors


def _b16(params: BroadcastErrorParams, views: Mapping[str, Any]) -> None:
    b, error, out = params.broadcast, views["error"], views["sums"]
    sums = np.zeros(out.mantissa.size, np.int64)
    products = error.mantissa.reshape(-1).astype(np.int64) * _factors(params, views)
    np.add.at(sums, elements_of(b.sizes, b.a_steps), products)
    write_block(out, int(error.exponent[0]), sums.reshape(out.mantissa.shape))


def _f32(params: BroadcastErrorParams, views: Mapping[str, Any]) -> None:
    b, out = params.broadcast, views["out"]
    sums = np.zeros(out.size, np.float32)
    products = views["error"].reshape(-1) * _factors(params, views).astype(np.float32)
    # add.at adds one element after the other, in the output's order: the stated order.
    np.add.at(sums, elements_of(b.sizes, b.a_steps), products)
    out[...] = sums.reshape(out.shape)


BROADCAST_ERROR_B16 = Kernel(
    name="broadcast_error_b16",
    c_params="mct_broadcast_error_params",
    params=BroadcastErrorParams,
    inputs=(Role("error", "b16"), Role("other", "int8", optional=True)),
    outputs=(Role("sums", "b32"),),
    golden=_b16,
)

BROADCAST_ERROR_F32 = Kernel(
    name="broadcast_error_f32",
    c_params="mct_broadcast_error_params",
    params=BroadcastErrorParams,
    inputs=(Role("error", "float32"), Role("other", "int8", optional=True)),
    outputs=(Role("out", "float32"),),
    golden=_f32,
)

KERNELS = (BROADCAST_ERROR_B16, BROADCAST_ERROR_F32)
