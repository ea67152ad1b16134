"""average_pool_s8: the mean of each window's part inside the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.base import Kernel, Params, Role, Window


@dataclass(frozen=True)
class PoolS8Params(Params):
    """mct_pool_s8_params, of average_pool_s8 and max_pool_s8. out_channels equals in_channels."""

    window: Window


def windows_inside(window: Window) -> Iterator[tuple[int, int, slice, slice]]:
    """(output row, output column, image rows, image columns) of every window in raster order, cut to the image."""
    w = window
    for row in range(w.out_height):
        top = row * w.stride_height - w.pad_top
        rows = slice(max(top, 0), min(top + w.kernel_height, w.in_height))
        for column in range(w.out_width):
            left = column * w.stride_width - w.pad_left
            yield row, column, rows, slice(max(left, 0), min(left + w.kernel_width, w.in_width))


def _golden(params: PoolS8Params, views: Mapping[str, Any]) -> None:
    w = params.window
    x = views["x"].reshape(w.in_height, w.in_width, w.in_channels).astype(np.int64)
    y = np.empty((w.out_height, w.out_width, w.out_channels), np.int8)
    for row, column, rows, columns in windows_inside(w):
        part = x[rows, columns]
        count = part.shape[0] * part.shape[1]
        total = part.sum(axis=(0, 1))
        y[row, column] = np.sign(total) * ((np.abs(total) + count // 2) // count)
    views["y"][...] = y.reshape(views["y"].shape)


AVERAGE_POOL_S8 = Kernel(
    name="average_pool_s8",
    c_params="mct_pool_s8_params",
    params=PoolS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden,
)

KERNELS = (AVERAGE_POOL_S8,)
