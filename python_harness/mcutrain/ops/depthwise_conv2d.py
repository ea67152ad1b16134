"""depthwise_conv2d_s8: output channel o is input channel o // (out_channels / in_channels) convolved with a filter of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import clamp_code, requantise
from mcutrain.ops.base import Kernel, Params, Role, Window, pack_mask
from mcutrain.ops.conv2d import patches


@dataclass(frozen=True)
class DepthwiseConv2dS8Params(Params):
    """mct_depthwise_conv2d_s8_params. clamp_min and clamp_max are output codes."""

    window: Window
    input_zero_point: int
    output_zero_point: int
    clamp_min: int
    clamp_max: int


def outputs_per_input(window: Window) -> int:
    """Output channels of each input channel (the depth multiplier)."""
    return window.out_channels // window.in_channels


def depthwise_macs(window: Window) -> int:
    """Multiply-accumulates, taps on padding counted."""
    taps = window.kernel_height * window.kernel_width
    return window.out_height * window.out_width * window.out_channels * taps


def even(n: int) -> int:
    """``n`` rounded up to a whole number of words of two int16."""
    return -(-n // 2) * 2


def _golden(params: DepthwiseConv2dS8Params, views: Mapping[str, Any]) -> None:
    w = params.window
    x = views["x"].reshape(w.in_height, w.in_width, w.in_channels).astype(np.float64) - params.input_zero_point
    taps = patches(x, w).reshape(w.out_height * w.out_width, -1, w.in_channels)
    weights = views["weights"].reshape(w.out_channels, -1).astype(np.float64)
    source = np.arange(w.out_channels) // outputs_per_input(w)
    # float64 holds these sums exactly: |sum| < 2**31.
    products = np.matmul(taps.transpose(2, 0, 1)[source], weights[:, :, np.newaxis])[..., 0].T
    sums = products.astype(np.int64) + views["bias"]
    scaled = requantise(sums, views["multiplier"], views["shift"])
    codes, inside = clamp_code(scaled + params.output_zero_point, params.clamp_min, params.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


def _scratch_bytes(params: DepthwiseConv2dS8Params) -> int:
    # A row of int32 sums, the filter widened to int16, its rows whole words, and one channel of the padded image.
    w = params.window
    columns = even(w.kernel_width)
    height = (w.out_height - 1) * w.stride_height + w.kernel_height
    width = even((w.out_width - 1) * w.stride_width + columns)
    return 4 * w.out_width + 2 * (w.kernel_height * columns + height * width)


DEPTHWISE_CONV2D_S8 = Kernel(
    name="depthwise_conv2d_s8",
    c_params="mct_depthwise_conv2d_s8_params",
    params=DepthwiseConv2dS8Params,
    inputs=(
        Role("x", "int8"),
        Role("weights", "int8"),
        Role("bias", "int32"),
        Role("multiplier", "int32"),
        Role("shift", "int32"),
    ),
    outputs=(Role("scratch", "scratch"), Role("y", "int8"), Role("inside", "mask", optional=True)),
    golden=_golden,
    in_place=(("x", "y"),),
    in_place_where=lambda params: outputs_per_input(params.window) == 1,
    macs=lambda params: depthwise_macs(params.window),
    scratch_bytes=_scratch_bytes,
)

KERNELS = (DEPTHWISE_CONV2D_S8,)
