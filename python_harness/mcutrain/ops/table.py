"""table_s8, a function of one number looked up by code, and table_error, its error times the slope at that code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.block_float import write_fitted

_PRODUCT_SHIFT = 16


@dataclass(frozen=True)
class TableS8Params(Params):
    """mct_table_s8_params."""

    elements: int


@dataclass(frozen=True)
class TableErrorParams(Params):
    """mct_table_error_params: the slope of an input code is slope[code + 128] * 2**slope_exponent."""

    elements: int
    slope_exponent: int


def _looked_up(values: NDArray[Any], codes: NDArray[np.int8]) -> NDArray[Any]:
    """The element of 256 values for each code, from -128 on."""
    return values[codes.astype(np.int64) + 128]


def _golden(params: TableS8Params, views: Mapping[str, Any]) -> None:
    views["y"][...] = _looked_up(views["table"], views["x"]).reshape(views["y"].shape)


def _golden_error_b16(params: TableErrorParams, views: Mapping[str, Any]) -> None:
    error = views["error"]
    slope = _looked_up(views["slope"], views["x"]).astype(np.int64).reshape(error.mantissa.shape)
    scaled = (error.mantissa.astype(np.int64) * slope) >> _PRODUCT_SHIFT
    write_fitted(views["out"], int(error.exponent[0]) + params.slope_exponent + _PRODUCT_SHIFT, scaled)


def _golden_error_f32(params: TableErrorParams, views: Mapping[str, Any]) -> None:
    slope = _looked_up(views["slope"], views["x"]).reshape(views["error"].shape)
    views["out"][...] = (views["error"] * slope).reshape(views["out"].shape)


TABLE_S8 = Kernel(
    name="table_s8",
    c_params="mct_table_s8_params",
    params=TableS8Params,
    inputs=(Role("x", "int8"), Role("table", "int8")),
    outputs=(Role("y", "int8"),),
    golden=_golden,
    in_place=(("x", "y"),),
)

TABLE_ERROR_B16 = Kernel(
    name="table_error_b16",
    c_params="mct_table_error_params",
    params=TableErrorParams,
    inputs=(Role("error", "b16"), Role("x", "int8"), Role("slope", "int32")),
    outputs=(Role("out", "b16"),),
    golden=_golden_error_b16,
    in_place=(("error", "out"),),
)

TABLE_ERROR_F32 = Kernel(
    name="table_error_f32",
    c_params="mct_table_error_params",
    params=TableErrorParams,
    inputs=(Role("error", "float32"), Role("x", "int8"), Role("slope", "float32")),
    outputs=(Role("out", "float32"),),
    golden=_golden_error_f32,
    in_place=(("error", "out"),),
)

KERNELS = (TABLE_S8, TABLE_ERROR_B16, TABLE_ERROR_F32)
