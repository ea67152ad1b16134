"""RenodeRunner: a board's firmware on Renode, by way of pyrenode3 in a process of its own (renode_worker.py).

Neither comes with this project nor from its registries: both are found on the machine when they are needed (find_renode).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mcutrain import leftovers
from mcutrain.atomic import write_file
from mcutrain.emulators import renode_worker
from mcutrain.emulators.base import Fault, Limits
from mcutrain.emulators.build import BuiltFirmware
from mcutrain.emulators.firmware import EXIT_FUNCTION, FirmwareRunner
from mcutrain.emulators.process import IMAGE_FILE, LINES_FILE
from mcutrain.emulators.profile import Caches, Profile
from mcutrain.emulators.renode_platform import platform_file
from mcutrain.emulators.semihosting import OPERATIONS, HostCallError
from mcutrain.errors import MismatchError, NotAvailableError, UsageError

PYTHON_VARIABLE = "MCUTRAIN_RENODE_PYTHON"
RUNTIME_VARIABLE = "PYRENODE_RUNTIME"
PLACE_VARIABLES = ("PYRENODE_PKG", "PYRENODE_BIN", "PYRENODE_BUILD_DIR")
OUTPUT_VARIABLE = "PYRENODE_BUILD_OUTPUT"

BUILD_OUTPUT = "output/bin/Release"
"""Where a build of Renode has its programs, if PYRENODE_BUILD_OUTPUT does not say otherwise."""

PYRENODE_SOURCE = "pyrenode3[all] @ git+https://github.com/antmicro/pyrenode3.git"
HOW_TO_GET = "docs/renode.md says how to install it"

NO_PROFILE = "Renode counts no instructions by operator; take the board on QEMU for a profile"

MAX_LOG_BYTES = 4 << 20
OUTSIDE = "non existing peripheral"
"""What Renode says where a program reaches for an address that the platform does not have, and the MPU let it."""

_LOG_FILE = "renode.log"
_REQUEST_FILE = "request.json"
_ANSWER_FILE = "answer.json"
_PYTHON_SECONDS = 30
_VERSION_SECONDS = 120
_HAS_PYRENODE = "import importlib.util as u, sys; sys.exit(not (u.find_spec('pyrenode3') and u.find_spec('pythonnet')))"
# Not as a script: the script's folder, which has modules of ours, would come first on the path.
_RUN_WORKER = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


@dataclass(frozen=True)
class Installation:
    """A Renode, and how it is reached. python: an interpreter with pyrenode3; place: what pyrenode3 loads; variables: its environment."""

    python: str
    place: Path
    variables: Mapping[str, str]


def find_renode() -> Installation:
    """The Renode of this machine: where pyrenode3's variables say, else the `renode` on PATH.

    Raises:
        NotAvailableError: there is none, or something that it needs is missing: the first step to take.
        UsageError: a variable names what is not there.
    """
    place, variables = _find_place()
    python = _find_python()
    runtime = variables[RUNTIME_VARIABLE]
    if runtime == "coreclr" and "PYRENODE_BIN" not in variables and not _has_dotnet():
        raise NotAvailableError(
            f"Renode ({place}) runs on .NET, and there is none: install .NET 8, or set DOTNET_ROOT to its folder"
        )
    if runtime == "mono" and shutil.which("mono") is None:
        raise NotAvailableError(
            f"Renode ({place}) runs on Mono, and there is none; on Debian: apt-get install mono-complete"
        )
    return Installation(python, place, variables)


def _find_place() -> tuple[Path, dict[str, str]]:
    named = {name: os.environ[name] for name in PLACE_VARIABLES if os.environ.get(name)}
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} are set; pyrenode3 takes one of them: unset the others")
    for name, value in named.items():
        path = Path(value).absolute()
        if not path.exists():
            raise UsageError(f"{name}: there is no {value}; set it to what docs/renode.md says, or unset it")
        return path, {name: str(path), RUNTIME_VARIABLE: _runtime(name, path), **_output_of(os.environ)}
    found = shutil.which("renode")
    if found is None:
        raise NotAvailableError(f"Renode is not installed; {HOW_TO_GET}")
    program = Path(found).resolve()
    with program.open("rb") as file:
        is_portable = file.read(4) == b"\x7fELF"
    if is_portable:
        return program, {"PYRENODE_BIN": str(program), RUNTIME_VARIABLE: "coreclr"}
    # An installed package: a script beside, or above, the folder of Renode's programs.
    for folder in (program.parent, program.parent / "bin", Path("/opt/renode/bin"), program.parent / BUILD_OUTPUT):
        runtime = _runtime_in(folder)
        if runtime:
            root = {"PYRENODE_BUILD_DIR": str(folder.parent), OUTPUT_VARIABLE: folder.name}
            if folder == program.parent / BUILD_OUTPUT:
                root = {"PYRENODE_BUILD_DIR": str(program.parent)}
            return folder, {**root, RUNTIME_VARIABLE: runtime}
    raise NotAvailableError(
        f"{found}: Renode's programs are not beside it; set one of {', '.join(PLACE_VARIABLES)} to where they are"
    )


def _runtime(variable: str, path: Path) -> str:
    """What runs it: as the user says, else as the files do. pyrenode3's own default, Mono, is wrong for Renode 1.16."""
    said = os.environ.get(RUNTIME_VARIABLE)
    if said:
        return said
    if variable == "PYRENODE_BUILD_DIR":
        return _runtime_in(path / os.environ.get(OUTPUT_VARIABLE, BUILD_OUTPUT)) or "coreclr"
    return "mono" if path.name.endswith((".pkg.tar.xz", ".pkg.tar.zst")) else "coreclr"


