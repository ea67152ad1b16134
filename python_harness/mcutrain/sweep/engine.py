"""Do jobs: what is in the store is read, the rest is computed by workers, and kept as soon as it is there."""

from __future__ import annotations

import queue
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcutrain.datasets import EpisodeData
from mcutrain.episode.record import EpisodeRecord
from mcutrain.errors import McutrainError
from mcutrain.sweep.cluster import connected, local_workers, worker_count
from mcutrain.sweep.job import Job, Outcome, run_job
from mcutrain.sweep.store import Store

_LOOK_SECONDS = 5.0
_NO_SCHEDULER = "the scheduler of the workers is gone; start the same command again, it goes on where it was"
_NOBODY_SECONDS = 120.0
_QUIET_SECONDS = 20.0


@dataclass(frozen=True)
class Failure:
    """Why a job has no record."""

    error: str
    exit_code: int


@dataclass(frozen=True)
class Done:
    """A job that ended. left_seconds: estimate until all are; None where nothing is known yet."""

    job: Job
    result: EpisodeRecord | Failure
    seconds: float
    done: int
    total: int
    left_seconds: float | None


@dataclass(frozen=True)
class Inputs:
    """What workers need beside the jobs: model files by the hash of their content, samples by theirs."""

    models: Mapping[str, Path]
    data: Mapping[str, EpisodeData]


@dataclass
class Tally:
    """How many jobs were read from the store, and computed."""

    reused: int = 0
    computed: int = 0


@dataclass
class Engine:
    """Workers and a store. jobs: processes of this machine; scheduler: address of Dask's, which is used instead.

    Nothing is started before a job has to be computed. Use it as a context manager: its processes end behind the block.
    """

    store: Store
    jobs: int
    scheduler: str | None = None
    on_done: Callable[[Done], None] | None = None
    on_note: Callable[[str], None] | None = None
    tally: Tally = field(default_factory=Tally)
    _stack: ExitStack = field(default_factory=ExitStack)
    _client: Any = None

    def __enter__(self) -> Self:
        """Nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers."""
        self._stack.close()
        self._client = None

    def run(self, jobs: Sequence[Job], inputs: Inputs) -> dict[str, EpisodeRecord | Failure]:
        """The result of each job, by its key; jobs of one key are one. Raises McutrainError where there are no workers any more."""
        found: dict[str, EpisodeRecord | Failure] = {}
        waiting: dict[str, Job] = {}
        for job in jobs:
            if job.key in found or job.key in waiting:
                continue
            record = self.store.get(job.key)
            if record is None:
                waiting[job.key] = job
            else:
                found[job.key] = record
        self.tally.reused += len(found)
        if waiting:
            self._compute(waiting, inputs, found)
        return found

    def _compute(self, waiting: Mapping[str, Job], inputs: Inputs, found: dict[str, EpisodeRecord | Failure]) -> None:
        client = self._connected(len(waiting))
        estimate = _Estimate(waiting.values())
        ended: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        futures = self._submit(client, waiting, inputs)
        for key, future in futures.items():
            future.add_done_callback(lambda future, key=key: ended.put((key, future)))
        last_seen = time.monotonic()
        while futures:
            try:
                key, future = ended.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                last_seen = self._look(client, last_seen)
                continue
            last_seen = time.monotonic()
            if future.status == "cancelled" and client.status != "running":
                raise McutrainError(_NO_SCHEDULER)
            outcome = _outcome(future)
            del futures[key]
            found[key] = self._keep(key, outcome)
            estimate.note(waiting[key], outcome.seconds)
            if self.on_done is not None:
                left = estimate.left_seconds(max(worker_count(client), 1))
                done = len(waiting) - len(futures)
                self.on_done(Done(waiting[key], found[key], outcome.seconds, done, len(waiting), left))

    def _keep(self, key: str, outcome: Outcome) -> EpisodeRecord | Failure:
        if outcome.error:
            return Failure(outcome.error, outcome.exit_code)
        record = EpisodeRecord.model_validate_json(outcome.record)
        self.store.put(key, outcome.record)
        self.tally.computed += 1
        return record

    def _connected(self, count: int) -> Any:
        if self._client is None:
            address = self.scheduler
            if address is None:
                address = self._stack.enter_context(local_workers(min(self.jobs, count)))
            self._client = self._stack.enter_context(connected(address))
        return self._client

    def _submit(self, client: Any, waiting: Mapping[str, Job], inputs: Inputs) -> dict[str, Any]:
        """Models and samples go as tasks of their own, so that they are made again where a worker that had them dies."""
        models = {
            sha256: inputs.models[sha256].read_bytes() for sha256 in {job.model_sha256 for job in waiting.values()}
        }
        samples = {sha256: inputs.data[sha256] for sha256 in {job.data_sha256 for job in waiting.values()}}
        sent = {
            sha256: client.submit(_itself, content, key=f"mcutrain-content-{sha256}", pure=False)
            for sha256, content in {**models, **samples}.items()
        }
        return {
            key: client.submit(
                run_job,
                job,
                sent[job.model_sha256],
                sent[job.data_sha256],
                key=f"mcutrain-job-{key}",
                pure=False,
                retries=0,
            )
            for key, job in waiting.items()
        }

    def _look(self, client: Any, last_seen: float) -> float:
        """Whether there is anybody to wait for; returns when somebody was last there."""
        if client.status != "running":
            raise McutrainError(_NO_SCHEDULER)
        if worker_count(client) > 0:
            return time.monotonic()
        silent = time.monotonic() - last_seen
        if silent > _NOBODY_SECONDS:
            raise McutrainError(
                f"no worker has been there for {silent:.0f} s; start one (dask worker ADDRESS), then the same command again"
            )
        if self.on_note is not None and silent > _QUIET_SECONDS:
            self.on_note("waiting for workers")
        return last_seen


def _itself(content: Any) -> Any:
    return content


def _outcome(future: Any) -> Outcome:
    if future.status == "finished":
        outcome: Outcome = future.result()
        return outcome
    if future.status == "error":
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            return Outcome(error="every worker that tried it died: out of memory, or a fault of a tool", exit_code=1)
        return Outcome(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", exit_code=1)
    return Outcome(error="the scheduler dropped it", exit_code=1)


class _Estimate:
    """How long the rest takes: each job as long as the mean of those that ended of its kind, or of a wider one."""

    def __init__(self, jobs: Any) -> None:
        self._waiting: dict[str, tuple[str, str, str]] = {job.key: _kind(job) for job in jobs}
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def note(self, job: Job, seconds: float) -> None:
        for kind in self._waiting.pop(job.key):
            self._seconds[kind].append(seconds)

    def left_seconds(self, workers: int) -> float | None:
        total = 0.0
        for kinds in self._waiting.values():
            known = next((self._seconds[kind] for kind in kinds if self._seconds[kind]), None)
            if known is None:
                return None
            total += statistics.fmean(known)
        return total / workers


def _kind(job: Job) -> tuple[str, str, str]:
    """From the narrow to the wide: the same plan for as many epochs on the same runner, the same runner, any job."""
    return f"{job.runner} {job.plan_key} {job.definition['epochs']} {job.steps}", job.runner, ""
