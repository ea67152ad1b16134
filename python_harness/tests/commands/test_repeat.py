"""A record holds what is needed to run it again, and what is not as it was is named by its key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from commands.conftest import Tool
from mcutrain import __version__, leftovers
from mcutrain.datasets import digits_shifted
from mcutrain.episode import settings as settings_module
from mcutrain.episode.definition import episode_names, load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.record import RunSettings, comparable
from mcutrain.episode.repeat import result_differences
from mcutrain.episode.run import RunOptions
from mcutrain.episode.settings import definition_of, git_revision, settings_of
from mcutrain.errors import NotAvailableError
from mcutrain.paths import PROJECT
from mcutrain.report import load_records
from support.own_builds import own_build_folder
from support.robot_suites import make_record

EPISODE = "digits-sparse"
SHORT = ("--board", "host", "--steps", "30", "--test", "50")
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_build_folder(tmp_path_factory.mktemp("build"))


@pytest.fixture(autouse=True)
def own_folders(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUTRAIN_BUILD", str(build))
    monkeypatch.setenv("MCUTRAIN_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the results of the shipped episode lie once it has run: most tests begin with the same."""
    return tmp_path_factory.mktemp("kept") / "first"


@pytest.fixture
def run(here: Tool, kept: Path) -> Callable[..., Path]:
    """Runs an episode for a few steps; returns its records.json."""

    def records_of(episode: str, *arguments: str) -> Path:
        plain = episode == EPISODE and not arguments
        if plain and kept.exists():
            shutil.copytree(kept, "first")
        else:
            done = here("run", episode, *SHORT, "--output", "first", *arguments)
            assert done.returncode == 0, done.stderr
        if plain and not kept.exists():
            shutil.copytree("first", kept)
        return Path("first") / "records.json"

    return records_of


def edited(path: Path, edit: Edit) -> Path:
    """A copy of the records whose last record was edited; its steps stay where they are."""
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document["episodes"][-1])
    copy = path.with_name("edited.json")
    copy.write_text(json.dumps(document), encoding="utf-8")
    return copy


def not_as_it_was(output: str) -> list[str]:
    """The keys that were named before the run."""
    return [line.split(": ")[2] for line in output.splitlines() if ": not as it was: " in line]


def otherwise_than_shipped(output: str) -> list[str]:
    return [line.split("record: ")[1] for line in output.splitlines() if "as it is now -> this record: " in line]


def own_episode(folder: Path, model: bytes, arrays: dict[str, Any]) -> Path:
    """A user's YAML with its model and its data beside it."""
    (folder / "net.onnx").write_bytes(model)
    np.savez(folder / "mine.npz", **arrays)
    lines = [
        "name: mine",
        "description: my own",
        "model: net.onnx",
        "data: {file: mine.npz, adapt: 40, test: 50, pixel_scale: 0.00392157}",
    ]
    lines += ["boards: [m4-256k]", "scheme: biases", "learning_rate: 0.01"]
    (folder / "mine.yaml").write_text("\n".join(lines), encoding="ascii")
    return folder / "mine.yaml"


@pytest.fixture
def arrays() -> dict[str, Any]:
    data = digits_shifted()
    return {
        **{"adapt_samples": data.adapt.samples[:60], "adapt_labels": data.adapt.labels[:60]},
        **{"test_samples": data.test.samples[:60], "test_labels": data.test.labels[:60]},
    }


def digits_model() -> Any:
    return onnx.load(PROJECT / "examples" / "digits" / "digits.onnx")


def test_a_repeated_run_leaves_the_same_record(run: Callable[..., Path], here: Tool) -> None:
    records = run(EPISODE, "--learning-rate", "0.02", "--option", "step_cap=0.25", "--golden-steps", "7")
    done = here("run", "--from", str(records))
    assert done.returncode == 0, done.stderr
    (first,), (again,) = (
        load_records(records),
        load_records(Path("results") / f"{EPISODE}-repeated" / "latest" / "records.json"),
    )
    assert comparable(again) == comparable(first)
    assert (again.steps, again.samples_test, again.golden_steps) == (30, 50, 7)
    assert not_as_it_was(done.stdout) == []
    assert sorted(otherwise_than_shipped(done.stdout)) == [
        "learning_rate: 0.01 -> 0.02",
        "options.step_cap: 0.5 -> 0.25",
    ]
    assert f"as in the record, digest {first.digest}" in done.stdout


