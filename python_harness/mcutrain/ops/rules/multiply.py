"""multiply: the product of two tensors, each repeated along the axes that it lacks."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import MultiplyAttributes, Operator
from mcutrain.ops.arithmetic import may_tie, quantise_multiplier
from mcutrain.ops.broadcast import broadcast
from mcutrain.ops.multiply import MultiplyS8Params
from mcutrain.ops.rules.add import repeated_error
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase

_LARGEST_PRODUCT = 255 * 255


class MultiplyRule(Rule):
    """``y = requantise((a - z_a)(b - z_b))``; the error of a sums that of all that read it, times (b - z_b) s_a s_b / s_y."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, MultiplyAttributes)
        a, b = (context.tensor(name) for name in op.inputs)
        y = context.tensor(op.outputs[0])
        # LiteRT multiplies and divides the scales in float32.
        ratio = np.float32(a.scale) * np.float32(b.scale) / np.float32(y.scale)
        multiplier, shift = quantise_multiplier(float(ratio))
        params = MultiplyS8Params(
            broadcast(a.shape, b.shape),
            a.zero_point,
            b.zero_point,
            y.zero_point,
            multiplier,
            shift,
            *op.attributes.clamp,
            half_even=int(op.attributes.half_even and may_tie(multiplier, shift, _LARGEST_PRODUCT)),
        )
        operands = {
            "a": context.operand(op, a.name),
            "b": context.operand(op, b.name),
            "y": context.output_buffer(op),
            "inside": context.mask_for(op),
        }
        context.build.step(op.name, "multiply_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        a, b = (context.tensor(name) for name in op.inputs)
        ratio = np.float64(a.scale) * np.float64(b.scale) / np.float64(context.tensor(op.outputs[0]).scale)
        errors: dict[str, str] = {}
        for side, (own, other) in zip("ab", ((a, b), (b, a)), strict=True):
            if own.name not in context.wanted:
                continue
            found = repeated_error(context, op, side, own, other, error, float(ratio), is_product=True)
            if own.name in errors:  # a * a
                both = f"{op.name}.both_errors"
                found = context.errors.add(context.build, both, op.name, errors[own.name], found)
            errors[own.name] = found
        return errors
