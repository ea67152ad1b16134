"""Sweeps on real workers: the same records whatever their number and whatever happens to them."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.record import EpisodeRecord, comparable
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.runners import HOST, make_target
from mcutrain.errors import McutrainError, UsageError
from mcutrain.paths import PROJECT
from mcutrain.sweep import cluster
from mcutrain.sweep.cluster import local_workers
from mcutrain.sweep.engine import Done, Engine, Failure
from mcutrain.sweep.grid import Axis, Point, points_of
from mcutrain.sweep.store import Store
from mcutrain.sweep.sweep import Describer, Settings, Swept, pick, sweep

HOST_ONLY = Settings((HOST,), steps=60, test=100, golden_steps=2)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Two workers that the tests share which do them no harm."""
    with local_workers(2) as address:
        yield address


@pytest.fixture
def engine(store: Store, scheduler: str) -> Iterator[Engine]:
    with Engine(store, 1, scheduler) as made:
        yield made


def contents(swept: Swept) -> list[dict[str, Any]]:
    return [comparable(record) for _, record in swept.records]


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    """What the points' runs give one by one, without any worker."""
    found = []
    for point in points_of([load_episode("digits-sparse")], [Axis("scheme", ("head", "b all; conv0"))], (1, 2)):
        prepared = prepare(point.definition)
        options = RunOptions(HOST_ONLY.steps, HOST_ONLY.test, HOST_ONLY.golden_steps, profile=False)
        record, _ = run_episode(prepared, make_target(prepared.plan, HOST), options)
        found.append(comparable(record))
    return found


@pytest.mark.parametrize("jobs", [1, 4])
def test_records_are_those_of_single_runs_whatever_the_number_of_workers(
    points: list[Point], store: Store, jobs: int, alone: list[dict[str, Any]]
) -> None:
    with Engine(store, jobs) as own:
        assert contents(sweep(points, HOST_ONLY, own)) == alone


def test_records_are_those_of_single_runs_with_the_workers_of_a_scheduler(
    points: list[Point], engine: Engine, alone: list[dict[str, Any]]
) -> None:
    assert contents(sweep(points, HOST_ONLY, engine)) == alone


