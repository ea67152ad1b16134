"""``profile`` and the cycles in a record, for a network that trains on a board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcutrain.boards import load_board
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.run import RunOptions, profile_steps, run_episode
from mcutrain.episode.runners import make_target
from mcutrain.paths import PROJECT
from mcutrain.timing import estimate_profile
from support.own_builds import own_build_folder

pytestmark = pytest.mark.qemu

EPISODE = "digits-biases"


@pytest.fixture(scope="module")
def prepared() -> PreparedEpisode:
    return prepare(load_episode(EPISODE))


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs the tool in its own folder."""
    folder = tmp_path_factory.mktemp("tool")
    own = {"MCUTRAIN_BUILD": str(own_build_folder(folder / "build")), "PYTHONPATH": str(PROJECT / "python_harness")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mcutrain", *arguments]
        return subprocess.run(
            command, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def test_the_document_adds_up_and_the_files_are_written(tool: Any, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("speedscope", "perfetto", "collapsed")}
    exports = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    done = tool("profile", EPISODE, "--board", "m7-256k", "--steps", "2", "--json", *exports)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    total = document["total"]["estimated_cycles"]
    assert document["metric_kind"] == "estimated_cycles"
    assert document["total"]["estimated_cycles_low"] <= total <= document["total"]["estimated_cycles_high"]
    phases = {entry["name"]: entry["estimated_cycles"] for entry in document["phases"]}
    assert total == pytest.approx(sum(cycles for name, cycles in phases.items() if name != "other"))
    operators = sum(entry["estimated_cycles"] for entry in document["operators"])
    assert operators == pytest.approx(sum(entry["estimated_cycles"] for entry in document["functions"]))
    assert document["total"]["estimated_milliseconds"] == pytest.approx(1000 * total / 216e6)
    stacks = files["collapsed"].read_text(encoding="utf-8").splitlines()
    assert sum(int(line.rsplit(" ", 1)[1]) for line in stacks) == pytest.approx(operators, rel=0.01)
    assert json.loads(files["speedscope"].read_text(encoding="utf-8"))["profiles"][0]["endValue"] == pytest.approx(
        operators
    )
    assert json.loads(files["perfetto"].read_text(encoding="utf-8"))["traceEvents"]


@pytest.mark.parametrize(("board", "wait_states"), [("m4-256k", 5), ("m7-256k", 7)])
def test_cycles_in_flash_stand_beside_those_without_and_are_labelled(board: str, wait_states: int, tool: Any) -> None:
    plain, flash = (
        json.loads(tool("profile", EPISODE, "--board", board, "--steps", "2", "--json", *more).stdout)
        for more in ((), ("--memory", "flash"))
    )
    label = f"flash, {wait_states} wait states, caches"
    assert (plain["memory"], plain["memory_in_flash"]) == ("zero wait states", None)
    assert (flash["memory"], flash["memory_in_flash"]) == ("zero wait states", label)
    for where in ("inference", "total"):
        assert "estimated_cycles_in_flash" not in plain[where]
        assert flash[where]["estimated_cycles"] == plain[where]["estimated_cycles"]
        slower = flash[where]["estimated_cycles_in_flash"] / flash[where]["estimated_cycles"]
        assert 1.01 < slower < 1.5
        energies = [flash[where][f"estimated_millijoules{end}"] for end in ("", "_in_flash")]
        assert energies[1] / energies[0] == pytest.approx(slower)
    stalls = sum(
        row["estimated_cycles_in_flash"] - row["estimated_cycles"] for row in flash["operators"] if row["op"] >= 0
    )
    assert stalls == pytest.approx(flash["total"]["estimated_cycles_in_flash"] - flash["total"]["estimated_cycles"])
    table = tool("profile", EPISODE, "--board", board, "--steps", "2", "--memory", "flash").stdout
    assert label in table and "zero wait states" in table


def test_an_unknown_memory_is_one_line(tool: Any) -> None:
    done = tool("profile", EPISODE, "--memory", "dram")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give flash" in done.stderr


def test_an_export_that_cannot_be_written_is_one_line(tool: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = tool("profile", EPISODE, "--steps", "1", "--collapsed", str(tmp_path / "file" / "inside"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot write the profile" in done.stderr


@pytest.mark.parametrize("board", ["m4-256k", "m7-256k"])
def test_a_record_holds_exact_instructions_and_estimated_cycles(board: str, prepared: PreparedEpisode) -> None:
    record, _ = run_episode(prepared, make_target(prepared.plan, board), RunOptions(steps=2, test=0, golden_steps=0))
    instructions, cycles = record.instructions_per_step, record.estimated_cycles_per_step
    assert instructions is not None and cycles is not None
    assert record.estimated_cycles_low is not None and record.estimated_cycles_high is not None
    assert record.estimated_cycles_low < cycles.total < record.estimated_cycles_high
    inference, energy = record.estimated_cycles_per_inference, record.estimated_millijoules_per_inference
    assert inference is not None and energy is not None
    # Forward of a step and an inference are the same operators, but for the masks that only training wants.
    assert inference == pytest.approx(cycles.forward, rel=0.05)
    board_file = load_board(board)
    assert board_file.supply_ua_per_mhz is not None
    assert energy == pytest.approx(inference * 3.3 * board_file.supply_ua_per_mhz * 1e-9)
    assert cycles.total == pytest.approx(cycles.forward + cycles.loss + cycles.backward + cycles.update)
    assert sum(row.estimated_cycles or 0.0 for row in record.operators) == pytest.approx(cycles.total)
    # One instruction at a time takes at least a cycle each, two at a time at least half.
    least, most = (1.0, 2.0) if board.startswith("m4") else (0.5, 1.5)
    assert least < cycles.total / instructions.total < most


def test_a_profile_is_evaluated_in_two_seconds(prepared: PreparedEpisode) -> None:
    target = make_target(prepared.plan, "m7-256k")
    profile = target.profile(prepared.image(steps=3, test=0, evaluate=(False, False)))
    began = time.process_time()
    found = estimate_profile(profile, "cortex-m7", target.functions)
    assert time.process_time() - began < 2.0
    assert sum(cell.instructions for cell in found.cells) == profile.instructions


def test_estimates_are_the_same_every_time(prepared: PreparedEpisode) -> None:
    target = make_target(prepared.plan, "m4-256k")
    assert profile_steps(prepared, target, 2) == profile_steps(prepared, target, 2)
