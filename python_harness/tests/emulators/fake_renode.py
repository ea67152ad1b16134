"""Stands for pyrenode3 and for Renode behind it, as far as renode_worker.py uses them; the scenario of a run says what the firmware does.

The test that uses it puts this file on the worker's path under the name of each module that the worker imports. FAKE_RENODE names the
scenario, a JSON list of events, each a list of a name and its arguments. An event happens in a RunFor of its own.
"""
# ruff: noqa: N802, SIM115 - .NET's names; files that stay open

from __future__ import annotations

import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Hook = Callable[..., None]


class Cpu:
    """The core: registers by number, hooks by address, and a count that the scenario sets."""

    def __init__(self) -> None:
        self.registers = {0: 0, 1: 0x20000100, 13: 0x20001000, 15: 0x100}
        self.hooks: dict[int, list[Hook]] = {}
        self.exception_hooks: list[Hook] = []
        self.ExecutedInstructions = 0
        self.MemoryFaultAddress = 0

    def GetRegister(self, number: int) -> Any:
        return types.SimpleNamespace(RawValue=self.registers[number])

    def AddHook(self, address: int, hook: Hook) -> None:
        self.hooks.setdefault(int(address), []).append(hook)

    def RemoveHooksAt(self, address: int) -> None:
        self.hooks.pop(int(address))

    def AddHookAtInterruptBegin(self, hook: Hook) -> None:
        self.exception_hooks.append(hook)

    def meet(self, address: int) -> None:
        for hook in list(self.hooks.get(address, ())):
            callback(hook, self, address)

    def take_exception(self, index: int) -> None:
        for hook in self.exception_hooks:
            callback(hook, index)


def callback(hook: Hook, *arguments: object) -> None:
    """As .NET calls a Python function: what it raises ends the process by SIGABRT."""
    try:
        hook(*arguments)
    except BaseException:
        os.abort()


class Board:
    """Everything of the emulation: one machine, its files, and the events that are left."""

    def __init__(self) -> None:
        self.events: list[list[Any]] = json.loads(Path(os.environ["FAKE_RENODE"]).read_text(encoding="utf-8"))
        self.cpu = Cpu()
        self.uart = object()
        self.log: Any = None
        self.lines: Any = None
        self.addresses: dict[str, int] = {}

    def run_for(self, milliseconds: int) -> None:
        if not self.events:
            self.write_log(f"idle for {milliseconds} ms")
            return
        name, *arguments = self.events.pop(0)
        getattr(self, name)(*arguments)

    def uart_sends(self, text: str) -> None:
        self.lines.write(text.encode())

    def executes(self, count: int) -> None:
        self.cpu.ExecutedInstructions += count

    def meets(self, address: int) -> None:
        self.cpu.meet(address)

    def ends_with(self, code: int, address: int) -> None:
        self.cpu.registers[0] = code
        self.cpu.meet(address)

    def faults(self, index: int, address: int, registers: dict[str, int]) -> None:
        self.cpu.MemoryFaultAddress = address
        self.cpu.registers.update({int(number): value for number, value in registers.items()})
        self.cpu.take_exception(index)

    def word_at(self, address: int) -> int:
        return int.from_bytes(bytes(self.byte_at(address + i) for i in range(4)), "little")

    def byte_at(self, address: int) -> int:
        """Memory: a block of three words at 0x20000100, and the text that it points at."""
        words = b"".join(word.to_bytes(4, "little") for word in (0x20000200, 4, 4))
        for base, content in ((0x20000100, words), (0x20000200, b"path")):
            if base <= address < base + len(content):
                return content[address - base]
        return 0xFF

    def forgets(self, register: int) -> None:
        del self.cpu.registers[register]

    def loops_over_its_stack(self) -> None:
        """What Renode does where an exception cannot push its frame: it never comes back, and logs without end."""
        while True:
            self.write_log("[WARNING] cpu: stacking fault" + "." * 4000)

    def writes_log(self, text: str) -> None:
        self.write_log(text)

    def write_log(self, text: str) -> None:
        self.log.write(f"{text}\n".encode())

    def sleeps(self, seconds: float) -> None:
        time.sleep(seconds)

    def repeats(self, event: list[Any]) -> None:
        self.events.insert(0, ["repeats", event])
        getattr(self, event[0])(*event[1:])

    def exits_silently(self) -> None:
        os._exit(0)

    def is_killed(self) -> None:
        os.kill(os.getpid(), 9)

    def throws(self, text: str) -> None:
        raise RuntimeError(text)


