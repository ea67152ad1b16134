"""The operators as real functions of their codes, and what the float32 backward kernels say their gradients are.

Each case is one operator with random operands and ``error``, the derivative of some loss by the output's codes. ``gradients``
calls the golden f32 kernels in the order in which the training graph does. What they must equal is computed elsewhere: by torch
autograd of torch's own operators, and by finite differences of ``output``, which is written here from the definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Window, mask_words, pack_mask
from mcutrain.ops.bias_gradient import BIAS_GRADIENT_F32, BiasGradientParams
from mcutrain.ops.conv2d_gradient import (
    CONV2D_ERROR_F32,
    CONV2D_WEIGHT_GRADIENT_F32,
    Conv2dGradientParams,
    input_shape,
    output_shape,
    weight_shape,
)
from mcutrain.ops.depthwise_conv2d import outputs_per_input
from mcutrain.ops.depthwise_conv2d_gradient import (
    DEPTHWISE_CONV2D_ERROR_F32,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32,
    DepthwiseWeightGradientParams,
    depthwise_weight_shape,
)
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ERROR_SCALE_F32, ErrorScaleParams
from mcutrain.ops.error_sum import ERROR_SUM_F32
from mcutrain.ops.pad_gradient import PAD_ERROR_F32, PadErrorParams
from mcutrain.ops.pool_gradient import (
    AVERAGE_POOL_ERROR_F32,
    MAX_POOL_ERROR_F32,
    AveragePoolErrorParams,
    MaxPoolErrorParams,
)

Reals = NDArray[np.float64]
Operands = dict[str, Reals]

CONVOLUTIONS = {
    "3x3 same": Window(6, 5, 4, 6, 5, 3, 3, 3, 1, 1, 1, 1),
    "3x3 stride 2, padded only behind": Window(6, 6, 3, 3, 3, 5, 3, 3, 2, 2, 0, 0),
    "1x1 stride 2": Window(5, 5, 4, 3, 3, 2, 1, 1, 2, 2, 0, 0),
    "2x3 valid": Window(5, 6, 2, 4, 4, 3, 2, 3, 1, 1, 0, 0),
    "4x1 stride 3x2, padded": Window(7, 5, 1, 3, 3, 2, 4, 1, 3, 2, 2, 0),
    "fully connected": Window(1, 1, 12, 1, 1, 5, 1, 1, 1, 1, 0, 0),
}
DEPTHWISE = {
    "3x3 same": Window(6, 5, 4, 6, 5, 4, 3, 3, 1, 1, 1, 1),
    "5x5 stride 2, padded": Window(9, 7, 3, 5, 4, 3, 5, 5, 2, 2, 2, 2),
    "3x2 stride 2x1, three outputs a channel": Window(6, 5, 2, 3, 5, 6, 3, 2, 2, 1, 1, 1),
}
POOLS = {
    "global": Window(4, 4, 3, 1, 1, 3, 4, 4, 1, 1, 0, 0),
    "2x2": Window(6, 4, 2, 3, 2, 2, 2, 2, 2, 2, 0, 0),
    "3x3 overlapping, same": Window(5, 5, 2, 5, 5, 2, 3, 3, 1, 1, 1, 1),
    "3x2 stride 2x1, padded": Window(6, 4, 3, 3, 4, 3, 3, 2, 2, 1, 1, 1),
}


@dataclass(frozen=True)
class Clamp:
    """Output codes' zero point and limits."""

    zero_point: float
    low: float
    high: float

    def __call__(self, y: Reals) -> Reals:
        return np.clip(y + self.zero_point, self.low, self.high)

    def inside(self, y: Reals) -> NDArray[np.bool_]:
        return (y + self.zero_point >= self.low) & (y + self.zero_point <= self.high)


@dataclass(frozen=True)
class ConvCase:
    """A convolution: y = clamp(scale[o] * (sum (x - zero_point) w + bias))."""

    window: Window
    x: Reals
    weights: Reals
    bias: Reals
    scale: Reals
    zero_point: int
    clamp: Clamp
    error: Reals

    def operands(self) -> Operands:
        return {"x": self.x, "weights": self.weights, "bias": self.bias}

    def sums(self, x: Reals, weights: Reals, bias: Reals) -> Reals:
        """Scaled sums before the zero point and the clamp."""
        w = self.window
        y = np.zeros(output_shape(w))
        for oh, ow, o, kh, kw in np.ndindex(*output_shape(w), w.kernel_height, w.kernel_width):
            ih, iw = oh * w.stride_height + kh - w.pad_top, ow * w.stride_width + kw - w.pad_left
            if 0 <= ih < w.in_height and 0 <= iw < w.in_width:
                y[oh, ow, o] += ((x[ih, iw] - self.zero_point) * weights[o, kh, kw]).sum()
        return (y + bias) * self.scale

    def output(self, operands: Operands) -> Reals:
        return self.clamp(self.sums(**operands))

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        w = self.window
        inside = self.clamp.inside(self.sums(**self.operands()))
        g = scaled_error(self.error.astype(np.float32), inside, self.scale)
        params = Conv2dGradientParams(w, self.zero_point)
        bias_params = BiasGradientParams(w.out_height * w.out_width, w.out_channels)
        codes = {"g": g, "weights": self.weights.astype(np.int8)}
        return {
            "x": run(CONV2D_ERROR_F32, params, codes, "error", input_shape(w)),
            "weights": run(
                CONV2D_WEIGHT_GRADIENT_F32, params, {"x": self.x.astype(np.int8), "g": g}, "gradient", weight_shape(w)
            ),
            "bias": run(BIAS_GRADIENT_F32, bias_params, {"g": g}, "gradient", (w.out_channels,)),
        }


