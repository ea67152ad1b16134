"""Random forward operators, drawn by hypothesis: parameters as lowering would make them, and tensors to fill them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Window, mask_words
from mcutrain.ops.conv2d import Conv2dS8Params
from support.tflite_builder import output_size

Array = NDArray[Any]

codes = st.integers(-128, 127)
zero_points = st.one_of(codes, st.sampled_from([-128, -1, 0, 127]))
activations = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def scales(draw: st.DrawFn, lowest: float = 0.001, highest: float = 1.0) -> float:
    """A float32 scale; one in three a power of two, whose ratios are exact and make ties."""
    exponents = range(math.ceil(math.log2(lowest)), math.floor(math.log2(highest)) + 1)
    if draw(st.integers(0, 2)) == 0 and exponents:
        return 2.0 ** draw(st.sampled_from(exponents))
    return float(np.float32(draw(st.floats(lowest, highest))))


def power_of_two(value: float) -> float:
    """The power of two next to a positive number, on a logarithmic scale."""
    return 2.0 ** round(math.log2(value))


def random_codes(generator: np.random.Generator, shape: tuple[int, ...], lowest: int = -128) -> NDArray[np.int8]:
    """Uniform codes; now and then only the extreme ones."""
    if generator.random() < 0.15:
        return generator.choice(np.array([lowest, 127], np.int8), shape)
    return generator.integers(lowest, 128, shape).astype(np.int8)


def rubbish(generator: np.random.Generator, shape: tuple[int, ...], dtype: type) -> Array:
    """What an output buffer may hold before a kernel writes it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(generator.bytes(size), dtype).reshape(shape).copy()


def mask_rubbish(generator: np.random.Generator, elements: int) -> Array:
    """A clip mask's buffer before a kernel writes it."""
    return rubbish(generator, (mask_words(elements),), np.uint32)


def clamp_of(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Lowest and highest code of a fused activation, rounded as LiteRT does (half-away, in float32)."""

    def code(real: float) -> int:
        ratio = np.float32(real) / np.float32(scale)
        return zero_point + int(np.sign(ratio) * np.floor(np.abs(ratio) + np.float32(0.5)))

    low, high = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }[activation]
    lowest = -128 if low is None else max(-128, code(low))
    return lowest, 127 if high is None else min(127, code(high))


@dataclass(frozen=True)
class Geometry:
    """A window as a file describes it."""

    window: Window
    padding: str


@st.composite
def geometries(draw: st.DrawFn, most_channels: int = 9, pool: bool = False) -> Geometry:
    """Windows of all kinds, SAME and VALID, 1-sized dimensions and odd counts included."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    size = [draw(st.integers(1 if padding == "SAME" else kernel[i], 9)) for i in range(2)]
    out = [output_size(size[i], kernel[i], stride[i], padding) for i in range(2)]
    pad = [max((out[i] - 1) * stride[i] + kernel[i] - size[i], 0) // 2 if padding == "SAME" else 0 for i in range(2)]
    in_channels = draw(st.integers(1, most_channels))
    out_channels = in_channels if pool else draw(st.integers(1, most_channels))
    window = Window(
        size[0], size[1], in_channels, out[0], out[1], out_channels, *kernel, *stride, pad_top=pad[0], pad_left=pad[1]
    )
    return Geometry(window, padding)


@st.composite
def quad_geometries(draw: st.DrawFn) -> Geometry:
    """Windows that the DSP form gathers by quads: images of 4 pixels to several times what it gathers at a time, with every rest of
    pixels, channels and taps.
    """
    kernel = draw(st.sampled_from([1, 1, 2, 3]))
    stride = draw(st.integers(1, 2))
    height, width = draw(st.integers(2, 12)), draw(st.integers(2, 18))
    padding = draw(st.sampled_from(["SAME", "VALID"])) if min(height, width) >= kernel else "SAME"
    size = (height, width)
    out = [output_size(side, kernel, stride, padding) for side in size]
    pad = [max((out[i] - 1) * stride + kernel - size[i], 0) // 2 if padding == "SAME" else 0 for i in range(2)]
    most = 48 if kernel == 1 else 80 // kernel
    in_channels = draw(st.one_of(st.integers(1, most), st.sampled_from([3, 4, 8, 16, 24])))
    out_channels = draw(st.one_of(st.integers(1, 20), st.sampled_from([2, 8, 16, 24])))
    window = Window(
        height,
        width,
        in_channels,
        out[0],
        out[1],
        out_channels,
        kernel,
        kernel,
        stride,
        stride,
        pad_top=pad[0],
        pad_left=pad[1],
    )
    return Geometry(window, padding)


@dataclass(frozen=True)
class ConvCase:
    """A convolution with its tensors."""

    geometry: Geometry
    input: tuple[float, int]
    weight_scale: NDArray[np.float32]
    output: tuple[float, int]
    activation: str
    params: Conv2dS8Params
    inputs: dict[str, Array]
    outputs: dict[str, Array]


@st.composite
def conv_cases(
    draw: st.DrawFn,
    fully_connected: bool = False,
    per_channel: bool | None = None,
    windows: st.SearchStrategy[Geometry] | None = None,
) -> ConvCase:
    """Convolutions whose output scale spreads the sums over the codes, and beyond."""
    if fully_connected:
        features, out_features = draw(st.integers(1, 40)), draw(st.integers(1, 150))
        geometry = Geometry(Window(1, 1, features, 1, 1, out_features, 1, 1, 1, 1, 0, 0), "VALID")
    else:
        geometry = draw(geometries() if windows is None else windows)
    w = geometry.window
    generator = draw(generators)
    weights = random_codes(generator, (w.out_channels, w.kernel_height, w.kernel_width, w.in_channels), -127)
    per_channel = draw(st.booleans()) if per_channel is None else per_channel
    weight_scale = generator.uniform(0.001, 0.05, w.out_channels if per_channel else 1).astype(np.float32)
    taps = w.kernel_height * w.kernel_width * w.in_channels
    x_scale = draw(scales())
    spread = 40 * np.sqrt(taps) * draw(st.floats(0.1, 3.0))
    y_scale = float(np.float32(x_scale * float(weight_scale.mean()) * spread))
    if draw(st.integers(0, 3)) == 0:
        # Exact ratios: a good part of the sums lie between two codes.
        x_scale, y_scale = power_of_two(x_scale), power_of_two(y_scale)
        weight_scale = np.array([power_of_two(s) for s in weight_scale], np.float32)
    x_zero, y_zero = draw(zero_points), draw(zero_points)
    activation = draw(activations)
    scale = np.broadcast_to(weight_scale.astype(np.float64), (w.out_channels,))
    multipliers = [quantise_multiplier(x_scale * s / y_scale) for s in scale]
    clamp = clamp_of(activation, y_scale, y_zero)
    params = Conv2dS8Params(w, x_zero, y_zero, *clamp, single_rounding=int(fully_connected))
    elements = w.out_height * w.out_width * w.out_channels
    return ConvCase(
        geometry,
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
        {
            "y": rubbish(generator, (w.out_height, w.out_width, w.out_channels), np.int8),
            "inside": mask_rubbish(generator, elements),
        },
    )
