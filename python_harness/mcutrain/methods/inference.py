"""Inference alone: the network as the file has it, int8 to its own output."""

from __future__ import annotations

from mcutrain.graph import Graph
from mcutrain.methods.forward import lower_forward
from mcutrain.methods.training_graph import TrainingGraph, add_io
from mcutrain.ops.programs import INFER, Run
from mcutrain.ops.rules import Lowering
from mcutrain.ops.steps import StepBuilder


def inference(graph: Graph) -> TrainingGraph:
    """Forward steps only; the network's output stays readable after the last one."""
    build = StepBuilder()
    context = Lowering(graph=graph, build=build)
    context.place[graph.input] = add_io(build, graph)
    steps = lower_forward(context, graph.operators)
    return TrainingGraph(
        graph=graph,
        method="inference",
        options={},
        buffers=build.buffers,
        programs={INFER: (Run(steps),)},
        classes=graph.tensors[graph.output].elements,
        output=context.place[graph.output],
    )
