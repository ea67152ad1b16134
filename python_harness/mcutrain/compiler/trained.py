"""How many numbers of a network a plan trains."""

from __future__ import annotations

from mcutrain.compiler.plan import Plan
from mcutrain.ops.steps import Phase


def trained_parameters(plan: Plan) -> int:
    """Weights, biases and numbers of the head that updates change: of a layer that trains in part, those of its part alone.

    A run-time choice of channels counts with the most that it can be. What only helps an update, as the fractions of master weights and
    the sums of a minibatch, is none.
    """
    counts: dict[str, int] = {}
    for step in plan.steps:
        if step.phase is not Phase.UPDATE:
            continue
        for role in step.definition.updates:
            if role not in step.operands:
                continue
            root = plan.training.root(step.operands[role])
            buffer = plan.buffers[root]
            if buffer.region != "trainable":
                continue
            changed = buffer.elements
            if "index" in step.operands:  # the gradient is then of the listed channels
                changed = min(changed, plan.buffers[step.operands["gradient"]].elements)
            counts[root] = max(counts.get(root, 0), changed)
    return sum(counts.values())
