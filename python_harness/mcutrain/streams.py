"""Standard input, output and error, made fit to be used, whatever the shell has closed, the locale cannot write, or COLUMNS says."""

from __future__ import annotations

import io
import os
import sys

_SIZES = {"COLUMNS": range(20, 10_000), "LINES": range(2, 10_000)}


def prepare() -> None:
    """Open closed streams on the null device, and write what a locale has no character for (also an undecodable path) as an escape.

    Without the former, the next file that is opened would be the standard output of all that is started. COLUMNS and LINES are forgotten
    where nothing can be shown in so many.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one. It is made to be inherited.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY), True)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    for variable, sizes in _SIZES.items():
        text = os.environ.get(variable)
        if text is not None and not (text.isdecimal() and len(text) < 5 and int(text) in sizes):
            del os.environ[variable]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
