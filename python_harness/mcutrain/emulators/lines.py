"""The line protocol (docs/protocol.md), read strictly: what is not exactly as agreed fails the run."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mcutrain.errors import MismatchError

PROTOCOL_VERSION = 3
MAX_LINE_BYTES = 512
DUMP_BYTES_PER_LINE = 64

_SHOWN_VALUES = 3  # they tell one line of a kind from another

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,9}")
_HEX = re.compile(r"[0-9a-f]{8}")
_BYTES = re.compile(r"(?:[0-9a-f]{2}){1,64}")
_NAME = re.compile(r"[a-z0-9-]+")
_SET = re.compile(r"before|after")

_KEYS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "boot": {
        **{"plan": _HEX, "image": _HEX, "protocol": _DECIMAL, "board": _NAME, "data": _DECIMAL, "bss": _DECIMAL},
        **{"arena": _DECIMAL, "trainable": _DECIMAL, "stack": _DECIMAL},
    },
    "evaluation": {"set": _SET, "correct": _DECIMAL, "total": _DECIMAL, "digest": _HEX},
    "regression": {"set": _SET, "error": _HEX, "total": _DECIMAL, "digest": _HEX},
    "prediction": {"set": _SET, "n": _DECIMAL, "class": _DECIMAL, "output": _HEX},
    "step": {"n": _DECIMAL, "loss": _HEX, "prediction": _DECIMAL, "digest": _HEX},
    "trace": {"n": _DECIMAL, "op": _DECIMAL, "visit": _DECIMAL, "output": _DECIMAL, "crc": _HEX},
    "dump": {
        **{"n": _DECIMAL, "op": _DECIMAL, "visit": _DECIMAL, "output": _DECIMAL, "offset": _DECIMAL},
        "bytes": _BYTES,
    },
    "fault": {"kind": re.compile("memory|bus|usage|hard"), "address": _HEX, "pc": _HEX},
    "end": {"status": _DECIMAL, "lines": _DECIMAL, "stack_peak": _DECIMAL},
}


@dataclass(frozen=True)
class Line:
    """One line: its kind, its values as they were sent, and which line of the run it is, from 1."""

    kind: str
    values: Mapping[str, str]
    number: int

    def text(self, key: str) -> str:
        """A value as it was sent."""
        return self.values[key]

    def integer(self, key: str) -> int:
        """A decimal value."""
        return int(self.values[key])

    def bits(self, key: str) -> int:
        """A value of eight hexadecimal digits."""
        return int(self.values[key], 16)

    def float32(self, key: str) -> float:
        """The float32 of these bits."""
        return float(struct.unpack("<f", struct.pack("<I", self.bits(key)))[0])

    def data(self) -> bytes:
        """The bytes of a dump."""
        return bytes.fromhex(self.values["bytes"])


def parse_line(raw: bytes, number: int) -> Line:
    """Read one line, without its line feed.

    Raises:
        MismatchError: it is not ASCII of the agreed form, its CRC is wrong, or its kind or keys are unknown.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise _damaged(raw, number, "it is not ASCII") from None
    body, separator, crc = text.rpartition(" *")
    if not separator or not body.startswith("@") or not _HEX.fullmatch(crc):
        raise _damaged(raw, number, "it is not of the form '@kind key=value ... *crc'")
    computed = zlib.crc32(body.encode("ascii"))
    if int(crc, 16) != computed:
        raise _damaged(raw, number, f"its CRC is {crc}, but its content has {computed:08x}")
    kind, *pairs = body[1:].split(" ")
    if kind not in _KEYS:
        raise _damaged(raw, number, f"there is no kind '{kind}'")
    values = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    expected = _KEYS[kind]
    if list(values) != list(expected) or len(pairs) != len(expected):
        raise _damaged(raw, number, f"a '{kind}' line has the keys {', '.join(expected)}")
    for key, pattern in expected.items():
        if not pattern.fullmatch(values[key]):
            raise _damaged(raw, number, f"{key}={values[key]} is not a valid value")
    return Line(kind, values, number)


def format_line(kind: str, /, **values: str | int) -> str:
    """A line as a device sends it, with its CRC and without its line feed."""
    body = " ".join([f"@{kind}", *(f"{key}={value}" for key, value in values.items())])
    return f"{body} *{zlib.crc32(body.encode('ascii')):08x}"


class LineReader:
    """Turns the bytes of one run into its lines, and hands each on to whoever holds it against what was asked (request.Session)."""

    def __init__(self, take: Callable[[Line], None]) -> None:
        """Start before the first byte of a run. ``take`` gets each line in its turn, and raises MismatchError to refuse it."""
        self.lines: list[Line] = []
        self._take = take
        self._pending = b""

    @property
    def ended(self) -> bool:
        """Whether the last line of a run has arrived: `end` or `fault`."""
        return bool(self.lines) and self.lines[-1].kind in ("end", "fault")

    def feed(self, data: bytes) -> list[Line]:
        """Take the next bytes, and give the lines that they complete.

        Raises:
            MismatchError: a line is damaged or refused.
        """
        *complete, self._pending = (self._pending + data).split(b"\n")
        first_new = len(self.lines)
        for raw in complete:
            line = parse_line(raw, len(self.lines) + 1)
            self._take(line)
            self.lines.append(line)
        if len(self._pending) > MAX_LINE_BYTES:
            raise _damaged(self._pending, len(self.lines) + 1, f"it is longer than {MAX_LINE_BYTES} characters")
        return self.lines[first_new:]

    def finish(self) -> None:
        """Say that no byte will follow.

        Raises:
            MismatchError: the run has no end.
        """
        if self._pending:
            raise _damaged(self._pending, len(self.lines) + 1, "it breaks off")
        if not self.ended:
            raise MismatchError(f"the run broke off after {self.progress()} without an 'end'")

    def progress(self) -> str:
        """In words, how many lines have come ahead of a fault, and the last of them."""
        told = [line for line in self.lines if line.kind != "fault"]
        if not told:
            return "0 lines"
        values = "".join(f" {key}={value}" for key, value in list(told[-1].values.items())[:_SHOWN_VALUES])
        return f"{len(told)} lines (the last: {told[-1].kind}{values})"


def _damaged(raw: bytes, number: int, what: str) -> MismatchError:
    shown = raw[:100].decode("ascii", "backslashreplace")
    return MismatchError(f"line {number} is damaged: {what}: {shown!r}")
