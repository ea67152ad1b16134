"""Signals that end the tool: Ctrl-C, SIGTERM and SIGHUP end it at once, with 128 plus the signal's number and one line.

They are answered in a thread of their own, since the main one may be in a library that does not return for minutes. That thread ends
what is entered in leftovers.py and then the process; nothing is unwound, so nothing can swallow a signal or end in a traceback. A second
signal ends the process as it is, and leaves the rest to the guard.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAID = b"mcutrain: interrupted\n"

_before: list[Callable[[], None]] = []


def install() -> None:
    """Answer the signals from here on, and those that came while they were blocked.

    The entry script starts Python with them blocked, since Python's own start answers Ctrl-C by a traceback. What the process was
    started to ignore (nohup) stays ignored.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_answer, args=(reading,), name="signals", daemon=True).start()


@contextmanager
def before_end(action: Callable[[], None]) -> Iterator[None]:
    """While the block runs, a signal's first effect is ``action``, such as to take a progress bar from the screen."""
    _before.append(action)
    try:
        yield
    finally:
        _before.remove(action)


def _nothing(number: int, frame: Any) -> None:
    """The handler in Python: the thread has been told already."""


def _answer(reading: int) -> None:
    first = _next(reading)
    threading.Thread(target=_end, args=(first,), name="end", daemon=True).start()
    os._exit(128 + _next(reading))


def _next(reading: int) -> int:
    while (number := os.read(reading, 1)[0]) not in SIGNALS:
        pass
    return number


def _end(number: int) -> None:
    from mcutrain import leftovers  # what it imports takes longer than a signal may wait to be answered

    try:
        for action in list(_before):
            action()
        leftovers.end_all()
        os.write(2, SAID)
    finally:
        os._exit(128 + number)
