"""A baseline that does not hold says first what changed: a setting, the model, the data, or a kernel by step and operator."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from commands.conftest import Tool
from mcutrain.datasets import digits_shifted
from mcutrain.episode import runners
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.trail import A_DOUBLING, EVERY_STEP, checkpoints_of
from mcutrain.golden.runner import run_golden
from mcutrain.ops import update_bias
from mcutrain.ops.update_weights import round_s32
from mcutrain.paths import PROJECT
from mcutrain.report import load_records

YAML = """\
name: mine
description: my own
model: net.onnx
data: {file: mine.npz, adapt: 40, test: 30, pixel_scale: 0.00392157}
boards: [m4-256k]
scheme: biases
learning_rate: 0.01
epochs: 2
"""
# The reference runs in this process, so that its kernels can be broken here; what is said is the same of every runner.
GOLDEN = ("--board", "golden")


@pytest.fixture
def arrays() -> dict[str, Any]:
    data = digits_shifted()
    return {
        **{"adapt_samples": data.adapt.samples[:40], "adapt_labels": data.adapt.labels[:40]},
        **{"test_samples": data.test.samples[:30], "test_labels": data.test.labels[:30]},
    }


@pytest.fixture
def model() -> Any:
    return onnx.load(PROJECT / "examples" / "digits" / "digits.onnx")


@pytest.fixture
def mine(tmp_path: Path, arrays: dict[str, Any], model: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with an episode of 80 steps, which is the current one."""
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "mine.npz", **arrays)
    (tmp_path / "mine.yaml").write_text(YAML, encoding="ascii")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCUTRAIN_RESULTS", str(tmp_path / "results"))
    return tmp_path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baseline lies once it has been made: most tests begin with the same, which names no folder."""
    return tmp_path_factory.mktemp("kept") / "mine.baseline.json"


@pytest.fixture
def locked(mine: Path, here: Tool, kept: Path) -> Path:
    """The same folder, with the first 20 steps locked."""
    if kept.exists():
        shutil.copy2(kept, mine)
        return mine
    done = here("baseline", "update", "mine.yaml", *GOLDEN, "--steps", "20", "--reason", "first figures")
    assert done.returncode == 0, done.stderr
    shutil.copy2(mine / kept.name, kept)
    return mine


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "mine.yaml").read_text(encoding="ascii")
    assert text.count(old) == 1
    (folder / "mine.yaml").write_text(text.replace(old, new), encoding="ascii")


def said(stdout: str) -> list[str]:
    """What the check says before it says where its report lies."""
    *lines, report = stdout.splitlines()
    assert report.startswith("report: ") and Path(report.removeprefix("report: ")).is_file()
    return lines


def reasons(stdout: str) -> list[str]:
    """What the check says below the title of the one run that failed, but for the commands."""
    title, *lines = said(stdout)
    assert title == "mine.yaml on golden: not as locked"
    assert [line.split(": ")[0] for line in lines[-2:]] == ["  to replay", "  to accept"]
    return [line.strip() for line in lines[:-2]]


def test_what_is_locked_holds_and_lies_beside_the_episode(locked: Path, here: Tool) -> None:
    assert (locked / "mine.baseline.json").stat().st_size < 10_000
    done = here("baseline", "check", "mine.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert said(done.stdout) == ["mine.yaml on golden: as locked"]
    document = json.loads((locked / "mine.baseline.json").read_text())
    assert document["episode"] == "mine" and document["runs"]["golden"]["settings"]["definition"]["model"] == "net.onnx"
    assert not (PROJECT / "emulation" / "baselines" / "mine.json").exists()


def test_a_baseline_holds_wherever_the_folder_is_checked_out(
    locked: Path, here: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = locked.rename(locked.with_name("elsewhere"))
    monkeypatch.chdir(moved.parent)
    done = here("baseline", "check", str(moved / "mine.yaml"))
    assert (done.returncode, done.stderr) == (0, "") and "changed" not in done.stdout


def test_a_changed_learning_rate_is_named_before_any_figure(locked: Path, here: Tool) -> None:
    change(locked, "learning_rate: 0.01", "learning_rate: 0.011")
    done = here("baseline", "check", "mine.yaml")
    assert done.returncode == 1
    cause, place, *figures = reasons(done.stdout)
    assert (cause, place) == ("learning_rate: 0.01 -> 0.011", "differs first at step 0")
    assert figures[0].startswith("digest: ")
    assert done.stderr.startswith(
        "mcutrain: not as locked: the run; mine.yaml on golden: learning_rate: 0.01 -> 0.011; "
    )
    assert done.stderr.count("\n") == 1


def test_a_changed_model_file_is_named_and_nothing_else(locked: Path, here: Tool, model: Any) -> None:
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = bytes(reversed(weights.raw_data))
    (locked / "net.onnx").write_bytes(model.SerializeToString())
    done = here("baseline", "check", "mine.yaml")
    cause, place, figure, *_ = reasons(done.stdout)
    assert done.returncode == 1 and cause.startswith("model_sha256: ")
    assert cause.endswith(": the model file net.onnx has changed")
    assert place == "differs first at step 0" and figure.startswith("digest: ")
    assert "data_sha256" not in done.stdout


def test_a_model_file_that_cannot_be_read_any_more_is_named_as_changed(locked: Path, here: Tool) -> None:
    (locked / "net.onnx").write_bytes(b"nothing")
    done = here("baseline", "check", "mine.yaml")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "(model_sha256: " in done.stderr and "the model file net.onnx has changed)" in done.stderr


@pytest.mark.parametrize(("name", "figure"), [("adapt_labels", "digest: "), ("test_labels", "accuracy_before: ")])
def test_a_changed_data_file_is_named_and_nothing_else(
    name: str, figure: str, locked: Path, here: Tool, arrays: dict[str, Any]
) -> None:
    np.savez(locked / "mine.npz", **{**arrays, name: arrays[name][::-1]})
    done = here("baseline", "check", "mine.yaml")
    cause, place, first, *_ = reasons(done.stdout)
    assert done.returncode == 1 and cause.startswith("data_sha256: ")
    assert cause.endswith(": the samples in mine.npz have changed") and first.startswith(figure)
    assert (place == "every step left the same bits") == (name == "test_labels")
    assert "model_sha256" not in done.stdout


def test_other_samples_of_the_same_file_are_told_by_their_key(locked: Path, here: Tool) -> None:
    change(locked, "adapt: 40", "adapt: 39")
    done = here("baseline", "check", "mine.yaml")
    first, second, *_ = reasons(done.stdout)
    assert first == "data.adapt: 40 -> 39"
    assert second.startswith("data_sha256: ") and "changed" not in second


def test_a_renamed_file_with_the_same_content_is_no_change(locked: Path, here: Tool) -> None:
    (locked / "net.onnx").rename(locked / "other.onnx")
    change(locked, "net.onnx", "other.onnx")
    done = here("baseline", "check", "mine.yaml")
    assert done.returncode == 0 and said(done.stdout) == ["mine.yaml on golden: as locked"]


def test_a_setting_that_changes_no_figure_is_told_and_passes(locked: Path, here: Tool) -> None:
    (locked / "net.onnx").write_bytes((locked / "net.onnx").read_bytes() + b"\x32\x02hi")  # a field of ONNX, doc_string
    done = here("baseline", "check", "mine.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    title, told, accept = said(done.stdout)
    assert title == "mine.yaml on golden: as locked"
    assert told.startswith("  changed, but no figure with it: model_sha256: ")
    assert accept.startswith("  to lock the settings: mcutrain baseline update mine.yaml --board golden")


def test_words_of_an_episode_are_none_of_its_settings(locked: Path, here: Tool) -> None:
    change(locked, "my own", "in other words")
    done = here("baseline", "check", "mine.yaml")
    assert done.returncode == 0 and said(done.stdout) == ["mine.yaml on golden: as locked"]


Break = Callable[[int], None]


@pytest.fixture
def break_updates(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Lets the kernel that updates biases round wrongly from a step on."""
    calls = 0

    def from_step(step: int) -> None:
        biases = 0

        def counted(values: Any) -> Any:
            nonlocal calls, biases
            calls += 1
            return round_s32(values) + int(calls > step * biases > 0 or step == 0)

        def run(plan: Any, image: Any, on_line: Any = None) -> Any:
            nonlocal calls, biases
            calls, biases = 0, sum(step.kernel.startswith("update_bias") for step in plan.steps)
            return run_golden(plan, image, on_line)

        monkeypatch.setattr(update_bias, "round_s32", counted)
        monkeypatch.setattr(runners, "run_golden", run)

    return from_step


