"""Random convolutions with dilated taps and groups of channels, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Window
from mcutrain.ops.grouped_conv2d import GroupedConv2dS8Params, grouped_weight_shape
from mcutrain.ops.grouped_conv2d_gradient import GroupedConv2dGradientParams
from support.forward_cases import (
    Array,
    activations,
    clamp_of,
    generators,
    mask_rubbish,
    random_codes,
    rubbish,
    scales,
    zero_points,
)
from support.tflite_builder import output_size


@dataclass(frozen=True)
class Grouped:
    """A window, its dilation and its groups."""

    window: Window
    dilation: tuple[int, int]
    groups: int

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return grouped_weight_shape(self.window, self.groups)

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.window.in_channels

    @property
    def selectable(self) -> int:
        """Channels of which a part can train."""
        return self.window.out_channels if self.is_depthwise else self.window.in_channels // self.groups

    def gradient_params(self, zero_point: int, most_selected: int | None = None) -> GroupedConv2dGradientParams:
        most = self.selectable if most_selected is None else most_selected
        return GroupedConv2dGradientParams(self.window, *self.dilation, self.groups, zero_point, most)


@st.composite
def channels_in_groups(draw: st.DrawFn) -> tuple[int, int, int]:
    """(groups, in_channels, out_channels): one group, some, and one of each input channel; below, at and above blocks of 2 and 4."""
    groups, inputs, outputs = draw(st.sampled_from([1, 1, 2, 3, 5])), *(draw(st.integers(1, 9)) for _ in range(2))
    return groups, groups * inputs, groups * outputs


@st.composite
def grouped(draw: st.DrawFn) -> Grouped:
    """Any kernel, stride, padding, dilation and size: windows may lie in the padding as a whole, or behind the image."""

    def axis() -> tuple[int, int, int, int, int, int]:
        kernel, stride, out, dilation = (draw(st.integers(1, most)) for most in (4, 3, 5, 4))
        pad = draw(st.integers(0, (kernel - 1) * dilation + 1))
        return draw(st.integers(1, 9)), out, kernel, stride, pad, dilation

    rows, columns = axis(), axis()
    groups, inputs, outputs = draw(channels_in_groups())
    sides = (rows[0], columns[0], inputs, rows[1], columns[1], outputs)
    window = Window(*sides, rows[2], columns[2], rows[3], columns[3], rows[4], columns[4])
    return Grouped(window, (rows[5], columns[5]), groups)


@dataclass(frozen=True)
class GroupedCase:
    """A convolution of a file, with its tensors."""

    geometry: Grouped
    padding: str
    input: tuple[float, int]
    weight_scale: NDArray[np.float32]
    output: tuple[float, int]
    activation: str
    params: GroupedConv2dS8Params
    inputs: dict[str, Array]
    outputs: dict[str, Array]


@st.composite
def grouped_cases(draw: st.DrawFn, depthwise: bool = False) -> GroupedCase:
    """SAME and VALID, with an output scale that spreads the sums over the codes, and beyond; some scales are powers of two."""
    kernel, stride = (tuple(draw(st.integers(1, most)) for _ in range(2)) for most in (4, 3))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    size = [draw(st.integers(1 if padding == "SAME" else span[i], 12)) for i in range(2)]
    out = [output_size(size[i], span[i], stride[i], padding) for i in range(2)]
    pad = [max((out[i] - 1) * stride[i] + span[i] - size[i], 0) // 2 if padding == "SAME" else 0 for i in range(2)]
    groups, inputs, outputs = draw(channels_in_groups())
    if depthwise:
        groups, outputs = inputs, inputs * draw(st.sampled_from([1, 1, 2, 3]))
    sides = (size[0], size[1], inputs, out[0], out[1], outputs)
    w = Window(*sides, kernel[0], kernel[1], stride[0], stride[1], pad[0], pad[1])
    geometry = Grouped(w, dilation, groups)

    generator = draw(generators)
    weights = random_codes(generator, geometry.weight_shape, -127)
    weight_scale = generator.uniform(0.001, 0.05, w.out_channels if draw(st.booleans()) else 1).astype(np.float32)
    x_scale = draw(scales())
    spread = 40 * np.sqrt(weights[0].size) * draw(st.floats(0.1, 3.0))
    y_scale = float(np.float32(x_scale * float(weight_scale.mean()) * spread))
    if draw(st.booleans()):  # ties
        weight_scale = np.exp2(generator.integers(-9, -5, weight_scale.size)).astype(np.float32)
        x_scale, y_scale = 2.0**-4, 2.0 ** float(generator.integers(-6, 3))
    x_zero, y_zero = draw(zero_points), draw(zero_points)
    activation = draw(activations)
    multipliers = [
        quantise_multiplier(x_scale * s / y_scale) for s in np.broadcast_to(weight_scale.astype(np.float64), (outputs,))
    ]
    shape = (w.out_height, w.out_width, outputs)
    return GroupedCase(
        geometry,
        padding,
        (x_scale, x_zero),
        weight_scale,
        (y_scale, y_zero),
        activation,
        GroupedConv2dS8Params(w, *dilation, groups, x_zero, y_zero, *clamp_of(activation, y_scale, y_zero)),
        {
            "x": random_codes(generator, (w.in_height, w.in_width, w.in_channels)),
            "weights": weights,
            "bias": generator.integers(-3000, 3001, outputs).astype(np.int32),
            "multiplier": np.array([m for m, _ in multipliers], np.int32),
            "shift": np.array([s for _, s in multipliers], np.int32),
        },
        {"y": rubbish(generator, shape, np.int8), "inside": mask_rubbish(generator, int(np.prod(shape)))},
    )
