"""Semihosting without a host: what a program may ask of this machine while QEMU runs it, which is to print and to end.

QEMU would answer the calls of Arm semihosting itself, with its own rights: SYS_SYSTEM runs a command, SYS_OPEN opens any file. With
``target=gdb`` it hands each call that reaches for the host to a debugger instead (the File-I/O extension of GDB's remote protocol), and
does nothing of itself. SemihostingHost is that debugger: it prints what is written to the console, and refuses the rest by name. QEMU
itself answers what needs no host: SYS_EXIT, the clocks, SYS_HEAPINFO, SYS_GET_CMDLINE (a fixed word), SYS_TMPNAM (a name, which nobody
can open).
"""

from __future__ import annotations

import re
import select
import socket
import time
from dataclasses import dataclass

from mcutrain.errors import MismatchError

MAX_OUTPUT_BYTES = 1 << 20
"""How much of a program's output is kept."""

_EOF = b""
_PACKET = re.compile(rb"\$([^#]*)#([0-9a-f]{2})")
_REQUEST = re.compile(r"F(\w+)((?:,[0-9a-fA-F]+(?:/[0-9a-fA-F]+)?)*)")
_READ_BYTES = 1024  # of memory in one packet; the smallest limit of any QEMU is 2048
_SHOWN_BYTES = 100  # of a refused path or command
_ANSWER_SECONDS = 30.0
_ENDING_SECONDS = 0.01
_CALLS_AT_ONCE = 100  # then whoever serves looks at the clock
_FAULT = "F-1,e"  # EFAULT

_INPUT, _OUTPUT, _ERRORS = range(3)
_CONSOLE = (_INPUT, _OUTPUT, _ERRORS)

_NAMES = {
    "open": "SYS_OPEN",
    "close": "SYS_CLOSE",
    "read": "SYS_READ",
    "write": "SYS_WRITE",
    "lseek": "SYS_SEEK",
    "rename": "SYS_RENAME",
    "unlink": "SYS_REMOVE",
    "stat": "SYS_FLEN",
    "fstat": "SYS_FLEN",
    "isatty": "SYS_ISTTY",
    "gettimeofday": "SYS_TIME",
    "system": "SYS_SYSTEM",
}


OPERATIONS = {
    **{
        0x01: "SYS_OPEN",
        0x02: "SYS_CLOSE",
        0x03: "SYS_WRITEC",
        0x04: "SYS_WRITE0",
        0x05: "SYS_WRITE",
        0x06: "SYS_READ",
    },
    **{
        0x07: "SYS_READC",
        0x08: "SYS_ISERROR",
        0x09: "SYS_ISTTY",
        0x0A: "SYS_SEEK",
        0x0C: "SYS_FLEN",
        0x0D: "SYS_TMPNAM",
    },
    **{
        0x0E: "SYS_REMOVE",
        0x0F: "SYS_RENAME",
        0x10: "SYS_CLOCK",
        0x11: "SYS_TIME",
        0x12: "SYS_SYSTEM",
        0x13: "SYS_ERRNO",
    },
    **{0x15: "SYS_GET_CMDLINE", 0x16: "SYS_HEAPINFO", 0x18: "SYS_EXIT", 0x20: "SYS_EXIT_EXTENDED"},
    **{0x30: "SYS_ELAPSED", 0x31: "SYS_TICKFREQ"},
}
"""Every call of the Arm specification, by the number in r0."""


class HostCallError(MismatchError):
    """A program asked its host for more than to print. call: by its name in the Arm specification, as SYS_OPEN."""

    def __init__(self, call: str, what: str) -> None:
        """``what``: the path or the command that it gave, "" for none."""
        of = f" of {what!r}" if what else ""
        super().__init__(
            f"the program asked by semihosting for {call}{of}; what runs here has no access to this machine: leave the call out"
        )
        self.call = call


@dataclass(frozen=True)
class _Request:
    """A call, as QEMU hands it on: its numbers, the second of a pair is 0 where there is none."""

    name: str
    numbers: tuple[tuple[int, int], ...]


