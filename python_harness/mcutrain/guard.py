"""The process that ends what another one would leave behind, should that one be killed: ``guard.py``, run as a script.

It reads entries from standard input, each ended by a NUL byte: ``+group 123`` and ``-group 123`` for a group of processes, ``+path FOLDER``
and ``-path FOLDER`` for a folder or a file. When the input ends, so has the process that wrote it, whatever ended it: groups that were not
crossed off are killed, and paths that were not are removed. It imports nothing of mcutrain, so that it starts fast.
"""

from __future__ import annotations

import os
import shutil
import signal
import time

_TRIES = 50
_PAUSE_SECONDS = 0.02


def main() -> None:
    """Follow the entries to their end, then end what is left of them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    entries: dict[bytes, None] = {}
    text = b""
    while data := os.read(0, 1 << 16):
        *whole, text = (text + data).split(b"\0")
        for entry in whole:
            if entry.startswith(b"+"):
                entries[entry[1:]] = None
            else:
                entries.pop(entry[1:], None)
    kinds = [entry.split(b" ", 1) for entry in entries]
    end([int(name) for kind, name in kinds if kind == b"group"], [name for kind, name in kinds if kind == b"path"])


def end(groups: list[int], paths: list[bytes]) -> None:
    """Kill groups of processes, then remove paths, for at most a second: what is dying may still write into a folder."""
    for group in groups:
        kill(group, signal.SIGKILL)
    for _ in range(_TRIES):
        for path in paths:
            remove(path)
        if not any(map(os.path.lexists, paths)):
            return
        time.sleep(_PAUSE_SECONDS)


def kill(group: int, number: int) -> bool:
    """Send a signal to a group of processes; False where none is left, or none that we may send to."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def remove(path: str | bytes) -> None:
    """Remove a file, or a folder with what is in it; what cannot be removed stays."""
    try:
        os.unlink(path)  # noqa: PTH108 - pathlib takes long to import
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass


if __name__ == "__main__":
    main()
    os._exit(0)