def test_settings_say_by_what_and_when_it_was_run(run: Callable[..., Path]) -> None:
    (record,) = load_records(run(EPISODE))
    said = record.settings
    assert said is not None
    assert said.tool_version == __version__ and said.git_revision == git_revision()
    assert (said.steps, said.test, said.golden_steps, said.profile) == (30, 50, None, True)
    assert said.definition["model"] == "examples/digits/digits.onnx" and said.definition["schedule"] == "cosine"
    assert said.input_scale == pytest.approx(1 / 255) and said.input_zero_point == -128


def test_a_record_of_several_is_chosen_by_its_number(run: Callable[..., Path], here: Tool) -> None:
    records = run(EPISODE, "--board", "golden")  # golden runs as far without a library
    assert [record.board for record in load_records(records)] == ["host", "golden"]
    assert "host: as in the record" in here("run", "--from", f"{records}#0").stdout
    assert "golden: as in the record" in here("run", "--from", str(records)).stdout
    past = here("run", "--from", f"{records}#2")
    assert past.returncode == 2 and "no record 2, it holds 2" in past.stderr


def test_a_record_is_not_replaced_by_the_run_that_is_held_against_it(run: Callable[..., Path], here: Tool) -> None:
    records = run(EPISODE)
    content = records.read_bytes()
    done = here("run", "--from", str(records), "--output", "first")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "give another --output" in done.stderr
    assert records.read_bytes() == content


def test_another_runner_repeats_the_bits(run: Callable[..., Path], here: Tool) -> None:
    done = here("run", "--from", str(run(EPISODE)), "--board", "golden")
    assert done.returncode == 0, done.stderr
    assert not_as_it_was(done.stdout) == [] and "golden: as in the record" in done.stdout


def test_a_changed_learning_rate_is_named(run: Callable[..., Path], here: Tool) -> None:
    records = edited(run(EPISODE), lambda record: record["settings"]["definition"].update(learning_rate=0.011))
    done = here("run", "--from", str(records))
    assert done.returncode == 1
    assert otherwise_than_shipped(done.stdout) == ["learning_rate: 0.01 -> 0.011"]
    assert not_as_it_was(done.stdout) == []
    assert "is not repeated: host: digest: " in done.stderr


