"""ProcessRunner: runs an episode in a child process that writes its lines to a file."""

from __future__ import annotations

import shutil
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from mcutrain import leftovers
from mcutrain.atomic import write_file
from mcutrain.emulators.base import Limits, Runner
from mcutrain.errors import McutrainError

IMAGE_FILE = "image.bin"
LINES_FILE = "lines.txt"

_READ_BYTES = 1 << 20
_POLL_SECONDS = 0.01


class ProcessRunner(Runner):
    """A runner whose run is one process in a private folder: the image is there as image.bin, the lines appear in lines.txt.

    A file and not a pipe: a write to it never waits, so what the firmware executes does not depend on how fast we read.
    """

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: BinaryIO | None = None

    @abstractmethod
    def command(self, profile: bool) -> list[str]:
        """The command to run in ``folder``, which exists."""

    def inherited_files(self) -> tuple[int, ...]:
        """File descriptors that the process gets, as they are after ``command``."""
        return ()

    @property
    def folder(self) -> Path:
        """The private folder of the run."""
        if self._folder is None:
            raise McutrainError(f"{self.name}: nothing has been launched")
        return self._folder

    def environment(self) -> Mapping[str, str] | None:
        """The process's environment variables; None for our own."""
        return None

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        """Make the folder and start the process in it."""
        self.close()
        self._folder = leftovers.make_folder()
        write_file(self.folder / IMAGE_FILE, image)
        with (self.folder / "errors.txt").open("wb") as errors:
            # The command first: what it opens is what the process is handed.
            command = self.command(profile)
            self._process = leftovers.start(
                command,
                folder=self.folder,
                environment=self.environment(),
                stderr=errors,
                inherited=self.inherited_files(),
            )

    def read(self) -> bytes:
        """What has been written to lines.txt since. Whoever writes it makes it, so that it is there only when it is meant to stay."""
        if self._lines is None and self._folder is not None and (self._folder / LINES_FILE).exists():
            self._lines = (self._folder / LINES_FILE).open("rb")
        data = b"" if self._lines is None else self._lines.read(_READ_BYTES)
        if not data and self.exit_status() is None:
            time.sleep(_POLL_SECONDS)
        return data

    def exit_status(self) -> int | None:
        """The process's exit code."""
        return None if self._process is None else self._process.poll()

    def close(self) -> None:
        """Kill the process, wait for it, and remove the folder."""
        if self._process is not None:
            leftovers.end(self._process)
            self._process = None
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        if self._folder is not None:
            leftovers.remove(self._folder)
            self._folder = None

    def diagnostics(self) -> str:
        """That the disk is full, or the first line of the process's standard error that is not a mere warning."""
        if shutil.disk_usage(self.folder).free == 0:
            return f"{self.folder}: no space left on device; set TMPDIR to a folder that has some"
        text = (self.folder / "errors.txt").read_text(encoding="utf-8", errors="replace")
        return next((line[:200] for line in text.splitlines() if line.strip() and "warning:" not in line), "")