@pytest.mark.parametrize("step", [0, 3])
def test_a_broken_kernel_is_named_with_its_step_and_operator(
    step: int, locked: Path, here: Tool, break_updates: Break
) -> None:
    break_updates(step)
    done = here("baseline", "check", "mine.yaml")
    cause, place, figure, *_ = reasons(done.stdout)
    assert done.returncode == 1 and cause.startswith("the settings and the plan are as locked: the kernels")
    named = re.fullmatch(
        rf"differs first at step {step}, operator \d+ (\S+) \(mct_update_bias_b16\), tensor (\S+)", place
    )
    assert named is not None and figure.startswith("digest: ")
    # The first bias that a step updates is the last layer's but for the head.
    plan = prepare(load_episode("mine.yaml")).plan
    assert named[1] == next(step.name for step in plan.steps if step.kernel.startswith("update_bias"))
    assert f"at step {step}, operator " in done.stderr


def test_a_step_that_is_not_traced_is_named_without_its_operator(
    locked: Path, here: Tool, break_updates: Break
) -> None:
    break_updates(17)
    _, place, *_ = reasons(here("baseline", "check", "mine.yaml").stdout)
    assert place.startswith("differs first at step 17; operators are locked of the steps 0, 1, ")


def test_far_from_the_start_the_step_is_named_as_closely_as_the_checkpoints_are(
    mine: Path, here: Tool, break_updates: Break
) -> None:
    change(mine, "epochs: 2", "epochs: 5")
    assert here("baseline", "update", "mine.yaml", *GOLDEN, "--reason", "all 200 steps").returncode == 0
    break_updates(150)
    _, place, *_ = reasons(here("baseline", "check", "mine.yaml").stdout)
    assert place == "differs first between steps 148 and 151"


