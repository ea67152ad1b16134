"""add_s8: the sum of two tensors of equal shape, each with its own scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import clamp_code, requantise
from mcutrain.ops.base import Kernel, Params, Role, pack_mask


@dataclass(frozen=True)
class AddS8Params(Params):
    """mct_add_s8_params. left_shift is 20, as in LiteRT; clamp_min and clamp_max are output codes.

    a_factor, b_factor and offset: the linear form of the same sum (mcutrain.ops.add_linear), both factors 0 where there is none.
    """

    elements: int
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    a_multiplier: int
    a_shift: int
    b_multiplier: int
    b_shift: int
    output_multiplier: int
    output_shift: int
    left_shift: int
    clamp_min: int
    clamp_max: int
    a_factor: int = 0
    b_factor: int = 0
    offset: int = 0


def unclamped(params: AddS8Params, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """The output codes of two arrays of codes before the clamp; they broadcast."""
    p = params
    fine_a = requantise((a.astype(np.int64) - p.a_zero_point) << p.left_shift, p.a_multiplier, p.a_shift)
    fine_b = requantise((b.astype(np.int64) - p.b_zero_point) << p.left_shift, p.b_multiplier, p.b_shift)
    return requantise(fine_a + fine_b, p.output_multiplier, p.output_shift) + p.output_zero_point


def _golden(params: AddS8Params, views: Mapping[str, Any]) -> None:
    free = unclamped(params, views["a"], views["b"])
    codes, inside = clamp_code(free, params.clamp_min, params.clamp_max)
    views["y"][...] = codes
    if "inside" in views:
        pack_mask(inside, views["inside"])


ADD_S8 = Kernel(
    name="add_s8",
    c_params="mct_add_s8_params",
    params=AddS8Params,
    inputs=(Role("a", "int8"), Role("b", "int8")),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
)

KERNELS = (ADD_S8,)
