"""Any program for a board, profiled on QEMU from reset to its end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from mcutrain import leftovers
from mcutrain.boards import Board
from mcutrain.emulators.elf import ElfFacts, read_elf
from mcutrain.emulators.process import LINES_FILE
from mcutrain.emulators.profile import Caches, Profile, read_profile
from mcutrain.emulators.qemu import PROFILE_FILE, machine_options, profile_options, qemu_version
from mcutrain.emulators.semihosting import MAX_OUTPUT_BYTES, HostCallError, SemihostingHost
from mcutrain.errors import MismatchError, UsageError

_ERRORS_FILE = "errors.txt"
_WAIT_SECONDS = 0.05  # for a call, before it is seen whether QEMU still runs

RESET = "reset"
"""The mark of what runs before the first mark is reached."""


@dataclass(frozen=True)
class ProgramRun:
    """A program that ran to its end. exit_status: what it gave to semihosting; output: what it wrote there and to UART0."""

    exit_status: int
    output: str
    profile: Profile
    functions: Mapping[str, tuple[int, int]]


def profile_program(
    elf: Path, board: Board, marks: Sequence[str] = (), caches: Caches | None = None, *, seconds: float = 600.0
) -> ProgramRun:
    """Run a program on the QEMU machine of ``board`` and count what it executes.

    elf: bare-metal, linked to the board's addresses (emulation/boards); it must end by a semihosting exit. marks: functions at whose
    entry another row of counts begins. caches: what is simulated, None for none. seconds: how long the emulator may take.

    Raises:
        UsageError: the file is no program for an Arm core, a mark is none of its functions, it does not end in time, or it asks for
            something of this machine.
        MismatchError: QEMU ended without a profile.
        NotAvailableError: QEMU is not installed.
    """
    qemu_version()
    facts = _read_program(elf)
    unknown = [name for name in marks if name not in facts.functions]
    if unknown:
        raise UsageError(
            f"{elf}: it has no function {unknown[0]!r} to begin a mark at; see arm-none-eabi-nm for its functions"
        )
    with leftovers.temporary_folder() as folder:
        options = profile_options(folder, {name: facts.functions[name][0] for name in marks}, caches)
        host = SemihostingHost()
        try:
            exit_status = _run([*machine_options(board, elf), *host.options, *options], folder, host, seconds)
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"{elf}: it did not end within {seconds:g} s; a program ends by the semihosting call SYS_EXIT"
            ) from error
        except HostCallError as error:
            raise UsageError(f"{elf}: {error}") from error
        finally:
            host.close()
        output = host.output + _beginning(folder / LINES_FILE)
        if not (folder / PROFILE_FILE).exists():
            said = [line for line in _beginning(folder / _ERRORS_FILE).splitlines() if "warning:" not in line]
            raise MismatchError(f"{elf}: QEMU ended without a profile{': ' + said[0] if said else ''}")
        return ProgramRun(exit_status, output, read_profile(folder / PROFILE_FILE), facts.functions)


def _run(command: list[str], folder: Path, host: SemihostingHost, seconds: float) -> int:
    """Run QEMU in ``folder`` and answer its program; returns the exit code. Whatever happens, nothing runs afterwards."""
    end = time.monotonic() + seconds
    with (folder / _ERRORS_FILE).open("wb") as errors:
        process = leftovers.start(command, folder=folder, stdout=errors, stderr=errors, inherited=(host.file,))
    try:
        host.started()
        while process.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(command, seconds)
            host.serve(_WAIT_SECONDS)
        host.serve()
        return process.returncode
    finally:
        leftovers.end(process)


def _beginning(path: Path) -> str:
    """The first MAX_OUTPUT_BYTES of what a program or QEMU wrote into a file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return file.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace")


def _read_program(path: Path) -> ElfFacts:
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            machine, kind = elf.header["e_machine"], elf.header["e_type"]
        if (machine, kind) != ("EM_ARM", "ET_EXEC"):
            raise UsageError(f"{path}: it is no linked program for an Arm core ({machine}, {kind})")
        return read_elf(path)
    except ELFError as error:
        raise UsageError(f"{path}: it is no ELF file ({error})") from error
