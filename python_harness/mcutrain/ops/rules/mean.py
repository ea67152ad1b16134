"""mean: of every channel over the whole image, with a change of scale."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import MeanAttributes, Operator
from mcutrain.ops.base import Window
from mcutrain.ops.mean import MeanS8Params, mean_multiplier
from mcutrain.ops.pool_gradient import AveragePoolErrorParams
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase


class MeanRule(Rule):
    """``y = clamp(requantise(sum (x - z_x)) + z_y)``; the error spreads evenly over the pixels, times s_x / s_y."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, MeanAttributes)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        height, width, channels = x.image
        multiplier, shift = mean_multiplier(x.scale / y.scale, height * width)
        params = MeanS8Params(
            height * width, channels, x.zero_point, y.zero_point, multiplier, shift, *op.attributes.clamp
        )
        operands = {"x": context.place[x.name], "y": context.output_buffer(op), "inside": context.mask_for(op)}
        context.build.step(op.name, "mean_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        build, mode = context.build, context.errors
        ratio = np.array([np.float64(x.scale) / np.float64(y.scale)])
        scaled = mode.scale(build, f"{op.name}.scaled_error", op.name, error, context.inside[op.name], ratio)
        height, width, channels = x.image
        window = Window(height, width, channels, 1, 1, channels, height, width, 1, 1, 0, 0)
        # One window: nothing overlaps, and a share of the error is below 2^29.
        params = AveragePoolErrorParams(window=window, headroom_bits=0)
        name = f"{op.name}.input_error"
        out = mode.pass_on(build, name, op.name, "average_pool_error", params, {"error": scaled}, x.shape)
        return {x.name: out}
