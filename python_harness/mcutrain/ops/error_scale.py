"""error_scale: the error of an operator's output, masked where the clamp bit, times one real factor per channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role, unpack_mask
from mcutrain.ops.block_float import write_fitted

_PRODUCT_SHIFT = 16


@dataclass(frozen=True)
class ErrorScaleParams(Params):
    """mct_error_scale_params: element i has channel i % channels, whose factor is scale * 2**scale_exponent."""

    elements: int
    channels: int
    scale_exponent: int
    mantissa_bits: int


def _inside(params: ErrorScaleParams, views: Mapping[str, Any]) -> NDArray[np.bool_]:
    shape = (params.elements // params.channels, params.channels)
    if "inside" not in views:
        return np.ones(shape, np.bool_)
    return unpack_mask(views["inside"], shape)


def _golden_b16(params: ErrorScaleParams, views: Mapping[str, Any]) -> None:
    error = views["error"]
    inside = _inside(params, views)
    products = error.mantissa.reshape(inside.shape).astype(np.int64) * views["scale"].astype(np.int64)
    scaled = np.where(inside, products >> _PRODUCT_SHIFT, 0)
    exponent = int(error.exponent[0]) + params.scale_exponent + _PRODUCT_SHIFT
    write_fitted(views["out"], exponent, scaled, params.mantissa_bits)


def _golden_f32(params: ErrorScaleParams, views: Mapping[str, Any]) -> None:
    inside = _inside(params, views)
    products = views["error"].reshape(inside.shape) * views["scale"]
    views["out"][...] = np.where(inside, products, np.float32(0)).reshape(views["out"].shape)


ERROR_SCALE_B16 = Kernel(
    name="error_scale_b16",
    c_params="mct_error_scale_params",
    params=ErrorScaleParams,
    inputs=(Role("error", "b16"), Role("inside", "mask", optional=True), Role("scale", "int32")),
    outputs=(Role("out", "b16"),),
    golden=_golden_b16,
    in_place=(("error", "out"),),
)

ERROR_SCALE_F32 = Kernel(
    name="error_scale_f32",
    c_params="mct_error_scale_params",
    params=ErrorScaleParams,
    inputs=(Role("error", "float32"), Role("inside", "mask", optional=True), Role("scale", "float32")),
    outputs=(Role("out", "float32"),),
    golden=_golden_f32,
    in_place=(("error", "out"),),
)

KERNELS = (ERROR_SCALE_B16, ERROR_SCALE_F32)