def test_other_operators_are_not_held_against_those_of_then(locked: Path, here: Tool) -> None:
    path = locked / "mine.baseline.json"
    document = json.loads(path.read_text())
    (trail,) = document["trails"].values()
    trail.update(operators="00000000", checkpoints="0" * len(trail["checkpoints"]))
    document["runs"]["golden"].update(plan_crc32="00000000", accuracy_after=1.0)
    path.write_text(json.dumps(document))
    cause, place, *_ = reasons(here("baseline", "check", "mine.yaml").stdout)
    assert cause.startswith("the settings are as locked, the plan they give is another: ")
    assert place == "differs first at step 0; the plan has other operators, so none can be named"


def test_the_digests_of_a_trail_end_in_that_of_the_record(locked: Path) -> None:
    document = json.loads((locked / "mine.baseline.json").read_text())
    ((digest, trail),) = document["trails"].items()
    assert trail["checkpoints"][-8:] == digest == document["runs"]["golden"]["digest"]
    assert len(trail["checkpoints"]) == 8 * 20


def test_verdicts_are_written_as_junit_with_the_cause_as_the_message(locked: Path, here: Tool) -> None:
    assert here("baseline", "check", "mine.yaml").returncode == 0
    first = (locked / "results" / "baseline" / "latest").resolve()
    change(locked, "learning_rate: 0.01", "learning_rate: 0.011")
    assert here("baseline", "check", "mine.yaml").returncode == 1
    second = (locked / "results" / "baseline" / "latest").resolve()
    (passed,), (failed,) = (ElementTree.parse(folder / "junit.xml").getroot() for folder in (first, second))
    assert passed.attrib["name"] == failed.attrib["name"] == "mine.yaml on golden"
    assert passed.find("failure") is None and passed.findtext("system-out") == "mine.yaml on golden: as locked"
    failure = failed.find("failure")
    assert failure is not None and failure.attrib["message"] == "learning_rate: 0.01 -> 0.011"
    assert "to replay: mcutrain run mine.yaml --board golden --steps 20 --test 30" in str(failure.text)


