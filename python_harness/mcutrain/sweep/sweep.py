"""A sweep: accuracy of every point on the host library, memory and counts of every plan on the boards, put together as records.

What a point computes has the same bits on the host as on a board, so the host computes it. A board runs only the first steps of one point
of each plan: that gives counts, stack and sizes, and is a spot check, since its steps have to be the host's, bit for bit.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mcutrain import leftovers
from mcutrain.datasets import EpisodeData
from mcutrain.episode.prepare import file_sha256
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.runners import HOST, find_runner
from mcutrain.episode.samples import data_sha256, load_data
from mcutrain.episode.settings import portable_document
from mcutrain.errors import McutrainError, NotAvailableError, UsageError
from mcutrain.paths import find_model
from mcutrain.sweep.engine import Engine, Failure, Inputs
from mcutrain.sweep.grid import Point
from mcutrain.sweep.job import Job, code_sha256

# Test samples that a board infers: their only use is that an inference is run before and behind the steps.
_BOARD_TESTS = 5
# Of the board's record; the rest is the host's.
_OF_THE_BOARD = (
    *("board", "core", "emulator", "emulator_version", "compiler", "compiler_flags", "elf_sha256", "clock_hz"),
    *("instructions_per_step", "estimated_cycles_per_step", "estimated_cycles_low", "estimated_cycles_high"),
    *("instructions_per_inference", "estimated_cycles_per_inference"),
    *("estimated_cycles_per_inference_low", "estimated_cycles_per_inference_high"),
    *("estimated_millijoules_per_step", "estimated_millijoules_per_inference", "supply_source"),
    *("operators", "functions", "sram", "sram_peak_bytes", "sram_planned_bytes", "sram_limit_bytes"),
    *("flash_bytes", "flash_limit_bytes"),
)
_VERSION_SECONDS = 20


@dataclass(frozen=True)
class Settings:
    """How much of each point is run. boards: None for each episode's own; golden_steps, check_steps: held against golden, run on boards."""

    boards: tuple[str, ...] | None = None
    steps: int | None = None
    test: int | None = None
    golden_steps: int = 5
    check_steps: int = 20

    def boards_of(self, point: Point) -> tuple[str, ...]:
        """Runners whose memory and counts a point's records have: boards, or the host alone."""
        return point.definition.boards if self.boards is None else self.boards


@dataclass(frozen=True)
class SpotCheck:
    """The first steps of a point on a board, held against the host's."""

    point: Point
    board: str
    steps: int
    equal: bool


@dataclass(frozen=True)
class Lost:
    """A point that has no record for a board (or at all: host), and why."""

    point: Point
    runner: str
    failure: Failure


@dataclass
class Swept:
    """Records in the order of the points and their boards, each beside its point; what was checked, and what failed."""

    records: list[tuple[Point, EpisodeRecord]] = field(default_factory=list)
    spot_checks: list[SpotCheck] = field(default_factory=list)
    failures: list[Lost] = field(default_factory=list)


