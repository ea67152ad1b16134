"""Workers: processes of this machine, started for a sweep, or those of a Dask scheduler that is there already."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from mcutrain import leftovers
from mcutrain.errors import McutrainError, UsageError
from mcutrain.paths import PROJECT

_START_SECONDS = 60.0
_CONNECT_SECONDS = 20
_POLL_SECONDS = 0.05
# A task whose workers died so often is given up: it probably killed them.
ALLOWED_FAILURES = 3


@contextmanager
def local_workers(count: int) -> Iterator[str]:
    """A scheduler and so many workers, each a process of one thread; yields the scheduler's address. All end behind the block.

    A worker that dies is started again by its own guardian (Dask's nanny). Raises McutrainError where the scheduler does not start.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(leftovers.temporary_folder())
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PROJECT / "python_harness"), os.environ.get("PYTHONPATH", "")]),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED_FAILURES),
        }

        def begin(name: str, *arguments: str) -> Popen[bytes]:
            command = [sys.executable, "-P", "-m", f"distributed.cli.dask_{name}", "--no-dashboard", *arguments]
            errors = stack.enter_context((folder / f"{name}.log").open("ab"))
            process = leftovers.start(command, folder=folder, environment=environment, stderr=errors)
            stack.callback(leftovers.end, process)
            return process

        found = folder / "scheduler.json"
        scheduler = begin("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(found))
        address = _address(scheduler, found)
        for _ in range(count):
            begin(
                "worker",
                *(address, "--host", "127.0.0.1", "--nworkers", "1", "--nthreads", "1", "--memory-limit", "0"),
                *("--local-directory", str(folder), "--death-timeout", str(int(_START_SECONDS))),
            )
        yield address


def _address(scheduler: Popen[bytes], found: Path) -> str:
    limit = time.monotonic() + _START_SECONDS
    while time.monotonic() < limit and scheduler.poll() is None:
        with contextlib.suppress(OSError, ValueError):  # not there, or not whole yet
            return str(json.loads(found.read_text(encoding="utf-8"))["address"])
        time.sleep(_POLL_SECONDS)
    log = (found.parent / "scheduler.log").read_text(encoding="utf-8", errors="replace").strip()
    last = log.splitlines()[-1][:200] if log else f"no answer in {_START_SECONDS:.0f} s"
    raise McutrainError(f"the scheduler of the workers did not start: {last}")


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the scheduler at ``address``. Raises UsageError where nothing answers there."""
    from distributed import Client  # here: it takes a second

    make_client: Any = Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client: Any = make_client(address, timeout=_CONNECT_SECONDS, set_as_default=False, heartbeat_interval=2000)
    except (OSError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"no Dask scheduler answers at {address} ({reason}); start one: dask scheduler") from None
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            client.close(timeout=5)


def worker_count(client: Any) -> int:
    """How many workers the scheduler has now."""
    return len(client.scheduler_info(n_workers=-1)["workers"])
