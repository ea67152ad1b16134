"""grouped_conv2d_s8: a convolution with dilated taps, with groups of channels, or both; depthwise where each input channel is a group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import clamp_code, requantise, requantise_once_even
from mcutrain.ops.base import Kernel, Params, Role, Window, pack_mask
from mcutrain.ops.conv2d_gradient import input_shape, taps


@dataclass(frozen=True)
class GroupedConv2dS8Params(Params):
    """mct_grouped_conv2d_s8_params. clamp_min and clamp_max are output codes; half_even: one rounding, of ties to even codes."""

    window: Window
    dilation_height: int
    dilation_width: int
    groups: int
    input_zero_point: int
    output_zero_point: int
    clamp_min: int
    clamp_max: int
    half_even: int = 0


def grouped_weight_shape(window: Window, groups: int) -> tuple[int, int, int, int]:
    """(out_channels, kernel_height, kernel_width, in_channels / groups)."""
    return window.out_channels, window.kernel_height, window.kernel_width, window.in_channels // groups


def group_products(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (height, width, groups, terms) times weights (groups, terms, outputs): (height, width, groups, outputs)."""
    height, width, groups, terms = values.shape
    products = values.reshape(height * width, groups, terms).transpose(1, 0, 2) @ weights
    return products.transpose(1, 0, 2).reshape(height, width, groups, weights.shape[2])


def _golden(params: GroupedConv2dS8Params, views: Mapping[str, Any]) -> None:
    w, groups = params.window, params.groups
    # float64 holds these sums exactly: |sum| < 2**31.
    x = views["x"].reshape(input_shape(w)).astype(np.float64) - params.input_zero_point
    x = x.reshape(w.in_height, w.in_width, groups, -1)
    kernel = (w.kernel_height, w.kernel_width)
    weights = views["weights"].reshape(groups, w.out_channels // groups, *kernel, -1).astype(np.float64)
    sums = np.zeros((w.out_height, w.out_width, groups, w.out_channels // groups))
    for kh, kw, output, pixels in taps(w, (params.dilation_height, params.dilation_width)):
        sums[output] += group_products(x[pixels], weights[:, :, kh, kw].transpose(0, 2, 1))
    biased = sums.reshape(-1, w.out_channels).astype(np.int64) + views["bias"]
    rescale = requantise_once_even if params.half_even else requantise
    scaled = rescale(biased, views["multiplier"], views["shift"])
    codes, inside = clamp_code(scaled + params.output_zero_point, params.clamp_min, params.clamp_max)
    views["y"][...] = codes.reshape(views["y"].shape)
    if "inside" in views:
        pack_mask(inside, views["inside"])


def _scratch_bytes(params: GroupedConv2dS8Params) -> int:
    # What one group reads for an output pixel; of a depthwise convolution, an output pixel's int32 sums.
    w = params.window
    depthwise = params.groups == w.in_channels
    return 4 * w.out_channels if depthwise else math.prod(grouped_weight_shape(w, params.groups)[1:])


def _macs(params: GroupedConv2dS8Params) -> int:
    w = params.window
    return w.out_height * w.out_width * math.prod(grouped_weight_shape(w, params.groups))


GROUPED_CONV2D_S8 = Kernel(
    name="grouped_conv2d_s8",
    c_params="mct_grouped_conv2d_s8_params",
    params=GroupedConv2dS8Params,
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

KERNELS = (GROUPED_CONV2D_S8,)