def test_a_users_own_run_is_repeated_without_its_yaml_from_another_folder(
    tmp_path: Path,
    run: Callable[..., Path],
    here: Tool,
    arrays: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yaml = own_episode(tmp_path, digits_model().SerializeToString(), arrays)
    records = run("mine.yaml").resolve()
    yaml.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = here("run", "--from", str(records))
    assert done.returncode == 0, done.stderr
    assert not_as_it_was(done.stdout) == [] and otherwise_than_shipped(done.stdout) == []


@pytest.fixture
def records(tmp_path: Path, run: Callable[..., Path], arrays: dict[str, Any]) -> Path:
    """The record of a run of the user's own episode, whose model and data lie in tmp_path."""
    own_episode(tmp_path, digits_model().SerializeToString(), arrays)
    return run("mine.yaml")


def test_a_changed_model_file_is_named_and_nothing_else(
    tmp_path: Path,
    records: Path,
    here: Tool,
    arrays: dict[str, Any],
) -> None:
    model = digits_model()
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = bytes(reversed(weights.raw_data))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    done = here("run", "--from", str(records))
    assert done.returncode == 1
    assert not_as_it_was(done.stdout) == ["model_sha256"]
    assert "is not repeated: host: digest: " in done.stderr and "(not as it was: model_sha256: " in done.stderr
    assert "data_sha256" not in done.stdout + done.stderr


def test_a_model_that_does_not_even_load_any_more_is_named(
    tmp_path: Path,
    records: Path,
    here: Tool,
    arrays: dict[str, Any],
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    done = here("run", "--from", str(records))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "net.onnx" in done.stderr and "(model_sha256: " in done.stderr


@pytest.mark.parametrize("changed", ["test_samples", "adapt_labels"])
def test_a_changed_data_file_is_named_and_nothing_else(
    changed: str,
    tmp_path: Path,
    records: Path,
    here: Tool,
    arrays: dict[str, Any],
) -> None:
    np.savez(tmp_path / "mine.npz", **{**arrays, changed: arrays[changed][::-1]})
    done = here("run", "--from", str(records))
    assert done.returncode == 1
    assert not_as_it_was(done.stdout) == ["data_sha256"]
    result = {"test_samples": "accuracy_before: ", "adapt_labels": "digest: "}[changed]
    assert f"is not repeated: host: {result}" in done.stderr and "(not as it was: data_sha256: " in done.stderr


def test_samples_that_are_not_used_are_none_of_the_data(
    tmp_path: Path,
    records: Path,
    here: Tool,
    arrays: dict[str, Any],
) -> None:
    arrays["adapt_samples"] = np.concatenate([arrays["adapt_samples"][:40], arrays["adapt_samples"][:20]])
    np.savez(tmp_path / "mine.npz", **arrays)
    done = here("run", "--from", str(records))
    assert done.returncode == 0 and not_as_it_was(done.stdout) == []


def test_version_revision_and_compiler_are_named_and_do_no_harm(run: Callable[..., Path], here: Tool) -> None:
    def older(record: dict[str, Any]) -> None:
        record["settings"].update(tool_version="0.0.1", git_revision="0" * 40)
        record["compiler"] = "cc (GNU 1.0)"

    done = here("run", "--from", str(edited(run(EPISODE), older)))
    assert done.returncode == 0, done.stderr
    assert not_as_it_was(done.stdout) == ["tool_version", "git_revision", "compiler"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("digest", "00000000"), ("accuracy_after", 0.5), ("plan_crc32", "00000000"), ("flash_bytes", 9)],
)
def test_a_result_that_differs_is_named(key: str, value: Any, run: Callable[..., Path], here: Tool) -> None:
    # A record whose accuracy is not that of its confusion matrix is damaged, and refused as that.
    change = {key: value, "confusion_after": None}
    done = here("run", "--from", str(edited(run(EPISODE), lambda record: record.update(change))))
    assert done.returncode == 1
    assert f"is not repeated: host: {key}: {value} -> " in done.stderr


def test_what_belongs_to_a_compiler_is_compared_on_the_same_runner_and_under_the_same_compiler_alone() -> None:
    was = make_record()
    other = make_record(flash_bytes=1, elf_sha256="1" * 64)
    elsewhere = other.model_copy(update={"board": "m7-256k"})
    newer = other.model_copy(update={"compiler": "arm-none-eabi-gcc (GNU 13.1.0)"})
    moved = "flash_bytes: 40000 -> 1"
    relinked = f"elf_sha256: {'0' * 64} -> {'1' * 64}"
    assert result_differences(was, other, same_runner=True) == ([moved], [relinked])
    assert result_differences(was, elsewhere, same_runner=False) == ([], [])
    found, told = result_differences(was, newer, same_runner=True)
    assert (
        found == []
        and told[0].startswith("none locked for arm-none-eabi-gcc (GNU 13.1.0): ")
        and told[1:] == [relinked]
    )


def _define(**changes: Any) -> Edit:
    return lambda record: record["settings"]["definition"].update(changes)


def _set(**changes: Any) -> Edit:
    return lambda record: record["settings"].update(changes)


DAMAGED: dict[str, tuple[Edit, str]] = {
    "none, as older versions left it": (lambda record: record.pop("settings"), "episodes[0] holds no settings"),
    "no object": (lambda record: record.update(settings=[1]), "key settings: "),
    "no hash of the model": (lambda record: record["settings"].pop("model_sha256"), "key settings.model_sha256: "),
    "another hash": (_set(data_sha256="sha"), "key settings.data_sha256: "),
    "a date that is none": (_set(date="yesterday"), "key settings.date: "),
    "a revision that commands": (_set(git_revision="; rm"), "key settings.git_revision: "),
    "a key that is none": (_set(colour="red"), "key settings.colour: "),
    "a negative count": (_set(steps=-1), "key settings.steps: "),
    "no definition": (_set(definition={}), "settings.definition: name: "),
    "a method that is none": (_define(method="adam"), "settings.definition: method: there is no method 'adam'"),
    "an endless rate": (_define(learning_rate=1e400), "settings.definition: learning_rate: "),
    "an option that is none": (_define(options={"stpe": 1}), "settings.definition: options.stpe: "),
    "a key that YAML has not": (_define(**{"sp\x1b[2Jeed": 1}), "settings.definition: sp?[2Jeed: "),
    "a model that is not there": (_define(model="gone.onnx"), "no model file 'gone.onnx'"),
    "a model of another kind": (_define(model="/dev/null"), "no model file '/dev/null'"),
    "data that are not there": (_define(data={"file": "gone.npz"}), "gone.npz: cannot be read"),
    "a board that is none": (lambda record: record.update(board="m9"), "unknown runner 'm9'"),
}


def test_damaged_settings_end_with_two_and_one_line(run: Callable[..., Path], here: Tool) -> None:
    records = run(EPISODE)
    for what, (edit, said) in DAMAGED.items():
        done = here("run", "--from", str(edited(records, edit)))
        assert done.returncode == 2 and done.stdout == "", what
        assert done.stderr.startswith("mcutrain: ") and done.stderr.count("\n") == 1, what
        assert said in done.stderr, (what, done.stderr)
        assert not Path("results").exists(), what


@pytest.mark.parametrize("name", ["digits-minibatch", "kws-microphone"])
def test_settings_become_the_episode_that_they_are_of(name: str) -> None:
    definition = load_episode(name)
    try:
        found = settings_of(prepare(definition), RunOptions())
    except NotAvailableError as error:
        pytest.skip(str(error))
    assert found is not None
    again = definition_of(RunSettings.model_validate(json.loads(found.model_dump_json())), name)
    # By another path perhaps, but to the same file.
    assert again.model_copy(update={"model": definition.model}) == definition


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", episode_names())
def test_a_run_of_each_shipped_episode_is_repeated(name: str, here: Tool) -> None:
    first = here("run", name, *SHORT, "--golden-steps", "2", "--output", "first")
    if first.returncode == 77:
        pytest.skip(first.stderr)
    assert first.returncode == 0, first.stderr
    done = here("run", "--from", "first/records.json")
    assert done.returncode == 0, done.stderr
    assert not_as_it_was(done.stdout) == [] and otherwise_than_shipped(done.stdout) == []


def test_a_revision_is_dirty_where_a_file_was_changed_and_none_outside_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")

    def revision() -> str:
        git_revision.cache_clear()
        return git_revision()

    def call(*arguments: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        assert leftovers.run([git, *who, *arguments], folder=tmp_path).returncode == 0

    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    try:
        assert revision() == ""
        (tmp_path / "file").write_text("one")
        call("init", "--quiet")
        assert revision() == "", "no commit yet"
        call("add", "file")
        call("commit", "--quiet", "-m", "one")
        commit = revision()
        assert len(commit) == 40 and set(commit) <= set("0123456789abcdef")
        call("tag", "v1")
        assert revision() == commit, "by its hash, whatever it is called"
        (tmp_path / "file").write_text("two")
        assert revision() == f"{commit}-dirty"
        (tmp_path / "inside").mkdir()
        monkeypatch.setattr(settings_module, "PROJECT", tmp_path / "inside")
        assert revision() == "", "a copy of the project in the checkout of something else"
        monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
        monkeypatch.setenv("PATH", "")
        assert revision() == "", "git is missing"
    finally:
        git_revision.cache_clear()