BOARD = Board()


class Machine:
    """pyrenode3's wrapper of a machine."""

    sysbus = types.SimpleNamespace(
        internal=types.SimpleNamespace(ReadDoubleWord=BOARD.word_at, ReadByte=BOARD.byte_at),
        cpu=types.SimpleNamespace(internal=BOARD.cpu),
        uart0=types.SimpleNamespace(internal=BOARD.uart),
    )

    def load_repl(self, path: str) -> None:
        assert Path(path).is_absolute() and Path(path).suffix == ".repl"

    def load_elf(self, path: str) -> None:
        assert Path(path).exists()

    def load_binary(self, path: str, address: int) -> None:
        assert Path(path).exists() and address > 0


class Emulation:
    """pyrenode3's wrapper of the emulation."""

    internal = types.SimpleNamespace(RunFor=BOARD.run_for)

    def add_mach(self, name: str) -> Machine:
        return Machine()


class Monitor:
    """pyrenode3's wrapper of the monitor: what is wrong with a command is in the second of what it gives."""

    def execute(self, command: str) -> tuple[str, str]:
        wrong = BOARD.events and BOARD.events[0] == ["monitor_refuses", command]
        return "", "no such command" if wrong else ""


class FileBackend:
    """Renode's log, in a file."""

    def __init__(self, path: str, flush: bool) -> None:
        assert flush
        BOARD.log = Path(path).open("wb", buffering=0)


class UartFileBackendExtensions:
    """The UART's file: made, removed and made again."""

    @staticmethod
    def CreateFileBackend(uart: object, path: str, flush: bool) -> None:
        assert uart is BOARD.uart and flush
        Path(path).touch()
        time.sleep(0.2)  # long enough for a reader to find it
        Path(path).unlink()
        BOARD.lines = Path(path).open("xb", buffering=0)

    @staticmethod
    def CloseFileBackend(uart: object, path: str) -> None:
        BOARD.lines.close()


class _Assembly:
    def GetName(self) -> Any:
        return types.SimpleNamespace(Name="Renode", Version="1.16.1.24760")


class _Generic:
    def __getitem__(self, _: type) -> Callable[[Hook], Hook]:
        return lambda function: function


def install() -> None:
    """Make the modules that the worker imports."""
    contents: dict[str, dict[str, Any]] = {
        "pyrenode3": {},
        "pyrenode3.wrappers": {"Emulation": Emulation, "Monitor": Monitor},
        "System": {
            "Action": _Generic(),
            "UInt64": int,
            "AppDomain": types.SimpleNamespace(
                CurrentDomain=types.SimpleNamespace(GetAssemblies=lambda: [_Assembly()])
            ),
        },
        "Antmicro.Renode.Extensions.Utilities": {"UartFileBackendExtensions": UartFileBackendExtensions},
        "Antmicro.Renode.Logging": {
            "FileBackend": FileBackend,
            "Logger": types.SimpleNamespace(AddBackend=lambda *_: None, SetLogLevel=lambda *_: None),
            "LogLevel": types.SimpleNamespace(Warning=2),
        },
        "Antmicro.Renode.Peripherals.CPU": {"CpuAddressHook": lambda function: function},
        "Antmicro.Renode.Time": {"TimeInterval": types.SimpleNamespace(FromMilliseconds=lambda count: count)},
        "Antmicro.Renode.Utilities": {"SequencedFilePath": str},
    }
    for name in list(contents):
        for end in range(1, name.count(".") + 1):
            contents.setdefault(".".join(name.split(".")[:end]), {})
    for name, content in contents.items():
        module = sys.modules.get(name) or types.ModuleType(name)
        module.__path__ = []
        vars(module).update(content)
        sys.modules[name] = module


install()
