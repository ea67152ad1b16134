"""average_pool_error spreads a window's error over its pixels inside the image, max_pool_error passes it to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role, Window
from mcutrain.ops.block_float import write_block
from mcutrain.ops.conv2d_gradient import input_shape, output_shape, taps


@dataclass(frozen=True)
class AveragePoolErrorParams(Params):
    """mct_average_pool_error_params. headroom_bits (b16): extra right shift that keeps the sums within int32."""

    window: Window
    headroom_bits: int


@dataclass(frozen=True)
class MaxPoolErrorParams(Params):
    """mct_max_pool_error_params."""

    window: Window


def _counts(window: Window) -> NDArray[np.int64]:
    """Pixels inside the image of each window, (out_height, out_width, 1)."""
    counts = np.zeros((window.out_height, window.out_width, 1), np.int64)
    for _, _, output, _ in taps(window):
        counts[output] += 1
    return counts


def _average_b16(params: AveragePoolErrorParams, views: Mapping[str, Any]) -> None:
    window, error = params.window, views["error"]
    # Exact: where 2**30 / count is a tie, the double quotient is exact; elsewhere it is far from one.
    reciprocals = np.rint(2.0**30 / _counts(window)).astype(np.int64)
    shares = (error.mantissa.reshape(output_shape(window)).astype(np.int64) * reciprocals) >> (
        16 + params.headroom_bits
    )
    sums = np.zeros(input_shape(window), np.int64)
    for _, _, output, pixels in taps(window):
        sums[pixels] += shares[output]
    write_block(views["sums"], int(error.exponent[0]) - 14 + params.headroom_bits, sums)


def _average_f32(params: AveragePoolErrorParams, views: Mapping[str, Any]) -> None:
    window = params.window
    shares = views["error"].reshape(output_shape(window)) * (np.float32(1) / _counts(window).astype(np.float32))
    out = np.zeros(input_shape(window), np.float32)
    for oh in range(window.out_height):
        top = oh * window.stride_height - window.pad_top
        rows = slice(max(0, top), top + window.kernel_height)
        for ow in range(window.out_width):
            left = ow * window.stride_width - window.pad_left
            out[rows, max(0, left) : left + window.kernel_width] += shares[oh, ow]
    views["out"][...] = out.reshape(views["out"].shape)


def _maximum_elements(window: Window, argmax: NDArray[np.uint8] | NDArray[np.int32]) -> NDArray[np.int64]:
    """Input element (flat) of each output element's maximum, in raster order."""
    oh, ow, channel = np.indices(output_shape(window))
    kernel_row, kernel_column = np.divmod(argmax.reshape(output_shape(window)).astype(np.int64), window.kernel_width)
    row: NDArray[np.int64] = oh * window.stride_height - window.pad_top + kernel_row
    column = ow * window.stride_width - window.pad_left + kernel_column
    elements: NDArray[np.int64] = (row * window.in_width + column) * window.in_channels + channel
    return elements.reshape(-1)


def _max_b16(params: MaxPoolErrorParams, views: Mapping[str, Any]) -> None:
    window, error = params.window, views["error"]
    sums = np.zeros(int(np.prod(input_shape(window))), np.int64)
    np.add.at(sums, _maximum_elements(window, views["argmax"]), error.mantissa.reshape(-1).astype(np.int64))
    write_block(views["sums"], int(error.exponent[0]), sums)


def _max_f32(params: MaxPoolErrorParams, views: Mapping[str, Any]) -> None:
    window = params.window
    out = np.zeros(int(np.prod(input_shape(window))), np.float32)
    # add.at adds one element after the other, in the order of the indices: the stated order.
    np.add.at(out, _maximum_elements(window, views["argmax"]), views["error"].reshape(-1))
    views["out"][...] = out.reshape(views["out"].shape)


AVERAGE_POOL_ERROR_B16 = Kernel(
    name="average_pool_error_b16",
    c_params="mct_average_pool_error_params",
    params=AveragePoolErrorParams,
    inputs=(Role("error", "b16"),),
    outputs=(Role("sums", "b32"),),
    golden=_average_b16,
)

AVERAGE_POOL_ERROR_F32 = Kernel(
    name="average_pool_error_f32",
    c_params="mct_average_pool_error_params",
    params=AveragePoolErrorParams,
    inputs=(Role("error", "float32"),),
    outputs=(Role("out", "float32"),),
    golden=_average_f32,
)

MAX_POOL_ERROR_B16 = Kernel(
    name="max_pool_error_b16",
    c_params="mct_max_pool_error_params",
    params=MaxPoolErrorParams,
    inputs=(Role("error", "b16"), Role("argmax", "uint8")),
    outputs=(Role("sums", "b32"),),
    golden=_max_b16,
)

MAX_POOL_ERROR_F32 = Kernel(
    name="max_pool_error_f32",
    c_params="mct_max_pool_error_params",
    params=MaxPoolErrorParams,
    inputs=(Role("error", "float32"), Role("argmax", "uint8")),
    outputs=(Role("out", "float32"),),
    golden=_max_f32,
)

MAX_POOL_WIDE_ERROR_B16 = replace(
    MAX_POOL_ERROR_B16, name="max_pool_wide_error_b16", inputs=(Role("error", "b16"), Role("argmax", "int32"))
)

MAX_POOL_WIDE_ERROR_F32 = replace(
    MAX_POOL_ERROR_F32, name="max_pool_wide_error_f32", inputs=(Role("error", "float32"), Role("argmax", "int32"))
)

KERNELS = (
    AVERAGE_POOL_ERROR_B16,
    AVERAGE_POOL_ERROR_F32,
    MAX_POOL_ERROR_B16,
    MAX_POOL_ERROR_F32,
    MAX_POOL_WIDE_ERROR_B16,
    MAX_POOL_WIDE_ERROR_F32,
)
