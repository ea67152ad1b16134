"""resize_nearest: an image of repeated or left out rows and columns, and the sums of the errors of the copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.block_float import write_block


@dataclass(frozen=True)
class ResizeNearestParams(Params):
    """mct_resize_nearest_params. The constants rows (out_height) and columns (out_width) say which of the input each of the output is."""

    in_height: int
    in_width: int
    channels: int
    out_height: int
    out_width: int


def _golden_s8(params: ResizeNearestParams, views: Mapping[str, Any]) -> None:
    x = views["x"].reshape(params.in_height, params.in_width, params.channels)
    y = x[views["rows"]][:, views["columns"]]
    views["y"][...] = y.reshape(views["y"].shape)


def _summed(params: ResizeNearestParams, views: Mapping[str, Any], error: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The sums in raster order of the output; add.at adds one after the other, in the order of the indices."""
    sums = np.zeros((params.in_height, params.in_width, params.channels), dtype)
    image = error.reshape(params.out_height, params.out_width, params.channels)
    np.add.at(sums, (views["rows"][:, np.newaxis], views["columns"][np.newaxis, :]), image.astype(dtype))
    return sums


def _golden_b16(params: ResizeNearestParams, views: Mapping[str, Any]) -> None:
    error = views["error"]
    write_block(views["sums"], int(error.exponent[0]), _summed(params, views, error.mantissa, np.int64))


def _golden_f32(params: ResizeNearestParams, views: Mapping[str, Any]) -> None:
    views["out"][...] = _summed(params, views, views["error"], np.float32).reshape(views["out"].shape)


_TABLES = (Role("rows", "int32"), Role("columns", "int32"))

RESIZE_NEAREST_S8 = Kernel(
    name="resize_nearest_s8",
    c_params="mct_resize_nearest_params",
    params=ResizeNearestParams,
    inputs=(Role("x", "int8"), *_TABLES),
    outputs=(Role("y", "int8"),),
    golden=_golden_s8,
)

RESIZE_NEAREST_ERROR_B16 = Kernel(
    name="resize_nearest_error_b16",
    c_params="mct_resize_nearest_params",
    params=ResizeNearestParams,
    inputs=(Role("error", "b16"), *_TABLES),
    outputs=(Role("sums", "b32"),),
    golden=_golden_b16,
)

RESIZE_NEAREST_ERROR_F32 = Kernel(
    name="resize_nearest_error_f32",
    c_params="mct_resize_nearest_params",
    params=ResizeNearestParams,
    inputs=(Role("error", "float32"), *_TABLES),
    outputs=(Role("out", "float32"),),
    golden=_golden_f32,
)

KERNELS = (RESIZE_NEAREST_S8, RESIZE_NEAREST_ERROR_B16, RESIZE_NEAREST_ERROR_F32)
