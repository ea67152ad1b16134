"""TrainingGraph: a network with its loss, backward and update steps for one method and scheme; no addresses yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcutrain.graph import Graph
from mcutrain.ops.steps import Buffer, Step, StepBuilder

INPUT = "io.input"
LABEL = "io.label"
LEARNING_RATE = "io.learning_rate"
RANDOM = "io.random"
LOSS = "io.loss"
PREDICTION = "io.prediction"


@dataclass(frozen=True)
class TrainingGraph:
    """Steps in a valid order and the buffers they use.

    method, scheme, error_mode, weight_rounding: as the user named them ("none" where the method has no such choice). output: the buffer of
    the network's own int8 output, for inference. classes: length of the logits or of the output.
    """

    graph: Graph
    method: str
    scheme: str
    error_mode: str
    weight_rounding: str
    buffers: Mapping[str, Buffer]
    steps: tuple[Step, ...]
    classes: int
    output: str | None = None

    def root(self, name: str) -> str:
        """The buffer that holds the bytes of ``name``."""
        return self.buffers[name].alias or name


def add_io(build: StepBuilder, graph: Graph) -> str:
    """Add the buffers of mct_model_io; returns the one of the input."""
    shape = graph.tensors[graph.input].shape
    build.buffer(INPUT, "int8", shape, "io")
    build.buffer(LABEL, "int32", (1,), "io")
    build.buffer(LEARNING_RATE, "float32", (1,), "io")
    build.buffer(RANDOM, "uint32", (1,), "io")
    build.buffer(LOSS, "float32", (1,), "io")
    build.buffer(PREDICTION, "int32", (1,), "io")
    return INPUT
