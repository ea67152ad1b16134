"""From an episode's definition to its plan and its data: everything but the run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.datasets import EpisodeData
from mcutrain.emulators.base import RunResult
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.samples import CodedData, load_coded_data
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.methods.new_head import new_head
from mcutrain.methods.registry import find_method
from mcutrain.ops.programs import SAMPLE
from mcutrain.paths import find_model


@dataclass(frozen=True)
class ModelFile:
    """The file of a network, and the SHA-256 (hexadecimal) of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True, eq=False)
class PreparedEpisode:
    """An episode ready to be built and run on any board.

    model: None where the graph was not read from a file.
    golden_lines: what the golden reference has answered so far, by number of steps; it is the same for every board.
    host_runs: what the host library has, the same way.
    """

    definition: EpisodeDefinition
    graph: Graph
    plan: Plan
    data: CodedData
    model: ModelFile | None = None
    golden_lines: dict[int, tuple[Line, ...]] = field(default_factory=dict, repr=False)
    host_runs: dict[int, RunResult] = field(default_factory=dict, repr=False)

    @property
    def trains(self) -> bool:
        """Whether the method has anything to run for a training sample."""
        return SAMPLE in self.plan.training.programs

    def image(
        self,
        *,
        steps: int | None = None,
        test: int | None = None,
        evaluate: tuple[bool, bool] = (True, True),
        predictions: bool = False,
        trace_step: int | None = None,
        dump_op: int | None = None,
        dump_visit: int = 0,
    ) -> EpisodeImage:
        """The episode image; steps cuts the run short without changing the schedule, test uses only the first test samples.

        predictions: ask for a ``prediction`` line of every test sample.
        """
        definition = self.definition
        adapt_count = len(self.data.adapt)
        order = definition.order(adapt_count)
        if not self.trains:
            order = order[:0]
        rates, steps_per_rate = definition.learning_rates(adapt_count)
        sample_bytes = self.graph.tensors[self.graph.input].elements
        tested = len(self.data.test) if test is None else min(test, len(self.data.test))
        return EpisodeImage(
            plan_crc32=self.plan.crc32,
            adapt_samples=self.data.adapt.codes.reshape(adapt_count, sample_bytes),
            adapt_labels=self.data.adapt.labels,
            adapt_targets=self.data.adapt.targets,
            test_samples=self.data.test.codes[:tested].reshape(tested, sample_bytes),
            test_labels=self.data.test.labels[:tested],
            test_targets=None if self.data.test.targets is None else self.data.test.targets[:tested],
            order=order if steps is None else order[:steps],
            learning_rates=rates,
            steps_per_learning_rate=steps_per_rate,
            seed=definition.seed,
            evaluate_before=evaluate[0],
            evaluate_after=evaluate[1],
            predictions=predictions,
            trace_step=trace_step,
            dump_op=dump_op,
            dump_visit=dump_visit,
            ends=steps is None or steps >= len(order),
        )


@dataclass(frozen=True, eq=False)
class PlannedEpisode:
    """What of an episode does not depend on its data and schedule."""

    graph: Graph
    plan: Plan
    model: ModelFile


def plan_episode(definition: EpisodeDefinition, path: Path | None = None) -> PlannedEpisode:
    """Import the model, derive and plan its training. path: of the model file, where it does not lie where the definition says.

    Raises UsageError or NotAvailableError.
    """
    model = find_model(definition.model) if path is None else Path(definition.model)
    path = path or model
    graph = load_model(path, output=definition.output)
    if definition.new_head is not None:
        graph = new_head(graph, definition.new_head)
    training = find_method(definition.method).build(graph, definition.options)
    return PlannedEpisode(graph, compile_plan(training, definition.input), ModelFile(model, file_sha256(path)))


def prepare(
    definition: EpisodeDefinition, planned: PlannedEpisode | None = None, data: EpisodeData | None = None
) -> PreparedEpisode:
    """Plan the episode and load its data, unless they are given. Raises UsageError or NotAvailableError."""
    planned = planned or plan_episode(definition)
    coded = load_coded_data(definition.data, planned.plan.training, data)
    return PreparedEpisode(definition, planned.graph, planned.plan, coded, planned.model)


def file_sha256(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
