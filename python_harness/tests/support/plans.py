"""Plans of small networks, plans in another order or with other addresses, and what they compute."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from mcutrain.compiler.arena import ArenaPlan
from mcutrain.compiler.liveness import timeline
from mcutrain.compiler.plan import Plan, arena_blocks, compile_plan
from mcutrain.compiler.schedule import Programs
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.programs import SAMPLE, Program, Run, moments
from mcutrain.ops.steps import PERSISTENT, Step
from support.networks import NETWORKS, samples
from support.traced_step import run_step

ALIGNMENT = 8


def training_of(
    graph: Graph, scheme: str = "full", error_mode: str = "b16", weight_rounding: str = "master16"
) -> TrainingGraph:
    """The training graph of these options."""
    return sparse_update(
        graph, SparseUpdateOptions.model_validate({"scheme": scheme, "errors": error_mode, "weights": weight_rounding})
    )


def plan_of(graph: Graph, scheme: str = "full", error_mode: str = "b16", weight_rounding: str = "master16") -> Plan:
    """The plan of these options."""
    return compile_plan(training_of(graph, scheme, error_mode, weight_rounding))


@functools.cache
def network_plan(name: str, scheme: str = "full", error_mode: str = "b16", weight_rounding: str = "master16") -> Plan:
    """The plan of one of NETWORKS, made once: finding the best order takes a while."""
    return plan_of(NETWORKS[name](), scheme, error_mode, weight_rounding)


def isolated(training: TrainingGraph, programs: Programs | None = None) -> Plan:
    """A plan of these programs, or of those of ``training``, in which no two buffers share a byte."""
    ordered = dataclasses.replace(training, programs=training.programs if programs is None else programs)
    offsets: dict[str, int] = {}
    end = dict.fromkeys(("arena", *PERSISTENT), 0)
    for region in end:
        if region == "state":
            end[region] = end["trainable"]
        for name, buffer in training.buffers.items():
            if buffer.region == region and buffer.alias is None:
                offsets[name] = end[region]
                end[region] += -(-buffer.size_bytes // ALIGNMENT) * ALIGNMENT
    when = timeline(ordered, ordered.programs)
    arena = ArenaPlan(offsets, end["arena"], end["arena"], False, "isolated")
    trainable_bytes = end["trainable"]
    blocks = arena_blocks(ordered, when)
    return Plan(ordered, when, blocks, (), arena, offsets, trainable_bytes, end["state"] - trainable_bytes)


def in_order(training: TrainingGraph, steps: Sequence[Step]) -> dict[str, Program]:
    """The programs of a training graph whose ``sample`` runs these steps in this order."""
    return {**training.programs, SAMPLE: (Run(tuple(steps)),)}


def sample_steps(programs: Programs) -> list[Step]:
    """The steps of a training sample in the order of the program's text."""
    return [moment.step for moment in moments(programs[SAMPLE])]


def moved(plan: Plan, offsets: Mapping[str, int]) -> Plan:
    """The same plan with some buffers elsewhere."""
    return dataclasses.replace(plan, offsets={**plan.offsets, **offsets})


def outcome(plan: Plan, steps: int = 3, arena_pattern: int = 0xA5) -> list[tuple[int, int, int]]:
    """(digest, bits of the loss, prediction) of each of some training steps on random samples."""
    executor = GoldenExecutor(plan, arena_pattern=arena_pattern)
    executor.seed(77)
    found = []
    for number, sample in enumerate(samples(plan.training.graph, steps, seed=5)):
        run_step(executor, sample, number % plan.training.classes, 0.01)
        found.append((executor.digest(), int(executor.loss.view(np.uint32)), executor.prediction))
    return found
