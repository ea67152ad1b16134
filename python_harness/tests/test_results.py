"""Results lie in the current folder, a new folder a run, whole or not at all, and ``latest`` leads to the newest."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT, results_directory
from mcutrain.results import ResultsFolder, results_folder


def say(text: str, into: Path) -> None:
    (into / "report.html").write_text(text, encoding="ascii")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MCUTRAIN_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_results_go_to_the_current_folder_unless_a_variable_or_the_command_says_where(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert results_directory() == here / "results"
    assert results_folder(None, "mine").path == here / "results" / "mine"
    monkeypatch.setenv("MCUTRAIN_RESULTS", str(here / "elsewhere"))
    assert results_folder(None, "mine").path == here / "elsewhere" / "mine"
    assert results_folder(here / "out", "mine") == ResultsFolder(here / "out", numbered=False)
    assert not list(here.iterdir())


def test_every_run_has_a_folder_of_its_own_and_latest_is_the_newest(here: Path) -> None:
    folders = [results_folder(None, "mine").fill(lambda into, n=n: say(f"run {n}", into)) for n in range(3)]  # type: ignore[misc]
    assert len(set(folders)) == 3
    assert [(folder / "report.html").read_text() for folder in folders] == ["run 0", "run 1", "run 2"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}Z-\d+", folder.name) for folder in folders)
    latest = here / "results" / "mine" / "latest"
    assert latest.resolve() == folders[2] and not latest.readlink().is_absolute()
    assert {path.name for path in latest.parent.iterdir()} == {"latest", *(folder.name for folder in folders)}


def test_runs_that_end_at_once_never_take_each_others_folder(here: Path) -> None:
    def run(number: int) -> Path:
        return results_folder(None, "mine").fill(lambda into: say(f"run {number}", into))

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(run, range(40)))
    assert len(set(folders)) == 40
    assert [(folder / "report.html").read_text() for folder in folders] == [f"run {n}" for n in range(40)]
    assert (here / "results" / "mine" / "latest").resolve() in folders


def test_a_name_that_another_process_takes_in_between_is_left_to_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename
    taken: list[Path] = []

    def late(path: Path, target: Path) -> Path:
        if not taken:
            target.mkdir()
            say("theirs", target)
            taken.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    own = results_folder(None, "mine").fill(lambda into: say("ours", into))
    assert (own / "report.html").read_text() == "ours" and (taken[0] / "report.html").read_text() == "theirs"
    assert own.name.endswith("-2")


def test_a_folder_that_was_asked_for_is_written_into(here: Path) -> None:
    for text in ("first", "second"):
        assert results_folder(Path("out"), "mine").fill(lambda into, text=text: say(text, into)) == Path("out")  # type: ignore[misc]
    assert (here / "out" / "report.html").read_text() == "second"
    assert [path.name for path in here.iterdir()] == ["out"]


def test_a_run_that_fails_while_it_writes_leaves_no_folder_and_latest_as_it_was(here: Path) -> None:
    first = results_folder(None, "mine").fill(lambda into: say("first", into))

    def fail(into: Path) -> None:
        say("half", into)
        raise UsageError("no room")

    with pytest.raises(UsageError, match="no room"):
        results_folder(None, "mine").fill(fail)
    assert sorted(path.name for path in first.parent.iterdir()) == [first.name, "latest"]
    assert (first.parent / "latest").resolve() == first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_while_it_writes_leaves_no_folder(number: int, here: Path) -> None:
    text = (
        "from mcutrain import interrupt; interrupt.install()\nimport time\nfrom pathlib import Path\n"
        "from mcutrain.results import results_folder\n"
        "def write(into):\n    (into / 'report.html').touch(); print('ready', flush=True); time.sleep(60)\n"
        "results_folder(None, 'mine').fill(write)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": f"{PROJECT}/python_harness"},
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.wait(20)
    process.stdout.close()
    for _ in range(200):  # behind a kill the guard cleans up, which takes a moment
        if not list((here / "results" / "mine").iterdir()):
            break
        time.sleep(0.05)
    assert list((here / "results" / "mine").iterdir()) == []


def test_where_there_can_be_no_link_there_are_still_results(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    folder = results_folder(None, "mine").fill(lambda into: say("run", into))
    assert [path.name for path in (here / "results" / "mine").iterdir()] == [folder.name]


def test_a_link_that_leads_nowhere_is_replaced_and_what_a_user_called_so_is_left_alone(here: Path) -> None:
    parent = here / "results" / "mine"
    parent.mkdir(parents=True)
    (parent / "latest").symlink_to("gone")
    folder = results_folder(None, "mine").fill(lambda into: say("run", into))
    assert (parent / "latest").resolve() == folder
    (parent / "latest").unlink()
    (parent / "latest").mkdir()
    results_folder(None, "mine").fill(lambda into: say("run", into))
    assert (parent / "latest").is_dir() and not (parent / "latest").is_symlink()
    (parent / "latest").rmdir()
    (parent / "latest").write_text("mine", encoding="ascii")
    results_folder(None, "mine").fill(lambda into: say("run", into))
    assert (parent / "latest").read_text(encoding="ascii") == "mine"
    assert len(list(parent.iterdir())) == 4


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(here: Path) -> None:
    (here / "results").touch()
    with pytest.raises(UsageError, match=r"results is no folder; go to a folder of your own, set MCUTRAIN_RESULTS"):
        results_folder(None, "mine")
