"""TrainingGraph: a network with its loss, backward and update steps for one method, as programs; no addresses yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from mcutrain.graph import Graph
from mcutrain.ops.programs import Program, distinct_steps
from mcutrain.ops.steps import Buffer, Step, StepBuilder

LossName = Literal["cross_entropy", "mse"]

INPUT = "io.input"
LABEL = "io.label"
TARGET = "io.target"
LEARNING_RATE = "io.learning_rate"
RANDOM = "io.random"
SAMPLES = "io.samples"
LOSS = "io.loss"
PREDICTION = "io.prediction"


@dataclass(frozen=True)
class TrainingGraph:
    """Programs in a valid order and the buffers they use.

    method: its name in the table of methods. options: the method's own options, as the user gave them. programs: see ops/programs.py.
    classes: length of the logits or of the output, whatever they mean. loss: cross_entropy, and a sample has a label; or mse, and it has
    as many values. batch: samples between two runs of ``update`` (1: updates run in ``sample``). logits: the float32 buffer of the head's
    outputs, or None. output: the buffer of the network's own int8 output, or None.
    """

    graph: Graph
    method: str
    options: Mapping[str, Any]
    buffers: Mapping[str, Buffer]
    programs: Mapping[str, Program]
    classes: int
    loss: LossName = "cross_entropy"
    batch: int = 1
    logits: str | None = None
    output: str | None = None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every step once, in the order of the programs' text."""
        return distinct_steps(self.programs)

    @property
    def results(self) -> tuple[str, ...]:
        """What an inference leaves to be read."""
        return tuple(name for name in (self.logits, self.output) if name is not None)

    @property
    def target_values(self) -> int:
        """Values of a sample's target; 0 where samples have labels."""
        return self.classes if self.loss == "mse" else 0

    def root(self, name: str) -> str:
        """The buffer that holds the bytes of ``name``."""
        return self.buffers[name].alias or name


def add_io(build: StepBuilder, graph: Graph, target_values: int = 0) -> str:
    """Add the buffers of mct_model_io; returns the one of the input. target_values: of a sample, 0 where it has a label."""
    shape = graph.tensors[graph.input].shape
    build.buffer(INPUT, "int8", shape, "io")
    if target_values:
        build.buffer(TARGET, "float32", (target_values,), "io")
    else:
        build.buffer(LABEL, "int32", (1,), "io")
    build.buffer(LEARNING_RATE, "float32", (1,), "io")
    build.buffer(RANDOM, "uint32", (1,), "io")
    build.buffer(SAMPLES, "int32", (1,), "io")
    build.buffer(LOSS, "float32", (1,), "io")
    build.buffer(PREDICTION, "int32", (1,), "io")
    return INPUT
