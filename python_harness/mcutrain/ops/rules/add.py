"""add: the residual sum of two tensors, each with its own scale."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import AddAttributes, Operator, Tensor
from mcutrain.ops.add import AddS8Params
from mcutrain.ops.add_broadcast import AddBroadcastS8Params
from mcutrain.ops.add_linear import with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.bounds import INPUT_MAGNITUDE, largest_mantissa_bits
from mcutrain.ops.broadcast import BroadcastErrorParams, broadcast
from mcutrain.ops.errors import FULL_MANTISSA_BITS
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase

_LEFT_SHIFT = 20


def repeated_error(
    context: Lowering,
    op: Operator,
    side: str,
    own: Tensor,
    other: Tensor,
    error: str,
    factor: float,
    *,
    is_product: bool = False,
    negates: bool = False,
) -> str:
    """The error of an operand of ``op``, the sum over all elements of the output that read it: its buffer.

    factor: of each error. is_product: times the other operand's codes without their zero point.
    """
    shape = broadcast(own.shape, other.shape)
    # A sum has as many terms as read an element, each of a mantissa and a factor.
    bits = largest_mantissa_bits(
        terms=shape.read_by_one(),
        other_magnitude=INPUT_MAGNITUDE if is_product else 1,
        most_bits=FULL_MANTISSA_BITS,
    )
    build, mode = context.build, context.errors
    factors = np.array([np.float64(factor)])
    name = f"{op.name}.{side}_error"
    scaled = mode.scale(build, f"{name}.scaled", op.name, error, context.inside[op.name], factors, bits)
    params = BroadcastErrorParams(shape, other.zero_point if is_product else 0, int(negates))
    operands = {"error": scaled, **({"other": context.operand(op, other.name)} if is_product else {})}
    return mode.pass_on(build, name, op.name, "broadcast_error", params, operands, own.shape)


class AddRule(Rule):
    """``y = requantise(a) + requantise(b)``, or their difference; the error of each input is the output's, times s_input / s_y."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, AddAttributes)
        a, b = (context.tensor(name) for name in op.inputs)
        y = context.tensor(op.outputs[0])
        twice_largest = 2.0 * max(a.scale, b.scale)
        a_multiplier, a_shift = quantise_multiplier(a.scale / twice_largest)
        b_multiplier, b_shift = quantise_multiplier(b.scale / twice_largest)
        y_multiplier, y_shift = quantise_multiplier(twice_largest / ((1 << _LEFT_SHIFT) * y.scale))
        operands = {
            "a": context.operand(op, a.name),
            "b": context.operand(op, b.name),
            "y": context.output_buffer(op),
            "inside": context.mask_for(op),
        }
        if a.shape != b.shape or op.attributes.subtracts:
            repeated = AddBroadcastS8Params(
                broadcast(a.shape, b.shape),
                int(op.attributes.subtracts),
                a.zero_point,
                b.zero_point,
                y.zero_point,
                a_multiplier,
                a_shift,
                b_multiplier,
                b_shift,
                y_multiplier,
                y_shift,
                _LEFT_SHIFT,
                *op.attributes.clamp,
            )
            context.build.step(op.name, "add_broadcast_s8", repeated, Phase.FORWARD, op.name, operands)
            return
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
        context.build.step(op.name, "add_s8", with_linear_form(params), Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        assert isinstance(op.attributes, AddAttributes)
        a, b = (context.tensor(name) for name in op.inputs)
        y = context.tensor(op.outputs[0])
        errors: dict[str, str] = {}
        for side, (own, other) in zip("ab", ((a, b), (b, a)), strict=True):
            if own.name not in context.wanted:
                continue
            negates = op.attributes.subtracts and side == "b"
            ratio = np.float64(own.scale) / np.float64(y.scale)
            if own.shape == y.shape and not negates:
                name, inside = f"{op.name}.{side}_error", context.inside[op.name]
                found = context.errors.scale(context.build, name, op.name, error, inside, np.array([ratio]))
            else:
                found = repeated_error(context, op, side, own, other, error, float(ratio), negates=negates)
            if own.name in errors:  # a + a
                both = f"{op.name}.both_errors"
                found = context.errors.add(context.build, both, op.name, errors[own.name], found)
            errors[own.name] = found
        return errors
