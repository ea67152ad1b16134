"""Random depthwise convolutions, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Kernel, Params, Window
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams
from mcutrain.ops.depthwise_conv2d import DepthwiseConv2dS8Params
from mcutrain.ops.depthwise_conv2d_gradient import DepthwiseWeightGradientParams
from support.backward_cases import windows
from support.forward_cases import (
    Array,
    Geometry,
    activations,
    clamp_of,
    generators,
    geometries,
    mask_rubbish,
    power_of_two,
    random_codes,
    rubbish,
    scales,
    zero_points,
)

CHANNELS = (1, 2, 3, 4, 5, 8)


@st.composite
def depthwise_windows(draw: st.DrawFn) -> Window:
    """Any kernel, stride, padding and size, mostly with one output for each input channel."""
    window = draw(windows(pool=True, channels=CHANNELS))
    outputs = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return replace(window, out_channels=outputs * window.in_channels)


def gradient_params(kernel: Kernel, window: Window, zero_point: int) -> Params:
    """The parameters of dX, or of dW where every channel trains."""
    if kernel.params is DepthwiseWeightGradientParams:
        return DepthwiseWeightGradientParams(window, zero_point, window.out_channels)
    return Conv2dGradientParams(window, zero_point)


@dataclass(frozen=True)
class DepthwiseCase:
    """A depthwise convolution with its tensors."""

    geometry: Geometry
    input: tuple[float, int]
    weight_scale: NDArray[np.float32]
    output: tuple[float, int]
    activation: str
    params: DepthwiseConv2dS8Params
    inputs: dict[str, Array]
    outputs: dict[str, Array]


@st.composite
def depthwise_cases(draw: st.DrawFn) -> DepthwiseCase:
    """Depthwise convolutions whose output scale spreads the sums over the codes, and beyond."""
    geometry = draw(geometries(pool=True))
    w = geometry.window
    w = replace(w, out_channels=w.in_channels * draw(st.sampled_from([1, 1, 2, 3])))
    generator = draw(generators)
    weights = random_codes(generator, (w.out_channels, w.kernel_height, w.kernel_width), -127)
    weight_scale = generator.uniform(0.001, 0.05, w.out_channels if draw(st.booleans()) else 1).astype(np.float32)
    x_scale = draw(scales())
    spread = 40 * np.sqrt(w.kernel_height * w.kernel_width) * draw(st.floats(0.1, 3.0))
    y_scale = float(np.float32(x_scale * float(weight_scale.mean()) * spread))
    if draw(st.integers(0, 3)) == 0:
        x_scale, y_scale = power_of_two(x_scale), power_of_two(y_scale)
        weight_scale = np.array([power_of_two(s) for s in weight_scale], np.float32)
    x_zero, y_zero = draw(zero_points), draw(zero_points)
    activation = draw(activations)
    all_scales = np.broadcast_to(weight_scale.astype(np.float64), (w.out_channels,))
    multipliers = [quantise_multiplier(x_scale * s / y_scale) for s in all_scales]
    params = DepthwiseConv2dS8Params(w, x_zero, y_zero, *clamp_of(activation, y_scale, y_zero))
    shape = (w.out_height, w.out_width, w.out_channels)
    return DepthwiseCase(
        replace(geometry, window=w),
        (x_scale, x_zero),
        weight_scale,
        (y_scale, y_zero),
        activation,
        params,
        {
            "x": random_codes(generator, (w.in_height, w.in_width, w.in_channels)),
            "weights": weights,
            "bias": generator.integers(-3000, 3001, w.out_channels).astype(np.int32),
            "multiplier": np.array([m for m, _ in multipliers], np.int32),
            "shift": np.array([s for _, s in multipliers], np.int32),
        },
        {"y": rubbish(generator, shape, np.int8), "inside": mask_rubbish(generator, int(np.prod(shape)))},
    )