class Describer:
    """Makes jobs of points: finds and hashes their models and samples, each once."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._models: dict[str, Path] = {}
        self._hashes: dict[Path, str] = {}
        self._data: dict[str, EpisodeData] = {}
        self._found: dict[str, tuple[str, EpisodeData] | McutrainError] = {}

    @property
    def inputs(self) -> Inputs:
        """What the jobs that were described need."""
        return Inputs(self._models, self._data)

    def job(self, point: Point, runner: str, **much: Any) -> Job:
        """The job of a point on a runner. Raises UsageError or NotAvailableError for its model or its data."""
        definition = point.definition
        path = find_model(definition.model)
        model = self._hashes.get(path) or file_sha256(path)
        self._hashes[path] = model
        self._models[model] = path
        source = definition.data
        where = source.model_dump_json()
        if where not in self._found:
            try:
                samples = load_data(source)
                self._found[where] = data_sha256(samples, source), samples
            except McutrainError as error:
                self._found[where] = error
        found = self._found[where]
        if isinstance(found, McutrainError):
            raise found
        sha256, samples = found
        self._data[sha256] = samples
        return Job(
            runner=runner,
            definition=portable_document(definition, path),
            model_sha256=model,
            data_sha256=sha256,
            tools="" if runner == HOST else _tools(runner),
            code_sha256=code_sha256(),
            **much,
        )


@cache
def _tools(runner: str) -> str:
    """Versions of what the counts of a board depend on, as this machine has them."""
    commands = [("arm-none-eabi-gcc", "-dumpfullversion"), ("qemu-system-arm", "--version")]
    said = []
    for command in commands:
        try:
            said.append(leftovers.run(command, seconds=_VERSION_SECONDS).stdout.splitlines()[0])
        except (OSError, IndexError):
            said.append("none")
    return " ".join(said)


def sweep(points: Sequence[Point], settings: Settings, engine: Engine, describer: Describer | None = None) -> Swept:
    """Run the points, and the first steps of one point of each plan on each of its boards.

    Failures are collected. Raises NotAvailableError or McutrainError where no worker is to be had.
    """
    describer, swept = describer or Describer(), Swept()
    hosts: list[tuple[Point, Job]] = []
    for point in points:
        try:
            much = {"steps": settings.steps, "test": settings.test, "golden_steps": settings.golden_steps}
            hosts.append((point, describer.job(point, HOST, **much)))
        except McutrainError as error:
            swept.failures.append(Lost(point, HOST, Failure(str(error), error.exit_code)))
    checked: dict[tuple[str, str], tuple[Point, Job, Job]] = {}
    for point, host in hosts:
        for board in settings.boards_of(point):
            if board != HOST and (host.plan_key, board) not in checked:
                checked[host.plan_key, board] = (point, host, _board_job(describer, point, board, settings))
    jobs = [*(job for _, _, job in checked.values()), *(job for _, job in hosts)]
    results = engine.run(jobs, describer.inputs)
    boards: dict[tuple[str, str], EpisodeRecord | Failure] = {}
    for place, (point, host, job) in checked.items():
        boards[place] = result = results[job.key]
        computed = results[host.key]
        if isinstance(result, EpisodeRecord) and isinstance(computed, EpisodeRecord):
            swept.spot_checks.append(SpotCheck(point, place[1], result.steps, _agree(computed, result)))
    for point, host in hosts:
        computed = results[host.key]
        if isinstance(computed, Failure):
            swept.failures.append(Lost(point, HOST, computed))
            continue
        record = _named(computed, host)
        for board in settings.boards_of(point):
            measured = None if board == HOST else boards[host.plan_key, board]
            if isinstance(measured, Failure):
                swept.failures.append(Lost(point, board, measured))
            else:
                checked_point = checked[host.plan_key, board][0] if measured else None
                swept.records.append((point, _on_board(record, measured, checked_point)))
    return swept


def _board_job(describer: Describer, point: Point, board: str, settings: Settings) -> Job:
    steps = settings.check_steps if settings.steps is None else min(settings.check_steps, settings.steps)
    much = {"steps": steps, "test": _BOARD_TESTS, "golden_steps": min(settings.golden_steps, steps), "profile": True}
    return describer.job(point, find_runner(board).key, **much)


def _agree(host: EpisodeRecord, board: EpisodeRecord) -> bool:
    """Whether the board's steps are the host's first."""
    first = host.step_records[: len(board.step_records)]
    return [(s.loss_bits, s.prediction, s.digest) for s in first] == [
        (s.loss_bits, s.prediction, s.digest) for s in board.step_records
    ]


def _named(record: EpisodeRecord, job: Job) -> EpisodeRecord:
    """The record by the names of its own point: another one may have computed the same before."""
    assert record.settings is not None
    definition = dict(job.definition)
    settings = record.settings.model_copy(update={"definition": definition})
    return record.model_copy(update={"episode": definition["name"], "settings": settings})


def _on_board(record: EpisodeRecord, board: EpisodeRecord | None, checked: Point | None) -> EpisodeRecord:
    """The host's record with memory and counts of the board's."""
    if board is None or checked is None:
        return record
    source = f"{board.steps} steps of {checked.name} on {board.board}, {board.runner} {board.emulator_version}".strip()
    update = {name: getattr(board, name) for name in _OF_THE_BOARD}
    return record.model_copy(update={**update, "counts_source": source})


@dataclass(frozen=True)
class Candidate:
    """A value that could be chosen, and how it did on the validation part: one score for each seed."""

    value: Any
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.scores)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None of one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Pick:
    """What was chosen for a point's other values. of: accuracy (the highest mean is chosen) or mse (the lowest); samples: validated on."""

    episode: str
    values: Mapping[str, Any]
    key: str
    of: str
    candidates: tuple[Candidate, ...]
    samples: int

    @property
    def chosen(self) -> Candidate:
        """The best mean; of equal ones the first in the order of the grid."""
        sign = 1 if self.of == "accuracy" else -1
        return max(self.candidates, key=lambda candidate: sign * candidate.mean)

    @property
    def is_at_edge(self) -> bool:
        """Whether a number was chosen beyond which none was tried."""
        values = [candidate.value for candidate in self.candidates]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        return numbers and len(values) > 1 and self.chosen.value in (min(values), max(values))


