"""prelu: x above 0, alpha x from 0 down, with a constant alpha."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import Operator, Tensor
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.prelu import PreluErrorParams, PreluS8Params
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase


def _repeated_alpha(x: Tensor, alpha: Tensor) -> NDArray[np.int32]:
    """Alpha as the shortest vector that the elements of ``x`` repeat: one a channel where it does not depend on the place."""
    assert alpha.data is not None
    data = alpha.data.astype(np.int32)
    leading = len(x.shape) - len(alpha.shape)
    shape = (1,) * leading + alpha.shape
    outer = next((axis for axis, n in enumerate(shape) if n != 1), len(shape) - 1)
    return np.broadcast_to(data.reshape(shape[outer:]), x.shape[outer:]).reshape(-1).copy()


class PreluRule(Rule):
    """A change of scale above 0, a product with alpha below; the error passes with the slope of its side, where the clamp did not bite."""

    def forward(self, context: Lowering, op: Operator) -> None:
        x, alpha, y = (context.tensor(name) for name in (*op.inputs, *op.outputs))
        repeated = _repeated_alpha(x, alpha)
        # LiteRT takes products and quotients of scales in float32.
        identity = np.float32(x.scale) / np.float32(y.scale)
        sloped = np.float32(x.scale) * np.float32(alpha.scale) / np.float32(y.scale)
        multipliers = (*quantise_multiplier(float(identity)), *quantise_multiplier(float(sloped)))
        params = PreluS8Params(x.elements, repeated.size, x.zero_point, y.zero_point, *multipliers)
        operands = {
            "x": context.place[x.name],
            "alpha": context.build.constant(f"{op.name}.alpha", repeated),
            "y": context.output_buffer(op),
            "inside": context.mask_for(op),
        }
        context.build.step(op.name, "prelu_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        x, alpha, y = (context.tensor(name) for name in (*op.inputs, *op.outputs))
        build, mode, name = context.build, context.errors, f"{op.name}.input_error"
        slopes = np.array([1.0, *(_repeated_alpha(x, alpha) * np.float64(alpha.scale))]) * (x.scale / y.scale)
        slope, exponent = mode.factors(build, f"{op.name}.slopes", slopes)
        params = PreluErrorParams(x.elements, slopes.size - 1, x.zero_point, exponent)
        out = build.buffer(name, mode.error, x.shape)
        operands = {"error": error, "inside": context.inside[op.name], "x": context.place[x.name]}
        operands |= {"slope": slope, "out": out}
        build.step(name, f"prelu_error_{mode.suffix}", params, Phase.BACKWARD, op.name, operands)
        return {x.name: out}
