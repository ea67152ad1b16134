"""The backward walk: errors from the loss to the earliest layer that trains, and only those that some trained layer needs."""

from __future__ import annotations

from collections.abc import Container, Sequence

from mcutrain.graph import Operator
from mcutrain.ops.rules import RULES, Lowering


def wanted_errors(operators: Sequence[Operator], trained: Container[str]) -> frozenset[str]:
    """Tensors whose error must be computed: outputs of trained layers and everything between them and the loss.

    Dead-code elimination: a tensor with no trained layer above it gets no error. trained: names of the layers of which anything trains.
    """
    wanted: set[str] = set()
    for op in operators:
        if op.name in trained or any(name in wanted for name in op.inputs):
            wanted.add(op.outputs[0])
    return frozenset(wanted)


def walk_back(context: Lowering, operators: Sequence[Operator], tensor: str, float_error: str) -> None:
    """Propagate the float32 error of ``tensor`` through ``operators``, the last one first; errors that meet at a branch add up.

    The rules call ``context.trainer`` as soon as a gradient exists. What is not in ``context.wanted`` gets no error.
    """
    mode, build = context.errors, context.build
    errors = {tensor: mode.from_float(build, "features_error", "loss", float_error)}
    for op in reversed(operators):
        error = errors.pop(op.outputs[0], None)
        if error is None:
            continue
        for name, contribution in RULES[op.kind].backward(context, op, error).items():
            if name in errors:
                meeting = f"{op.name}.meeting_error"
                contribution = mode.add(build, meeting, op.name, errors[name], contribution)
            errors[name] = contribution
