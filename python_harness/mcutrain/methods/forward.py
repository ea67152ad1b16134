"""The forward pass of a network, or of a part of it, as steps."""

from __future__ import annotations

from collections.abc import Sequence

from mcutrain.graph import Operator
from mcutrain.ops.rules import RULES, Lowering
from mcutrain.ops.steps import Step


def lower_forward(context: Lowering, operators: Sequence[Operator]) -> tuple[Step, ...]:
    """Add the forward steps of ``operators``, in their order; returns these steps.

    operators: any contiguous part of the network, such as what follows a point from which a method starts again. What they read of
    the operators before them must have its buffer in ``context.place``. Raises ValueError where it has none.
    """
    first = len(context.build.steps)
    for op in operators:
        for name in op.inputs:
            if name not in context.place and context.tensor(name).data is None:
                raise ValueError(
                    f"{op.name} reads {name}, which has no buffer: lower what writes it first, or place it"
                )
        RULES[op.kind].forward(context, op)
    return tuple(context.build.steps[first:])
