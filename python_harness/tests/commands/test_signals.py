"""Ctrl-C, SIGTERM and SIGHUP at any moment: the exit code, one line, and nothing left."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcutrain.paths import PROJECT

EPISODE = "digits-sparse"
DIGITS = "examples/digits/digits.onnx"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COPIED = ("CMakeLists.txt", "cmake", "src", "emulation", "examples", "python_harness/mcutrain")
# As the entry script starts Python; and a test that runs behind a shell's & would hand down an ignored SIGINT.
ENV = ("env", "--default-signal=INT,TERM,HUP", "--block-signal=INT,TERM,HUP")
TAG = "MCUTRAIN_TEST_TAG"


@dataclass(frozen=True)
class Command:
    """A command, and about how long it takes at most, in seconds: signals come within. needs: programs that it cannot do without."""

    arguments: tuple[str, ...]
    seconds: float
    needs: tuple[str, ...] = ()


FIRMWARE = ("arm-none-eabi-gcc", "qemu-system-arm", "cmake", "ninja")
SHORT = ("--steps", "20", "--test", "5")
COMMANDS = (
    Command(("plan", DIGITS, "--scheme", "full"), 3.0),
    Command(("run", EPISODE, "--board", "host", *SHORT), 8.0, ("cmake", "ninja")),
    Command(("run", EPISODE, "--board", "m4-256k", *SHORT), 15.0, FIRMWARE),
    Command(("demo",), 25.0, FIRMWARE),
    Command(("baseline", "update", EPISODE, "--reason", "a test", "--board", "m4-256k", *SHORT), 15.0, FIRMWARE),
    Command(("baseline", "update", EPISODE, "--reason", "a test", "--board", "host", *SHORT), 8.0, ("cmake", "ninja")),
)


class Tool:
    """A copy of the project with folders of its own for all that it writes; processes are recognised by a variable."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        (self.project / "python_harness").mkdir(parents=True)
        for name in COPIED:
            source = PROJECT / name
            if source.is_dir():
                shutil.copytree(source, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, self.project / name)
        self.baseline = self.project / "emulation" / "baselines" / f"{EPISODE}.json"
        self.build, self.results, self.temporary = root / "build", root / "results", root / "temporary"
        self.temporary.mkdir()
        self.tag = uuid.uuid4().hex

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        own = {"MCUTRAIN_BUILD": self.build, "MCUTRAIN_RESULTS": self.results, "TMPDIR": self.temporary, TAG: self.tag}
        variables = {**os.environ, **own, "PYTHONPATH": self.project / "python_harness"}
        command = [*ENV, sys.executable, "-m", "mcutrain", *arguments]
        return subprocess.Popen(
            command,
            env={name: str(value) for name, value in variables.items()},
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def left(self) -> list[str]:
        """Everything that should not be there between two runs."""
        found = [f"process: {command}" for command in processes(self.tag)]
        found += [f"temporary file: {path}" for path in self.temporary.rglob("*")]
        for folder in (self.build, self.results, self.baseline.parent):
            found += [f"part of a file: {path}" for path in folder.rglob("*.part")]
        for path in self.build.rglob(".lock"):
            with path.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(f"lock: {path}")
        return found


def processes(tag: str) -> list[str]:
    """The command lines of all processes that have the tag in their environment; those that have ended do not count."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{TAG}={tag}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended, or is not ours
            pass
    return found


def assert_files_are_whole(tool: Tool) -> None:
    for path in (*tool.results.rglob("*.json"), tool.baseline):
        json.loads(path.read_text(encoding="utf-8"))
    for path in tool.results.rglob("*.html"):
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path
    for folder in tool.results.glob("*/*"):  # of a run, or the link to the newest
        assert {"report.html", "records.json", "records.csv"} <= {path.name for path in folder.iterdir()}, folder


def assert_finished(tool: Tool, arguments: Sequence[str], stdout: str) -> None:
    """A signal that came too late changes nothing: the output is whole."""
    if arguments[0] == "plan":
        assert stdout.rstrip().splitlines()[-1].startswith("SRAM "), stdout
    elif arguments[0] == "baseline":
        assert EPISODE in stdout
    else:
        report = Path(stdout.rstrip().splitlines()[-1].removeprefix("report: "))
        assert report.is_file() and report.with_name("records.json").is_file(), stdout


def interrupt(tool: Tool, arguments: Sequence[str], after_seconds: float, number: int, *, group: bool) -> bool:
    """Run, send the signal after so long, to the process or as a terminal does to its group, and judge; whether it was interrupted."""
    process = tool.start(arguments)
    try:
        process.wait(after_seconds)
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(process.pid, number)
    begin = time.monotonic()
    try:
        stdout, stderr = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    seconds = time.monotonic() - begin
    where = (
        f"{' '.join(arguments)}: {signal.Signals(number).name} after {after_seconds:.3f} s, group: {group}: {stderr}"
    )
    assert "Traceback" not in stderr, where
    assert tool.left() == [], where
    assert_files_are_whole(tool)
    if process.returncode == 0:
        assert_finished(tool, arguments, stdout)
        return False
    if process.returncode == -number:  # before Python has run a line of ours
        assert (stdout, stderr) == ("", ""), where
    else:
        assert process.returncode == 128 + number, where
        assert stderr.endswith("mcutrain: interrupted\n") and stderr.count("mcutrain: ") == 1, where
    assert seconds < 10, where
    return True


def run_many(tool: Tool, commands: Sequence[Command], count: int, seed: int, longest_seconds: float = 1e9) -> int:
    """Send ``count`` signals, each to one of the commands in turn; returns how many came before its end."""
    draw = random.Random(seed)
    able = [command for command in commands if all(map(shutil.which, command.needs))]
    interrupted = 0
    for n in range(count):
        command = able[n % len(able)]
        if draw.random() < 0.3:  # so that signals meet the whole build too
            shutil.rmtree(tool.build, ignore_errors=True)
        seconds = draw.uniform(0, min(command.seconds, longest_seconds))
        interrupted += interrupt(tool, command.arguments, seconds, draw.choice(SIGNALS), group=draw.random() < 0.5)
    return interrupted


def test_a_few_signals_at_random_moments(tmp_path: Path) -> None:
    tool = Tool(tmp_path)
    assert run_many(tool, COMMANDS, 8, seed=1, longest_seconds=4) > 0


@pytest.mark.signals
def test_two_hundred_signals_at_random_moments(tmp_path: Path) -> None:
    tool = Tool(tmp_path)
    interrupted = run_many(tool, COMMANDS, 200, seed=int(os.environ.get("MCUTRAIN_SEED", "20")))
    print(f"{interrupted} of 200 signals came before the end of the run")
    # What was interrupted so often still does what it did.
    done = tool.start(("run", EPISODE, "--board", "host", *SHORT))
    stdout, stderr = done.communicate(timeout=300)
    assert done.returncode == 0, stderr
    assert "bit-exact to golden" in stdout


# A process of ours that does what it is told in Python, to look at one thing at a time.
BEGIN = (
    "from mcutrain import streams, interrupt; streams.prepare(); interrupt.install(); from mcutrain import leftovers\n"
)
STUBBORN = "trap '' INT TERM HUP; sleep 60 & echo $$; wait; sleep 60"


class Small:
    """A small process under a tag."""

    def __init__(self, folder: Path, text: str) -> None:
        self.tag, self.folder = uuid.uuid4().hex, folder
        own = {TAG: self.tag, "TMPDIR": str(folder), "PYTHONPATH": str(PROJECT / "python_harness")}
        self.process = subprocess.Popen(
            [*ENV, sys.executable, "-c", BEGIN + text],
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def reaches(self, line: str = "ready\n") -> Small:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line, self.process.communicate()
        return self

    def send(self, *numbers: int) -> tuple[int, str, float]:
        """Exit code, standard error and seconds to the end after these signals, a little apart."""
        begin = time.monotonic()
        for number in numbers:
            os.kill(self.process.pid, number)
            time.sleep(0.1)
        _, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stderr, time.monotonic() - begin

    def left(self) -> list[str]:
        return [*processes(self.tag), *map(str, self.folder.iterdir())]


STUBBORN_CHILD = f"""
import time
leftovers.make_folder()
leftovers.enter_path(leftovers.Path({{file!r}}))
open({{file!r}}, "w").close()
leftovers.start(["sh", "-c", {STUBBORN!r}], stop=leftovers.Stop(seconds={{seconds}}))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_child_that_ignores_signals_is_killed_with_its_children(number: int, tmp_path: Path) -> None:
    small = Small(tmp_path, STUBBORN_CHILD.format(file=str(tmp_path / "half"), seconds=0.2)).reaches()
    exit_code, stderr, _ = small.send(number)
    assert (exit_code, stderr) == (128 + number, "mcutrain: interrupted\n")
    wait_until_nothing_is_left(small)  # a killed process takes a moment to die, and its child is not ours to wait for


def test_a_second_signal_ends_at_once_and_the_guard_ends_the_rest(tmp_path: Path) -> None:
    small = Small(tmp_path, STUBBORN_CHILD.format(file=str(tmp_path / "half"), seconds=30)).reaches()
    exit_code, stderr, seconds = small.send(signal.SIGINT, signal.SIGINT)
    assert exit_code == 130 and seconds < 10
    assert "Traceback" not in stderr
    wait_until_nothing_is_left(small)


def test_what_a_killed_process_leaves_is_ended_by_the_guard(tmp_path: Path) -> None:
    small = Small(tmp_path, STUBBORN_CHILD.format(file=str(tmp_path / "half"), seconds=30)).reaches()
    assert small.send(signal.SIGKILL)[0] == -signal.SIGKILL
    wait_until_nothing_is_left(small)


def wait_until_nothing_is_left(small: Small) -> None:
    limit = time.monotonic() + 10
    while small.left() and time.monotonic() < limit:
        time.sleep(0.05)
    assert small.left() == []


def test_the_search_for_an_arena_does_not_swallow_ctrl_c(tmp_path: Path) -> None:
    """Many blocks that live at random: CP-SAT takes minutes."""
    search = """
import random
from mcutrain.compiler.arena import Block, plan_arena
draw = random.Random(3)
blocks = []
for n in range(300):
    first = draw.randrange(200)
    blocks.append(Block(f"b{n}", draw.randrange(8, 5000), first, first + draw.randrange(1, 40)))
print("ready", flush=True)
plan_arena(blocks, time_limit_seconds=100)
print("found", flush=True)
"""
    small = Small(tmp_path, search).reaches()
    time.sleep(1.0)
    exit_code, stderr, seconds = small.send(signal.SIGINT)
    assert (exit_code, stderr) == (130, "mcutrain: interrupted\n")
    assert seconds < 5
    assert small.left() == []


def test_a_finished_run_stays_finished(tmp_path: Path) -> None:
    """Behind `hold` a signal changes nothing any more."""
    small = Small(
        tmp_path, "import time; leftovers.hold(); print('ready', flush=True); time.sleep(0.5); leftovers.os._exit(0)"
    )
    assert small.reaches().send(signal.SIGTERM)[:2] == (0, "")


def test_signals_that_are_ignored_from_the_start_stay_ignored(tmp_path: Path) -> None:
    """As nohup has it."""
    text = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    ignoring = ["env", "--ignore-signal=HUP", sys.executable, "-c", BEGIN + text]
    done = subprocess.run(ignoring, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"
