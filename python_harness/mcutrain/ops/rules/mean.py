"""mean: over any axes, with a change of scale."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import MeanAttributes, Operator
from mcutrain.graph.reductions import reduction
from mcutrain.ops.base import Window
from mcutrain.ops.mean import MeanS8Params, mean_multiplier
from mcutrain.ops.pool_gradient import AveragePoolErrorParams
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase


class MeanRule(Rule):
    """``y = clamp(requantise(sum (x - z_x)) + z_y)``; the error spreads evenly over what it is the mean of, times s_x / s_y."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, MeanAttributes)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        loops = reduction(x.shape, op.attributes.axes)
        multiplier, shift = mean_multiplier(x.scale / y.scale, loops.pixels * loops.run)
        params = MeanS8Params(
            loops.pixels,
            loops.channels,
            x.zero_point,
            y.zero_point,
            multiplier,
            shift,
            *op.attributes.clamp,
            loops.outer,
            loops.run,
        )
        operands = {"x": context.place[x.name], "y": context.output_buffer(op), "inside": context.mask_for(op)}
        context.build.step(op.name, "mean_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        assert isinstance(op.attributes, MeanAttributes)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        build, mode = context.build, context.errors
        ratio = np.array([np.float64(x.scale) / np.float64(y.scale)])
        scaled = mode.scale(build, f"{op.name}.scaled_error", op.name, error, context.inside[op.name], ratio)
        # Windows side by side: nothing overlaps, and a share of the error is below 2^29.
        params = AveragePoolErrorParams(window=_windows(x.shape, op.attributes.axes), headroom_bits=0)
        name = f"{op.name}.input_error"
        out = mode.pass_on(build, name, op.name, "average_pool_error", params, {"error": scaled}, x.shape)
        return {x.name: out}


def _windows(shape: tuple[int, ...], axes: tuple[int, ...]) -> Window:
    """A reduction as windows that tile an image, of the same bytes."""
    if len(shape) == 3 and axes == (0, 1):
        height, width, channels = shape
        return Window(height, width, channels, 1, 1, channels, height, width, 1, 1, 0, 0)
    n = reduction(shape, axes)
    kernel = (n.pixels, n.run)
    if n.run == 1:
        return Window(n.outer * n.pixels, 1, n.channels, n.outer, 1, n.channels, *kernel, *kernel, 0, 0)
    return Window(n.outer * n.pixels, n.channels * n.run, 1, n.outer, n.channels, 1, *kernel, *kernel, 0, 0)