class SemihostingHost:
    """The host of one run of QEMU.

    In this order: make it, start QEMU with ``options`` so that it inherits ``file``, ``started``; then ``serve`` again and again while it
    runs; ``close`` last, always.
    """

    def __init__(self) -> None:
        """Open the connection; QEMU gets the other end of it."""
        self._ours, self._theirs = socket.socketpair()
        self._received = b""
        self._written = bytearray()
        self._ended = False

    @property
    def file(self) -> int:
        """The file descriptor that QEMU has to inherit."""
        return self._theirs.fileno()

    @property
    def options(self) -> list[str]:
        """QEMU's options. It waits for ``started`` before its first instruction."""
        return [
            *("-semihosting-config", "enable=on,target=gdb,arg=program", "-S"),
            *("-chardev", f"socket,id=semihosting,fd={self.file}", "-gdb", "chardev:semihosting"),
        ]

    @property
    def output(self) -> str:
        """What the program has written to the console, the first MAX_OUTPUT_BYTES of it."""
        return self._written.decode("utf-8", "replace")

    def started(self) -> None:
        """QEMU runs, and has its end: let the program begin."""
        self._theirs.close()
        self._send("c")

    def serve(self, seconds: float = 0.0) -> None:
        """Answer what the program asks; waits at most ``seconds`` for it to ask anything.

        Raises:
            HostCallError: it asked for something of this machine. It waits for ever then: end QEMU.
            MismatchError: QEMU said something else than a program's call.
        """
        for _ in range(_CALLS_AT_ONCE):
            packet = self._packet(seconds)
            if packet == _EOF:
                return
            self._handle(packet.decode("ascii", "replace"))
            seconds = 0.0

    def close(self) -> None:
        """Close both ends. Safe to call twice."""
        self._ours.close()
        self._theirs.close()

    def _handle(self, packet: str) -> None:
        if packet.startswith(("W", "X")):  # the program has ended, with this code or signal: its exit code says so, too
            return
        match = _REQUEST.fullmatch(packet)
        if match is None:
            raise MismatchError(f"QEMU stopped the program: {packet[:_SHOWN_BYTES]!r}")
        numbers = (number.partition("/") for number in match[2].split(",")[1:])
        request = _Request(match[1], tuple((int(first, 16), int(second or "0", 16)) for first, _, second in numbers))
        self._send(self._answer(request))

    def _answer(self, request: _Request) -> str:
        handle = request.numbers[0][0] if request.numbers else None
        if request.name in ("open", "stat", "unlink", "rename", "system") or handle not in _CONSOLE:
            raise HostCallError(_NAMES.get(request.name, request.name), self._text(request))
        match request.name, [first for first, _ in request.numbers]:
            case "write", [(1 | 2), address, count]:
                return self._write(address, count)
            case "read", [0, _, _]:
                return "F0"  # the end of the input
            case "close", [_]:
                return "F0"
            case "isatty", [_]:
                return "F1"
            case _:
                return "F-1,16"  # EINVAL: a console has no length and no position, and its input takes nothing

    def _write(self, address: int, count: int) -> str:
        for offset in range(0, count, _READ_BYTES):
            if len(self._written) == MAX_OUTPUT_BYTES:
                break
            content = self._memory(address + offset, min(_READ_BYTES, count - offset))
            if content is None:
                return _FAULT
            self._written += content[: MAX_OUTPUT_BYTES - len(self._written)]
        return f"F{count:x}"

    def _text(self, request: _Request) -> str:
        """The path or command of a call."""
        address, count = request.numbers[0] if request.numbers else (0, 0)
        content = self._memory(address, min(count, _SHOWN_BYTES)) if count else None
        return (content or b"").rstrip(b"\0").decode("utf-8", "replace")

    def _memory(self, address: int, count: int) -> bytes | None:
        """What lies in the program's memory, or None where it has none. The program waits, so no other packet comes between."""
        self._send(f"m{address:x},{count:x}")
        packet = self._packet(_ANSWER_SECONDS)
        try:
            content = bytes.fromhex(packet.decode("ascii"))
        except ValueError:
            return None
        return content if len(content) == count else None

    def _packet(self, seconds: float) -> bytes:
        """The next packet, acknowledged; _EOF where none has come in time, or QEMU has ended."""
        while (match := _PACKET.search(self._received)) is None:
            if self._ended:
                time.sleep(min(seconds, _ENDING_SECONDS))  # QEMU has closed its end, and is about to exit
                return _EOF
            if not select.select([self._ours], [], [], seconds)[0]:
                return _EOF
            try:
                received = self._ours.recv(65536)
            except ConnectionError:
                received = b""
            self._ended = not received
            self._received += received
        self._received = self._received[match.end() :]
        self._transmit(b"+")
        return match[1]

    def _send(self, packet: str) -> None:
        content = packet.encode("ascii")
        self._transmit(b"$%b#%02x" % (content, sum(content) & 0xFF))

    def _transmit(self, content: bytes) -> None:
        try:
            self._ours.sendall(content)
        except ConnectionError:
            self._ended = True