def _runtime_in(folder: Path) -> str:
    if (folder / "Renode.runtimeconfig.json").exists():
        return "coreclr"
    return "mono" if (folder / "Renode.exe").exists() else ""


def _output_of(environment: Mapping[str, str]) -> dict[str, str]:
    return {OUTPUT_VARIABLE: environment[OUTPUT_VARIABLE]} if environment.get(OUTPUT_VARIABLE) else {}


def _has_dotnet() -> bool:
    root = os.environ.get("DOTNET_ROOT")
    return bool(shutil.which("dotnet")) or (root is not None and Path(root).is_dir())


def _find_python() -> str:
    said = os.environ.get(PYTHON_VARIABLE)
    for python in [said] if said else _pythons():
        if _has_pyrenode(python):
            return python
    where = f"{PYTHON_VARIABLE} ({said})" if said else "no python3 on PATH"
    raise NotAvailableError(
        f"pyrenode3 is not installed: {where} has it; give `pip install '{PYRENODE_SOURCE}'` in one"
    )


def _pythons() -> Iterator[str]:
    """Our own interpreter, then every python3 on PATH: ours may be of an environment that lacks what the user's has."""
    seen = {os.path.realpath(sys.executable)}
    yield sys.executable
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which("python3", path=folder) if folder else None
        # An environment's python3 is a link to another's, so the link counts, too.
        if found is not None and found not in seen:
            seen.add(found)
            yield found


