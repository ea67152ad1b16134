"""The status codes of the C library: read from its header, so that C and Python hold them once."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mcutrain.errors import McutrainError
from mcutrain.paths import PROJECT

_HEADER = PROJECT / "src" / "include" / "mcutrain" / "status.h"
_ENUM = re.compile(r"typedef enum \{(.*?)\} mct_status;", re.DOTALL)
_MEMBER = re.compile(r" *(MCT_\w+) = (\d+),? */\* ([^;*]+)(?:;[^*]*)? \*/")


@dataclass(frozen=True)
class Status:
    """A value of mct_status; meaning: its comment in the header, up to the first semicolon."""

    name: str
    number: int
    meaning: str


@functools.cache
def statuses(header: Path = _HEADER) -> Mapping[str, Status]:
    """Every mct_status by its name. Raises McutrainError where the header is not as expected: a member a line, with its comment."""
    enum = _ENUM.search(header.read_text(encoding="ascii"))
    lines = [line for line in enum[1].splitlines() if line.strip()] if enum else []
    members = [_MEMBER.fullmatch(line) for line in lines]
    found = [Status(member[1], int(member[2]), member[3]) for member in members if member is not None]
    if not found or len(found) < len(lines) or len({status.number for status in found}) < len(found):
        raise McutrainError(
            f"{header}: mct_status has to have a member a line, MCT_NAME = number, with a comment and numbers of their own"
        )
    return MappingProxyType({status.name: status for status in found})


def status_number(name: str) -> int:
    """The number of a status, e.g. of ``MCT_ERROR_NOT_FINITE``; KeyError where there is none of this name."""
    return statuses()[name].number


def status_meaning(number: int) -> str:
    """What a status means in a few words; ``unknown`` where it is none."""
    return next((status.meaning for status in statuses().values() if status.number == number), "unknown")
