"""Run the command line tool as a user would, in a process of its own, with a time limit."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot.api import Failure, SkipExecution, logger

from mcutrain.paths import PROJECT

NOT_AVAILABLE = 77


@dataclass(frozen=True)
class Outcome:
    """How a command ended. Its texts are whole."""

    command: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def message(self) -> str:
        """What it said last on standard error, which is where an error's one line stands."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else f"'{self.command}' said nothing on standard error"


def run_tool(
    arguments: Sequence[str],
    *,
    seconds: float,
    folder: Path,
    project: Path = PROJECT,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run ``mcutrain`` of ``project`` in ``folder``; it and all it started are killed after ``seconds``, or when this is interrupted.

    Raises:
        SkipExecution: it needs something that this machine does not have.
        Failure: it took too long.
    """
    variables = {**os.environ, "PYTHONPATH": str(project / "python_harness"), **(environment or {})}
    command = "mcutrain " + shlex.join(arguments)
    with subprocess.Popen(  # noqa: S603 - our own tool, no shell
        [sys.executable, "-m", "mcutrain", *arguments],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"'{command}' took over {seconds:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    outcome = Outcome(command, process.returncode, stdout, stderr)
    logger.info(f"{command}\nexit code {outcome.exit_code}\n{_shortened(stderr)}")
    logger.debug(_shortened(stdout))
    if outcome.exit_code == NOT_AVAILABLE:
        raise SkipExecution(outcome.message.removeprefix("mcutrain: "))
    return outcome


def _shortened(text: str, limit: int = 4000) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"