@cache
def _has_pyrenode(python: str) -> bool:
    try:
        return leftovers.run([python, "-c", _HAS_PYRENODE], seconds=_PYTHON_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@cache
def renode_version() -> str:
    """What Renode calls itself, such as "1.16.1": it is started for it.

    Raises:
        NotAvailableError: there is none, or it does not start.
    """
    installation = find_renode()
    with leftovers.temporary_folder() as folder:
        try:
            command = _worker_command(installation)
            environment = _environment(installation, folder)
            done = leftovers.run(command, seconds=_VERSION_SECONDS, environment=environment, folder=folder)
        except subprocess.TimeoutExpired:
            raise NotAvailableError(
                f"Renode ({installation.place}) did not start within {_VERSION_SECONDS} s"
            ) from None
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0:
        raise NotAvailableError(
            f"Renode ({installation.place}) does not start: {said[-1] if said else 'it says nothing'}"
        )
    return _number(said[-1] if said else "")


def _number(version: str) -> str:
    """Without the number of the build: 1.16.1 of 1.16.1.24760."""
    return ".".join(version.split(".")[:3])


def _worker_command(installation: Installation, *arguments: str) -> list[str]:
    return [installation.python, "-c", _RUN_WORKER, str(Path(renode_worker.__file__)), *arguments]


def _environment(installation: Installation, folder: Path) -> dict[str, str]:
    """TMPDIR is private: Renode removes what it takes for the leavings of others from the common one."""
    kept = {name: value for name, value in os.environ.items() if name not in (*PLACE_VARIABLES, OUTPUT_VARIABLE)}
    return {**kept, **installation.variables, "TMPDIR": str(folder)}


class RenodeRunner(FirmwareRunner):
    """Runs ``firmware`` on the Renode platform of its board (emulation/renode)."""

    name = "renode"

    def __init__(self, firmware: BuiltFirmware, caches: Caches | None = None) -> None:
        """Nothing runs yet. ``caches`` are for profiles, which there are none of here.

        Raises:
            NotAvailableError: Renode or something that it needs is not installed.
            UsageError: the board has no platform description, or one of another board.
        """
        super().__init__(firmware)
        self.installation = find_renode()
        self.platform = platform_file(firmware.board)
        self._answer: dict[str, Any] = {}
        self._log_bytes = 0
        self._limits = Limits()

    def version(self) -> str:
        """Renode's version, as the last run told it."""
        return _number(self._answer.get("version", "")) or renode_version()

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        """Start Renode.

        Raises:
            UsageError: the image is larger than the board's external memory, or a profile is asked for: only QEMU counts by operator.
        """
        if profile:
            raise UsageError(NO_PROFILE)
        self._answer, self._log_bytes, self._limits = {}, 0, limits
        super().launch(image, profile, limits)

    def command(self, profile: bool) -> list[str]:
        """The worker's command line."""
        symbols = self.firmware.facts.symbols
        request: renode_worker.Request = {
            "platform": str(self.platform.resolve()),
            "elf": str(self.firmware.elf.resolve()),
            "image": str(self.folder / IMAGE_FILE),
            "image_address": self.board.external_base,
            "exit_address": symbols[EXIT_FUNCTION],
            "infer_address": symbols["mct_mark_infer_begin"],
            "step_address": symbols["mct_mark_step_begin"],
            "stack": (symbols["mct_stack_base"], symbols["mct_stack_top"]),
            "virtual_seconds": self._limits.total_seconds,
            "lines": str(self.folder / LINES_FILE),
            "log": str(self.folder / _LOG_FILE),
            "answer": str(self.folder / _ANSWER_FILE),
        }
        write_file(self.folder / _REQUEST_FILE, json.dumps(request))
        return _worker_command(self.installation, _REQUEST_FILE)

    def environment(self) -> Mapping[str, str]:
        """What pyrenode3 needs to find Renode."""
        return _environment(self.installation, self.folder)

    def read(self) -> bytes:
        """What UART0 has sent since.

        Raises:
            HostCallError: the firmware asked for something of this machine.
            MismatchError: it reached for what the board does not have, or Renode failed.
        """
        ended = self.exit_status() is not None
        data = super().read()
        self._watch_log()
        if ended and not data:
            self._settle()
        return data

    def instructions(self) -> int | None:
        """What Renode counted.

        Raises:
            MismatchError: its process ended without a word of the run's end.
        """
        if "instructions" not in self._answer:
            code = self.exit_status()
            raise MismatchError(f"{self.name} ended with exit code {code} before it said what became of the run")
        return int(self._answer["instructions"])

    def parts(self) -> Mapping[str, int]:
        """What Renode counted between a few addresses: each costs it two milliseconds whenever it is met."""
        return dict(self._answer.get("parts", {}))

    def fault(self) -> Fault | None:
        """The fault that left the firmware no stack to tell of it."""
        seen = self._answer.get("fault")
        return Fault(**seen) if seen else None

    def profile(self) -> Profile:
        """There is none."""
        raise UsageError(NO_PROFILE)

    def _watch_log(self) -> None:
        path = self.folder / _LOG_FILE
        size = path.stat().st_size if path.exists() else 0
        if size == self._log_bytes:
            return
        with path.open("rb") as file:
            # A line may have come in two pieces.
            file.seek(max(0, self._log_bytes - len(OUTSIDE)))
            new = file.read(MAX_LOG_BYTES).decode("utf-8", "replace")
        self._log_bytes = size
        for line in new.splitlines():
            if OUTSIDE in line:
                raise MismatchError(f"{self.name}: the firmware reached past its board: {line.strip()[:200]}")
        if size > MAX_LOG_BYTES:
            last = new.strip().splitlines()[-1][:200]
            raise MismatchError(f"{self.name}: its log has over {MAX_LOG_BYTES >> 20} MB, the last of it: {last}")

    def _settle(self) -> None:
        """Read what the worker says of the end."""
        path = self.folder / _ANSWER_FILE
        if self._answer or not path.exists():
            return
        self._answer = json.loads(path.read_text(encoding="utf-8"))
        if "error" in self._answer:
            raise MismatchError(f"{self.name}: {self._answer['error']}")
        if "call" in self._answer:
            number = self._answer["call"]
            raise HostCallError(OPERATIONS.get(number, f"operation {number:#x}"), self._answer["called_with"])
