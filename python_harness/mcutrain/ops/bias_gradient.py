"""bias_gradient: db of a convolution, the sum of its scaled output error over the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import sum_ascending
from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.block_float import write_block


@dataclass(frozen=True)
class BiasGradientParams(Params):
    """mct_bias_gradient_params."""

    pixels: int
    channels: int


def _golden_b16(params: BiasGradientParams, views: Mapping[str, Any]) -> None:
    g = views["g"]
    sums = g.mantissa.reshape(params.pixels, params.channels).sum(axis=0, dtype=np.int64)
    write_block(views["gradient"], int(g.exponent[0]), sums)


def _golden_f32(params: BiasGradientParams, views: Mapping[str, Any]) -> None:
    sums = sum_ascending(np.float32(0), views["g"].reshape(params.pixels, params.channels))
    views["gradient"][...] = sums.reshape(views["gradient"].shape)


BIAS_GRADIENT_B16 = Kernel(
    name="bias_gradient_b16",
    c_params="mct_bias_gradient_params",
    params=BiasGradientParams,
    inputs=(Role("g", "b16"),),
    outputs=(Role("gradient", "b32"),),
    golden=_golden_b16,
)

BIAS_GRADIENT_F32 = Kernel(
    name="bias_gradient_f32",
    c_params="mct_bias_gradient_params",
    params=BiasGradientParams,
    inputs=(Role("g", "float32"),),
    outputs=(Role("gradient", "float32"),),
    golden=_golden_f32,
)

KERNELS = (BIAS_GRADIENT_B16, BIAS_GRADIENT_F32)
