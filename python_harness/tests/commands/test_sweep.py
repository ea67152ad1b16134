"""``sweep`` as a user meets it: its document, its files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.conftest import Tool
from mcutrain.report import load_records
from support.own_builds import own_build_folder

SHORT = ("--boards", "host", "--steps", "20", "--test", "20", "--golden-steps", "2")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUTRAIN_BUILD", str(own_build_folder(tmp_path_factory.mktemp("build"))))


def test_the_document_has_every_record_with_its_seed_and_what_was_found(here: Tool, tmp_path: Path) -> None:
    grid = ("--grid", "scheme=head,conv99", "--seeds", "1,3")
    done = here("sweep", "digits-sparse", *grid, *SHORT, "--jobs", "2", "--output", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [(record["seed"], record["scheme"]) for record in document["episodes"]] == [(1, "head"), (3, "head")]
    assert document["axes"] == {"scheme": ["head", "conv99"]}
    assert [failure["values"] for failure in document["failures"]] == [
        {"scheme": "conv99", "seed": 1},
        {"scheme": "conv99", "seed": 3},
    ]
    assert all("conv99" in failure["error"] for failure in document["failures"])
    assert (document["computed"], document["reused"]) == (2, 0)
    kept = load_records(tmp_path / "out" / "records.json")
    assert [record.digest for record in kept] == [record["digest"] for record in document["episodes"]]
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert found == {key: value for key, value in document.items() if key != "episodes"}
    assert (tmp_path / "out" / "report.html").stat().st_size > 1_000_000
    assert "[4/4]" in done.stderr and "2 failed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--pick", "learning_rate"), "--pick learning_rate: give its values"),
        (("--boards", "m9"), "unknown runner 'm9'"),
        (("--boards", "golden"), "golden is no board"),
        (("--boards", "m4-256k,m4-256k"), "m4-256k is given twice"),
        (("--boards", "m4-256k@renode"), "counts no instructions"),
        (("--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"), "leave out --jobs"),
        (("--grid", "learning_rate=-1"), "digits-sparse: learning_rate"),
        (("--grid", "colour=red"), "has a key 'colour'"),
        (("--seeds", "0"), "seed"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_runs(here: Tool, arguments: tuple[str, ...], said: str) -> None:
    done = here("sweep", "digits-sparse", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_where_every_run_fails_the_first_reason_is_the_error(here: Tool) -> None:
    done = here("sweep", "digits-sparse", "--grid", "scheme=conv99", *SHORT, "--jobs", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("mcutrain: digits-sparse scheme=conv99 on host: ")


def test_a_rate_can_only_be_given_or_found(here: Tool) -> None:
    done = here("run", "digits-sparse", "--board", "host", "--find-learning-rate", "--learning-rate", "0.1")
    assert done.returncode == 2 and "leave out one of them" in done.stderr
