"""average_pool_s8: the mean of each window's part inside the image; average_pool_rescale_s8: at a scale of its own, rounded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import clamp_code, quantise_multiplier, requantise_once
from mcutrain.ops.base import Kernel, Params, Role, Window, pack_mask


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


@dataclass(frozen=True)
class AveragePoolRescaleS8Params(Params):
    """mct_average_pool_rescale_s8_params. clamp_min and clamp_max are output codes.

    counts: how many different numbers of pixels the windows have inside the image.
    """

    window: Window
    input_zero_point: int
    output_zero_point: int
    clamp_min: int
    clamp_max: int
    counts: int


def average_multipliers(
    window: Window, scale_ratio: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """(count, multiplier, shift) of every number of pixels that windows have inside the image.

    scale_ratio: s_x / s_y. Each array is int32 of shape (counts,), by ascending count.
    """
    counts = {
        (rows.stop - rows.start) * (columns.stop - columns.start) for _, _, rows, columns in windows_inside(window)
    }
    pairs = [quantise_multiplier(scale_ratio / count) for count in sorted(counts)]
    return (
        np.array(sorted(counts), np.int32),
        np.array([multiplier for multiplier, _ in pairs], np.int32),
        np.array([shift for _, shift in pairs], np.int32),
    )


def _golden_rescale(params: AveragePoolRescaleS8Params, views: Mapping[str, Any]) -> None:
    p, w = params, params.window
    x = views["x"].reshape(w.in_height, w.in_width, w.in_channels).astype(np.int64) - p.input_zero_point
    sums = np.empty((w.out_height, w.out_width, w.out_channels), np.int64)
    place = np.zeros((w.out_height, w.out_width, 1), np.int64)
    for row, column, rows, columns in windows_inside(w):
        part = x[rows, columns]
        sums[row, column] = part.sum(axis=(0, 1))
        place[row, column] = np.flatnonzero(views["count"] == part.shape[0] * part.shape[1])[0]
    scaled = requantise_once(sums, views["multiplier"][place], views["shift"][place])
    codes, inside = clamp_code(scaled + p.output_zero_point, p.clamp_min, p.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


AVERAGE_POOL_RESCALE_S8 = Kernel(
    name="average_pool_rescale_s8",
    c_params="mct_average_pool_rescale_s8_params",
    params=AveragePoolRescaleS8Params,
    inputs=(Role("x", "int8"), Role("count", "int32"), Role("multiplier", "int32"), Role("shift", "int32")),
    outputs=(Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden_rescale,
)

KERNELS = (AVERAGE_POOL_S8, AVERAGE_POOL_RESCALE_S8)
