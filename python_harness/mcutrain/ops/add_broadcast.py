"""add_broadcast_s8: the sum or the difference of two tensors, each repeated along the axes that it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import clamp_code, requantise
from mcutrain.ops.base import Kernel, Params, Role, pack_mask
from mcutrain.ops.broadcast import Broadcast, elements_of


@dataclass(frozen=True)
class AddBroadcastS8Params(Params):
    """mct_add_broadcast_s8_params: as AddS8Params, without its linear form. subtracts: 1 for a - b."""

    broadcast: Broadcast
    subtracts: int
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


def _golden(params: AddBroadcastS8Params, views: Mapping[str, Any]) -> None:
    p, b = params, params.broadcast
    left = views["a"].reshape(-1)[elements_of(b.sizes, b.a_steps)].astype(np.int64) - p.a_zero_point
    right = views["b"].reshape(-1)[elements_of(b.sizes, b.b_steps)].astype(np.int64) - p.b_zero_point
    fine_a = requantise(left << p.left_shift, p.a_multiplier, p.a_shift)
    fine_b = requantise(right << p.left_shift, p.b_multiplier, p.b_shift)
    total = fine_a - fine_b if p.subtracts else fine_a + fine_b
    scaled = requantise(total, p.output_multiplier, p.output_shift)
    codes, inside = clamp_code(scaled + p.output_zero_point, p.clamp_min, p.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


ADD_BROADCAST_S8 = Kernel(
    name="add_broadcast_s8",
    c_params="mct_add_broadcast_s8_params",
    params=AddBroadcastS8Params,
    inputs=(Role("a", "int8"), Role("b", "int8")),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
)

KERNELS = (ADD_BROADCAST_S8,)