def test_commands_are_given_that_replay_it_and_that_accept_it(locked: Path, here: Tool) -> None:
    change(locked, "learning_rate: 0.01", "learning_rate: 0.011")
    failed = here("baseline", "check", "mine.yaml")
    replay, accept = (shlex.split(line.split(": ", 1)[1]) for line in said(failed.stdout)[-2:])
    assert here(*replay[1:]).returncode == 0
    (again,) = load_records(locked / "results" / "mine" / "latest" / "records.json")
    assert f" -> {again.digest}" in failed.stdout and again.samples_test == 30
    assert here(*accept[1:]).returncode == 0
    held = here("baseline", "check", "mine.yaml")
    assert held.returncode == 0 and said(held.stdout) == ["mine.yaml on golden: as locked"]
    assert len(json.loads((locked / "mine.baseline.json").read_text())["changes"]) == 2


def test_a_baseline_of_an_older_version_is_held_and_says_that_it_knows_no_cause(locked: Path, here: Tool) -> None:
    path = locked / "mine.baseline.json"
    document = json.loads(path.read_text())
    document.pop("trails")
    for key in ("settings", "plan_crc32"):
        document["runs"]["golden"].pop(key)
    path.write_text(json.dumps(document))
    assert said(here("baseline", "check", "mine.yaml").stdout) == ["mine.yaml on golden: as locked"]
    change(locked, "learning_rate: 0.01", "learning_rate: 0.011")
    cause, figure, *_ = reasons(here("baseline", "check", "mine.yaml").stdout)
    assert cause.startswith("the baseline locks no settings") and figure.startswith("digest: ")


@pytest.mark.parametrize(
    "definition", [{}, {"data": 3, "model": None}, {"method": "of_tomorrow", "data": {"cloud": "x"}}]
)
def test_a_definition_that_no_episode_has_any_more_is_told_key_by_key(
    definition: dict[str, Any], locked: Path, here: Tool
) -> None:
    path = locked / "mine.baseline.json"
    document = json.loads(path.read_text())
    document["runs"]["golden"]["settings"]["definition"] = definition
    path.write_text(json.dumps(document))
    done = here("baseline", "check", "mine.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "changed, but no figure with it: " in done.stdout and "learning_rate: not stated -> 0.01" in done.stdout


def test_keys_that_a_newer_version_has_are_no_change(locked: Path, here: Tool) -> None:
    path = locked / "mine.baseline.json"
    document = json.loads(path.read_text())
    definition = document["runs"]["golden"]["settings"]["definition"]
    for key in ("input", "schedule"):
        definition.pop(key)
    definition["options"].pop("step_cap")
    path.write_text(json.dumps(document))
    assert said(here("baseline", "check", "mine.yaml").stdout) == ["mine.yaml on golden: as locked"]


def test_checkpoints_are_every_step_at_first_and_then_dense_enough_for_what_is_promised() -> None:
    for steps in (0, 1, EVERY_STEP, EVERY_STEP + 1, 300, 2000, 5000):
        counts = checkpoints_of(steps)
        assert counts[:EVERY_STEP] == list(range(1, min(steps, EVERY_STEP) + 1))
        assert counts == sorted(set(counts)) and counts[-1:] == ([steps] if steps else [])
        assert all(
            after - before <= before / A_DOUBLING
            for before, after in zip(counts[EVERY_STEP:], counts[EVERY_STEP + 1 :], strict=False)
        )
    assert len(checkpoints_of(1 << 24)) < 700
