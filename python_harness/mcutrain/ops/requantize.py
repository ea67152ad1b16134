"""requantize_s8: a change of scale, and stand-alone relu, relu6 and clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import clamp_code, requantise
from mcutrain.ops.base import Kernel, Params, Role, pack_mask


@dataclass(frozen=True)
class RequantizeS8Params(Params):
    """mct_requantize_s8_params. clamp_min and clamp_max are output codes."""

    elements: int
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    clamp_min: int
    clamp_max: int


def _golden(params: RequantizeS8Params, views: Mapping[str, Any]) -> None:
    p = params
    scaled = requantise(views["x"].astype(np.int64) - p.input_zero_point, p.multiplier, p.shift)
    codes, inside = clamp_code(scaled + p.output_zero_point, p.clamp_min, p.clamp_max)
    views["y"][...] = codes
    if "inside" in views:
        pack_mask(inside, views["inside"])


REQUANTIZE_S8 = Kernel(
    name="requantize_s8",
    c_params="mct_requantize_s8_params",
    params=RequantizeS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
    in_place=(("x", "y"),),
)

KERNELS = (REQUANTIZE_S8,)
