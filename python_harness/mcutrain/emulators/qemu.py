"""QemuRunner: a board's firmware on qemu-system-arm, with exact counts where they are asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from mcutrain.emulators.build import BuiltFirmware, build_profile_plugin
from mcutrain.emulators.process import IMAGE_FILE, LINES_FILE, ProcessRunner
from mcutrain.emulators.profile import Profile, read_profile
from mcutrain.errors import NotAvailableError, UsageError

PROGRAM = "qemu-system-arm"
MARK_PREFIXES = ("mct_mark_", "mct_op_")

_MARKS_FILE = "marks.txt"
_PROFILE_FILE = "profile.txt"


@cache
def qemu_version() -> str:
    """Version of the QEMU on this machine, such as "7.2.22".

    Raises:
        NotAvailableError: there is none.
    """
    if shutil.which(PROGRAM) is None:
        raise NotAvailableError(f"{PROGRAM} is not installed; on Debian: apt-get install {PROGRAM}")
    command = [PROGRAM, "--version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S603 - fixed
    match = re.search(r"version ([0-9.]+)", said)
    return match.group(1) if match else said.splitlines()[0]


class QemuRunner(ProcessRunner):
    """Runs ``firmware`` on the QEMU machine of its board. The image is loaded into external memory before the core starts."""

    name = "qemu"

    def __init__(self, firmware: BuiltFirmware) -> None:
        """Nothing runs yet.

        Raises:
            NotAvailableError: QEMU is not installed.
        """
        super().__init__()
        qemu_version()
        self.firmware = firmware

    def version(self) -> str:
        """QEMU's version."""
        return qemu_version()

    def launch(self, image: bytes, profile: bool) -> None:
        """Start QEMU.

        Raises:
            UsageError: the image is larger than the board's external memory.
        """
        board = self.firmware.board
        if len(image) > board.external_bytes:
            raise UsageError(
                f"the episode image has {len(image):,} bytes, the external memory of {board.name} {board.external_bytes:,}; "
                "take fewer samples, or run on the host"
            )
        super().launch(image, profile)

    def command(self, profile: bool) -> list[str]:
        """QEMU's command line."""
        board = self.firmware.board
        # UART0 goes to a file (see ProcessRunner), the exit code comes by semihosting.
        command = [
            *(PROGRAM, "-M", board.qemu_machine, "-nodefaults", "-display", "none", "-monitor", "none"),
            *("-serial", f"file:{LINES_FILE}", "-semihosting-config", "enable=on,target=native"),
            *("-kernel", str(self.firmware.elf.resolve())),
            *("-device", f"loader,file={IMAGE_FILE},addr={board.external_base:#x},force-raw=on"),
        ]
        if profile:
            plugin = build_profile_plugin()
            self._write_marks(self.folder / _MARKS_FILE)
            command += ["-plugin", f"{_escape(plugin)},marks={_MARKS_FILE},output={_PROFILE_FILE}"]
        return command

    def profile(self) -> Profile:
        """The plugin's counts."""
        return read_profile(self.folder / _PROFILE_FILE)

    def locate(self, pc: int) -> str:
        """The function of the firmware at ``pc``."""
        return self.firmware.facts.function_at(pc)

    def _write_marks(self, path: Path) -> None:
        functions = self.firmware.facts.functions
        marks = sorted((start, name) for name, (start, _) in functions.items() if name.startswith(MARK_PREFIXES))
        path.write_text("".join(f"{start:x} {name}\n" for start, name in marks), encoding="ascii")


def _escape(path: Path) -> str:
    """A path as a value of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
