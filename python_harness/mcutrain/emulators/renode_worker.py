"""The process in which RenodeRunner runs a firmware: Renode by way of pyrenode3, in the folder of the run.

It imports nothing of mcutrain, so that any interpreter that has pyrenode3 can run it. Its one argument is a JSON file, the Request. What
UART0 sends appears in ``lines``, Renode's warnings in ``log``, and behind the end, whatever it was, an Answer in ``answer``; then the
process ends with the firmware's exit code, or with FAILED.

Renode is left by os._exit, also from within its own callbacks: an exception there would abort the process, RunFor cannot be ended from
outside, and its threads need seconds to end by themselves.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn, TypedDict

FAILED = 70
SLICE_MILLISECONDS = 100  # of virtual time between two looks at the clock

# Exceptions as tlib counts them.
UNDEFINED, FETCH_ABORT, DATA_ABORT, BREAKPOINT, NO_COPROCESSOR, INVALID_STATE, DIVISION, BUS_FAULT = (
    1,
    3,
    4,
    7,
    17,
    18,
    20,
    21,
)
KINDS = {
    **{FETCH_ABORT: "memory", DATA_ABORT: "memory", BUS_FAULT: "bus"},
    **dict.fromkeys((UNDEFINED, NO_COPROCESSOR, INVALID_STATE, DIVISION), "usage"),
}
FRAME_BYTES = 104  # that an exception pushes, with the registers of the FPU
R0, R1, SP, PC = 0, 1, 13, 15

# Of the semihosting calls that give a path or a command, by number: which word of the call's block has its length.
LENGTHS = {0x01: 2, 0x0E: 1, 0x0F: 1, 0x12: 1}
SHOWN_BYTES = 100


class Request(TypedDict):
    """What is run. Paths are absolute; virtual_seconds: how long the firmware's own clock may go.

    infer_address, step_address: the marks at which an inference of an evaluation and a step begin (src/include/mcutrain/episode.h).
    """

    platform: str
    elf: str
    image: str
    image_address: int
    exit_address: int
    infer_address: int
    step_address: int
    stack: tuple[int, int]
    virtual_seconds: float
    lines: str
    log: str
    answer: str


class Fault(TypedDict):
    """A fault, as Renode saw it: memory, bus, usage or hard; what it touched; the instruction."""

    kind: str
    address: int
    pc: int


class Answer(TypedDict, total=False):
    """What became of the run.

    version: Renode's. instructions: from reset to the exit address. parts: how many of them each part of the run took. fault: the first,
    where the firmware had no stack to tell of it. call: the semihosting operation that it asked for other than at its exit; called_with:
    the path or command that it gave, if it gave one. error: what went wrong with Renode itself.
    """

    version: str
    instructions: int
    parts: dict[str, int]
    fault: Fault
    call: int
    called_with: str
    error: str


class Worker:
    """One machine, from its making to its end."""

    def __init__(self, request: Request) -> None:
        """Nothing runs yet."""
        self.request = request
        self.answer: Answer = {}
        self.first_fault: Fault | None = None
        self.lines_are_open = False
        self.exit_code: int | None = None
        self.parts = [("reset", 0)]
        self.hooks: list[Any] = []  # .NET keeps no Python object alive
        self._milliseconds: Any = None
        self._address: Any = None
        self._hook: Any = None

    def run(self) -> NoReturn:
        """Run to the firmware's end."""
        emulation = self._start()
        seconds = 0.0
        while self.exit_code is None:
            if seconds >= self.request["virtual_seconds"]:
                self.end(FAILED, error=f"the firmware took over {self.request['virtual_seconds']:g} s of its own clock")
            emulation.RunFor(self._milliseconds(SLICE_MILLISECONDS))
            seconds += SLICE_MILLISECONDS / 1000
        self.end(self.exit_code)

    def _start(self) -> Any:
        import pyrenode3  # noqa: F401 - first: it loads .NET, and Renode, whose namespaces are then modules

        return self._make_machine()

    def _make_machine(self) -> Any:
        from Antmicro.Renode.Extensions.Utilities import UartFileBackendExtensions
        from Antmicro.Renode.Logging import FileBackend, Logger, LogLevel
        from Antmicro.Renode.Peripherals.CPU import CpuAddressHook
        from Antmicro.Renode.Time import TimeInterval
        from Antmicro.Renode.Utilities import SequencedFilePath
        from pyrenode3.wrappers import Emulation, Monitor
        from System import Action, UInt64

        request = self.request
        emulation = Emulation()
        self.answer["version"] = version()
        self._milliseconds = lambda count: TimeInterval.FromMilliseconds(UInt64(count))
        log = FileBackend(SequencedFilePath(request["log"]), True)
        Logger.AddBackend(log, "mcutrain", True)
        Logger.SetLogLevel(log, LogLevel.Warning, -1)
        machine = emulation.add_mach("board")
        machine.load_repl(request["platform"])
        for command in (
            "emulation SetAdvanceImmediately true",
            'emulation SetGlobalQuantum "0.001"',
            "emulation SetGlobalSerialExecution true",
        ):
            _, said = Monitor().execute(command)
            if said:
                raise RuntimeError(f"{command}: {said}")
        machine.load_elf(request["elf"])
        machine.load_binary(request["image"], request["image_address"])
        self.bus, self.cpu, self.uart = (p.internal for p in (machine.sysbus, machine.sysbus.cpu, machine.sysbus.uart0))
        self._hook = lambda function: CpuAddressHook(self._guarded(function))
        self._address = UInt64
        self._add_hook(request["exit_address"], self._at_exit)
        self._add_hook(request["infer_address"], self._at_inference)
        self._add_hook(request["step_address"], self._at_step)
        at_exception = Action[UInt64](self._guarded(self._at_exception))
        self.hooks.append(at_exception)
        self.cpu.AddHookAtInterruptBegin(at_exception)
        # Under another name first: Renode makes the file, removes it and makes it again, and a reader might take the one that goes.
        self._files, part = UartFileBackendExtensions, request["lines"] + ".part"
        self._files.CreateFileBackend(self.uart, part, True)
        Path(part).rename(request["lines"])
        self.lines_are_open = True
        return emulation.internal

    def _add_hook(self, address: int, function: Any) -> None:
        hook = self._hook(function)
        self.hooks.append(hook)
        self.cpu.AddHook(self._address(address), hook)

    def _at_exit(self, cpu: Any, address: Any) -> None:
        if self.exit_code is None:
            executed = int(cpu.ExecutedInstructions)
            begins = [*(begin for _, begin in self.parts), executed]
            self.answer["instructions"] = executed
            self.answer["parts"] = {name: begins[i + 1] - begins[i] for i, (name, _) in enumerate(self.parts)}
            self.exit_code = self._register(R0)

    # A hook costs two milliseconds whenever it is met, so each is met once a part and not once a sample.

    def _at_inference(self, cpu: Any, address: Any) -> None:
        self._begin("evaluation before" if self.parts[-1][0] == "reset" else "evaluation after", address)

    def _at_step(self, cpu: Any, address: Any) -> None:
        self._begin("training", address)
        self._add_hook(self.request["infer_address"], self._at_inference)

    def _begin(self, part: str, address: Any) -> None:
        self.parts.append((part, int(self.cpu.ExecutedInstructions)))
        self.cpu.RemoveHooksAt(address)

    def _at_exception(self, index: Any) -> None:
        """The firmware takes no interrupts, so every exception is a fault, but for the breakpoint of semihosting."""
        number = int(index)
        if self.exit_code is not None:
            return
        if number == BREAKPOINT:
            self.end(FAILED, call=self._register(R0), called_with=self._text_of_call())
        fault = Fault(kind=KINDS.get(number, "hard"), address=0, pc=self._register(PC))
        if number == DATA_ABORT:
            fault["address"] = int(self.cpu.MemoryFaultAddress)
        elif number == FETCH_ABORT:
            fault["address"] = fault["pc"]
        first, self.first_fault = self.first_fault, self.first_fault or fault
        base, top = self.request["stack"]
        has_room = base + FRAME_BYTES <= self._register(SP) <= top
        # A handler that faults, or that finds no room for a frame, would fault for ever, and fill the log with it.
        if first is not None or not has_room:
            self.end(FAILED, fault=first or {**fault, "pc": 0})

    def _text_of_call(self) -> str:
        """The path or command of a semihosting call: r1 points at the words of its block, which point at a text and give its length."""
        length_at = LENGTHS.get(self._register(R0))
        if length_at is None:
            return ""
        block = self._register(R1)
        text, length = (int(self.bus.ReadDoubleWord(block + 4 * word)) for word in (0, length_at))
        return bytes(int(self.bus.ReadByte(text + i)) for i in range(min(length, SHOWN_BYTES))).decode(
            "utf-8", "replace"
        )

    def _register(self, number: int) -> int:
        return int(self.cpu.GetRegister(number).RawValue) & 0xFFFFFFFF

    def _guarded(self, callback: Any) -> Any:
        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except BaseException as error:
                self.end(FAILED, error=_words(error))

        return guarded

    def end(self, code: int, **answer: Any) -> NoReturn:
        """Write the answer and leave, from wherever this is called."""
        try:
            if self.lines_are_open:
                self._files.CloseFileBackend(self.uart, self.request["lines"] + ".part")
        except BaseException as error:
            answer.setdefault("error", _words(error))
        self.answer.update(answer)  # type: ignore[typeddict-item]
        part = Path(self.request["answer"] + ".part")
        part.write_text(json.dumps(self.answer), encoding="utf-8")
        part.replace(self.request["answer"])
        os._exit(code & 0xFF)


def version() -> str:
    """Renode's version, as 1.16.1.24760, once pyrenode3 is loaded. What it says of itself is empty in a process that is not its own."""
    from System import AppDomain

    names = (assembly.GetName() for assembly in AppDomain.CurrentDomain.GetAssemblies())
    return next((str(name.Version) for name in names if str(name.Name) == "Renode"), "")


def _words(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def main(path: str | None = None) -> NoReturn:
    """Run the request at ``path``; without one, print Renode's version."""
    if path is None:
        import pyrenode3  # noqa: F401

        print(version(), flush=True)
        os._exit(0)
    request: Request = json.loads(Path(path).read_text(encoding="utf-8"))
    worker = Worker(request)
    try:
        worker.run()
    except BaseException as error:
        worker.end(FAILED, error=_words(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
