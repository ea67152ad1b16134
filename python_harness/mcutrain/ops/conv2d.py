"""conv2d_s8: convolution, and fully connected as a 1x1 convolution of a 1x1 image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import clamp_code, requantise, requantise_once
from mcutrain.ops.base import Kernel, Params, Role, Window, pack_mask


@dataclass(frozen=True)
class Conv2dS8Params(Params):
    """mct_conv2d_s8_params. clamp_min and clamp_max are output codes; single_rounding is 1 for fully connected."""

    window: Window
    input_zero_point: int
    output_zero_point: int
    clamp_min: int
    clamp_max: int
    single_rounding: int = 0


def window_taps(window: Window) -> int:
    """Products in one output element."""
    return window.kernel_height * window.kernel_width * window.in_channels


def patches(image: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """im2col: the taps of every window, 0 outside the image.

    image: (in_height, in_width, channels), of any number of channels. Returns (out_height * out_width, kernel_height *
    kernel_width * channels), both in raster order, channels innermost.
    """
    w = window
    channels = image.shape[2]
    # As many rows and columns as the windows reach, whether or not the image goes on behind them.
    height = (w.out_height - 1) * w.stride_height + w.kernel_height
    width = (w.out_width - 1) * w.stride_width + w.kernel_width
    padded = np.zeros((height, width, channels), image.dtype)
    rows = min(w.in_height, height - w.pad_top)
    columns = min(w.in_width, width - w.pad_left)
    padded[w.pad_top : w.pad_top + rows, w.pad_left : w.pad_left + columns] = image[:rows, :columns]

    taps = np.empty((w.out_height, w.out_width, w.kernel_height, w.kernel_width, channels), image.dtype)
    for kh in range(w.kernel_height):
        for kw in range(w.kernel_width):
            bottom, right = height - w.kernel_height + kh + 1, width - w.kernel_width + kw + 1
            taps[:, :, kh, kw] = padded[kh : bottom : w.stride_height, kw : right : w.stride_width]
    return taps.reshape(w.out_height * w.out_width, -1)


def _golden(params: Conv2dS8Params, views: Mapping[str, Any]) -> None:
    w = params.window
    x = views["x"].reshape(w.in_height, w.in_width, w.in_channels)
    weights = views["weights"].reshape(w.out_channels, window_taps(w))
    # float64 holds these sums exactly: |sum| < 2**31.
    rows = patches(x.astype(np.float64) - params.input_zero_point, w)
    sums = (rows @ weights.astype(np.float64).T).astype(np.int64) + views["bias"]
    rescale = requantise_once if params.single_rounding else requantise
    scaled = rescale(sums, views["multiplier"], views["shift"])
    codes, inside = clamp_code(scaled + params.output_zero_point, params.clamp_min, params.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


def _macs(params: Conv2dS8Params) -> int:
    w = params.window
    return w.out_height * w.out_width * w.out_channels * window_taps(w)


def _quads_pixels(window: Window) -> int:
    """How many windows the quads of the DSP form gather at a time (mct_quads_pixels); 0 where they are not its way."""
    scratch_bytes, most, fewest = 6 * 1024, 64, 8
    pixels, taps = window.out_height * window.out_width, -(-window_taps(window) // 4) * 4
    pixel_bytes, rows_bytes = 2 * taps + 4, 4 * taps
    if pixels < 4 or window.out_channels < 2 or fewest * pixel_bytes > scratch_bytes - rows_bytes:
        return 0
    limit = min(most, (scratch_bytes - rows_bytes) // pixel_bytes // 4 * 4)
    rounds = -(-pixels // limit)
    return -(-pixels // (4 * rounds)) * 4


def _scratch_bytes(params: Conv2dS8Params) -> int:
    window = params.window
    taps = -(-window_taps(window) // 4) * 4
    # Three rows of int16 taps, each a whole number of words of four, or one where the image is smaller; and where pixels are not
    # whole words, one row of bytes.
    rows = 1 if window.out_height * window.out_width < 3 else 3
    byte_rows = 0 if window.in_channels % 4 == 0 else 1
    # Or gathered windows, two filters of int16, and a word of mask for each four pixels and two of eight channels.
    quads = _quads_pixels(window) * (2 * taps + 4) + 4 * taps
    return max((rows * 2 + byte_rows) * taps, quads)


CONV2D_S8 = Kernel(
    name="conv2d_s8",
    c_params="mct_conv2d_s8_params",
    params=Conv2dS8Params,
    inputs=(
        Role("x", "int8"),
        Role("weights", "int8"),
        Role("bias", "int32"),
        Role("multiplier", "int32"),
        Role("shift", "int32"),
    ),
    outputs=(Role("scratch", "scratch"), Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
    macs=_macs,
    scratch_bytes=_scratch_bytes,
)

KERNELS = (CONV2D_S8,)
