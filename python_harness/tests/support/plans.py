"""Plans of small networks, plans in another order or with other addresses, and what they compute."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from mcutrain.compiler.arena import ArenaPlan
from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.compiler.schedule import arena_blocks
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.steps import Step
from support.networks import NETWORKS, samples
from support.traced_step import run_step

ALIGNMENT = 8


def training_of(
    graph: Graph, scheme: str = "full", error_mode: str = "b16", weight_rounding: str = "master16"
) -> TrainingGraph:
    """The training graph of these options."""
    return sparse_update(
        graph, SparseUpdateOptions(scheme=scheme, error_mode=error_mode, weight_rounding=weight_rounding)
    )


def plan_of(graph: Graph, scheme: str = "full", error_mode: str = "b16", weight_rounding: str = "master16") -> Plan:
    """The plan of these options."""
    return compile_plan(training_of(graph, scheme, error_mode, weight_rounding))


@functools.cache
def network_plan(name: str, scheme: str = "full", error_mode: str = "b16", weight_rounding: str = "master16") -> Plan:
    """The plan of one of NETWORKS, made once: finding the best order takes a while."""
    return plan_of(NETWORKS[name](), scheme, error_mode, weight_rounding)


def isolated(training: TrainingGraph, steps: Sequence[Step]) -> Plan:
    """A plan of ``steps`` in this order in which no two buffers share a byte."""
    offsets: dict[str, int] = {}
    end = {"arena": 0, "trainable": 0}
    for name, buffer in training.buffers.items():
        if buffer.region in end and buffer.alias is None:
            offsets[name] = end[buffer.region]
            end[buffer.region] += -(-buffer.size_bytes // ALIGNMENT) * ALIGNMENT
    blocks = tuple(arena_blocks(training, steps))
    arena = ArenaPlan(offsets, end["arena"], end["arena"], False, "isolated")
    return Plan(training, tuple(steps), blocks, (), arena, offsets, end["trainable"])


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
