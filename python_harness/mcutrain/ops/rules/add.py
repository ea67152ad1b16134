"""add: the residual sum of two tensors, each with its own scale."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import AddAttributes, Operator
from mcutrain.ops.add import AddS8Params
from mcutrain.ops.add_linear import with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase

_LEFT_SHIFT = 20


class AddRule(Rule):
    """``y = requantise(a) + requantise(b)``; the error of each input is the output's, times s_input / s_y."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, AddAttributes)
        a, b = (context.tensor(name) for name in op.inputs)
        y = context.tensor(op.outputs[0])
        twice_largest = 2.0 * max(a.scale, b.scale)
        a_multiplier, a_shift = quantise_multiplier(a.scale / twice_largest)
        b_multiplier, b_shift = quantise_multiplier(b.scale / twice_largest)
        y_multiplier, y_shift = quantise_multiplier(twice_largest / ((1 << _LEFT_SHIFT) * y.scale))
        params = AddS8Params(
            elements=y.elements,
            a_zero_point=a.zero_point,
            b_zero_point=b.zero_point,
            output_zero_point=y.zero_point,
            a_multiplier=a_multiplier,
            a_shift=a_shift,
            b_multiplier=b_multiplier,
            b_shift=b_shift,
            output_multiplier=y_multiplier,
            output_shift=y_shift,
            left_shift=_LEFT_SHIFT,
            clamp_min=op.attributes.clamp[0],
            clamp_max=op.attributes.clamp[1],
        )
        operands = {
            "a": context.place[a.name],
            "b": context.place[b.name],
            "y": context.output_buffer(op),
            "inside": context.mask_for(op),
        }
        context.build.step(op.name, "add_s8", with_linear_form(params), Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        y_scale = context.tensor(op.outputs[0]).scale
        errors: dict[str, str] = {}
        for side, name in zip("ab", op.inputs, strict=True):
            if name not in context.wanted:
                continue
            factor = np.array([np.float64(context.tensor(name).scale) / np.float64(y_scale)])
            scaled = context.errors.scale(
                context.build, f"{op.name}.{side}_error", op.name, error, context.inside[op.name], factor
            )
            if name in errors:  # a + a
                scaled = context.errors.add(context.build, f"{op.name}.both_errors", op.name, errors[name], scaled)
            errors[name] = scaled
        return errors
