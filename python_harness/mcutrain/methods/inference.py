"""Inference alone: the network as the file has it, int8 to its own output."""

from __future__ import annotations

from pydantic import Field

from mcutrain.graph import Graph
from mcutrain.methods.forward import lower_forward
from mcutrain.methods.loss import LOSS_DESCRIPTION, LossOption, chosen_loss
from mcutrain.methods.options import MethodOptions
from mcutrain.methods.training_graph import TrainingGraph, add_io
from mcutrain.ops.programs import INFER, Run
from mcutrain.ops.rules import Lowering
from mcutrain.ops.steps import StepBuilder


class InferenceOptions(MethodOptions):
    """What a user can choose."""

    loss: LossOption = Field(default="auto", description=f"what is measured: {LOSS_DESCRIPTION}")


def inference(graph: Graph, options: InferenceOptions | None = None) -> TrainingGraph:
    """Forward steps only; the network's output stays readable after the last one. Raises UsageError for a loss that does not fit it."""
    loss = chosen_loss(graph, (options or InferenceOptions()).loss)
    build = StepBuilder()
    context = Lowering(graph=graph, build=build)
    context.place[graph.input] = add_io(build, graph)
    steps = lower_forward(context, graph.operators)
    return TrainingGraph(
        graph=graph,
        method="inference",
        options={"loss": loss},
        buffers=build.buffers,
        programs={INFER: (Run(steps),)},
        classes=graph.tensors[graph.output].elements,
        loss=loss,
        output=context.place[graph.output],
    )
