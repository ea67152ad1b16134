"""A job's key holds all that its result depends on, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mcutrain.episode.definition import load_episode
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.runners import HOST
from mcutrain.sweep.grid import Point
from mcutrain.sweep.job import Job, code_sha256, run_job
from mcutrain.sweep.store import Store
from mcutrain.sweep.sweep import Describer

MUCH: dict[str, Any] = {"steps": 10, "test": 20, "golden_steps": 2}


def job_of(describer: Describer, **changes: Any) -> Job:
    definition = load_episode("digits-sparse").changed(changes)
    return describer.job(Point(definition), HOST, **MUCH)


@pytest.fixture(scope="module")
def describer() -> Describer:
    return Describer()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"learning_rate": 0.02},
        {"epochs": 2},
        {"schedule": "constant"},
        {"scheme": "head"},
        {"step_cap": 0.25},
        {"new_head": 10},
        {"input": "external"},
        {"data": {"set": "digits", "shift": "rotation_contrast_noise", "severity": 4}},
        {"data": {"set": "digits", "shift": "rotation_contrast_noise", "evaluate": "validate"}},
        {"data": {"set": "digits", "shift": "rotation_contrast_noise", "adapt": 100}},
    ],
    ids=str,
)
def test_what_changes_the_result_changes_the_key(describer: Describer, changes: dict[str, Any]) -> None:
    assert job_of(describer, **changes).key != job_of(describer).key


def test_names_do_not_change_the_key(describer: Describer) -> None:
    other = job_of(describer, name="other", description="other", boards=["m7-1m"], golden_steps=7)
    assert other.key == job_of(describer).key


@pytest.mark.parametrize(
    "changes",
    [
        {"runner": "m4-256k"},
        {"steps": 11},
        {"test": None},
        {"golden_steps": 3},
        {"profile": True},
        {"model_sha256": "0" * 64},
        {"data_sha256": "0" * 64},
        {"code_sha256": "0" * 64},
        {"tools": "13.2.1"},
    ],
    ids=str,
)
def test_how_much_of_what_is_run_by_what_changes_the_key(describer: Describer, changes: dict[str, Any]) -> None:
    job = job_of(describer)
    assert dataclasses.replace(job, **changes).key != job.key


def test_only_what_the_plan_depends_on_changes_its_key(describer: Describer) -> None:
    plain = job_of(describer).plan_key
    assert job_of(describer, seed=2, learning_rate=0.5, epochs=1).plan_key == plain
    for changes in ({"scheme": "head"}, {"input": "external"}, {"new_head": 10}):
        assert job_of(describer, **changes).plan_key != plain


def run(describer: Describer, job: Job) -> Any:
    model = next(iter(describer.inputs.models.values())).read_bytes()
    return run_job(job, model, describer.inputs.data[job.data_sha256])


def test_a_job_is_done_without_its_files(describer: Describer) -> None:
    job = job_of(describer)
    moved = dataclasses.replace(job, definition={**job.definition, "model": "nowhere/digits.onnx"})
    records = [EpisodeRecord.model_validate_json(run(describer, each).record) for each in (job, moved)]
    assert records[0].digest == records[1].digest
    assert records[0].steps == 10 and records[0].matches_golden is True


def test_a_worker_of_another_mcutrain_refuses(describer: Describer) -> None:
    outcome = run(describer, dataclasses.replace(job_of(describer), code_sha256="0" * 64))
    assert not outcome.record and "another mcutrain" in outcome.error


def test_a_model_that_is_not_the_one_that_was_meant_is_refused(describer: Describer) -> None:
    job = job_of(describer)
    outcome = run_job(job, b"something else", describer.inputs.data[job.data_sha256])
    assert not outcome.record and job.model_sha256 in outcome.error


def test_what_cannot_be_planned_is_an_error_in_one_line(describer: Describer) -> None:
    outcome = run(describer, job_of(describer, scheme="conv99"))
    assert outcome.exit_code == 2 and "conv99" in outcome.error and "\n" not in outcome.error


def test_a_record_that_cannot_be_read_is_computed_again(describer: Describer, store: Store) -> None:
    job = job_of(describer)
    store.put(job.key, run(describer, job).record)
    assert store.get(job.key) is not None
    (path,) = store.folder.rglob("*.json.gz")
    path.write_bytes(path.read_bytes()[:1000])
    assert store.get(job.key) is None


def test_the_code_is_hashed_by_content(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcutrain.sweep import job as module

    before = code_sha256()
    monkeypatch.setattr(module, "_AROUND", frozenset({"commands", "report", "robot"}))
    assert module.code_sha256.__wrapped__() != before
