"""average_pool and max_pool."""

from __future__ import annotations

import math

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator, PoolAttributes
from mcutrain.ops.average_pool import PoolS8Params
from mcutrain.ops.base import Window
from mcutrain.ops.pool_gradient import AveragePoolErrorParams, MaxPoolErrorParams
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase

_ARGMAX_POSITIONS = 256


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


class AveragePoolRule(Rule):
    """Mean over the pixels inside the image; the error spreads evenly over them."""

    def forward(self, context: Lowering, op: Operator) -> None:
        params = PoolS8Params(window=pool_window(context.graph, op))
        operands = {"x": context.place[op.inputs[0]], "y": context.output_buffer(op)}
        context.build.step(op.name, "average_pool_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        window = pool_window(context.graph, op)
        params = AveragePoolErrorParams(window=window, headroom_bits=average_headroom_bits(window))
        shape = context.tensor(op.inputs[0]).shape
        out = context.errors.pass_on(
            context.build, f"{op.name}.input_error", op.name, "average_pool_error", params, {"error": error}, shape
        )
        return {op.inputs[0]: out}


class MaxPoolRule(Rule):
    """The largest code of the window; the error goes to the first maximum."""

    def forward(self, context: Lowering, op: Operator) -> None:
        window = pool_window(context.graph, op)
        argmax: str | None = None
        if context.backward_reaches(op):
            if window.kernel_height * window.kernel_width > _ARGMAX_POSITIONS:
                raise UsageError(
                    f"{op.name}: a max pool of {window.kernel_height}x{window.kernel_width} cannot pass errors back "
                    f"(at most {_ARGMAX_POSITIONS} positions); train only layers behind it"
                )
            shape = context.tensor(op.outputs[0]).shape
            argmax = context.saved[op.name] = context.build.buffer(f"{op.name}.argmax", "uint8", shape)
        operands = {"x": context.place[op.inputs[0]], "y": context.output_buffer(op), "argmax": argmax}
        context.build.step(op.name, "max_pool_s8", PoolS8Params(window=window), Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        params = MaxPoolErrorParams(window=pool_window(context.graph, op))
        shape = context.tensor(op.inputs[0]).shape
        operands = {"error": error, "argmax": context.saved[op.name]}
        out = context.errors.pass_on(
            context.build, f"{op.name}.input_error", op.name, "max_pool_error", params, operands, shape
        )
        return {op.inputs[0]: out}
