"""The entry script, in a copy of the project whose Python, pip and apt-get only write down what they are asked to do."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcutrain.paths import PROJECT

NEEDED_PROGRAMS = (
    "bash",
    "cat",
    "chmod",
    "cp",
    "dirname",
    "env",
    "flock",
    "grep",
    "mkdir",
    "mktemp",
    "mv",
    "readlink",
    "rm",
    "sha256sum",
    "tail",
    "true",
)
TOOLS = ("cmake", "ninja", "qemu-system-arm", "cc", "arm-none-eabi-gcc", "chromium")

FAKE_PYTHON = """#!/bin/bash
case "$*" in
    "-c "*) ;;
    "-m venv --clear "*)
        echo venv >>"$CALLS"
        rm -rf "$4"
        mkdir -p "$4/bin" "$4/lib/python3.11/site-packages"
        cp "$0" "$4/bin/python" ;;
    "-m pip "*)
        echo "pip ${*: -1}" >>"$CALLS"
        echo "pip says this"
        [[ ! -e $CALLS.pip-fails ]] ;;
    "-m mcutrain"*) echo "tool: ${*:3}" ;;
esac
"""
FAKE_APT = """#!/bin/bash
echo "apt-get $*" >>"$CALLS"
"""
FAKE_TOOL = """#!/bin/bash
exit 0
"""


@dataclass(frozen=True)
class Machine:
    """A folder of programs that is all of PATH, and a project of three lock files and the script."""

    programs: Path
    project: Path
    calls_file: Path

    def add(self, name: str, script: str) -> None:
        (self.programs / name).write_text(script)
        (self.programs / name).chmod(0o755)

    def start(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.programs), "CALLS": str(self.calls_file), **variables}
        command = [str(self.project / "mcutrain"), *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, cwd="/", check=False
        )

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {"PATH": str(self.programs), "CALLS": str(self.calls_file), **variables}
        return subprocess.Popen(
            ["/usr/bin/env", "--default-signal=INT", str(self.project / "mcutrain"), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def reaches(self, call: str) -> None:
        """Wait until something has been asked for."""
        limit = time.monotonic() + 20
        while not (self.calls_file.exists() and call in self.calls_file.read_text()):
            assert time.monotonic() < limit, call
            time.sleep(0.01)

    def calls(self) -> list[str]:
        """What was installed since the last time this was asked."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return [line.replace(f"--requirement={self.project}/", "") for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "bin", tmp_path / "project", tmp_path / "calls")
    machine.programs.mkdir()
    machine.project.mkdir()
    for name in NEEDED_PROGRAMS:
        found = shutil.which(name)
        assert found, name
        (machine.programs / name).symlink_to(found)
    for name in TOOLS:
        machine.add(name, FAKE_TOOL)
    machine.add("python3", FAKE_PYTHON)
    shutil.copy(PROJECT / "mcutrain", machine.project)
    for name in ("requirements.lock", "requirements-test.lock", "requirements-torch.txt"):
        (machine.project / name).write_text(f"{name}\n")
    return machine


RUN_TIME = ["venv", "pip requirements.lock"]


def test_the_first_start_installs_and_the_second_only_runs(machine: Machine) -> None:
    first = machine.start("demo", "--json")
    assert machine.calls() == RUN_TIME
    second = machine.start("demo", "--json")
    assert machine.calls() == []
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stderr == ""


def test_standard_output_is_the_tools_alone_while_installing(machine: Machine) -> None:
    assert machine.start("demo", "--json").stdout == "tool: demo --json\n"


def test_a_changed_lock_file_makes_the_environment_anew(machine: Machine) -> None:
    machine.start("plan")
    machine.calls()
    (machine.project / "requirements.lock").write_text("newer\n")
    machine.start("plan")
    assert machine.calls() == RUN_TIME


def test_a_moved_project_makes_the_environment_anew(machine: Machine, tmp_path: Path) -> None:
    machine.start("plan")
    machine.calls()
    moved = Machine(machine.programs, machine.project.rename(tmp_path / "moved"), machine.calls_file)
    moved.start("plan")
    assert moved.calls() == RUN_TIME


def test_an_install_that_failed_is_shown_and_begun_anew_at_the_next_start(machine: Machine) -> None:
    fails = Path(f"{machine.calls_file}.pip-fails")
    fails.touch()
    failed = machine.start("plan")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "pip says this" in failed.stderr
    machine.calls()
    fails.unlink()
    assert machine.start("plan").stdout == "tool: plan\n"
    assert machine.calls() == RUN_TIME


def test_the_test_command_adds_its_packages_to_a_finished_environment(machine: Machine) -> None:
    machine.start("plan")
    machine.calls()
    machine.start("test")
    assert machine.calls() == ["pip requirements-test.lock"]
    machine.start("plan")
    assert machine.calls() == []


def test_an_interrupted_addition_begins_anew_too(machine: Machine) -> None:
    machine.start("plan")
    fails = Path(f"{machine.calls_file}.pip-fails")
    fails.touch()
    machine.start("test")
    fails.unlink()
    machine.calls()
    machine.start("plan")
    assert machine.calls() == RUN_TIME


def test_torch_is_installed_for_the_tests_where_it_is_asked_for(machine: Machine) -> None:
    machine.start("plan", MCUTRAIN_WITH_TORCH="1")
    assert machine.calls() == RUN_TIME
    machine.start("test", MCUTRAIN_WITH_TORCH="1")
    assert machine.calls() == ["pip requirements-test.lock", "pip requirements-torch.txt"]


def test_commands_without_firmware_need_no_tools(machine: Machine) -> None:
    for name in TOOLS:
        (machine.programs / name).unlink()
    for command in ("compare", "doctor", "inspect", "plan", "report", "--help"):
        assert machine.start(command).returncode == 0
    assert machine.start("demo").returncode == 77


