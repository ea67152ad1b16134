"""conv2d_error (dX) and conv2d_weight_gradient (dW) of a convolution; fully connected layers are 1x1 images.

g is the output's scaled error, (out_height, out_width, out_channels); weights are
(out_channels, kernel_height, kernel_width, in_channels).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role, Window
from mcutrain.ops.block_float import write_block
from mcutrain.ops.lists import listed_channels, packed, packed_block

Exact = NDArray[np.float64]  # integers of less than 53 bits: BLAS may sum them in any order
Float32s = NDArray[np.float32]

_ANY_CHANNEL = 2**31 - 1  # x is gathered: of how many channels is not known here


@dataclass(frozen=True)
class Conv2dGradientParams(Params):
    """mct_conv2d_gradient_params. For dW, window.in_channels counts the input channels that train: the most, where ``index`` lists them."""

    window: Window
    input_zero_point: int


def _macs(params: Conv2dGradientParams) -> int:
    w = params.window
    return w.out_height * w.out_width * w.out_channels * w.kernel_height * w.kernel_width * w.in_channels


def output_shape(window: Window) -> tuple[int, int, int]:
    """(out_height, out_width, out_channels)."""
    return window.out_height, window.out_width, window.out_channels


def input_shape(window: Window) -> tuple[int, int, int]:
    """(in_height, in_width, in_channels)."""
    return window.in_height, window.in_width, window.in_channels


def weight_shape(window: Window) -> tuple[int, int, int, int]:
    """(out_channels, kernel_height, kernel_width, in_channels)."""
    return window.out_channels, window.kernel_height, window.kernel_width, window.in_channels


def _axis(size_in: int, size_out: int, stride: int, pad: int, tap: int) -> tuple[slice, slice]:
    """Output positions whose tap lies inside the image, and the input positions that they read there."""
    inside = [o for o in range(size_out) if 0 <= o * stride + tap - pad < size_in]
    if not inside:
        return slice(0, 0), slice(0, 0)
    first, last = inside[0], inside[-1]
    start = first * stride + tap - pad
    return slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)


def taps(
    window: Window, dilation: tuple[int, int] = (1, 1)
) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """(kernel row, kernel column, output pixels, input pixels) of each tap, ascending; taps are ``dilation`` pixels apart."""
    for kh in range(window.kernel_height):
        row = kh * dilation[0]
        out_rows, in_rows = _axis(window.in_height, window.out_height, window.stride_height, window.pad_top, row)
        for kw in range(window.kernel_width):
            column = kw * dilation[1]
            out_columns, in_columns = _axis(
                window.in_width, window.out_width, window.stride_width, window.pad_left, column
            )
            yield kh, kw, (out_rows, out_columns), (in_rows, in_columns)


def _error_b16(params: Conv2dGradientParams, views: Mapping[str, Any]) -> None:
    window, g = params.window, views["g"]
    mantissa: Exact = g.mantissa.reshape(output_shape(window)).astype(np.float64)
    weights: Exact = views["weights"].reshape(weight_shape(window)).astype(np.float64)
    sums = np.zeros(input_shape(window))
    for kh, kw, output, pixels in taps(window):
        sums[pixels] += mantissa[output] @ weights[:, kh, kw, :]
    write_block(views["sums"], int(g.exponent[0]), sums.astype(np.int64))


def _error_f32(params: Conv2dGradientParams, views: Mapping[str, Any]) -> None:
    window = params.window
    g: Float32s = views["g"].reshape(output_shape(window))
    weights: Float32s = views["weights"].reshape(weight_shape(window)).astype(np.float32)
    error = np.zeros(input_shape(window), np.float32)
    for kh, kw, output, pixels in taps(window):
        sums = error[pixels]
        for o in range(window.out_channels):
            sums += g[output][..., o, np.newaxis] * weights[o, kh, kw]
    views["error"][...] = error.reshape(views["error"].shape)


def _narrowed(params: Conv2dGradientParams, views: Mapping[str, Any]) -> Window:
    """The convolution of the input channels that x has now."""
    window = params.window
    if "index" not in views:
        return window
    return replace(window, in_channels=listed_channels(views, "index", window.in_channels, _ANY_CHANNEL).size)


def _weight_gradient_b16(params: Conv2dGradientParams, views: Mapping[str, Any]) -> None:
    window, g = _narrowed(params, views), views["g"]
    mantissa: Exact = g.mantissa.reshape(output_shape(window)).astype(np.float64)
    x: Exact = packed(views["x"], input_shape(window)).astype(np.float64) - params.input_zero_point
    gradient = np.zeros(weight_shape(window))
    for kh, kw, output, pixels in taps(window):
        outputs = mantissa[output].reshape(-1, window.out_channels)
        gradient[:, kh, kw, :] = outputs.T @ x[pixels].reshape(len(outputs), window.in_channels)
    write_block(packed_block(views["gradient"], gradient.shape), int(g.exponent[0]), gradient.astype(np.int64))


def _weight_gradient_f32(params: Conv2dGradientParams, views: Mapping[str, Any]) -> None:
    window = _narrowed(params, views)
    g: Float32s = views["g"].reshape(output_shape(window))
    codes = packed(views["x"], input_shape(window)).astype(np.int32)
    x: Float32s = (codes - params.input_zero_point).astype(np.float32)
    gradient = np.zeros(weight_shape(window), np.float32)
    for oh in range(window.out_height):
        top = oh * window.stride_height - window.pad_top
        rows = slice(max(0, -top), min(window.kernel_height, window.in_height - top))
        for ow in range(window.out_width):
            left = ow * window.stride_width - window.pad_left
            columns = slice(max(0, -left), min(window.kernel_width, window.in_width - left))
            patch = x[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
            gradient[:, rows, columns] += g[oh, ow, :, np.newaxis, np.newaxis, np.newaxis] * patch
    packed(views["gradient"], gradient.shape)[...] = gradient


def _chunk(terms: int, channels: int, most_steps: int) -> tuple[int, int]:
    """The most steps (pairs of terms) and groups (of four input channels) that are packed at once."""
    steps = _largest_part(-(-terms // 2), most_steps)
    return steps, _largest_part(-(-channels // 4), 320 // steps)


def _chunk_bytes(steps: int, groups: int) -> int:
    # Columns of four channels, two rows and eight sums, all of words.
    return 4 * (steps * (4 * groups + 2) + 8)


def _largest_part(whole: int, most: int) -> int:
    """Size of the largest of the fewest equal parts that are not above ``most``."""
    parts = max(-(-whole // most), 1)
    return max(-(-whole // parts), 1)


def _error_scratch_bytes(params: Conv2dGradientParams) -> int:
    return _chunk_bytes(*_chunk(params.window.out_channels, params.window.in_channels, 48))


def _weight_gradient_scratch_bytes(params: Conv2dGradientParams) -> int:
    w = params.window
    taps, pixels = w.kernel_height * w.kernel_width, w.out_height * w.out_width
    # Of few input channels all taps are packed at once, from what they read for two pixels.
    if w.in_channels < 4 and taps > 1:
        steps, groups = _chunk(pixels, taps * w.in_channels, 6)
        return _chunk_bytes(steps, groups) + 2 * 4 * groups
    return _chunk_bytes(*_chunk(pixels, w.in_channels, 32))


CONV2D_ERROR_B16 = Kernel(
    name="conv2d_error_b16",
    c_params="mct_conv2d_gradient_params",
    params=Conv2dGradientParams,
    inputs=(Role("g", "b16"), Role("weights", "int8")),
    outputs=(Role("scratch", "scratch"), Role("sums", "b32")),
    golden=_error_b16,
    macs=_macs,
    scratch_bytes=_error_scratch_bytes,
)

CONV2D_ERROR_F32 = Kernel(
    name="conv2d_error_f32",
    c_params="mct_conv2d_gradient_params",
    params=Conv2dGradientParams,
    inputs=(Role("g", "float32"), Role("weights", "int8")),
    outputs=(Role("error", "float32"),),
    golden=_error_f32,
    macs=_macs,
)

CONV2D_WEIGHT_GRADIENT_B16 = Kernel(
    name="conv2d_weight_gradient_b16",
    c_params="mct_conv2d_gradient_params",
    params=Conv2dGradientParams,
    inputs=(Role("x", "int8"), Role("g", "b16"), Role("index", "index", optional=True)),
    outputs=(Role("scratch", "scratch"), Role("gradient", "b32")),
    golden=_weight_gradient_b16,
    macs=_macs,
    scratch_bytes=_weight_gradient_scratch_bytes,
)

CONV2D_WEIGHT_GRADIENT_F32 = Kernel(
    name="conv2d_weight_gradient_f32",
    c_params="mct_conv2d_gradient_params",
    params=Conv2dGradientParams,
    inputs=(Role("x", "int8"), Role("g", "float32"), Role("index", "index", optional=True)),
    outputs=(Role("gradient", "float32"),),
    golden=_weight_gradient_f32,
    macs=_macs,
)

KERNELS = (CONV2D_ERROR_B16, CONV2D_ERROR_F32, CONV2D_WEIGHT_GRADIENT_B16, CONV2D_WEIGHT_GRADIENT_F32)
