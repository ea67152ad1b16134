"""One training step of a plan in the golden executor, with every gradient as it was right behind the operator that wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.methods.classifier_head import find_head
from mcutrain.ops.base import Block, view_of
from mcutrain.ops.programs import SAMPLE
from mcutrain.ops.steps import Phase, Step

Real = NDArray[np.float64]
Target = int | NDArray[np.float32]  # a label, or values


@dataclass
class StepGradients:
    """activations: codes of each tensor of the network. errors: d loss / d code of each tensor whose error is computed. weights, biases:
    d loss / d code of each trained layer. head_weights, head_bias: d loss / d real value."""

    activations: dict[str, Real] = field(default_factory=dict)
    errors: dict[str, Real] = field(default_factory=dict)
    weights: dict[str, Real] = field(default_factory=dict)
    biases: dict[str, Real] = field(default_factory=dict)
    head_weights: Real = field(default_factory=lambda: np.zeros(0))
    head_bias: Real = field(default_factory=lambda: np.zeros(0))
    loss: float = 0.0


def value_of(executor: GoldenExecutor, name: str) -> Real:
    """A buffer as numbers; block floating point as mantissa * 2^exponent."""
    buffer = executor.plan.buffers[name]
    view = view_of(np.frombuffer(executor.bytes_of(name), np.uint8), buffer.dtype, buffer.shape)
    if isinstance(view, Block):
        return np.ldexp(view.mantissa.astype(np.float64), int(view.exponent[0]))
    assert isinstance(view, np.ndarray)
    return view.astype(np.float64)


def run_step(executor: GoldenExecutor, sample: NDArray[np.int8], label: Target, rate: float) -> None:
    """One training step: a sample, and the update behind it where the minibatch is full."""
    executor.prepare(sample, label, np.float32(rate))
    executor.train()
    if executor.samples == executor.plan.training.batch:
        executor.update()


def traced_step(plan: Plan, sample: NDArray[np.int8], label: Target) -> StepGradients:
    """Train one step from the initial state and keep what it computed.

    The head's gradients are no tensors of their own: they are the change of its weights at a learning rate of 1.
    """
    executor = GoldenExecutor(plan)
    executor.seed(1)
    head = find_head(plan.training.graph).op.name
    before = {part: value_of(executor, f"{head}.{part}") for part in ("weights", "bias")}
    found = StepGradients()
    executor.prepare(sample, label, np.float32(1.0))
    for step in (moment.step for moment in plan.moments_of(SAMPLE)):
        error = _error_it_reads(plan, step)
        if error is not None and error[0] not in found.errors:
            found.errors[error[0]] = value_of(executor, error[1])
        executor.run(step)
        if step.phase is Phase.FORWARD and "y" in step.operands and not step.name.endswith(".keep"):
            op = next(op for op in plan.training.graph.operators if op.name == step.layer)
            found.activations[op.outputs[0]] = value_of(executor, step.operands["y"])
        if step.name.endswith(".weight_gradient"):
            gradient = value_of(executor, step.operands["gradient"])
            dense = next(op for op in plan.training.graph.operators if op.name == step.layer).kind == "fully_connected"
            found.weights[step.layer] = gradient[:, 0, 0, :] if dense else gradient
        if step.name.endswith(".bias_gradient"):
            found.biases[step.layer] = value_of(executor, step.operands["gradient"])
    found.head_weights, found.head_bias = (before[part] - value_of(executor, f"{head}.{part}") for part in before)
    found.loss = float(executor.loss)
    return found


def _error_it_reads(plan: Plan, step: Step) -> tuple[str, str] | None:
    """(tensor, buffer) where a backward step reads the error of its operator's output."""
    reads = {role.name for role in step.definition.inputs}
    if step.phase is not Phase.BACKWARD or "error" not in reads & step.operands.keys():
        return None
    op = next((op for op in plan.training.graph.operators if op.name == step.layer), None)
    return (op.outputs[0], step.operands["error"]) if op is not None else None
