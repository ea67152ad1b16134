"""QemuRunner: a board's firmware on qemu-system-arm, with exact counts where they are asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from mcutrain import leftovers
from mcutrain.atomic import write_file
from mcutrain.boards import Board
from mcutrain.emulators.base import Limits
from mcutrain.emulators.build import BuiltFirmware, build_ask_api_plugin, build_profile_plugin
from mcutrain.emulators.firmware import EXIT_FUNCTION, FirmwareRunner
from mcutrain.emulators.process import IMAGE_FILE, LINES_FILE
from mcutrain.emulators.profile import Caches, Profile, read_profile
from mcutrain.emulators.semihosting import SemihostingHost
from mcutrain.errors import MismatchError, NotAvailableError

PROGRAM = "qemu-system-arm"
MARK_PREFIXES = ("mct_mark_", "mct_op_")

PROFILE_FILE = "profile.txt"

PLUGIN_APIS = range(1, 8)
"""The versions of QEMU's plugin interface that the profiler can be built for (emulation/qemu/qemu_plugin_api.h): QEMU 7.2 to 11.1."""

_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")

_MARKS_FILE = "marks.txt"
_MEMORY_FILE = "memory.txt"


@cache
def qemu_version() -> str:
    """Version of the QEMU on this machine, such as "7.2.22".

    Raises:
        NotAvailableError: there is none.
    """
    if shutil.which(PROGRAM) is None:
        raise NotAvailableError(f"{PROGRAM} is not installed; on Debian: apt-get install {PROGRAM}")
    command = [PROGRAM, "--version"]
    said = leftovers.run(command, seconds=30).stdout
    match = re.search(r"version ([0-9.]+)", said)
    return match.group(1) if match else said.splitlines()[0]


@cache
def plugin_api() -> int:
    """The version of this QEMU's plugin interface, one of PLUGIN_APIS.

    Raises:
        NotAvailableError: QEMU has no plugins, or of a version that the profiler is not written for.
    """
    version = qemu_version()
    command = [PROGRAM, "-M", "none", "-display", "none", *_plugin_option(build_ask_api_plugin())]
    done = leftovers.run(command, seconds=30)
    match = re.search(r"supports only up to version (\d+)", done.stderr)
    if match is None:
        said = done.stderr.strip().splitlines()
        raise NotAvailableError(
            f"{PROGRAM} {version} counts nothing: it has no plugins{': ' + said[0] if said else ''}"
        )
    api = int(match.group(1))
    if api not in PLUGIN_APIS:
        raise NotAvailableError(
            f"{PROGRAM} {version} has version {api} of the plugin interface, and the profiler is written for "
            f"{PLUGIN_APIS[0]} to {PLUGIN_APIS[-1]}; install QEMU 7.2 to 11.1, or run without counts: --no-profile"
        )
    return api


@cache
def sandbox_options() -> list[str]:
    """The options by which QEMU gives up, before it runs anything, the right to start programs and to gain rights; none where it cannot.

    A second wall: nothing that a program asks for reaches the host in the first place (semihosting.py). A QEMU without seccomp, or a
    container that forbids it, is therefore no less safe from programs, only from mistakes of QEMU's own.
    """
    command = [PROGRAM, *_SANDBOX, "-M", "none", "-display", "none", "-device", "help"]
    try:
        done = leftovers.run(command, seconds=30)
    except subprocess.TimeoutExpired:
        return []
    return list(_SANDBOX) if done.returncode == 0 else []


class QemuRunner(FirmwareRunner):
    """Runs ``firmware`` on the QEMU machine of its board. The image is loaded into external memory before the core starts."""

    name = "qemu"

    def __init__(self, firmware: BuiltFirmware, caches: Caches | None = None) -> None:
        """Nothing runs yet. A profile simulates ``caches``, if given, and is slower for it.

        Raises:
            NotAvailableError: QEMU is not installed.
        """
        super().__init__(firmware)
        qemu_version()
        self.caches = caches
        self._host: SemihostingHost | None = None
        self._instructions: int | None = None

    def version(self) -> str:
        """QEMU's version."""
        return qemu_version()

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        """Start QEMU.

        Raises:
            UsageError: the image is larger than the board's external memory.
        """
        self._instructions = None
        super().launch(image, profile, limits)
        assert self._host is not None
        self._host.started()

    def read(self) -> bytes:
        """What UART0 has sent since.

        Raises:
            HostCallError: the firmware asked for something of this machine.
        """
        if self._host is not None:
            self._host.serve()
        return super().read()

    def close(self) -> None:
        """End QEMU, and what it was told."""
        super().close()
        if self._host is not None:
            self._host.close()
            self._host = None

    def inherited_files(self) -> tuple[int, ...]:
        """QEMU's end of the connection to the host of semihosting."""
        return () if self._host is None else (self._host.file,)

    def command(self, profile: bool) -> list[str]:
        """QEMU's command line."""
        board = self.firmware.board
        self._host = SemihostingHost()
        command = [
            *machine_options(board, self.firmware.elf),
            *self._host.options,
            *("-device", f"loader,file={IMAGE_FILE},addr={board.external_base:#x},force-raw=on"),
        ]
        if profile:
            functions = self.firmware.facts.functions
            marks = {name: start for name, (start, _) in functions.items() if name.startswith(MARK_PREFIXES)}
            command += profile_options(self.folder, marks, self.caches)
        return command

    def profile(self) -> Profile:
        """The plugin's counts."""
        try:
            profile = read_profile(self.folder / PROFILE_FILE)
        except MismatchError as error:
            said = self.diagnostics()
            raise MismatchError(f"{error}; {said}" if said else str(error)) from None
        start, size = self.firmware.facts.functions[EXIT_FUNCTION]
        in_exit = (row for row in profile.blocks if start <= row.block.pc < start + size)
        self._instructions = profile.instructions - sum(row.count * row.block.instructions for row in in_exit)
        return profile

    def instructions(self) -> int | None:
        """The sum of the profile, if there was one."""
        return self._instructions


def machine_options(board: Board, elf: Path) -> list[str]:
    """QEMU and the options that run ``elf`` on the machine of ``board``, with those of a SemihostingHost. UART0 goes to LINES_FILE."""
    return [
        *(PROGRAM, "-M", board.qemu_machine, "-nodefaults", "-display", "none", "-monitor", "none"),
        *("-serial", f"file:{LINES_FILE}", *sandbox_options(), "-kernel", str(elf.resolve())),
    ]


def profile_options(folder: Path, marks: Mapping[str, int], caches: Caches | None) -> list[str]:
    """QEMU's options that profile the run to PROFILE_FILE of ``folder``, where it runs. marks: addresses of functions by name."""
    rows = sorted((address, name) for name, address in marks.items())
    write_file(folder / _MARKS_FILE, "".join(f"{address:x} {name}\n" for address, name in rows))
    arguments = [f"marks={_MARKS_FILE}", f"output={PROFILE_FILE}"]
    if caches is not None:
        write_file(folder / _MEMORY_FILE, caches.description())
        arguments.append(f"memory={_MEMORY_FILE}")
    return _plugin_option(build_profile_plugin(plugin_api()), *arguments)


def _plugin_option(plugin: Path, *arguments: str) -> list[str]:
    escaped = str(plugin).replace(",", ",,")  # a comma separates QEMU's options
    return ["-plugin", ",".join([f"file={escaped}", *arguments])]