def test_without_a_way_to_install_the_line_to_run_names_exactly_what_is_missing(machine: Machine) -> None:
    for name in ("ninja", "cc"):
        (machine.programs / name).unlink()
    refused = machine.start("demo")
    assert refused.returncode == 77
    line = "sudo apt-get install -y --no-install-recommends ninja-build gcc libc6-dev"
    assert refused.stderr == f"mcutrain: tools are missing; run: {line}\n"
    assert machine.calls() == []


def test_only_the_tests_ask_for_a_browser(machine: Machine) -> None:
    (machine.programs / "chromium").unlink()
    assert machine.start("demo").returncode == 0
    refused = machine.start("test")
    assert refused.returncode == 77
    assert refused.stderr.endswith("run: sudo apt-get install -y --no-install-recommends chromium\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs Debian packages")
def test_root_installs_exactly_what_is_missing(machine: Machine) -> None:
    machine.add("apt-get", FAKE_APT)
    (machine.programs / "qemu-system-arm").unlink()
    machine.start("demo")
    calls = machine.calls()
    assert "apt-get update -q" in calls
    assert [call.split()[-1] for call in calls if call.startswith("apt-get install")] == ["qemu-system-arm"]


@pytest.mark.parametrize(("version", "exit_code"), [((3, 9, 2), 77), ((3, 11, 0), 0)])
def test_an_old_python_is_refused_by_name(machine: Machine, version: tuple[int, int, int], exit_code: int) -> None:
    text = ".".join(map(str, version))
    question = f'exec "{sys.executable}" -c "import sys; sys.version_info = {version}; $2"'
    answers = FAKE_PYTHON.replace('"-c "*) ;;', f'"-c "*) {question} ;;\n    --version) echo "Python {text}" ;;')
    machine.add("python3", answers)
    machine.add("apt-get", FAKE_APT)
    started = machine.start("plan")
    assert started.returncode == exit_code
    if exit_code and os.geteuid() == 0:
        assert started.stderr.splitlines()[-1] == f"mcutrain: Python 3.11 or newer is needed, found Python {text}"


def test_two_starts_at_once_install_once(machine: Machine) -> None:
    slow = FAKE_PYTHON.replace('echo venv >>"$CALLS"', 'echo venv >>"$CALLS"; read -rt 1 <> <(:)')
    machine.add("python3", slow)
    environment = {"PATH": str(machine.programs), "CALLS": str(machine.calls_file)}
    starts = [
        subprocess.Popen(
            [str(machine.project / "mcutrain"), "plan"], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [start.communicate(timeout=60)[0] for start in starts] == ["tool: plan\n"] * 2
    assert machine.calls() == RUN_TIME


# It answers TERM at once, as Python does, and ignores INT, as what runs in the background of a script may.
SLOW_PIP = FAKE_PYTHON.replace('echo "pip says this"', "trap '' INT; read -rt 60 <> <(:)")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("group", [False, True])
def test_a_signal_while_installing_leaves_nothing_but_the_log(
    machine: Machine, tmp_path: Path, number: int, group: bool
) -> None:
    machine.add("python3", SLOW_PIP)
    (tmp_path / "temporary").mkdir()
    start = machine.begin("plan", TMPDIR=str(tmp_path / "temporary"))
    machine.reaches("pip")
    (os.killpg if group else os.kill)(start.pid, number)
    stdout, stderr = start.communicate(timeout=20)
    assert (start.returncode, stdout) == (128 + number, "")
    assert stderr.endswith("mcutrain: interrupted\n") and stderr.count("\n") == 2, stderr
    assert not (machine.project / ".venv").exists()
    assert list((tmp_path / "temporary").iterdir()) == []
    machine.calls()
    machine.add("python3", FAKE_PYTHON)
    assert machine.start("plan").stdout == "tool: plan\n"
    assert machine.calls() == RUN_TIME


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs Debian packages")
def test_a_signal_waits_for_a_package_manager(machine: Machine) -> None:
    putting_off = 'trap \'waited=yes\' INT; read -rt 1 <> <(:); echo "in order $waited" >>"$CALLS"'
    machine.add("apt-get", f"{FAKE_APT}\n[[ $1 != install ]] || {{ {putting_off}; }}\n")
    (machine.programs / "qemu-system-arm").unlink()
    start = machine.begin("demo")
    machine.reaches("apt-get install")
    time.sleep(0.2)
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=20)
    assert start.returncode == 130
    assert machine.calls()[-1] == "in order yes"


def test_a_project_that_cannot_be_written_is_left_as_it_is(machine: Machine, tmp_path: Path) -> None:
    before = sorted(machine.project.rglob("*"))
    elsewhere = {"MCUTRAIN_VENV": str(tmp_path / "else" / "venv"), "MCUTRAIN_BUILD": str(tmp_path / "build")}
    assert machine.start("plan", **elsewhere).stdout == "tool: plan\n"
    assert machine.calls() == ["venv", "pip requirements.lock"]
    assert sorted(machine.project.rglob("*")) == before
    site_packages = tmp_path / "else" / "venv" / "lib" / "python3.11" / "site-packages"
    assert (site_packages / "mcutrain.pth").read_text() == f"{machine.project}/python_harness\n"
    assert machine.start("plan", **elsewhere).stdout == "tool: plan\n"
    assert machine.calls() == []


def test_a_folder_that_cannot_be_made_is_named_with_what_to_set(machine: Machine) -> None:
    refused = machine.start("plan", MCUTRAIN_VENV="/proc/none/venv")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "cannot write to /proc/none" in refused.stderr and "MCUTRAIN_VENV" in refused.stderr
