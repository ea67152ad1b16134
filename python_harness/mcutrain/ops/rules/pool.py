"""average_pool and max_pool."""

from __future__ import annotations

import math

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator, PoolAttributes, Tensor
from mcutrain.ops.average_pool import AveragePoolRescaleS8Params, PoolS8Params, average_multipliers
from mcutrain.ops.base import Window
from mcutrain.ops.pool_gradient import AveragePoolErrorParams, MaxPoolErrorParams
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase

_BYTE_POSITIONS = 256
_MOST_MEETING = 65536  # their errors, of up to 2^15 - 1, add up within int32


def pool_window(graph: Graph, op: Operator) -> Window:
    """The geometry of a pool."""
    attributes = op.attributes
    assert isinstance(attributes, PoolAttributes)
    in_height, in_width, in_channels = graph.tensors[op.inputs[0]].image
    out_height, out_width, out_channels = graph.tensors[op.outputs[0]].image
    return Window(
        in_height,
        in_width,
        in_channels,
        out_height,
        out_width,
        out_channels,
        *attributes.kernel,
        *attributes.stride,
        attributes.padding.top,
        attributes.padding.left,
    )


def average_headroom_bits(window: Window) -> int:
    """Right shift that keeps the sums of overlapping windows within int32.

    A window of ``count`` pixels contributes at most 2^15 * 2^30 / count / 2^16 = 2^29 / count; at most
    ceil(kh/sh) * ceil(kw/sw) windows meet in a pixel, and the smallest count stands at a corner.
    """
    rows = [
        min(top + window.kernel_height, window.in_height) - max(top, 0)
        for top in range(
            -window.pad_top, window.out_height * window.stride_height - window.pad_top, window.stride_height
        )
    ]
    columns = [
        min(left + window.kernel_width, window.in_width) - max(left, 0)
        for left in range(
            -window.pad_left, window.out_width * window.stride_width - window.pad_left, window.stride_width
        )
    ]
    overlap = math.ceil(window.kernel_height / window.stride_height) * math.ceil(
        window.kernel_width / window.stride_width
    )
    # largest sum = overlap * 2^29 / count must stay below 2^31, with one unit a window for the floor
    need = overlap / (min(rows) * min(columns)) / 4 * (1 + 2.0**-20)
    return max(0, math.ceil(math.log2(need)) if need > 0.99 else 0)


def _rescales(attributes: PoolAttributes, x: Tensor, y: Tensor) -> bool:
    """Whether a mean is at a scale of its own, or clamped."""
    return (x.scale, x.zero_point, attributes.clamp) != (y.scale, y.zero_point, (-128, 127))


class AveragePoolRule(Rule):
    """Mean over the pixels inside the image; the error spreads evenly over them, times s_x / s_y where the mean has its own scale."""

    def forward(self, context: Lowering, op: Operator) -> None:
        build, window = context.build, pool_window(context.graph, op)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        assert isinstance(op.attributes, PoolAttributes)
        operands: dict[str, str | None] = {"x": context.place[x.name], "y": context.output_buffer(op)}
        if not _rescales(op.attributes, x, y):
            build.step(op.name, "average_pool_s8", PoolS8Params(window=window), Phase.FORWARD, op.name, operands)
            return
        constants = average_multipliers(window, x.scale / y.scale)
        for role, values in zip(("count", "multiplier", "shift"), constants, strict=True):
            operands[role] = build.constant(f"{op.name}.{role}", values)
        operands["inside"] = context.mask_for(op)
        counts = len(constants[0])
        params = AveragePoolRescaleS8Params(window, x.zero_point, y.zero_point, *op.attributes.clamp, counts)
        build.step(op.name, "average_pool_rescale_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        window = pool_window(context.graph, op)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        assert isinstance(op.attributes, PoolAttributes)
        if _rescales(op.attributes, x, y):
            ratio = np.array([np.float64(x.scale) / np.float64(y.scale)])
            name = f"{op.name}.scaled_error"
            error = context.errors.scale(context.build, name, op.name, error, context.inside[op.name], ratio)
        params = AveragePoolErrorParams(window=window, headroom_bits=average_headroom_bits(window))
        shape = context.tensor(op.inputs[0]).shape
        out = context.errors.pass_on(
            context.build, f"{op.name}.input_error", op.name, "average_pool_error", params, {"error": error}, shape
        )
        return {op.inputs[0]: out}


def _wide(window: Window) -> str:
    """Part of the kernels' names where a window has more positions than a byte can name."""
    return "_wide" if window.kernel_height * window.kernel_width > _BYTE_POSITIONS else ""


class MaxPoolRule(Rule):
    """The largest code of the window; the error goes to the first maximum."""

    def forward(self, context: Lowering, op: Operator) -> None:
        window = pool_window(context.graph, op)
        argmax: str | None = None
        kernel = "max_pool_s8"
        if context.backward_reaches(op):
            meeting = -(-window.kernel_height // window.stride_height) * -(-window.kernel_width // window.stride_width)
            if meeting > _MOST_MEETING:
                raise UsageError(
                    f"{op.name}: {meeting} windows of a max pool meet in a pixel, too many to pass errors back "
                    f"(at most {_MOST_MEETING}); train only layers behind it"
                )
            shape, dtype = context.tensor(op.outputs[0]).shape, "int32" if _wide(window) else "uint8"
            argmax = context.saved[op.name] = context.build.buffer(f"{op.name}.argmax", dtype, shape)
            kernel = f"max_pool{_wide(window)}_s8"
        operands = {"x": context.place[op.inputs[0]], "y": context.output_buffer(op), "argmax": argmax}
        context.build.step(op.name, kernel, PoolS8Params(window=window), Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        window = pool_window(context.graph, op)
        params = MaxPoolErrorParams(window=window)
        shape = context.tensor(op.inputs[0]).shape
        operands = {"error": error, "argmax": context.saved[op.name]}
        kernel, name = f"max_pool{_wide(window)}_error", f"{op.name}.input_error"
        out = context.errors.pass_on(context.build, name, op.name, kernel, params, operands, shape)
        return {op.inputs[0]: out}