@dataclass(frozen=True)
class DepthwiseCase(ConvCase):
    """The same where each output channel reads one input channel."""

    def sums(self, x: Reals, weights: Reals, bias: Reals) -> Reals:
        w = self.window
        y = np.zeros(output_shape(w))
        each = np.repeat(x - self.zero_point, outputs_per_input(w), axis=2)
        for oh, ow, kh, kw in np.ndindex(w.out_height, w.out_width, w.kernel_height, w.kernel_width):
            ih, iw = oh * w.stride_height + kh - w.pad_top, ow * w.stride_width + kw - w.pad_left
            if 0 <= ih < w.in_height and 0 <= iw < w.in_width:
                y[oh, ow] += each[ih, iw] * weights[:, kh, kw]
        return (y + bias) * self.scale

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        w = self.window
        inside = self.clamp.inside(self.sums(**self.operands()))
        g = scaled_error(self.error.astype(np.float32), inside, self.scale)
        params = Conv2dGradientParams(w, self.zero_point)
        bias_params = BiasGradientParams(w.out_height * w.out_width, w.out_channels)
        error_inputs = {"g": g, "weights": self.weights.astype(np.int8)}
        gradient_inputs = {"x": self.x.astype(np.int8), "g": g}
        shape = depthwise_weight_shape(w)
        whole = DepthwiseWeightGradientParams(w, self.zero_point, w.out_channels)
        return {
            "x": run(DEPTHWISE_CONV2D_ERROR_F32, params, error_inputs, "error", input_shape(w)),
            "weights": run(DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32, whole, gradient_inputs, "gradient", shape),
            "bias": run(BIAS_GRADIENT_F32, bias_params, {"g": g}, "gradient", (w.out_channels,)),
        }


@dataclass(frozen=True)
class AddCase:
    """A residual sum: y = clamp(sum of (x - zero_point) * scale over both); with one input, a requantize."""

    inputs: dict[str, Reals]
    zero_points: dict[str, int]
    scales: dict[str, float]  # s_input / s_y
    clamp: Clamp
    error: Reals

    def operands(self) -> Operands:
        return self.inputs

    def sums(self, operands: Operands) -> Reals:
        total: Reals = np.zeros_like(self.error)
        for name, value in operands.items():
            total = total + (value - self.zero_points[name]) * self.scales[name]
        return total

    def output(self, operands: Operands) -> Reals:
        return self.clamp(self.sums(operands))

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        inside = self.clamp.inside(self.sums(self.inputs))
        error = self.error.astype(np.float32)
        return {name: scaled_error(error, inside, np.array([self.scales[name]])) for name in self.inputs}


@dataclass(frozen=True)
class PoolCase:
    """The mean or the maximum over the part of the window inside the image."""

    window: Window
    maximum: bool
    x: Reals
    error: Reals

    def operands(self) -> Operands:
        return {"x": self.x}

    def _patch(self, x: Reals, oh: int, ow: int) -> tuple[Reals, int, int]:
        """Pixels inside the image, (pixels, channels), with the window's origin in the image."""
        w = self.window
        top, left = oh * w.stride_height - w.pad_top, ow * w.stride_width - w.pad_left
        rows = slice(max(0, top), top + w.kernel_height)
        return x[rows, max(0, left) : left + w.kernel_width], top, left

    def output(self, operands: Operands) -> Reals:
        y = np.zeros(output_shape(self.window))
        for oh, ow in np.ndindex(y.shape[:2]):
            patch, _, _ = self._patch(operands["x"], oh, ow)
            y[oh, ow] = patch.max(axis=(0, 1)) if self.maximum else patch.mean(axis=(0, 1))
        return y

    def argmax(self) -> NDArray[np.uint8]:
        """Tap of each window's first maximum."""
        argmax = np.zeros(output_shape(self.window), np.uint8)
        for oh, ow, c in np.ndindex(argmax.shape):
            patch, top, left = self._patch(self.x, oh, ow)
            row, column = np.unravel_index(int(patch[..., c].argmax()), patch.shape[:2])
            argmax[oh, ow, c] = (int(row) - min(0, top)) * self.window.kernel_width + int(column) - min(0, left)
        return argmax

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        error, shape = self.error.astype(np.float32), input_shape(self.window)
        if not self.maximum:
            params = AveragePoolErrorParams(self.window, 0)
            return {"x": run(AVERAGE_POOL_ERROR_F32, params, {"error": error}, "out", shape)}
        views = {"error": error, "argmax": self.argmax()}
        return {"x": run(MAX_POOL_ERROR_F32, MaxPoolErrorParams(self.window), views, "out", shape)}


