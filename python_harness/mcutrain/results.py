"""Where commands leave reports and records: a folder a run below results/, and ``latest``, which leads to the newest.

results/digits-sparse/2026-11-28T171500Z-1/report.html
results/digits-sparse/latest -> 2026-11-28T171500Z-1
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcutrain import leftovers
from mcutrain.paths import require_writable, results_directory

LATEST = "latest"


@dataclass(frozen=True)
class ResultsFolder:
    """Where a run will leave its files. A run's own folder is made only once they are all written, so none is ever seen half done.

    path: for ``numbered`` the folder of all runs of that name, else the one folder to write into, made where it is missing.
    """

    path: Path
    numbered: bool

    def fill(self, write: Callable[[Path], None]) -> Path:
        """Let ``write`` put the files into a folder; returns where they lie then."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.numbered:
            write(self.path)
            return self.path
        unfinished = self.path / f".{secrets.token_hex(8)}.part"
        leftovers.enter_path(unfinished)
        try:
            unfinished.mkdir()
            write(unfinished)
            with leftovers.together():
                finished = _rename(unfinished, self.path)
                _link(self.path / LATEST, finished.name)
        finally:
            leftovers.remove(unfinished)
        return finished


def results_folder(output: Path | None, name: str) -> ResultsFolder:
    """``output`` if given, else a new folder below results/NAME.

    Raises UsageError, before anything runs for hours, where it cannot be written.
    """
    folder = ResultsFolder(output, False) if output else ResultsFolder(results_directory() / name, True)
    own = "go to a folder of your own, set MCUTRAIN_RESULTS to one, or give --output"
    require_writable(folder.path, "give another --output" if output else own)
    return folder


def _rename(unfinished: Path, parent: Path) -> Path:
    """Give a finished folder the name of this moment, and the first number that none has."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    number = 1
    while True:
        # To a folder that is there, with files in it as every run's has, nothing can be renamed: no other run is ever replaced.
        finished = parent / f"{now}-{number}"
        if not os.path.lexists(finished):
            try:
                return unfinished.rename(finished)
            except OSError:
                if not os.path.lexists(finished):
                    raise
        number += 1


def _link(link: Path, target: str) -> None:
    """Let the link lead to ``target``, at once; where there can be no links, or something else has its name, there is none."""
    new = link.with_name(f".{secrets.token_hex(8)}.part")
    leftovers.enter_path(new)
    try:
        with suppress(OSError):
            if link.is_symlink() or not os.path.lexists(link):
                new.symlink_to(target, target_is_directory=True)
                new.replace(link)
    finally:
        leftovers.remove(new)
