"""What a run was asked for, and a session that holds every line of the run against it (docs/protocol.md).

A line's CRC says that it arrived as it was sent. Whether the device did what it was asked is another question, and it is answered here,
once for every runner: the order of the lines, how many of each there are, and every value in them that the image, the model or the build
fixes.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import DUMP_BYTES_PER_LINE, PROTOCOL_VERSION, Line
from mcutrain.errors import MismatchError
from mcutrain.status import status_number, statuses


@dataclass(frozen=True)
class Device:
    """What a device says of itself in ``boot``: its board ("host", "golden" off the board), static memory and stack reserve in bytes."""

    board: str
    data_bytes: int = 0
    bss_bytes: int = 0
    stack_bytes: int = 0


@dataclass(frozen=True)
class TracedVisit:
    """A tensor that a traced step tells of: which of an operator's outputs, behind which of its visits."""

    op: int
    visit: int
    output: int
    size_bytes: int


@dataclass(frozen=True)
class Model:
    """What the lines say of the plan that a device was built from.

    trainable_bytes: all that digests cover. has_output: whether inferences leave output bytes. batch: samples of an update. sample, update:
    what a traced step tells of in these programs, in the order in which they run.
    """

    plan_crc32: int
    arena_bytes: int
    trainable_bytes: int
    classes: int
    has_output: bool
    batch: int
    sample: tuple[TracedVisit, ...]
    update: tuple[TracedVisit, ...]


@dataclass(frozen=True)
class Request:
    """A run that is asked for.

    image: None for bytes that are no image, which a device has to refuse. model: None for one that was not generated from a plan; what it
    alone fixes (its sizes, classes and traces) is then held against nothing.
    """

    device: Device
    image: EpisodeImage | None
    model: Model | None = None


@dataclass(frozen=True)
class _Check:
    """A value that has to pass a test, in words."""

    passes: Callable[[str], bool]
    words: str


# What a value has to be: a text, a whole number of a range, or whatever passes a check.
_Asked = str | range | _Check
_Conversation = Generator["_Expected", Line, None]

REFUSED_IMAGE = "00000000"
_NO_DIGEST = "00000000"
_NO_OUTPUT = "00000000"


