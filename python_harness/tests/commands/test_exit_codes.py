"""Whatever a user gets wrong: the exit code, one clear line on standard error, nothing on standard output, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commands.conftest import Tool
from mcutrain.paths import PROJECT
from support.own_builds import own_build_folder

DIGITS = str(PROJECT / "examples" / "digits" / "digits.onnx")
EPISODE = "digits-biases"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUTRAIN_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("MCUTRAIN_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "python_harness"))
    monkeypatch.chdir(tmp_path)


def tool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tool in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mcutrain", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def assert_one_line(stderr: str, *said: str) -> None:
    assert stderr.startswith("mcutrain: ") and stderr.endswith("\n") and stderr.count("\n") == 1, stderr
    assert "Traceback" not in stderr
    for part in said:
        assert part in stderr, stderr


def assert_nothing_left(folder: Path, *expected: str) -> None:
    """No result and no build; expected: what the test itself put there."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)


USAGE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no such command": (("trian",), ("No such command 'trian'",)),
    "no such option": (("run", EPISODE, "--stpes", "3"), ("--stpes",)),
    "an argument is missing": (("run",), ("Missing argument 'EPISODE'",)),
    "a run to repeat, and an episode": (("run", EPISODE, "--from", "r.json"), ("--from", "leave out EPISODE")),
    "a run to repeat otherwise": (("run", "--from", "r.json", "--seed", "2"), ("as it was: leave out --seed",)),
    "a run to repeat that is none": (("run", "--from", "r.json"), ("cannot read records from r.json",)),
    "a number of a record that is none": (("run", "--from", "r.json#x"), ("'x' is no number of a record",)),
    "a number is none": (("run", EPISODE, "--steps", "many"), ("'--steps'", "integer")),
    "a number is negative": (("run", EPISODE, "--steps", "-1"), ("'--steps'", "0")),
    "unknown episode": (("run", "digits-nope"), ("no episode 'digits-nope'", "digits-sparse")),
    "unknown episode to verify": (("verify", "digits-nope"), ("no episode 'digits-nope'",)),
    "unknown episode file": (("build", "nope.yaml"), ("no episode file 'nope.yaml'",)),
    "wrong board": (("run", EPISODE, "--board", "m5-256k"), ("unknown runner 'm5-256k'", "m4-256k")),
    "wrong board among good ones": (("run", EPISODE, "--board", "host", "--board", "m5"), ("unknown runner 'm5'",)),
    "wrong emulator": (("run", EPISODE, "--board", "m4-256k@qmeu"), ("'m4-256k@qmeu'", "did you mean m4-256k@qemu?")),
    "a host with an emulator": (("run", EPISODE, "--board", "host@qemu"), ("unknown runner 'host@qemu'", "host")),
    "a board without its emulator's name": (("run", EPISODE, "--board", "m4-256k@"), ("unknown runner 'm4-256k@'",)),
    "wrong runner to hold against a baseline": (("baseline", "check", "--board", "m5"), ("unknown runner 'm5'",)),
    "a profile of what counts nothing": (("profile", EPISODE, "--board", "host"), ("host counts no", "m4-256k@qemu")),
    "one runner by two names": (("verify", EPISODE, "--runners", "m4-256k,m4-256k@qemu"), ("two or more different",)),
    "wrong board to plan for": (("plan", DIGITS, "--board", "m5"), ("unknown board 'm5'",)),
    "wrong board to build for": (("build", EPISODE, "--board", "host"), ("unknown board 'host'",)),
    "unknown runner": (("verify", EPISODE, "--runners", "golden,gdb"), ("'gdb'", "m4-256k")),
    "one runner": (("verify", EPISODE, "--runners", "golden,golden"), ("two or more different runners",)),
    "bad scheme": (("plan", DIGITS, "--scheme", "b9"), ("9 biases, but the network has 3 layers",)),
    "bad scheme of an episode": (("run", EPISODE, "--scheme", "b1; 7"), ("no layer '7'",)),
    "bad error mode": (("run", EPISODE, "--errors", "b17"), ("errors: ", "'b16' or 'f32'")),
    "bad error mode to plan": (("plan", DIGITS, "--errors", "b17"), ("errors: ", "'b16' or 'f32'")),
    "input in a place that is none": (("plan", DIGITS, "--input", "flash"), ("--input 'flash'", "sram, external")),
    "input of an episode in no place": (("run", EPISODE, "--input", "flash"), ("input: ", "'sram' or 'external'")),
    "no batch": (("run", EPISODE, "--batch", "0"), ("'--batch'", "1")),
    "an option without a value": (("run", EPISODE, "--option", "step_cap"), ("--option 'step_cap'", "KEY=VALUE")),
    "an option without a key": (("verify", EPISODE, "--option", "=3"), ("--option '=3'", "KEY=VALUE")),
    "an option that is none": (("plan", DIGITS, "--option", "stpe_cap=1"), ("stpe_cap: ", "did you mean step_cap?")),
    "an option that is a key": (("profile", EPISODE, "--option", "epochs=1"), ("epochs: there is no such key",)),
    "an option out of range": (("run", EPISODE, "--option", "step_cap=-1"), ("step_cap: ", "greater than")),
    "an option that is text": (("run", EPISODE, "--option", "step_cap=much"), ("step_cap: ", "number")),
    "an option that is a list": (("run", EPISODE, "--option", "scheme=[1]"), ("--option 'scheme=[1]'", "one value")),
    "an option that is no YAML": (("build", EPISODE, "--option", "scheme='"), ("no YAML value",)),
    "an option given twice": (
        ("plan", DIGITS, "--scheme", "head", "--option", "scheme=full"),
        ("scheme is given twice",),
    ),
    "options of another method": (("plan", DIGITS, "--method", "inference", "--scheme", "head"), ("scheme: ",)),
    "bad weights": (("verify", EPISODE, "--weights", "int4"), ("weights: ", "stochastic8")),
    "bad method": (("plan", DIGITS, "--method", "adam"), ("unknown method 'adam'", "sparse_update")),
    "negative rate": (("run", EPISODE, "--learning-rate", "-1"), ("learning_rate: ", "greater than")),
    "infinite rate": (("run", EPISODE, "--learning-rate", "inf"), ("learning_rate: ", "finite")),
    "no epoch": (("run", EPISODE, "--epochs", "0"), ("epochs: ",)),
    "seed 0": (("run", EPISODE, "--seed", "0"), ("seed: ",)),
    "negative budget": (("plan", DIGITS, "--budget", "-1"), ("--budget -1", "positive")),
    "budget 0": (("plan", DIGITS, "--budget", "0"), ("--budget 0",)),
    "no model file": (("plan", "nope.tflite"), ("no model file 'nope.tflite'",)),
    "no model file to inspect": (("inspect", "nope.onnx"), ("no model file 'nope.onnx'",)),
    "sources without a folder": (("build", EPISODE, "--sources-only"), ("--output",)),
    "a word of C": (("build", EPISODE, "--name", "while", "--output", "c"), ("--name 'while'", "'model_while'")),
    "a name that C does not have": (("build", EPISODE, "--name", "my net", "--output", "c"), ("'my net'", "'my_net'")),
    "no reason": (("baseline", "update", EPISODE), ("--reason is missing",)),
    "blank reason": (("baseline", "update", EPISODE, "--reason", "  "), ("--reason is missing",)),
    "no such baseline": (("baseline", "check", "digits-nope"), ("digits-nope has no baseline",)),
    "no such record": (("report", "nope.json"), ("nope.json",)),
    "unknown suite": (("test", "--suite", "nope"), ("unknown suite 'nope'", "pytest")),
}


