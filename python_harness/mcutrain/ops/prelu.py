"""prelu_s8, x above 0 and alpha x from 0 down, and prelu_error, its error times the slope on that side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import clamp_code, requantise
from mcutrain.ops.base import Kernel, Params, Role, pack_mask, unpack_mask
from mcutrain.ops.block_float import write_fitted

_PRODUCT_SHIFT = 16


@dataclass(frozen=True)
class PreluS8Params(Params):
    """mct_prelu_s8_params: element i has alpha[i % alphas]. multiplier of s_x / s_y, alpha_multiplier of s_x s_alpha / s_y."""

    elements: int
    alphas: int
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    alpha_multiplier: int
    alpha_shift: int


@dataclass(frozen=True)
class PreluErrorParams(Params):
    """mct_prelu_error_params: the slope above 0 is slope[0] * 2**slope_exponent, below it slope[1 + i % alphas] * 2**slope_exponent."""

    elements: int
    alphas: int
    input_zero_point: int
    slope_exponent: int


def _golden(params: PreluS8Params, views: Mapping[str, Any]) -> None:
    p = params
    centred = views["x"].astype(np.int64).reshape(-1, p.alphas) - p.input_zero_point
    above = requantise(centred, p.multiplier, p.shift)
    below = requantise(centred * views["alpha"].reshape(-1).astype(np.int64), p.alpha_multiplier, p.alpha_shift)
    codes, inside = clamp_code(np.where(centred >= 0, above, below) + p.output_zero_point, -128, 127)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


def _slopes(params: PreluErrorParams, views: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Of each element its slope, and whether its error passes."""
    x = views["x"].reshape(-1, params.alphas)
    slope = np.where(x > params.input_zero_point, views["slope"][0], views["slope"][1:])
    inside = unpack_mask(views["inside"], x.shape) if "inside" in views else np.ones(x.shape, np.bool_)
    return slope, inside


def _golden_error_b16(params: PreluErrorParams, views: Mapping[str, Any]) -> None:
    error = views["error"]
    slope, inside = _slopes(params, views)
    scaled = (error.mantissa.reshape(slope.shape).astype(np.int64) * slope.astype(np.int64)) >> _PRODUCT_SHIFT
    exponent = int(error.exponent[0]) + params.slope_exponent + _PRODUCT_SHIFT
    write_fitted(views["out"], exponent, np.where(inside, scaled, 0))


def _golden_error_f32(params: PreluErrorParams, views: Mapping[str, Any]) -> None:
    slope, inside = _slopes(params, views)
    products = views["error"].reshape(slope.shape) * slope
    views["out"][...] = np.where(inside, products, np.float32(0)).reshape(views["out"].shape)


PRELU_S8 = Kernel(
    name="prelu_s8",
    c_params="mct_prelu_s8_params",
    params=PreluS8Params,
    inputs=(Role("x", "int8"), Role("alpha", "int32")),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
    in_place=(("x", "y"),),
)

PRELU_ERROR_B16 = Kernel(
    name="prelu_error_b16",
    c_params="mct_prelu_error_params",
    params=PreluErrorParams,
    inputs=(Role("error", "b16"), Role("inside", "mask", optional=True), Role("x", "int8"), Role("slope", "int32")),
    outputs=(Role("out", "b16"),),
    golden=_golden_error_b16,
    in_place=(("error", "out"),),
)

PRELU_ERROR_F32 = Kernel(
    name="prelu_error_f32",
    c_params="mct_prelu_error_params",
    params=PreluErrorParams,
    inputs=(
        Role("error", "float32"),
        Role("inside", "mask", optional=True),
        Role("x", "int8"),
        Role("slope", "float32"),
    ),
    outputs=(Role("out", "float32"),),
    golden=_golden_error_f32,
    in_place=(("error", "out"),),
)

KERNELS = (PRELU_S8, PRELU_ERROR_B16, PRELU_ERROR_F32)
