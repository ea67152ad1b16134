"""add_s8: the sum of two tensors of equal shape, each with its own scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import clamp_code, requantise
from mcutrain.ops.base import Kernel, Params, Role, pack_mask


@dataclass(frozen=True)
class AddS8Params(Params):
    """mct_add_s8_params. left_shift is 20, as in LiteRT; clamp_min and clamp_max are output codes."""

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


def _golden(params: AddS8Params, views: Mapping[str, Any]) -> None:
    p = params
    a = (views["a"].astype(np.int64) - p.a_zero_point) << p.left_shift
    b = (views["b"].astype(np.int64) - p.b_zero_point) << p.left_shift
    fine = requantise(a, p.a_multiplier, p.a_shift) + requantise(b, p.b_multiplier, p.b_shift)
    scaled = requantise(fine, p.output_multiplier, p.output_shift) + p.output_zero_point
    codes, inside = clamp_code(scaled, p.clamp_min, p.clamp_max)
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
