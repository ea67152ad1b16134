"""grouped_conv2d_error (dX) and grouped_conv2d_weight_gradient (dW): of a convolution with dilated taps, with groups of channels, or both.

g is the output's scaled error, (out_height, out_width, out_channels); weights are (out_channels, kernel_height, kernel_width,
in_channels / groups). dW may be of some channels only, those of ``index``: input channels, the same of every group, from an x that
has these of each group. Where every input channel is a group (a depthwise convolution) they are output channels, from an x that has
the input channels that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role, Window
from mcutrain.ops.block_float import write_block
from mcutrain.ops.conv2d_gradient import input_shape, output_shape, taps
from mcutrain.ops.depthwise_conv2d import depthwise_macs
from mcutrain.ops.grouped_conv2d import group_products, grouped_weight_shape
from mcutrain.ops.lists import listed_channels, packed, packed_block

Float32s = NDArray[np.float32]
Array = NDArray[Any]


@dataclass(frozen=True)
class GroupedConv2dGradientParams(Params):
    """mct_grouped_conv2d_gradient_params. window: of the whole layer. most_selected: what ``index`` may list, at most; without it, all."""

    window: Window
    dilation_height: int
    dilation_width: int
    groups: int
    input_zero_point: int
    most_selected: int


def _dilation(params: GroupedConv2dGradientParams) -> tuple[int, int]:
    return params.dilation_height, params.dilation_width


def _is_depthwise(params: GroupedConv2dGradientParams) -> bool:
    return params.groups == params.window.in_channels


def _grouped(array: Array, groups: int) -> Array:
    """The last axis, of channels, as (group, channel of it)."""
    return array.reshape(*array.shape[:-1], groups, -1)


def _error_b16(params: GroupedConv2dGradientParams, views: Mapping[str, Any]) -> None:
    window, groups, g = params.window, params.groups, views["g"]
    # float64 holds these sums exactly: |sum| < 2**31.
    mantissa = _grouped(g.mantissa.reshape(output_shape(window)).astype(np.float64), groups)
    weights = views["weights"].astype(np.float64).reshape(groups, -1, *grouped_weight_shape(window, groups)[1:])
    sums = _grouped(np.zeros(input_shape(window)), groups)
    for kh, kw, output, pixels in taps(window, _dilation(params)):
        sums[pixels] += group_products(mantissa[output], weights[:, :, kh, kw])
    write_block(views["sums"], int(g.exponent[0]), sums.astype(np.int64))


def _error_f32(params: GroupedConv2dGradientParams, views: Mapping[str, Any]) -> None:
    window, groups = params.window, params.groups
    g: Float32s = _grouped(views["g"].reshape(output_shape(window)), groups)
    weights: Float32s = (
        views["weights"].astype(np.float32).reshape(groups, -1, *grouped_weight_shape(window, groups)[1:])
    )
    error = _grouped(np.zeros(input_shape(window), np.float32), groups)
    for kh, kw, output, pixels in taps(window, _dilation(params)):
        for o in range(window.out_channels // groups):
            error[pixels] += g[output][..., o, np.newaxis] * weights[:, o, kh, kw]
    views["error"][...] = error.reshape(views["error"].shape)


def _operands(params: GroupedConv2dGradientParams, views: Mapping[str, Any], g: Array) -> tuple[Array, Array]:
    """X less the zero point, (in_height, in_width, groups, inputs), and g, (out_height, out_width, groups, outputs), of what trains.

    Of a depthwise convolution each output channel is a group by itself.
    """
    window, groups = params.window, params.groups
    most, sides = params.most_selected, (window.in_height, window.in_width)
    g = g.reshape(output_shape(window))
    if _is_depthwise(params):
        outputs = listed_channels(views, "index", most, window.out_channels)
        inputs, read = np.unique(outputs // (window.out_channels // groups), return_inverse=True)
        x = packed(views["x"], (*sides, inputs.size))[:, :, read, np.newaxis]
        g = g[:, :, outputs, np.newaxis]
    else:
        listed = listed_channels(views, "index", most, window.in_channels // groups)
        x = packed(views["x"], (*sides, groups, listed.size))
        g = _grouped(g, groups)
    return x.astype(np.int32) - params.input_zero_point, g


def _gradient_shape(params: GroupedConv2dGradientParams, x: Array, g: Array) -> tuple[int, int, int, int]:
    """(filters, kernel_height, kernel_width, inputs) of the operands."""
    return g.shape[2] * g.shape[3], params.window.kernel_height, params.window.kernel_width, x.shape[3]


def _weight_gradient_b16(params: GroupedConv2dGradientParams, views: Mapping[str, Any]) -> None:
    x, g = _operands(params, views, views["g"].mantissa)
    x, g = x.astype(np.float64), g.astype(np.float64)
    gradient = np.zeros(_gradient_shape(params, x, g))
    (_, _, groups, outputs), inputs = g.shape, x.shape[3]
    for kh, kw, output, pixels in taps(params.window, _dilation(params)):
        errors, codes = g[output], x[pixels]
        count = errors.shape[0] * errors.shape[1]
        errors = errors.reshape(count, groups, outputs).transpose(1, 2, 0)
        codes = codes.reshape(count, groups, inputs).transpose(1, 0, 2)
        gradient[:, kh, kw] = (errors @ codes).reshape(groups * outputs, inputs)
    exponent = int(views["g"].exponent[0])
    write_block(packed_block(views["gradient"], gradient.shape), exponent, gradient.astype(np.int64))


def _weight_gradient_f32(params: GroupedConv2dGradientParams, views: Mapping[str, Any]) -> None:
    x, g = _operands(params, views, views["g"])
    x = x.astype(np.float32)
    gradient = np.zeros(_gradient_shape(params, x, g), np.float32)
    for kh, kw, output, pixels in taps(params.window, _dilation(params)):
        errors, codes = g[output], x[pixels]
        for row, column in np.ndindex(errors.shape[:2]):
            products = errors[row, column, :, :, np.newaxis] * codes[row, column, :, np.newaxis]
            gradient[:, kh, kw] += products.reshape(gradient.shape[0], gradient.shape[3])
    packed(views["gradient"], gradient.shape)[...] = gradient


def _error_macs(params: GroupedConv2dGradientParams) -> int:
    return depthwise_macs(params.window) * (params.window.in_channels // params.groups)


def _weight_gradient_macs(params: GroupedConv2dGradientParams) -> int:
    whole = depthwise_macs(params.window)
    return (
        whole // params.window.out_channels * params.most_selected
        if _is_depthwise(params)
        else whole * params.most_selected
    )


GROUPED_CONV2D_ERROR_B16 = Kernel(
    name="grouped_conv2d_error_b16",
    c_params="mct_grouped_conv2d_gradient_params",
    params=GroupedConv2dGradientParams,
    inputs=(Role("g", "b16"), Role("weights", "int8")),
    outputs=(Role("sums", "b32"),),
    golden=_error_b16,
    macs=_error_macs,
)

GROUPED_CONV2D_ERROR_F32 = Kernel(
    name="grouped_conv2d_error_f32",
    c_params="mct_grouped_conv2d_gradient_params",
    params=GroupedConv2dGradientParams,
    inputs=(Role("g", "float32"), Role("weights", "int8")),
    outputs=(Role("error", "float32"),),
    golden=_error_f32,
    macs=_error_macs,
)

GROUPED_CONV2D_WEIGHT_GRADIENT_B16 = Kernel(
    name="grouped_conv2d_weight_gradient_b16",
    c_params="mct_grouped_conv2d_gradient_params",
    params=GroupedConv2dGradientParams,
    inputs=(Role("x", "int8"), Role("g", "b16"), Role("index", "index", optional=True)),
    outputs=(Role("gradient", "b32"),),
    golden=_weight_gradient_b16,
    macs=_weight_gradient_macs,
)

GROUPED_CONV2D_WEIGHT_GRADIENT_F32 = Kernel(
    name="grouped_conv2d_weight_gradient_f32",
    c_params="mct_grouped_conv2d_gradient_params",
    params=GroupedConv2dGradientParams,
    inputs=(Role("x", "int8"), Role("g", "float32"), Role("index", "index", optional=True)),
    outputs=(Role("gradient", "float32"),),
    golden=_weight_gradient_f32,
    macs=_weight_gradient_macs,
)

KERNELS = (
    GROUPED_CONV2D_ERROR_B16,
    GROUPED_CONV2D_ERROR_F32,
    GROUPED_CONV2D_WEIGHT_GRADIENT_B16,
    GROUPED_CONV2D_WEIGHT_GRADIENT_F32,
)
