"""multiply_s8: the product of two tensors, each repeated along the axes that it lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import clamp_code, requantise, requantise_once_even
from mcutrain.ops.base import Kernel, Params, Role, pack_mask
from mcutrain.ops.broadcast import Broadcast, elements_of


@dataclass(frozen=True)
class MultiplyS8Params(Params):
    """mct_multiply_s8_params. multiplier and shift: of s_a s_b / s_y; clamp_min and clamp_max are output codes.

    half_even: one rounding, of ties to even codes.
    """

    broadcast: Broadcast
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    clamp_min: int
    clamp_max: int
    half_even: int = 0


def _golden(params: MultiplyS8Params, views: Mapping[str, Any]) -> None:
    p, b = params, params.broadcast
    left = views["a"].reshape(-1)[elements_of(b.sizes, b.a_steps)].astype(np.int64) - p.a_zero_point
    right = views["b"].reshape(-1)[elements_of(b.sizes, b.b_steps)].astype(np.int64) - p.b_zero_point
    rescale = requantise_once_even if p.half_even else requantise
    scaled = rescale(left * right, p.multiplier, p.shift)
    codes, inside = clamp_code(scaled + p.output_zero_point, p.clamp_min, p.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


MULTIPLY_S8 = Kernel(
    name="multiply_s8",
    c_params="mct_multiply_s8_params",
    params=MultiplyS8Params,
    inputs=(Role("a", "int8"), Role("b", "int8")),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
    macs=lambda params: math.prod(params.broadcast.sizes),
)

KERNELS = (MULTIPLY_S8,)