def pick(
    points: Sequence[Point], key: str, settings: Settings, engine: Engine, describer: Describer
) -> tuple[list[Point], list[Pick], list[Lost]]:
    """Choose the best value of an axis for every combination of the others, over all seeds, on the validation part of the data.

    Returns the points that are left, what was chosen, and what failed. No test sample is seen. Raises what `sweep` raises.
    """
    validation = [_validated(point) for point in points]
    much = Settings((HOST,), settings.steps, settings.test, settings.golden_steps)
    swept = sweep(validation, much, engine, describer)
    scores: dict[int, tuple[str, float]] = {}
    samples: dict[int, int] = {}
    for point, record in swept.records:
        kind, score = ("mse", record.mse_after) if record.loss == "mse" else ("accuracy", record.accuracy_after)
        if score is not None:
            scores[id(point)] = (kind, score)
            samples[id(point)] = record.samples_test
    groups: dict[str, list[tuple[Point, Point]]] = {}
    for point, validated in zip(points, validation, strict=True):
        groups.setdefault(f"{point.definition.name} {point.without(key, 'seed')}", []).append((point, validated))
    kept: list[Point] = []
    picks: list[Pick] = []
    for group in groups.values():
        by_value: dict[Any, list[float]] = {}
        kind = "accuracy"
        for point, validated in group:
            if id(validated) in scores:
                kind, found = scores[id(validated)]
                by_value.setdefault(point.values[key], []).append(found)
        complete = max(map(len, by_value.values()), default=0)
        # A value that failed for some seed is not held against those that have all.
        candidates = tuple(Candidate(value, tuple(s)) for value, s in by_value.items() if len(s) == complete)
        if not candidates:
            continue
        first = group[0][0]
        validated_on = max(samples.get(id(validated), 0) for _, validated in group)
        picks.append(Pick(first.definition.name, first.without(key, "seed"), key, kind, candidates, validated_on))
        kept += [point for point, _ in group if point.values[key] == picks[-1].chosen.value]
    return kept, picks, swept.failures


def _validated(point: Point) -> Point:
    """The point, evaluated on the validation part."""
    data = {**point.definition.data.model_dump(), "evaluate": "validate"}
    return Point(point.definition.changed({"data": data}), point.values)


def require_any(swept: Swept) -> None:
    """Raise the first failure where there is no record at all."""
    if swept.records or not swept.failures:
        return
    lost = swept.failures[0]
    kind = {kind.exit_code: kind for kind in (McutrainError, UsageError, NotAvailableError)}
    raise kind.get(lost.failure.exit_code, McutrainError)(f"{lost.point.name} on {lost.runner}: {lost.failure.error}")
