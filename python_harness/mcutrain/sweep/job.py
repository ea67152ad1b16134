"""A job: one run on one runner, described by all that its result depends on, and what a worker does with it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mcutrain.atomic import write_atomically
from mcutrain.datasets import EpisodeData
from mcutrain.episode.definition import WORDS, EpisodeDefinition
from mcutrain.episode.prepare import PlannedEpisode, plan_episode, prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.runners import find_runner, make_target
from mcutrain.errors import McutrainError
from mcutrain.paths import PROJECT, build_directory, is_file

# Of the data, the samples' hash says the rest.
_PLACES = frozenset({"file"})
_PLANNED = ("model", "output", "new_head", "method", "options", "input")
_SOURCES = ("CMakeLists.txt", "cmake", "src", "emulation/boards", "emulation/qemu", "emulation/timing")
_PACKAGE = "python_harness/mcutrain"
# Rooms that no result depends on.
_AROUND = frozenset({"bench", "commands", "report", "robot"})
# The last plans of this process: jobs of one plan often follow each other, and a plan takes seconds.
_MOST_PLANS = 8
_plans: dict[tuple[str, Path], PlannedEpisode] = {}


@dataclass(frozen=True)
class Job:
    """One run.

    definition: the keys of the episode's YAML file, paths as records have them. steps, test, golden_steps, profile: as in RunOptions.
    tools: versions of what builds and runs it, where its counts depend on them. code_sha256: of the sources of mcutrain.
    """

    runner: str
    definition: Mapping[str, Any]
    model_sha256: str
    data_sha256: str
    steps: int | None = None
    test: int | None = None
    golden_steps: int = 0
    profile: bool = False
    tools: str = ""
    code_sha256: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 (hexadecimal) of all that the result depends on: equal keys mean equal results."""
        content = asdict(self)
        used = {key: value for key, value in self.definition.items() if key not in WORDS | {"model"}}
        used["data"] = {key: value for key, value in used["data"].items() if key not in _PLACES}
        return _sha256({**content, "definition": used})

    @cached_property
    def plan_key(self) -> str:
        """SHA-256 (hexadecimal) of what the plan depends on."""
        return _sha256([self.model_sha256, *(self.definition[key] for key in _PLANNED if key != "model")])


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its record as JSON, or in one line why there is none; exit_code: of that error; seconds it took."""

    record: str = ""
    error: str = ""
    exit_code: int = 0
    seconds: float = 0.0


def run_job(job: Job, model: bytes, data: EpisodeData) -> Outcome:
    """Do a job, on whatever machine: model is the content of the model file, data the samples with which it was described."""
    begin = time.monotonic()
    try:
        if code_sha256() != job.code_sha256:
            raise McutrainError("the worker has another mcutrain than the sweep: install the same on both")
        record = _record(job, _model_file(job, model), data)
    except McutrainError as error:
        return Outcome(error=str(error), exit_code=error.exit_code, seconds=time.monotonic() - begin)
    except OSError as error:  # a disk that is full, a tool that is not there
        said = f"{error.filename or 'input or output'}: {error.strerror or error}"
        return Outcome(error=said, exit_code=2, seconds=time.monotonic() - begin)
    return Outcome(record.model_dump_json(), seconds=time.monotonic() - begin)


def _record(job: Job, path: Path, data: EpisodeData) -> EpisodeRecord:
    definition = EpisodeDefinition.model_validate(job.definition)
    prepared = prepare(definition, _planned(job.plan_key, path, definition), data)
    # What is observed is the same on every runner: on a board it would be the host's work again.
    observe = find_runner(job.runner).board is None
    options = RunOptions(job.steps, job.test, job.golden_steps, job.profile, observe=observe)
    record, divergence = run_episode(prepared, make_target(prepared.plan, job.runner), options)
    if divergence is not None:
        raise McutrainError(str(divergence))
    return record


def _planned(key: str, path: Path, definition: EpisodeDefinition) -> PlannedEpisode:
    if (key, path) not in _plans:
        while len(_plans) >= _MOST_PLANS:
            del _plans[next(iter(_plans))]
        _plans[key, path] = plan_episode(definition, path)
    return _plans[key, path]


def _model_file(job: Job, content: bytes) -> Path:
    """The model under its own name, in a folder that is called by its hash."""
    if hashlib.sha256(content).hexdigest() != job.model_sha256:
        raise McutrainError(f"the model that arrived is not {job.model_sha256}")
    path = build_directory() / "sweep" / "models" / job.model_sha256 / Path(job.definition["model"]).name
    if not (is_file(path) and path.read_bytes() == content):
        write_atomically(path, content, "the model")
    return path


@cache
def code_sha256() -> str:
    """SHA-256 (hexadecimal) of the sources that results depend on: the library, the boards, and the package without its surface."""
    sha256 = hashlib.sha256()
    package = PROJECT / _PACKAGE
    files = [path for name in _SOURCES for path in sorted([PROJECT / name, *(PROJECT / name).rglob("*")])]
    files += [path for path in sorted(package.rglob("*.py")) if path.relative_to(package).parts[0] not in _AROUND]
    for path in files:
        if path.is_file():
            sha256.update(f"{path.relative_to(PROJECT)}\0".encode())
            sha256.update(hashlib.sha256(path.read_bytes()).digest())
    return sha256.hexdigest()


def _sha256(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
