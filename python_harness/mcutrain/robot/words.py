"""The argument types of the keywords: how boards, percentages and counts are written in a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mcutrain.boards import board_names, load_board
from mcutrain.episode.runners import runner_names

_BOARD = re.compile(r"(?:the )?(\d+) ?([km])b? (cortex-m\d)(?: board)?", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_COUNT = re.compile(r"\d+|\d{1,3}(?:[,_ ]\d{3})+")
_UNITS = {"k": 1 << 10, "m": 1 << 20}
_RUN_EPISODES = ("run", "verify")
_NAME_RUNNERS = ("--board", "--runners")


class Place(str):
    """A board by name, ``m4-256k`` or ``m4-256k@qemu``, or in words, ``the 256K Cortex-M4 board``; or ``host``, this machine."""


class Count(int):
    """A whole number, with or without thousands separators: ``262144`` or ``262,144``."""


@dataclass(frozen=True)
class Percent:
    """A percentage, ``85.5 %``. fraction is 0.855, half_unit half of the last digit that was written, as a fraction too."""

    text: str
    fraction: Decimal
    half_unit: Decimal

    def __str__(self) -> str:
        """As it was written."""
        return self.text


def parse_place(text: str) -> Place:
    """Find the board that ``text`` means. Raises ValueError where there is none, or more than one."""
    if text in runner_names():
        return Place(text)
    match = _BOARD.fullmatch(text)
    if match is None:
        known = ", ".join(runner_names())
        raise ValueError(f"no board {text!r}; give one of {known}, or words such as 'the 256K Cortex-M4 board'")
    number, unit, core = match.groups()
    sram_bytes = int(number) * _UNITS[unit.lower()]
    boards = [load_board(name) for name in board_names()]
    found = [board.name for board in boards if (board.core, board.sram_bytes) == (core.lower(), sram_bytes)]
    if len(found) != 1:
        raise ValueError(
            f"{text!r} means {' or '.join(found) or 'no board'}; give its name: {', '.join(board_names())}"
        )
    return Place(found[0])


def on_emulator(name: str, emulator: str) -> str:
    """``name@emulator`` where ``name`` is a board that says none itself; anything else as it is, as with an empty ``emulator``."""
    return f"{name}@{emulator}" if emulator and name in board_names() else name


def runners_on_emulator(arguments: Sequence[str], emulator: str) -> list[str]:
    """The arguments of a command line, with its runners on the emulator: what stands behind ``--board`` and ``--runners``.

    Only of commands that run episodes: the others mean the board itself.
    """
    if not arguments or arguments[0] not in _RUN_EPISODES:
        return list(arguments)
    changed: list[str] = []
    for argument in arguments:
        option, equals, names = argument.partition("=")
        if equals and option in _NAME_RUNNERS:
            changed.append(f"{option}={_all_on_emulator(names, emulator)}")
        elif changed and changed[-1] in _NAME_RUNNERS:
            changed.append(_all_on_emulator(argument, emulator))
        else:
            changed.append(argument)
    return changed


def _all_on_emulator(names: str, emulator: str) -> str:
    return ",".join(on_emulator(name, emulator) for name in names.split(","))


def parse_count(text: str | int) -> Count:
    """Read a whole number. Raises ValueError for anything else."""
    if isinstance(text, int):
        return Count(text)
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number such as 262144 or 262,144")
    return Count(re.sub(r"[,_ ]", "", text))


def parse_percent(text: str) -> Percent:
    """Read a percentage. Raises ValueError for anything else, and above 100 %."""
    match = _PERCENT.fullmatch(text)
    if match is None or Decimal(match.group(1)) > 100:
        raise ValueError(f"{text!r} is not a percentage such as '85.5 %'")
    value = Decimal(match.group(1))
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return Percent(text, value / 100, Decimal(1).scaleb(exponent) / 200)


CONVERTERS: dict[type, Callable[..., object]] = {Place: parse_place, Count: parse_count, Percent: parse_percent}
