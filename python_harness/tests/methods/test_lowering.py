"""Lowering the forward pass: any part of a network, and constants that operators share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.forward import lower_forward
from mcutrain.methods.inference import inference
from mcutrain.methods.training_graph import INPUT, TrainingGraph, add_io
from mcutrain.ops.programs import INFER, Run
from mcutrain.ops.rules import Lowering
from mcutrain.ops.steps import StepBuilder
from support.networks import NetBuilder, chain, residual, samples, siamese
from support.plans import outcome, plan_of

SHARED_BYTES = 8 * 3 * 3 * 6 + 8 * 4  # int8 weights and int32 bias of one of the twins


def started(graph: Graph, place: dict[str, str]) -> Lowering:
    """A lowering in which ``place`` says where the inputs of a part are."""
    build = StepBuilder()
    add_io(build, graph)
    return Lowering(graph=graph, build=build, place=place)


# A part of a network


def test_two_parts_one_behind_the_other_are_the_steps_of_the_whole() -> None:
    graph = residual()
    context = started(graph, {graph.input: INPUT})
    first = lower_forward(context, graph.operators[:2])
    second = lower_forward(context, graph.operators[2:])
    assert [step.layer for step in first] == [op.name for op in graph.operators[:2]]
    whole = inference(graph)
    assert first + second == whole.steps
    assert list(context.build.buffers) == list(whole.buffers)


def test_a_part_alone_computes_what_it_does_within_the_network() -> None:
    """From the middle on, its input being the sample: as a method that starts again from a kept activation does."""
    graph = chain()
    tail = graph.operators[2:]
    executor = GoldenExecutor(compile_plan(inference(graph)))
    sample = samples(graph, 1)[0]
    executor.load(sample)
    middle = None
    for step in executor.plan.steps:
        executor.run(step)
        if step.name == graph.operators[1].name:
            middle = np.frombuffer(executor.bytes_of(step.operands["y"]), np.int8).copy()
    part = replace(graph, input=tail[0].inputs[0])
    context = started(part, {part.input: INPUT})
    steps = lower_forward(context, tail)
    alone = GoldenExecutor(
        compile_plan(
            TrainingGraph(
                graph=part,
                method="part",
                options={},
                buffers=context.build.buffers,
                programs={INFER: (Run(steps),)},
                classes=graph.tensors[graph.output].elements,
                output=context.place[graph.output],
            )
        )
    )
    assert middle is not None
    alone.infer(middle)
    assert alone.output().tobytes() == executor.output().tobytes()
    assert len(set(alone.output().tolist())) > 2


def test_a_part_whose_input_nobody_has_placed_is_refused_by_name() -> None:
    graph = chain()
    with pytest.raises(ValueError, match=f"conv2 reads {graph.operators[2].inputs[0]}, which has no buffer"):
        lower_forward(started(graph, {graph.input: INPUT}), graph.operators[2:])


# Shared constants


def test_operators_that_share_a_tensor_share_its_bytes_in_flash() -> None:
    shared, copied = (compile_plan(inference(siamese(shared=shared))) for shared in (True, False))
    assert copied.constant_bytes - shared.constant_bytes == SHARED_BYTES
    operands = {step.name: step.operands for step in shared.steps}
    for role in ("weights", "bias"):
        assert operands["conv1"][role] == operands["conv2"][role]
    assert operands["conv1"]["multiplier"] != operands["conv2"]["multiplier"]


def test_shared_constants_compute_what_copies_of_them_do() -> None:
    """Forward and backward: the error of the stem comes through both twins."""
    shared, copied = (plan_of(siamese(shared=shared), "b0; conv0") for shared in (True, False))
    assert copied.constant_bytes - shared.constant_bytes == SHARED_BYTES
    assert outcome(shared) == outcome(copied)
    assert len({digest for digest, _, _ in outcome(shared)}) == 3


@pytest.mark.parametrize(("scheme", "tensor"), [("b0; conv2", "w1"), ("b0; conv1@1/2", "w1"), ("biases", "b1")])
def test_a_shared_tensor_that_would_train_is_refused(scheme: str, tensor: str) -> None:
    with pytest.raises(UsageError, match=f"cannot train: it shares tensor {tensor} with conv[12]"):
        plan_of(siamese(), scheme)


def test_a_head_that_shares_its_weights_is_refused() -> None:
    net = NetBuilder(8)
    graph = net.graph(net.dense(net.dense(net.flatten(net.conv("x", 4, kernel=8, same=False)), 4), 4))
    hidden, head = graph.operators[-2:]
    shared = replace(head, inputs=(head.inputs[0], hidden.inputs[1], head.inputs[2]))
    graph = replace(graph, operators=(*graph.operators[:-1], shared))
    with pytest.raises(
        UsageError, match=f"{head.name} cannot train: it shares tensor {hidden.inputs[1]} with {hidden.name}"
    ):
        plan_of(graph, "head")