@dataclass(frozen=True)
class _Expected:
    """The line that has to come next. ``also``: kinds that may come instead, with the values that these share with it."""

    kind: str
    values: Mapping[str, _Asked]
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The kind, and what tells it from others of this kind."""
        told = (f" {key}={self.values[key]}" for key in ("set", "n", "op", "visit", "output") if key in self.values)
        return f"'{self.kind}'" + "".join(told)


class Session:
    """One run: takes its lines one after the other, and refuses the first that is not what was asked for."""

    def __init__(self, request: Request) -> None:
        """Before the first line."""
        self._request = request
        self._steps = _lines_of(request)
        self._expected: _Expected | None = next(self._steps)
        self._refused = False
        self._count = 0

    def take(self, line: Line) -> None:
        """Hold the next line against the request.

        Raises:
            MismatchError: it is not what was asked for: its number, its field, what was sent and what was asked.
        """
        if self._expected is None:
            raise MismatchError(f"line {line.number}: a '{line.kind}' line after the end of the run")
        if line.kind == "fault":  # at any time; it is the last line
            self._expected = None
        elif line.kind == "end":
            self._end(line, self._expected)
        else:
            self._compare(line, self._expected)
            self._expected = self._steps.send(line)
            self._refused = line.kind == "boot" and line.text("image") == REFUSED_IMAGE
        self._count += 1

    def _compare(self, line: Line, expected: _Expected) -> None:
        if line.kind != expected.kind and line.kind not in expected.also:
            raise MismatchError(f"line {line.number}: a '{line.kind}' line came, asked for was {expected}")
        for key, asked in expected.values.items():
            if key in line.values:
                _hold(line, key, asked)

    def _end(self, line: Line, expected: _Expected) -> None:
        """A run may end early, but only with the status that says why."""
        refusal = status_number("MCT_ERROR_FORMAT")
        if self._refused:
            _hold(line, "status", str(refusal))
        elif expected.kind == "end":
            _hold(line, "status", "0")
        elif expected.kind == "boot":
            self._compare(line, expected)
        elif line.integer("status") == 0:
            raise MismatchError(f"line {line.number}: 'end' has status=0, asked for was still {expected}")
        else:
            known = {status.number for status in statuses().values()} - {0, refusal}
            words = "a status of mct_status, other than of a refused image"
            _hold(line, "status", _Check(lambda sent: int(sent) in known, words))
        _hold(line, "lines", str(self._count))
        _hold(line, "stack_peak", range(self._request.device.stack_bytes + 1))
        self._expected = None


def _hold(line: Line, key: str, asked: _Asked) -> None:
    sent = line.text(key)
    if isinstance(asked, _Check):
        right, words = asked.passes(sent), asked.words
    elif isinstance(asked, range):
        right, words = int(sent) in asked, f"{asked.start} to {asked.stop - 1}" if asked else "none at all"
    else:
        right, words = sent == asked, asked
    if not right:
        raise MismatchError(f"line {line.number}: '{line.kind}' has {key}={sent}, asked for was {words}")


def _lines_of(request: Request) -> _Conversation:
    """Every line of a run in its order; each is sent in after it has been held against what was yielded."""
    boot = yield _Expected("boot", _boot(request))
    image = request.image
    if image is not None and boot.text("image") != REFUSED_IMAGE:
        if image.evaluate_before:
            yield from _evaluation(request, image, "before")
        for n in range(image.steps):
            yield from _step(request, image, n)
        if image.evaluate_after:
            yield from _evaluation(request, image, "after")
    yield _Expected("end", {})


def _boot(request: Request) -> dict[str, _Asked]:
    device, model, image = request.device, request.model, request.image
    values: dict[str, _Asked] = {
        "protocol": str(PROTOCOL_VERSION),
        "board": device.board,
        "data": str(device.data_bytes),
        "bss": str(device.bss_bytes),
        "stack": str(device.stack_bytes),
        "image": REFUSED_IMAGE,
    }
    if image is not None:
        # A device may refuse any image, for what it knows and we do not; the status says so at once.
        own = f"{image.crc32:08x}"
        values["image"] = _Check(lambda sent: sent in (own, REFUSED_IMAGE), own)
    if model is not None:
        values["plan"] = f"{model.plan_crc32:08x}"
        values["arena"] = str(model.arena_bytes)
        values["trainable"] = str(model.trainable_bytes)
    return values


def _evaluation(request: Request, image: EpisodeImage, which: str) -> _Conversation:
    model, total = request.model, image.test_count
    values: dict[str, _Asked] = {"set": which, "total": str(total)}
    if image.target_values:
        kind, values["error"] = "regression", _Check(_is_size, "a finite number from 0 on")
    else:
        kind, values["correct"] = "evaluation", range(total + 1)
    if image.predictions:
        classes = []
        for n in range(total):
            line = yield _Expected(
                "prediction", {"set": which, "n": str(n), **_class(model, "class"), **_output(model)}
            )
            classes.append(line.integer("class"))
        if not image.target_values:
            right = sum(predicted == int(label) for predicted, label in zip(classes, image.test_labels, strict=True))
            values["correct"] = str(right)
        if model is not None and not model.has_output:
            values["digest"] = f"{zlib.crc32(struct.pack(f'<{total}i', *classes)):08x}"
    yield _Expected(kind, values)


def _step(request: Request, image: EpisodeImage, n: int) -> _Conversation:
    model = request.model
    values: dict[str, _Asked] = {
        "n": str(n),
        "loss": _Check(_is_finite, "a finite number"),
        **_class(model, "prediction"),
    }
    if not image.digest_due(n):
        values["digest"] = _NO_DIGEST
    if n != image.trace_step:
        yield _Expected("step", values)
    elif model is None:
        while (yield _Expected("step", values, also=("trace", "dump"))).kind != "step":
            pass
    else:
        for row in (*model.sample, *(model.update if image.ends_batch(n, model.batch) else ())):
            yield from _traced(image, row)
        yield _Expected("step", values)


def _traced(image: EpisodeImage, row: TracedVisit) -> _Conversation:
    place: dict[str, _Asked] = {
        "n": str(image.trace_step),
        "op": str(row.op),
        "visit": str(row.visit),
        "output": str(row.output),
    }
    trace = yield _Expected("trace", place)
    if (row.op, row.visit) != (image.dump_op, image.dump_visit):
        return
    crc = 0
    for offset in range(0, row.size_bytes, DUMP_BYTES_PER_LINE):
        count = min(DUMP_BYTES_PER_LINE, row.size_bytes - offset)
        whole = offset + count == row.size_bytes
        asked = _bytes(count, crc, trace.bits("crc") if whole else None)
        line = yield _Expected("dump", {**place, "offset": str(offset), "bytes": asked})
        crc = zlib.crc32(line.data(), crc)


def _bytes(count: int, before: int, crc32: int | None) -> _Check:
    """So many bytes; crc32: what they have to come to behind those of the CRC ``before``, None where others follow."""

    def passes(sent: str) -> bool:
        data = bytes.fromhex(sent)
        return len(data) == count and crc32 in (None, zlib.crc32(data, before))

    return _Check(passes, f"{count} bytes" + ("" if crc32 is None else f" that make the tensor's CRC {crc32:08x}"))


def _class(model: Model | None, key: str) -> dict[str, _Asked]:
    return {} if model is None else {key: range(model.classes)}


def _output(model: Model | None) -> dict[str, _Asked]:
    return {} if model is None or model.has_output else {"output": _NO_OUTPUT}


def _is_finite(bits: str) -> bool:
    return math.isfinite(_float(bits))


def _is_size(bits: str) -> bool:
    return 0.0 <= _float(bits) < math.inf


def _float(bits: str) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", int(bits, 16)))[0]
    return value
