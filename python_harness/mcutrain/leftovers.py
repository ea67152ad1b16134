"""What must not outlive this process: the programs that it starts, its temporary folders and files.

Each is entered here before it is there and crossed off once it is gone. What ends the process ends what is entered then: `end_all` where a
signal does (interrupt.py), and where nothing of ours can run any more, guard.py, a process of its own that is told every entry.
"""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mcutrain import guard

_LOCK_SECONDS = 5.0
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.01

# Held while something is entered and made. Whoever ends the process takes it and never gives it back: nothing is made any more.
_lock = threading.RLock()
_paths: set[Path] = set()
_groups: dict[int, Stop] = {}
_guard: subprocess.Popen[bytes] | None = None


@dataclass(frozen=True)
class Stop:
    """How a program is asked to end, and how long it may take before it is killed."""

    signal: int = signal.SIGTERM
    seconds: float = 1.0


def hold() -> None:
    """Keep the process as it is: from here on a signal ends nothing, and where one is ending the process this does not return."""
    _lock.acquire()


@contextmanager
def together() -> Iterator[None]:
    """What is made in this block is made whole or not at all, as far as signals go. Keep it short."""
    with _lock:
        yield


def enter_path(path: Path) -> None:
    """Enter a folder or a file that is about to be made."""
    with _lock:
        _tell(f"+path {path.absolute()}")
        _paths.add(path)


def leave_path(path: Path) -> None:
    """Cross off a path that is gone, or that may stay."""
    with _lock:
        _paths.discard(path)
        _tell(f"-path {path.absolute()}")


def make_folder() -> Path:
    """A new private folder for temporary files; give it to `remove` in the end. Raises OSError where none can be made."""
    path = Path(tempfile.gettempdir()) / f"mcutrain-{secrets.token_hex(8)}"
    with _lock:
        enter_path(path)
        try:
            path.mkdir(mode=0o700)
        except OSError:
            leave_path(path)
            raise
    return path


def remove(path: Path) -> None:
    """Remove a folder or a file that was entered, and cross it off."""
    guard.remove(str(path))
    leave_path(path)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder that is removed behind the block."""
    path = make_folder()
    try:
        yield path
    finally:
        remove(path)


def start(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.DEVNULL,
    stop: Stop | None = None,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a group of processes of its own; give it to `end` in the end. Its standard input is empty.

    inherited: open files of ours that it gets beside those.
    """
    with _lock:
        process = subprocess.Popen(  # noqa: S603 - no shell; the caller's command
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
            pass_fds=tuple(inherited),
        )
        _groups[process.pid] = stop or Stop()
        _tell(f"+group {process.pid}")
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that still runs, with all that it started, and cross it off."""
    with _lock:
        if process.poll() is None:
            guard.kill(process.pid, signal.SIGKILL)
            process.wait(_KILL_SECONDS)
        if _groups.pop(process.pid, None) is not None:
            _tell(f"-group {process.pid}")


def run(
    command: Sequence[str | Path],
    *,
    seconds: float | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    merged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it wrote, read as UTF-8; merged: standard error is in standard output, as it came.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``seconds``; it is killed, with all that it started.
        OSError: it cannot be started.
    """
    stderr = subprocess.STDOUT if merged else subprocess.PIPE
    process = start(command, folder=folder, environment=environment, stdout=subprocess.PIPE, stderr=stderr)
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        end(process)
    texts = [text.decode("utf-8", "replace") if text else "" for text in (out, err)]
    return subprocess.CompletedProcess(command, process.returncode, *texts)


def end_all() -> None:
    """End all programs and remove all paths that are entered. Nothing can be entered behind it: the process has to end."""
    _lock.acquire(timeout=_LOCK_SECONDS)
    for group, stop in _groups.items():
        guard.kill(group, stop.signal)
    limit = time.monotonic() + max((stop.seconds for stop in _groups.values()), default=0.0)
    while any(map(_runs, _groups)) and time.monotonic() < limit:
        time.sleep(_POLL_SECONDS)
    guard.end(list(_groups), [os.fsencode(path) for path in _paths])
    for group in _groups:
        _runs(group)
    close_guard(crossed_off=True)


def close_guard(*, crossed_off: bool = False) -> None:
    """Let the guard end, and wait for it. crossed_off: all that it has been told of is gone."""
    global _guard
    if _guard is None:
        return
    if crossed_off:
        for group in _groups:
            _tell(f"-group {group}")
    assert _guard.stdin is not None
    _guard.stdin.close()
    try:
        _guard.wait(_KILL_SECONDS)
    except subprocess.TimeoutExpired:
        _guard.kill()
    _guard = None


def _runs(group: int) -> bool:
    """Whether anything is left of a group. Its first process is our child, and waits to be asked for its end."""
    with suppress(ChildProcessError):
        os.waitpid(group, os.WNOHANG)
    return guard.kill(group, 0)


def _tell(entry: str) -> None:
    global _guard
    if _guard is None:
        _guard = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        atexit.register(close_guard)
    assert _guard.stdin is not None
    with suppress(BrokenPipeError):  # somebody killed the guard: what is entered is still ended by us
        _guard.stdin.write(os.fsencode(entry) + b"\0")
