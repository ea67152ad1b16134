"""Any program for a board, profiled on QEMU from reset to its end."""

from __future__ import annotations

import subprocess
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
from mcutrain.errors import MismatchError, UsageError

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
        UsageError: the file is no program for an Arm core, a mark is none of its functions, or it does not end in time.
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
        try:
            command = [*machine_options(board, elf), *options]
            done = leftovers.run(command, seconds=seconds, folder=folder, merged=True)
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"{elf}: it did not end within {seconds:g} s; a program ends by the semihosting call SYS_EXIT"
            ) from error
        output = done.stdout
        lines = folder / LINES_FILE
        if lines.exists():
            output += lines.read_text(encoding="utf-8", errors="replace")
        if not (folder / PROFILE_FILE).exists():
            said = output.strip().splitlines()
            raise MismatchError(f"{elf}: QEMU ended without a profile{': ' + said[0] if said else ''}")
        return ProgramRun(done.returncode, output, read_profile(folder / PROFILE_FILE), facts.functions)


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