@pytest.mark.parametrize("name", USAGE)
def test_a_mistake_ends_with_two_and_one_line(name: str, tmp_path: Path, here: Tool) -> None:
    arguments, said = USAGE[name]
    done = here(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert_one_line(done.stderr, *said)
    assert_nothing_left(tmp_path)


def test_without_a_command_the_help_says_what_there_is() -> None:
    done = tool()
    assert done.returncode == 2
    for command in ("demo", "test", "inspect", "plan", "build", "run", "verify", "baseline", "report", "doctor"):
        assert command in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_process_itself_ends_with_two_and_one_line(tmp_path: Path) -> None:
    done = tool("run", "digits-nope", "--json")
    assert done.returncode == 2 and done.stdout == ""
    assert_one_line(done.stderr, "no episode 'digits-nope'")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 100, 5000, -1])
@pytest.mark.parametrize("command", ["plan", "inspect"])
def test_a_truncated_model_is_refused(command: str, kept: int, tmp_path: Path, here: Tool) -> None:
    (tmp_path / "cut.onnx").write_bytes(Path(DIGITS).read_bytes()[:kept])
    done = here(command, "cut.onnx")
    assert done.returncode == 2
    assert_one_line(done.stderr, "cut.onnx")
    assert_nothing_left(tmp_path, "cut.onnx")


def test_what_does_not_fit_ends_with_two_and_the_numbers(tmp_path: Path, here: Tool) -> None:
    done = here("plan", DIGITS, "--budget", "9000", "--scheme", "full")
    assert done.returncode == 2
    assert_one_line(done.stderr, "does not fit m4-256k", "9,000 B", "arena", "trainable", "train fewer weights")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("where", ["a file", "a folder that cannot be"])
def test_an_output_folder_that_cannot_be_made_is_one_line(where: str, tmp_path: Path, here: Tool) -> None:
    (tmp_path / "taken").write_text("mine", encoding="ascii")
    output = {"a file": "taken", "a folder that cannot be": "taken/below"}[where]
    done = here("build", EPISODE, "--sources-only", "--output", output)
    assert done.returncode == 2 and done.stdout == ""
    assert_one_line(done.stderr, "taken")
    assert (tmp_path / "taken").read_text(encoding="ascii") == "mine"
    assert_nothing_left(tmp_path, "taken")


def test_records_that_are_none_are_refused(tmp_path: Path, here: Tool) -> None:
    (tmp_path / "records.json").write_text('{"episodes": [{"episode": 1}]}', encoding="ascii")
    done = here("report", "records.json")
    assert done.returncode == 2
    assert_one_line(done.stderr, "records.json")
    assert_nothing_left(tmp_path, "records.json")


def test_what_this_machine_does_not_have_ends_with_77(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Tool
) -> None:
    """A model that is not here, and a machine without compiler and emulator."""
    monkeypatch.setenv("MCUTRAIN_MODELS", "")
    no_model = here("run", "resnet8-noise")
    assert no_model.returncode == 77
    assert_one_line(no_model.stderr, "mlperf_tiny/pretrainedResnet_quant.tflite", "MCUTRAIN_MODELS")
    assert_nothing_left(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    no_compiler = here("run", EPISODE, "--board", "m4-256k")
    assert no_compiler.returncode == 77
    assert_one_line(no_compiler.stderr, "not installed")
    assert not (tmp_path / "results").exists()


@pytest.mark.train
def test_training_that_diverges_ends_with_one(tmp_path: Path) -> None:
    arguments = ("--board", "host", "--errors", "f32", "--learning-rate", "1e38", "--steps", "20", "--test", "1")
    done = tool("run", EPISODE, *arguments, MCUTRAIN_BUILD=str(own_build_folder(tmp_path / "build")))
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["input"], "what was said before it ran"
    assert_one_line(done.stderr, "not finite: training diverged")
    assert not (tmp_path / "results").exists()
