"""How many mutated inputs a fuzz test tries, and what each of them may cost."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator

MAX_SECONDS = 10.0
MAX_BYTES = 1 << 30


@contextlib.contextmanager
def bounded(what: str) -> Iterator[None]:
    """Fails where the block takes over 10 s, or this process grew by over 1 GB in it."""
    begin, before = time.monotonic(), _peak_bytes()
    yield
    seconds, grown = time.monotonic() - begin, _peak_bytes() - before
    assert seconds < MAX_SECONDS, f"{what} took {seconds:.1f} s"
    assert grown < MAX_BYTES, f"{what} took {grown:,} B"


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
