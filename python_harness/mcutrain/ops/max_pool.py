"""max_pool_s8: the largest code of each window's part inside the image, and where it stood, as a byte or (wide) as a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcutrain.ops.average_pool import PoolS8Params, windows_inside
from mcutrain.ops.base import Kernel, Role


def _golden(params: PoolS8Params, views: Mapping[str, Any]) -> None:
    w = params.window
    x = views["x"].reshape(w.in_height, w.in_width, w.in_channels)
    y = np.empty((w.out_height, w.out_width, w.out_channels), np.int8)
    argmax = np.empty(y.shape, np.int64)
    for row, column, rows, columns in windows_inside(w):
        part = x[rows, columns]
        # The first of equal maxima in raster order, as an index in the whole window.
        first = part.reshape(-1, w.in_channels).argmax(axis=0)
        in_row, in_column = np.divmod(first, part.shape[1])
        kernel_row = in_row + rows.start - (row * w.stride_height - w.pad_top)
        kernel_column = in_column + columns.start - (column * w.stride_width - w.pad_left)
        argmax[row, column] = kernel_row * w.kernel_width + kernel_column
        y[row, column] = part.max(axis=(0, 1))
    views["y"][...] = y.reshape(views["y"].shape)
    if "argmax" in views:
        views["argmax"][...] = argmax.reshape(views["argmax"].shape)


MAX_POOL_S8 = Kernel(
    name="max_pool_s8",
    c_params="mct_pool_s8_params",
    params=PoolS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"), Role("argmax", "uint8", optional=True)),
    golden=_golden,
)

MAX_POOL_WIDE_S8 = Kernel(
    name="max_pool_wide_s8",
    c_params="mct_pool_s8_params",
    params=PoolS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"), Role("argmax", "int32", optional=True)),
    golden=_golden,
)

KERNELS = (MAX_POOL_S8, MAX_POOL_WIDE_S8)
