"""The templates for other people's CI hold: their commands are the tool's, and leave every file that they keep."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
import yaml

from mcutrain import cli
from mcutrain.paths import PROJECT
from support.own_builds import own_build_folder

CI = PROJECT / "examples" / "ci"
TOOL, ROBOT = "mcutrain/mcutrain", ".cache/venv/bin/robot"
TOOLS = ("cc", "arm-none-eabi-gcc", "cmake", "ninja", "qemu-system-arm")
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not installed"
)


def template(name: str) -> Any:
    return yaml.safe_load((CI / name).read_text(encoding="utf-8"))


def github_steps() -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = template("github.yml")["jobs"]["train"]["steps"]
    return steps


def gitlab_job() -> dict[str, Any]:
    job: dict[str, Any] = template("gitlab-ci.yml")["mcutrain"]
    return job


def github_lines() -> list[str]:
    return [step["run"] for step in github_steps() if "run" in step]


def gitlab_lines() -> list[str]:
    return [*gitlab_job()["before_script"], *gitlab_job()["script"]]


def commands(lines: list[str]) -> list[list[str]]:
    """What runs of the tool and of Robot, without what the shell does with its exit code."""
    return [shlex.split(line.partition("||")[0]) for line in lines if line.startswith((TOOL, ROBOT))]


def kept() -> dict[str, list[str]]:
    """What each template keeps."""
    upload = next(step for step in github_steps() if step.get("uses", "").startswith("actions/upload-artifact"))
    artifacts = gitlab_job()["artifacts"]
    return {"github": upload["with"]["path"].split(), "gitlab": [*artifacts["paths"], *artifacts["reports"]["junit"]]}


def test_both_run_the_same_commands_on_the_same_packages() -> None:
    assert commands(github_lines()) == commands(gitlab_lines())
    assert [command[0] for command in commands(github_lines())] == [TOOL, TOOL, ROBOT]
    github, gitlab = (next(line for line in lines if "apt-get" in line) for lines in (github_lines(), gitlab_lines()))
    assert github == gitlab
    script = (PROJECT / "mcutrain").read_text(encoding="utf-8")
    wanted = " ".join(re.findall(r"(?:tool_packages\+?|python_packages)=\(([^)]+)\)", script)).split()
    # The browser is for the project's own tests.
    assert len(wanted) > 5 and set(wanted) - {"chromium"} <= set(github.split())


def test_both_prepare_before_they_run_and_go_on_after_a_failure() -> None:
    for lines in (github_lines(), gitlab_lines()):
        prepare = lines.index("bash mcutrain/examples/ci/prepare.sh")
        assert prepare < min(n for n, line in enumerate(lines) if line.startswith((TOOL, ROBOT)))
    assert (CI / "prepare.sh").is_file()
    assert all(line.endswith("|| failed=1") for line in gitlab_job()["script"] if line.startswith((TOOL, ROBOT)))
    assert gitlab_job()["script"][0] == "failed=0" and gitlab_job()["script"][-1] == "exit $failed"
    after = github_steps()[
        [step.get("run", "") for step in github_steps()].index(" ".join(commands(github_lines())[0])) + 1 :
    ]
    assert len(after) == 3 and all(step["if"] == "${{ !cancelled() }}" for step in after)


def test_the_cache_holds_the_environment_and_the_builds() -> None:
    cache = next(step for step in github_steps() if step.get("uses", "").startswith("actions/cache"))
    assert cache["with"]["path"] == ".cache" and gitlab_job()["cache"]["paths"] == [".cache/"]
    for variables in (template("github.yml")["env"], template("gitlab-ci.yml")["variables"]):
        assert (variables["MCUTRAIN_VENV"], variables["MCUTRAIN_BUILD"]) == (".cache/venv", ".cache/build")


def test_every_command_and_every_option_is_the_tools() -> None:
    found = [command[1:] for command in commands(github_lines()) if command[0] == TOOL]
    readme = (CI / "README.md").read_text(encoding="utf-8")
    found += [
        shlex.split(line, comments=True)[1:] for line in map(str.strip, readme.splitlines()) if line.startswith(TOOL)
    ]
    assert len(found) == 3
    for words in found:
        command: Any = typer.main.get_command(cli.app)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's checkout in CI, with a tool and a Robot that are those of this environment."""
    text = (PROJECT / "emulation" / "episodes" / "digits-biases.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(name|steps|golden_steps|boards):.*\n", "", text)
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\nsteps: 20\ngolden_steps: 20\nboards: [m4-256k]\n{text}", encoding="utf-8"
    )
    shutil.copy2(CI / "mine.robot", tmp_path)
    for path, module in ((TOOL, "mcutrain"), (ROBOT, "robot")):
        program = tmp_path / path
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


@needs_tools
@pytest.mark.qemu
def test_on_an_episode_they_pass_and_leave_every_file_that_is_kept(repository: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}/python_harness"}
    environment["MCUTRAIN_BUILD"] = str(own_build_folder(repository / "build"))
    environment.pop("MCUTRAIN_RESULTS", None)
    lock = f'{TOOL} baseline update mine.yaml --reason "first figures"'
    assert lock in (CI / "README.md").read_text(encoding="utf-8")
    script = "\n".join(["set -e", lock, *gitlab_job()["script"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for paths in kept().values():
        for path in paths:
            assert (repository / path).exists(), path
            assert not path.endswith("/") or any((repository / path).iterdir()), path
    for path in gitlab_job()["artifacts"]["reports"]["junit"]:
        suite = ElementTree.parse(repository / path).getroot()
        assert list(suite.iter("testcase")) and suite.get("failures") == suite.get("errors") == "0"
    assert (repository / "results" / "robot" / "log.html").is_file()
    assert (repository / "results" / "mine" / "report.html").is_file()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of little more than the script, and a build of it."""
    root = tmp_path / "mcutrain"
    for name in ("cmake/a", "src/b.c", "emulation/boards/c", "emulation/qemu/d", "CMakeLists.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="ascii")
    (root / "examples" / "ci").mkdir(parents=True)
    shutil.copy2(CI / "prepare.sh", root / "examples" / "ci")
    return root


def prepare(checkout: Path) -> bool:
    """Whether the build is still there afterwards."""
    built = checkout.parent / ".cache" / "build" / "library.a"
    subprocess.run(
        ["bash", "mcutrain/examples/ci/prepare.sh"],
        cwd=checkout.parent,
        env={**os.environ, "MCUTRAIN_BUILD": ".cache/build"},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert built.parent.is_dir()
    there = built.exists()
    built.touch()
    return there


@needs_tools
def test_a_build_is_kept_for_the_same_sources_and_tools_alone(checkout: Path) -> None:
    assert not prepare(checkout)
    assert prepare(checkout)
    source = checkout / "src" / "b.c"
    assert source.stat().st_mtime < (checkout.parent / ".cache" / "build" / "library.a").stat().st_mtime - 1e8
    source.touch()
    assert prepare(checkout)
    source.write_text("other", encoding="ascii")
    assert not prepare(checkout)
    (checkout / "src" / "new.c").touch()
    assert not prepare(checkout)
    state = checkout.parent / ".cache" / "build" / "built-of"
    state.write_text(state.read_text().replace("gcc", "gcc-of-yesterday"), encoding="utf-8")
    assert not prepare(checkout)
