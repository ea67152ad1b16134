"""What this machine has of what mcutrain can use: interpreters, tools, oracles, data and models."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mcutrain import leftovers
from mcutrain.datasets.locate import DATA_VARIABLE
from mcutrain.emulators.renode import renode_version
from mcutrain.errors import McutrainError
from mcutrain.paths import MODELS_VARIABLE

VERSION_SECONDS = 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked for. ``version`` is empty where it has none, or was not found.

    ``tried`` are the versions that the project's tests were run with, empty where any will do.
    """

    name: str
    found: bool
    version: str
    needed_for: str
    how_to_get: str
    tried: tuple[str, ...] = ()

    @property
    def is_untried(self) -> bool:
        """Whether the version that was found is none of those that were tried; a tried 7.2 covers 7.2.22."""
        return self.found and bool(self.tried) and not any(f"{self.version}.".startswith(f"{v}.") for v in self.tried)


@dataclass(frozen=True)
class Tool:
    """A program that is found on PATH; ``package`` is its name in Debian, ``tried`` as in `Check`."""

    command: str
    needed_for: str
    package: str
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folder:
    """Published files that a user keeps below the folder that an environment variable names."""

    name: str
    variable: str
    file: str
    needed_for: str


PYTHONS_TRIED = ("3.11", "3.13")

TOOLS = (
    Tool("arm-none-eabi-gcc", "firmware", "gcc-arm-none-eabi libnewlib-arm-none-eabi", ("12.2", "14.2")),
    Tool("qemu-system-arm", "running firmware", "qemu-system-arm", ("7.2", "10.0", "11.1")),
    Tool("cmake", "building firmware and the host library", "cmake"),
    Tool("ninja", "building firmware and the host library", "ninja-build"),
    Tool("cc", "the host library, and QEMU's profile plugin", "gcc libc6-dev"),
    Tool("chromium", "the tests of the report in a browser (optional)", "chromium"),
)

FOLDERS = (
    Folder("CIFAR-10", DATA_VARIABLE, "cifar-10-batches-bin/test_batch.bin", "the resnet8 episodes"),
    Folder("MLPerf Tiny", MODELS_VARIABLE, "mlperf_tiny/pretrainedResnet_quant.tflite", "the resnet8 episodes"),
)


def doctor() -> list[Check]:
    """Look for everything that any command or test can use. What is absent is a Check like any other, not an error."""
    how = "apt-get install python3-venv"
    python = Check("python", True, platform.python_version(), "everything", how, PYTHONS_TRIED)
    return [python, *map(_check_tool, TOOLS), _check_renode(), _check_torch(), *map(_check_folder, FOLDERS)]


def render(checks: Sequence[Check]) -> Table:
    """The checks as a table for a terminal: what is there with its version, what is not with how to get it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("found", "name", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("purpose")
    for check in checks:
        mark = Text("yes", "green") if check.found else Text("no", "yellow")
        purpose = check.needed_for if check.found else f"{check.needed_for}: {check.how_to_get}"
        table.add_row(mark, check.name, check.version, Text.assemble(purpose, *_tried(check)))
    return table


def _tried(check: Check) -> tuple[str | tuple[str, str], ...]:
    if not check.tried:
        return ()
    versions = " and ".join([*filter(None, [", ".join(check.tried[:-1])]), check.tried[-1]])
    if check.is_untried:
        return " (", (f"not tried with {check.version}", "yellow"), f", only with {versions})"
    return (f" (tried with {versions})",)


def to_json(checks: Sequence[Check]) -> dict[str, object]:
    """The checks as one JSON object: ``{"checks": [{"name", "found", "version", "needed_for", "how_to_get", "tried", "is_untried"}]}``."""
    return {"checks": [{**asdict(check), "is_untried": check.is_untried} for check in checks]}


def _check_tool(tool: Tool) -> Check:
    found = _version_of(tool.command)
    return Check(tool.command, bool(found), found, tool.needed_for, f"apt-get install {tool.package}", tool.tried)


def _check_renode() -> Check:
    found, missing = "", ""
    try:
        found = renode_version()
    except McutrainError as error:
        missing = str(error)
    return Check("renode", bool(found), found, "a second emulator (optional)", missing, ("1.16",))


def _check_torch() -> Check:
    try:
        found = version("torch")
    except PackageNotFoundError:
        found = ""
    return Check("torch", bool(found), found, "the gradient tests (optional)", "MCUTRAIN_WITH_TORCH=1 ./mcutrain test")


def _check_folder(folder: Folder) -> Check:
    root = os.environ.get(folder.variable)
    found = bool(root) and (Path(str(root)) / folder.file).is_file()
    how = f"set {folder.variable} to the folder that holds {folder.file}"
    return Check(folder.name, found, "", folder.needed_for, how)


def _version_of(command: str) -> str:
    """The version that a command prints of itself; empty where it is not on PATH, or does not run."""
    path = shutil.which(command)
    return _ask_version(path) if path else ""


@cache
def _ask_version(path: str) -> str:
    try:
        answer = leftovers.run([path, "--version"], seconds=VERSION_SECONDS)
        answer.check_returncode()
    except (OSError, subprocess.SubprocessError):
        return ""
    # Distributors put the versions of their packages between parentheses, ahead of the program's own.
    first_line = re.sub(r"\([^)]*\)", "", answer.stdout.partition("\n")[0])
    number = re.search(r"\d+(\.\d+)+", first_line)
    return number[0] if number else ""
