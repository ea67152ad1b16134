"""Keywords that make the machine busy, to show that results do not depend on how fast it is."""

from __future__ import annotations

import os
import subprocess
import sys

from robot.api import logger
from robot.api.deco import keyword

from mcutrain.robot.session import Session

# It ends by itself, should nobody be left to end it.
_SPIN = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


class LoadKeywords:
    """Load on the other cores of the machine."""

    session: Session
    _busy: tuple[subprocess.Popen[bytes], ...] = ()

    @keyword
    def keep_the_other_cores_busy(self) -> None:
        """Start a program that does nothing but count on every core but one (on one core, beside us), until the end of the test."""
        self.let_the_other_cores_rest()
        count = max(1, (os.cpu_count() or 1) - 1)
        command = [sys.executable, "-I", "-S", "-c", _SPIN, str(2 * self.session.seconds)]
        self._busy = tuple(subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(count))  # noqa: S603 - fixed
        logger.info(f"{count} busy programs")

    @keyword
    def the_other_cores_should_still_be_busy(self) -> None:
        """Assert that the load of `Keep The Other Cores Busy` lasted to here."""
        if not self._busy or any(process.poll() is not None for process in self._busy):
            raise AssertionError("the other cores are not busy")

    @keyword
    def let_the_other_cores_rest(self) -> None:
        """End the load of `Keep The Other Cores Busy`."""
        for process in self._busy:
            process.kill()
            process.wait()
        self._busy = ()
