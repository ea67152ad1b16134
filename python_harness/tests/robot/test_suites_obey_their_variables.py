"""``robot --variable BOARD:... --variable EMULATOR:...`` is obeyed by every suite that is shipped: whatever trains does so there."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from robot.api import ExecutionResult
from robot.api import TestSuite as Suite
from robot.api.deco import library

from mcutrain.boards import board_names
from mcutrain.emulators.table import EMULATORS
from mcutrain.paths import PROJECT
from mcutrain.robot import session
from mcutrain.robot.tool import Outcome

SUITES = [*sorted((PROJECT / "robot_tests").rglob("*.robot")), *sorted((PROJECT / "examples").rglob("*.robot"))]
RENODE_SUITES = sorted((PROJECT / "emulation" / "renode" / "tests").glob("*.robot"))
# A board that no suite chooses by itself where it needs one.
BOARD = "m7-1m"
TRAINING = ("run", "verify", "profile", "demo", "baseline")

Command = tuple[str, ...]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """Every command that a keyword would have run; none is."""
    found: list[Command] = []

    def run_tool(arguments: Sequence[str], **_: Any) -> Outcome:
        found.append(tuple(arguments))
        return Outcome(" ".join(arguments), 1, "{}", "mcutrain: nothing was run")

    monkeypatch.setattr(session, "run_tool", run_tool)
    return found


def run_without_stopping(path: Path, folder: Path, *variables: str, libraries: Sequence[str] = ()) -> Any:
    """Run every keyword of every test, whatever fails; the result."""
    suite = Suite.from_file_system(path)
    for test in suite.all_tests:
        test.tags.add("robot:recursive-continue-on-failure")
    for name in libraries:
        suite.resource.imports.library(name)
    suite.run(
        variable=list(variables), outputdir=str(folder), console="none", stdout=io.StringIO(), stderr=io.StringIO()
    )
    return ExecutionResult(folder / "output.xml").suite


def boards_of(command: Command) -> Iterator[str]:
    """Every board that a command line names to run on, as written."""
    for option, value in zip(command, (*command[1:], ""), strict=True):
        name, equals, names = option.partition("=")
        if name in ("--board", "--runners"):
            runners = (names if equals else value).split(",")
            yield from (runner for runner in runners if runner.partition("@")[0] in board_names())


@pytest.mark.parametrize("emulator", EMULATORS)
@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_what_trains_on_a_board_trains_on_the_one_and_on_the_emulator_that_was_asked_for(
    path: Path, emulator: str, tmp_path: Path, commands: list[Command]
) -> None:
    run_without_stopping(path, tmp_path, f"BOARD:{BOARD}", f"EMULATOR:{emulator}")
    assert commands
    training = [command for command in commands if command[0] in TRAINING]
    elsewhere = [command for command in training for runner in boards_of(command) if runner != f"{BOARD}@{emulator}"]
    assert elsewhere == []
    # An episode without runners would run on its own boards; only what is refused before that may leave them out.
    unsaid = [command for command in training if not any("--board" in word or "--runners" in word for word in command)]
    assert path.stem == "errors" or unsaid == []


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_test_is_tagged_emulator_if_it_trains_on_a_board_and_host_if_it_does_without(
    path: Path, tmp_path: Path, commands: list[Command]
) -> None:
    suite = run_without_stopping(path, tmp_path, f"BOARD:{BOARD}")
    tagged = any("emulator" in test.tags for test in suite.all_tests)
    assert tagged == any(runner for command in commands if command[0] in TRAINING for runner in boards_of(command))
    assert all({"emulator", "host"} & set(test.tags) for test in suite.all_tests)


@library(auto_keywords=True)
class RenodeKeywords:
    """Stands in for the keywords of Renode's own Robot server; what they are told."""

    told: list[str]

    def execute_command(self, text: str) -> None:
        """Of the monitor."""
        self.told.append(text)

    def execute_script(self, text: str) -> None:
        """Of the monitor."""
        self.told.append(text)


@pytest.mark.parametrize("path", RENODE_SUITES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("variables", "boards", "status"),
    [
        ((), {"m4-256k", "m7-256k"}, ["FAIL", "FAIL"]),  # of keywords that nothing stands in for
        (("BOARD:m7-1m",), {"m7-1m"}, ["SKIP", "FAIL"]),
        (("BOARD:m4-1m", "EMULATOR:renode"), {"m4-1m"}, ["FAIL", "SKIP"]),
        (("EMULATOR:qemu",), set(), ["SKIP", "SKIP"]),
    ],
)
def test_renodes_own_suite_obeys_them_too(
    path: Path,
    variables: Sequence[str],
    boards: set[str],
    status: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RenodeKeywords, "told", [], raising=False)
    suite = run_without_stopping(path, tmp_path, *variables, libraries=[f"{__name__}.RenodeKeywords"])
    assert [test.status for test in suite.all_tests] == status
    scripts = {Path(text).stem for text in RenodeKeywords.told if text.endswith(".resc")}
    loaded = {Path(text.partition("@")[2]).parent.name for text in RenodeKeywords.told if "@" in text}
    assert scripts == loaded == boards
