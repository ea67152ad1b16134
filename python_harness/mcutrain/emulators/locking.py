"""A lock between processes: test workers and users' shells build into the same folders."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcutrain.errors import McutrainError

LOCK_SECONDS = 600.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``, made if it is missing, for as long as the block runs.

    Raises:
        McutrainError: somebody else held it for ten minutes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limit = time.monotonic() + LOCK_SECONDS
    with (folder / ".lock").open("w", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise McutrainError(
                        f"{folder} has been locked for {LOCK_SECONDS:.0f} s; end the build there"
                    ) from None
                time.sleep(0.02)
        yield