def test_a_worker_that_is_killed_costs_its_task_only(
    points: list[Point], store: Store, alone: list[dict[str, Any]]
) -> None:
    killed: list[int] = []

    def kill_one(done: Done) -> None:
        if not killed:
            killed.append(min(own._client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    with Engine(store, 2, on_done=kill_one) as own:
        swept = sweep(points, HOST_ONLY, own)
    assert killed and not swept.failures
    assert contents(swept) == alone


def kill_workers_of(client: Any, key: str, ended: threading.Event) -> None:
    """Kill each worker that takes the job with this key, for as long as none has ended it."""
    while not ended.wait(0.05):
        for address, tasks in client.processing().items():
            if any(key in task for task in tasks):
                for process in client.run(os.getpid, workers=[address], on_error="ignore").values():
                    os.kill(process, signal.SIGKILL)


@pytest.mark.slow
def test_a_task_whose_workers_all_die_is_given_up_alone(points: list[Point], store: Store) -> None:
    describer, ended = Describer(), threading.Event()
    quick = describer.job(points[0], HOST, steps=5, test=5)
    long = describer.job(points[1].changed({"epochs": 500}), HOST, steps=None, test=5)
    with Engine(store, 1) as own:
        found = own.run([quick], describer.inputs)
        killer = threading.Thread(target=kill_workers_of, args=(own._client, long.key, ended))
        killer.start()
        try:
            found |= own.run([long], describer.inputs)
        finally:
            ended.set()
            killer.join()
    assert isinstance(found[quick.key], EpisodeRecord)
    failure = found[long.key]
    assert isinstance(failure, Failure) and "died" in failure.error


def test_nothing_is_computed_twice(points: list[Point], engine: Engine, store: Store) -> None:
    first = sweep(points, HOST_ONLY, engine)
    renamed = [Point(point.definition.changed({"name": "other"}), point.values) for point in points]
    with Engine(store, 2) as second:
        again = sweep(renamed, HOST_ONLY, second)
    assert (second.tally.computed, second.tally.reused) == (0, len(points))
    assert second._client is None, "no worker is started where nothing is left to do"
    assert {record.episode for _, record in again.records} == {"other"}
    assert [record.digest for _, record in again.records] == [record.digest for _, record in first.records]


def test_boards_give_memory_and_counts_and_are_held_against_the_host(points: list[Point], engine: Engine) -> None:
    settings = Settings(("m4-256k",), steps=30, test=50, golden_steps=2, check_steps=10)
    swept = sweep(points, settings, engine)
    assert [(check.point.name, check.board, check.steps, check.equal) for check in swept.spot_checks] == [
        ("digits-sparse scheme=head seed=1", "m4-256k", 10, True),
        ("digits-sparse scheme='b all; conv0' seed=1", "m4-256k", 10, True),
    ]
    for point, record in swept.records:
        prepared = prepare(point.definition)
        board, _ = run_episode(prepared, make_target(prepared.plan, "m4-256k"), RunOptions(30, 50, 0, profile=True))
        assert (record.digest, record.accuracy_after) == (board.digest, board.accuracy_after)
        assert (record.sram, record.sram_peak_bytes, record.elf_sha256) == (
            board.sram,
            board.sram_peak_bytes,
            board.elf_sha256,
        )
        assert record.board == "m4-256k" and record.runner == "host" and record.seed == point.values["seed"]
        assert record.counts_source is not None and record.counts_source.startswith("10 steps of digits-sparse scheme=")
        if point.values["seed"] == 1:  # the very steps that were counted
            assert record.instructions_per_step == board.instructions_per_step


def test_steps_of_a_board_that_are_not_the_hosts_are_found(points: list[Point], engine: Engine, store: Store) -> None:
    settings = Settings(("m4-256k",), steps=12, test=10, golden_steps=0, check_steps=10)
    sweep(points[:1], settings, engine)
    changed = 0
    for path in store.folder.rglob("*.json.gz"):
        record = EpisodeRecord.model_validate_json(gzip.decompress(path.read_bytes()))
        if record.board == "m4-256k":
            steps = list(record.step_records)
            steps[7] = steps[7].model_copy(update={"digest": "00000000"})
            path.write_bytes(
                gzip.compress(record.model_copy(update={"step_records": tuple(steps)}).model_dump_json().encode())
            )
            changed += 1
    assert changed == 1
    assert [check.equal for check in sweep(points[:1], settings, engine).spot_checks] == [False]


def test_failures_are_listed_and_stop_nothing(engine: Engine) -> None:
    points = points_of([load_episode("digits-sparse")], [Axis("scheme", ("conv99", "head"))], ())
    swept = sweep(points, HOST_ONLY, engine)
    assert [lost.point.values["scheme"] for lost in swept.failures] == ["conv99"]
    assert "conv99" in swept.failures[0].failure.error
    assert [record.options["scheme"] for _, record in swept.records] == ["head"]


def test_a_plan_that_does_not_fit_a_board_is_a_failure_of_that_board_alone(engine: Engine) -> None:
    points = points_of([load_episode("digits-sparse")], [Axis("new_head", (6000,))], ())
    settings = Settings(("m4-256k", "m4-1m"), steps=2, test=2, golden_steps=0, check_steps=2)
    swept = sweep(points, settings, engine)
    assert [lost.runner for lost in swept.failures] == ["m4-256k"]
    assert "262,144" in swept.failures[0].failure.error
    assert [record.board for _, record in swept.records] == ["m4-1m"]


def test_a_value_is_chosen_on_validation_samples_and_never_on_test_samples(engine: Engine, store: Store) -> None:
    episode = load_episode("digits-sparse").changed(None, {"scheme": "head"})
    points = points_of([episode], [Axis("learning_rate", (1e-7, 1e-2))], (1, 2))
    kept, picks, failures = pick(points, "learning_rate", Settings((HOST,), golden_steps=0), engine, Describer())
    assert not failures and len(picks) == 1
    chosen = picks[0]
    assert chosen.chosen.value == 1e-2 and chosen.is_at_edge and chosen.samples == 100
    assert [point.name for point in kept] == [
        "digits-sparse learning_rate=0.01 seed=1",
        "digits-sparse learning_rate=0.01 seed=2",
    ]
    assert all(point.definition.data.evaluate == "test" for point in kept)
    records = [
        EpisodeRecord.model_validate_json(gzip.decompress(path.read_bytes()))
        for path in store.folder.rglob("*.json.gz")
    ]
    assert {(record.evaluated, record.samples_adapt, record.samples_test) for record in records} == {
        ("validate", 300, 100)
    }
    scores = sorted(record.accuracy_after for record in records if record.accuracy_after is not None)
    assert sorted(score for candidate in chosen.candidates for score in candidate.scores) == scores


COMMAND = (
    *("digits-sparse", "--grid", "scheme=head,biases", "--seeds", "1..4", "--boards", "host", "--jobs", "2"),
    *("--steps", "50", "--test", "50"),
)


def command(tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mcutrain", "sweep", *COMMAND, "--output", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "python_harness"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def own_processes(marker: str) -> list[int]:
    """Processes whose environment holds ``marker``."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and marker.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def test_a_scheduler_that_ends_is_named_and_nobody_waits_for_it(points: list[Point], store: Store) -> None:
    ended: list[int] = []

    def end_scheduler(done: Done) -> None:
        if not ended:
            ended.append(own._client.run_on_scheduler(os.getpid))
            os.kill(ended[0], signal.SIGKILL)

    with Engine(store, 1, on_done=end_scheduler) as own, pytest.raises(McutrainError, match="goes on where it was"):
        sweep(points, HOST_ONLY, own)
    assert len(list(store.folder.rglob("*.json.gz"))) >= 1


def test_where_no_scheduler_answers_is_said_in_one_line(
    points: list[Point], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    with (
        Engine(store, 1, "tcp://127.0.0.1:9") as own,
        pytest.raises(UsageError, match=r"tcp://127.0.0.1:9.*dask scheduler"),
    ):
        sweep(points, HOST_ONLY, own)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_sweep_leaves_nothing_and_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    marker = f"SWEEP_TEST_{number.name}_{os.getpid()}=1"
    environment = {"MCUTRAIN_BUILD": str(own_build(tmp_path)), marker.removesuffix("=1"): "1"}
    first = command(tmp_path, **environment)
    assert first.stderr is not None
    lines = [first.stderr.readline() for _ in range(3)]
    assert re.match(r"\[3/8\]", lines[-1]), lines
    first.send_signal(number)
    first.communicate(timeout=30)
    assert first.returncode == (-9 if number == signal.SIGKILL else 143)
    limit = time.monotonic() + 15
    while own_processes(marker) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not own_processes(marker)
    assert not (tmp_path / "out" / "records.json").exists()
    second = command(tmp_path, **environment)
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    found = re.search(r"(\d+) runs? computed, (\d+) known before, 0 failed", errors)
    assert found and int(found[1]) + int(found[2]) == 8 and int(found[2]) >= 3


def own_build(tmp_path: Path) -> Path:
    from support.own_builds import own_build_folder

    return own_build_folder(tmp_path / "build")
