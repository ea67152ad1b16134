"""Runner: what runs an episode, and how every runner is driven and watched."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line, LineReader
from mcutrain.emulators.observed import Observed
from mcutrain.emulators.profile import Profile
from mcutrain.emulators.request import Device, Model, Request, Session
from mcutrain.errors import MismatchError, UsageError
from mcutrain.status import status_meaning


@dataclass(frozen=True)
class Limits:
    """Time limits, in seconds of the host's clock: for the whole run, and for the time without a line.

    An emulator that keeps a clock of its own holds the whole run to as many seconds of that one, too: a limit that no load on the host
    moves.
    """

    total_seconds: float = 600.0
    silence_seconds: float = 60.0


@dataclass(frozen=True)
class RunResult:
    """A run that followed the protocol to its end. status is an mct_status; wall_seconds is informative, never asserted.

    instructions: from reset to where the firmware ends (firmware.EXIT_FUNCTION); None where nothing counted them. parts: how many of them
    each part of the run took, in order (reset, evaluation before, training, evaluation after); empty where that was not counted.
    observed: None where the runner cannot look.
    """

    lines: tuple[Line, ...]
    status: int
    exit_status: int
    profile: Profile | None
    wall_seconds: float
    emulator: str
    emulator_version: str
    instructions: int | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    observed: Observed | None = None

    def of_kind(self, kind: str) -> tuple[Line, ...]:
        """The lines of one kind, in order."""
        return tuple(line for line in self.lines if line.kind == kind)


@dataclass(frozen=True)
class Fault:
    """A fault: kind is memory, bus, usage or hard; address is what was touched, pc the instruction (0: unknown)."""

    kind: str
    address: int
    pc: int


class FaultError(MismatchError):
    """The firmware faulted: kind, address and pc as in Fault."""

    def __init__(self, fault: Fault, where: str, progress: str) -> None:
        """``where`` names the function, or is empty; ``progress``: the lines that had come, in words."""
        unknown = " (stack overflow?)" if fault.address else " (a jump to a null pointer)"
        by = f" by the instruction at {fault.pc:#010x}" + (f" ({where})" if where else "") if fault.pc else unknown
        super().__init__(
            f"the firmware faulted: {fault.kind} fault at address {fault.address:#010x}{by}, after {progress}"
        )
        self.kind = fault.kind
        self.address = fault.address
        self.pc = fault.pc


class RunTimeoutError(MismatchError):
    """The run took too long, or went silent."""


class Runner(ABC):
    """Runs one firmware (or host library) over episode images.

    ``run`` calls ``launch`` once; then ``read`` again and again, until ``exit_status`` is known and nothing is left to read;
    then ``profile`` if it was asked for; and ``close`` last, always, also when anything failed. A closed runner can be
    launched again. An adapter implements these and ``version``, and never waits for longer than ``read`` may.
    """

    name: str

    @property
    @abstractmethod
    def device(self) -> Device:
        """What a run here has to say of itself."""

    @abstractmethod
    def version(self) -> str:
        """Version of the emulator."""

    @abstractmethod
    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        """Start the run; ``profile`` asks for counts. ``limits`` are for emulators that hold to them themselves."""

    @abstractmethod
    def read(self) -> bytes:
        """What has arrived since the last call; waits at most 50 ms for the first byte."""

    @abstractmethod
    def exit_status(self) -> int | None:
        """None while it runs; then the exit code, negative for the signal that killed it."""

    @abstractmethod
    def profile(self) -> Profile:
        """The counts of the run that has just ended."""

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and remove what was left. Safe to call twice."""

    def instructions(self) -> int | None:
        """How many the run that has just ended took, as in RunResult."""
        return None

    def parts(self) -> Mapping[str, int]:
        """How many of them each part took, as in RunResult."""
        return {}

    def observed(self) -> Observed | None:
        """What the run that has just ended shows of itself, where this runner can look."""
        return None

    def fault(self) -> Fault | None:
        """The fault that the emulator itself saw, where the firmware could not tell of it any more."""
        return None

    def diagnostics(self) -> str:
        """What the emulator said on its standard error, shortened to a line."""
        return ""

    def locate(self, pc: int) -> str:
        """Name of the function at ``pc``, if it is known."""
        return ""

    def run(
        self,
        image: EpisodeImage | bytes,
        *,
        model: Model | None = None,
        limits: Limits | None = None,
        profile: bool = False,
        expect_status: int = 0,
        on_line: Callable[[Line], None] | None = None,
    ) -> RunResult:
        """Run one episode. ``on_line`` is called with each line as it arrives.

        image: bytes may be anything; what is no image has to be refused by the device. model: what the lines have to say of the model, None
        where it was not generated from a plan.

        Raises:
            FaultError: the firmware faulted.
            RunTimeoutError: a limit passed.
            MismatchError: the lines are not what was asked for, the emulator died, or the status is not ``expect_status``.
        """
        data = image if isinstance(image, bytes) else image.to_bytes()
        asked = _image_of(image) if isinstance(image, bytes) else image
        limits = limits or Limits()
        session = Session(Request(self.device, asked, model))
        begin = time.monotonic()
        try:
            self.launch(data, profile, limits)
            reader = self._watch(LineReader(session.take), limits, on_line)
            status, exit_status = self._judge(reader, expect_status)
            counts = self.profile() if profile else None
            counted, observed = (self.instructions(), self.parts()), self.observed()
        finally:
            self.close()
        wall_seconds = time.monotonic() - begin
        emulator = (self.name, self.version())
        return RunResult(tuple(reader.lines), status, exit_status, counts, wall_seconds, *emulator, *counted, observed)

    def _watch(self, reader: LineReader, limits: Limits, on_line: Callable[[Line], None] | None) -> LineReader:
        begin = last_line = time.monotonic()
        while True:
            # In this order: what was written before the end has then been read after it.
            ended = self.exit_status() is not None
            data = self.read()
            lines = reader.feed(data)
            now = time.monotonic()
            for line in lines:
                last_line = now
                if on_line is not None:
                    on_line(line)
            if ended and not data:
                return reader
            over = ""
            if now - begin > limits.total_seconds:
                over = f"the run took over {limits.total_seconds:g} s"
            elif now - last_line > limits.silence_seconds:
                over = f"no line for {limits.silence_seconds:g} s"
            if over:
                what = "give it more time, or look for an endless loop"
                raise RunTimeoutError(f"{self.name}: {over}, after {reader.progress()}; {what}")

    def _judge(self, reader: LineReader, expect_status: int) -> tuple[int, int]:
        exit_status = self.exit_status()
        if exit_status is None:
            raise MismatchError(f"{self.name}: the run has no exit status")
        try:
            reader.finish()
        except MismatchError as error:
            fault = self.fault()
            if fault is not None:
                raise self._fault_error(fault, reader) from None
            how = f"signal {-exit_status}" if exit_status < 0 else f"exit code {exit_status}"
            said = self.diagnostics()
            raise MismatchError(f"{error}; {self.name} ended with {how}" + (f": {said}" if said else "")) from None
        last = reader.lines[-1]
        if last.kind == "fault":
            raise self._fault_error(Fault(last.text("kind"), last.bits("address"), last.bits("pc")), reader)
        status = last.integer("status")
        if exit_status != status:
            raise MismatchError(f"{self.name}: the device ended with status {status}, but exit code {exit_status}")
        if status != expect_status:
            raise MismatchError(f"the run ended with status {status} ({status_meaning(status)})")
        return status, exit_status

    def _fault_error(self, fault: Fault, reader: LineReader) -> FaultError:
        return FaultError(fault, self.locate(fault.pc), reader.progress())


def _image_of(content: bytes) -> EpisodeImage | None:
    try:
        return EpisodeImage.from_bytes(content)
    except UsageError:
        return None
