"""mean_s8: the mean over any axes, with a change of scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import clamp_code, quantise_multiplier, requantise
from mcutrain.ops.base import Kernel, Params, Role, pack_mask


@dataclass(frozen=True)
class MeanS8Params(Params):
    """mct_mean_s8_params. multiplier and shift: of mean_multiplier; clamp_min and clamp_max are output codes.

    x is (outer, pixels, channels, run), the mean over pixels and run.
    """

    pixels: int
    channels: int
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    clamp_min: int
    clamp_max: int
    outer: int = 1
    run: int = 1


def mean_multiplier(scale_ratio: float, pixels: int) -> tuple[int, int]:
    """(multiplier, shift) of scale_ratio / pixels, for a mean of so many values.

    Truncated as LiteRT has it: no further than it is sure to fit 32 bits.
    """
    multiplier, shift = quantise_multiplier(scale_ratio)
    left = min(pixels.bit_length() - 1, 32, 31 + shift)
    return (multiplier << left) // pixels, shift - left


def _golden(params: MeanS8Params, views: Mapping[str, Any]) -> None:
    p = params
    x = views["x"].reshape(p.outer, p.pixels, p.channels, p.run).astype(np.int64)
    sums = (x - p.input_zero_point).sum(axis=(1, 3))
    codes, inside = clamp_code(requantise(sums, p.multiplier, p.shift) + p.output_zero_point, p.clamp_min, p.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


MEAN_S8 = Kernel(
    name="mean_s8",
    c_params="mct_mean_s8_params",
    params=MeanS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
)

KERNELS = (MEAN_S8,)
