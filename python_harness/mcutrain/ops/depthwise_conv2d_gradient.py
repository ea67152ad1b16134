"""depthwise_conv2d_error (dX) and depthwise_conv2d_weight_gradient (dW).

g is the output's scaled error, (out_height, out_width, out_channels); weights and their gradient are
(out_channels, kernel_height, kernel_width). Output channel o belongs to input channel o // (out_channels / in_channels).
dW may be of some output channels only: those of ``index``, from an x that has only the input channels that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role, Window
from mcutrain.ops.block_float import write_block
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams, input_shape, output_shape, taps
from mcutrain.ops.depthwise_conv2d import depthwise_macs, even, outputs_per_input
from mcutrain.ops.lists import listed_channels, packed, packed_block

Int64s = NDArray[np.int64]
Float32s = NDArray[np.float32]


@dataclass(frozen=True)
class DepthwiseWeightGradientParams(Params):
    """mct_depthwise_conv2d_weight_gradient_params. window: of the whole layer. most_selected: output channels that train, at most."""

    window: Window
    input_zero_point: int
    most_selected: int


def inputs_read(window: Window, selected: NDArray[np.int32]) -> NDArray[np.int32]:
    """The input channels that these output channels read, each once, ascending."""
    return np.unique(selected // outputs_per_input(window))


def depthwise_weight_shape(window: Window) -> tuple[int, int, int]:
    """(out_channels, kernel_height, kernel_width)."""
    return window.out_channels, window.kernel_height, window.kernel_width


def _by_input(window: Window, array: NDArray[Any]) -> NDArray[Any]:
    """The last axis, of output channels, as (input channel, output of it)."""
    return array.reshape(*array.shape[:-1], window.in_channels, outputs_per_input(window))


def _error_b16(params: Conv2dGradientParams, views: Mapping[str, Any]) -> None:
    window, g = params.window, views["g"]
    mantissa: Int64s = g.mantissa.reshape(output_shape(window)).astype(np.int64)
    weights: Int64s = views["weights"].reshape(depthwise_weight_shape(window)).astype(np.int64)
    sums = np.zeros(input_shape(window), np.int64)
    for kh, kw, output, pixels in taps(window):
        sums[pixels] += _by_input(window, mantissa[output] * weights[:, kh, kw]).sum(axis=-1)
    write_block(views["sums"], int(g.exponent[0]), sums)


def _error_f32(params: Conv2dGradientParams, views: Mapping[str, Any]) -> None:
    window = params.window
    g: Float32s = views["g"].reshape(output_shape(window))
    weights: Float32s = views["weights"].reshape(depthwise_weight_shape(window)).astype(np.float32)
    error = np.zeros(input_shape(window), np.float32)
    for kh, kw, output, pixels in taps(window):
        products = _by_input(window, g[output] * weights[:, kh, kw])
        for m in range(outputs_per_input(window)):
            error[pixels] += products[..., m]
    views["error"][...] = error.reshape(views["error"].shape)


def _selected(params: DepthwiseWeightGradientParams, views: Mapping[str, Any]) -> NDArray[np.int32]:
    """The output channels that train."""
    return listed_channels(views, "index", params.most_selected, params.window.out_channels)


def _centred(params: DepthwiseWeightGradientParams, views: Mapping[str, Any]) -> Int64s:
    """The input minus its zero point, a channel for every selected output channel: (in_height, in_width, selected)."""
    window = params.window
    inputs, channels = np.unique(_selected(params, views) // outputs_per_input(window), return_inverse=True)
    image = (
        packed(views["x"], (window.in_height, window.in_width, inputs.size)).astype(np.int64) - params.input_zero_point
    )
    centred: Int64s = image[:, :, channels]
    return centred


def _weight_gradient_b16(params: DepthwiseWeightGradientParams, views: Mapping[str, Any]) -> None:
    window, g, selected = params.window, views["g"], _selected(params, views)
    mantissa: Int64s = g.mantissa.reshape(output_shape(window))[:, :, selected].astype(np.int64)
    x = _centred(params, views)
    gradient = np.zeros((selected.size, window.kernel_height, window.kernel_width), np.int64)
    for kh, kw, output, pixels in taps(window):
        gradient[:, kh, kw] = (mantissa[output] * x[pixels]).sum(axis=(0, 1))
    write_block(packed_block(views["gradient"], gradient.shape), int(g.exponent[0]), gradient)


def _weight_gradient_f32(params: DepthwiseWeightGradientParams, views: Mapping[str, Any]) -> None:
    window, selected = params.window, _selected(params, views)
    g: Float32s = views["g"].reshape(output_shape(window))[:, :, selected]
    x: Float32s = _centred(params, views).astype(np.float32)
    gradient = np.zeros((selected.size, window.kernel_height, window.kernel_width), np.float32)
    for kh, kw, output, pixels in taps(window):
        products = g[output] * x[pixels]
        for product in products.reshape(products.shape[0] * products.shape[1], selected.size):
            gradient[:, kh, kw] += product
    packed(views["gradient"], gradient.shape)[...] = gradient


def _error_scratch_bytes(params: Conv2dGradientParams) -> int:
    # The taps of one residue widened to int16, and one channel of g with the outputs before its first as zeros.
    w = params.window
    rows, columns = -(-w.kernel_height // w.stride_height), -(-w.kernel_width // w.stride_width)
    height = (w.in_height - 1 + w.pad_top) // w.stride_height + rows
    width = even((w.in_width - 1 + w.pad_left) // w.stride_width + columns + 1)
    return 2 * (rows * even(columns) + height * width)


def _weight_gradient_scratch_bytes(params: DepthwiseWeightGradientParams) -> int:
    # One channel of the padded image, its columns by residue, and one channel of g.
    w = params.window
    g_columns = even(w.out_width)
    height = (w.out_height - 1) * w.stride_height + w.kernel_height
    residues = min(w.stride_width, w.kernel_width)
    columns = even(g_columns + (w.kernel_width - 1) // w.stride_width)
    return 2 * (height * residues * columns + w.out_height * g_columns)


def _error_macs(params: Conv2dGradientParams) -> int:
    return depthwise_macs(params.window)


def _weight_gradient_macs(params: DepthwiseWeightGradientParams) -> int:
    return depthwise_macs(replace(params.window, out_channels=params.most_selected))


DEPTHWISE_CONV2D_ERROR_B16 = Kernel(
    name="depthwise_conv2d_error_b16",
    c_params="mct_conv2d_gradient_params",
    params=Conv2dGradientParams,
    inputs=(Role("g", "b16"), Role("weights", "int8")),
    outputs=(Role("scratch", "scratch"), Role("sums", "b32")),
    golden=_error_b16,
    macs=_error_macs,
    scratch_bytes=_error_scratch_bytes,
)

DEPTHWISE_CONV2D_ERROR_F32 = Kernel(
    name="depthwise_conv2d_error_f32",
    c_params="mct_conv2d_gradient_params",
    params=Conv2dGradientParams,
    inputs=(Role("g", "float32"), Role("weights", "int8")),
    outputs=(Role("error", "float32"),),
    golden=_error_f32,
    macs=_error_macs,
)

DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16 = Kernel(
    name="depthwise_conv2d_weight_gradient_b16",
    c_params="mct_depthwise_conv2d_weight_gradient_params",
    params=DepthwiseWeightGradientParams,
    inputs=(Role("x", "int8"), Role("g", "b16"), Role("index", "index", optional=True)),
    outputs=(Role("scratch", "scratch"), Role("gradient", "b32")),
    golden=_weight_gradient_b16,
    macs=_weight_gradient_macs,
    scratch_bytes=_weight_gradient_scratch_bytes,
)

DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32 = Kernel(
    name="depthwise_conv2d_weight_gradient_f32",
    c_params="mct_depthwise_conv2d_weight_gradient_params",
    params=DepthwiseWeightGradientParams,
    inputs=(Role("x", "int8"), Role("g", "float32"), Role("index", "index", optional=True)),
    outputs=(Role("gradient", "float32"),),
    golden=_weight_gradient_f32,
    macs=_weight_gradient_macs,
)

KERNELS = (
    DEPTHWISE_CONV2D_ERROR_B16,
    DEPTHWISE_CONV2D_ERROR_F32,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32,
)
