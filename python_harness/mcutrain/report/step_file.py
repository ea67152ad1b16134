"""The steps of a record as a table of their own beside its JSON file: ``steps-<16 digits of its SHA-256>.csv``.

It is called by its content: steps of the same bits, of two boards or of a repeated run, are one file, and no run replaces another's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from mcutrain.atomic import write_atomically
from mcutrain.episode.record import StepRecord
from mcutrain.errors import UsageError
from mcutrain.report.wording import printable

COLUMNS = tuple(StepRecord.model_fields)
MOST_BYTES = 1 << 31
"""More than the longest run writes: 2^24 steps of at most 80 characters; a limit for what is not ours."""
_NAME = re.compile(r"steps-[0-9a-f]{16}\.csv")


def write_steps(steps: Sequence[StepRecord], folder: Path, new: list[Path]) -> str:
    """Write the steps into ``folder``, whole or not at all; returns the file's name, and adds its path to ``new`` if it was not there.

    Raises UsageError when it cannot be written.
    """
    rows = [",".join(_cell(getattr(step, column)) for column in COLUMNS) for step in steps]
    content = "\n".join([",".join(COLUMNS), *rows, ""]).encode("ascii")
    path = folder / _name(content)
    if not path.exists():
        new.append(path)
    write_atomically(path, content, "the steps")
    return path.name


def read_steps(folder: Path, name: object, where: str) -> list[dict[str, str | None]]:
    """The steps in the file called ``name``, as texts for `StepRecord` to check. where: names the record.

    Raises UsageError for a name that `write_steps` does not give, and for a file that is missing or has other content.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{where}, key steps_file: {printable(repr(name))[:80]} is no name of a file of steps")
    path = folder / name
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{where}: cannot read its steps from {path}: {error.strerror}; keep it beside the JSON file"
        ) from None
    if _name(content) != name:
        raise UsageError(f"{path}: not the steps of {where}: its content was changed; run it again")
    header, *rows = content.decode("latin-1").removesuffix("\n").split("\n")
    cells = [row.split(",") for row in rows]
    if header.split(",") != list(COLUMNS) or any(len(row) != len(COLUMNS) for row in cells):
        raise UsageError(f"{path}: not a table of {', '.join(COLUMNS)}; write it again with this mcutrain")
    return [{column: cell or None for column, cell in zip(COLUMNS, row, strict=True)} for row in cells]


def _name(content: bytes) -> str:
    return f"steps-{hashlib.sha256(content).hexdigest()[:16]}.csv"


def _cell(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