@dataclass(frozen=True)
class PadCase:
    """A border of zeros: top, bottom, left, right."""

    border: tuple[int, int, int, int]
    x: Reals
    error: Reals

    def operands(self) -> Operands:
        return {"x": self.x}

    def output(self, operands: Operands) -> Reals:
        top, bottom, left, right = self.border
        return np.pad(operands["x"], ((top, bottom), (left, right), (0, 0)))

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        height, width, channels = self.x.shape
        params = PadErrorParams(height, width, channels, *self.border)
        return {"x": run(PAD_ERROR_F32, params, {"error": self.error.astype(np.float32)}, "out", self.x.shape)}


Case = ConvCase | AddCase | PoolCase | PadCase


def run(
    kernel: Kernel, params: Params, inputs: dict[str, Any], output: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """The float32 output of a golden kernel."""
    views = {**inputs, output: np.full(shape, np.nan, np.float32)}
    kernel.golden(params, views)
    result: NDArray[np.float32] = views[output]
    return result


def scaled_error(error: NDArray[np.float32], inside: NDArray[np.bool_], scale: Reals) -> NDArray[np.float32]:
    """error_scale_f32 of an error (..., channels)."""
    words = np.zeros(mask_words(inside.size), np.uint32)
    pack_mask(inside, words)
    params = ErrorScaleParams(error.size, scale.size, 0, 15)
    views = {"error": error, "inside": words, "scale": scale.astype(np.float32)}
    return run(ERROR_SCALE_F32, params, views, "out", error.shape)


def summed_error(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """error_sum_f32."""
    return run(ERROR_SUM_F32, ElementsParams(a.size), {"a": a, "b": b}, "out", a.shape)


def conv_case(window: Window, seed: int = 0) -> ConvCase:
    """Random codes whose outputs lie on both sides of both clamps."""
    rng = np.random.default_rng(seed)
    deviation = np.sqrt(window.kernel_height * window.kernel_width * window.in_channels) * 74.0 * 74.0
    return ConvCase(
        window=window,
        x=rng.integers(-128, 128, input_shape(window)).astype(np.float64),
        weights=rng.integers(-127, 128, weight_shape(window)).astype(np.float64),
        bias=rng.integers(-9999, 9999, window.out_channels).astype(np.float64),
        scale=rng.uniform(50, 150, window.out_channels) / deviation,
        zero_point=int(rng.integers(-20, 20)),
        clamp=Clamp(-10.25, -90.0, 100.0),
        error=rng.standard_normal(output_shape(window)),
    )


def depthwise_case(window: Window, seed: int = 0) -> DepthwiseCase:
    """Random codes whose outputs lie on both sides of both clamps."""
    drawn = conv_case(window, seed)
    rng = np.random.default_rng(seed + 1)
    taps = window.kernel_height * window.kernel_width
    weights = rng.integers(-127, 128, depthwise_weight_shape(window)).astype(np.float64)
    scale = rng.uniform(50, 150, window.out_channels) / (np.sqrt(taps) * 74.0 * 74.0)
    return DepthwiseCase(**{**drawn.__dict__, "weights": weights, "scale": scale})


def add_case(inputs: int, seed: int = 0) -> AddCase:
    """A sum of two tensors, or the requantize of one."""
    rng = np.random.default_rng(seed)
    names = ("a", "b")[:inputs]
    return AddCase(
        inputs={name: rng.integers(-128, 128, (4, 3, 5)).astype(np.float64) for name in names},
        zero_points={name: int(rng.integers(-30, 30)) for name in names},
        scales={name: float(rng.uniform(1.2, 1.7)) for name in names},
        clamp=Clamp(-10.25, -90.0, 100.0),
        error=rng.standard_normal((4, 3, 5)),
    )


def pool_case(window: Window, maximum: bool, seed: int = 0) -> PoolCase:
    """All codes differ, so that each window has one maximum."""
    rng = np.random.default_rng(seed)
    shape = input_shape(window)
    x = rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float64)
    return PoolCase(window, maximum, x, rng.standard_normal(output_shape(window)))


def pad_case(seed: int = 0) -> PadCase:
    """One border of each size."""
    rng = np.random.default_rng(seed)
    return PadCase((1, 2, 0, 3), rng.standard_normal((3, 4, 2)), rng.standard_normal((6, 7, 2)))


CASES: dict[str, Case] = {
    **{f"conv2d {name}": conv_case(window) for name, window in CONVOLUTIONS.items()},
    **{f"depthwise_conv2d {name}": depthwise_case(window, seed=1) for name, window in DEPTHWISE.items()},
    **{f"average pool {name}": pool_case(window, maximum=False) for name, window in POOLS.items()},
    **{f"max pool {name}": pool_case(window, maximum=True) for name, window in POOLS.items()},
    "add": add_case(2),
    "requantize": add_case(1),
    "pad": pad_case(),
}


def assert_gradient_equals(actual: NDArray[np.float32], expected: Reals) -> None:
    """Within 1e-4 of each element, and 1e-6 of the largest where sums cancel."""
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
