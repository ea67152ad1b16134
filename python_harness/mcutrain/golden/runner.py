"""The golden reference as a runner: it takes the same episode image as a board and answers in the same lines."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from mcutrain.compiler.plan import Plan, TracedTensor
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import DUMP_BYTES_PER_LINE, PROTOCOL_VERSION, Line, LineReader, format_line
from mcutrain.emulators.request import Device, Model, Request, Session, TracedVisit
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.ops.base import NotFiniteError
from mcutrain.ops.programs import SAMPLE, UPDATE
from mcutrain.ops.steps import Step
from mcutrain.status import status_number


def run_golden(plan: Plan, image: EpisodeImage, on_line: Callable[[Line], None] | None = None) -> tuple[Line, ...]:
    """Run ``image`` through the golden executor; returns every line, boot to end."""
    reader = LineReader(Session(Request(Device("golden"), image, model_of(plan))).take)
    for text in _lines(plan, image):
        for line in reader.feed(f"{text}\n".encode("ascii")):
            if on_line is not None:
                on_line(line)
    reader.finish()
    return tuple(reader.lines)


def model_of(plan: Plan) -> Model:
    """What the lines of every runner have to say of a plan."""
    return Model(
        plan_crc32=plan.crc32,
        arena_bytes=plan.arena_bytes,
        trainable_bytes=plan.persistent_bytes,
        classes=plan.training.classes,
        has_output=plan.training.output is not None,
        batch=plan.training.batch,
        sample=_traced(plan, SAMPLE),
        update=_traced(plan, UPDATE),
    )


def _traced(plan: Plan, program: str) -> tuple[TracedVisit, ...]:
    outputs: dict[int, list[TracedTensor]] = {}
    for row in plan.traced:
        outputs.setdefault(row.op, []).append(row)
    visited = ((plan.ops[step.name], visit) for step, visit in plan.executed(program))
    return tuple(
        TracedVisit(op, visit, row.output, row.buffer.size_bytes)
        for op, visit in visited
        for row in outputs.get(op, ())
    )


def _lines(plan: Plan, image: EpisodeImage) -> Iterator[str]:
    golden = GoldenExecutor(plan)
    golden.seed(image.seed)
    count = status = 0
    try:
        for text in _run(plan, image, golden):
            count += 1
            yield text
    except NotFiniteError:
        status = status_number("MCT_ERROR_NOT_FINITE")
    yield format_line("end", status=status, lines=count, stack_peak=0)


def _run(plan: Plan, image: EpisodeImage, golden: GoldenExecutor) -> Iterator[str]:
    yield format_line(
        "boot",
        plan=f"{plan.crc32:08x}",
        image=f"{image.crc32:08x}",
        protocol=PROTOCOL_VERSION,
        board="golden",
        data=0,
        bss=0,
        arena=plan.arena_bytes,
        trainable=plan.persistent_bytes,
        stack=0,
    )
    if image.evaluate_before:
        yield from _evaluate(golden, image, "before")
    for n in range(image.steps):
        yield from _train_step(plan, golden, image, n)
    if image.evaluate_after:
        yield from _evaluate(golden, image, "after")


def _evaluate(golden: GoldenExecutor, image: EpisodeImage, which: str) -> Iterator[str]:
    correct = digest = 0
    errors: list[np.float32] = []
    for n in range(image.test_count):
        prediction = golden.infer(image.test_samples[n])
        output = golden.output().tobytes() if golden.plan.training.output is not None else b""
        digest = zlib.crc32(output, zlib.crc32(struct.pack("<i", prediction), digest))
        if image.test_targets is None:
            correct += prediction == int(image.test_labels[n])
        else:
            errors.append(golden.squared_error(image.test_targets[n]))
        if image.predictions:
            crc = f"{zlib.crc32(output) if output else 0:08x}"
            values: dict[str, str | int] = {"set": which, "n": n, "class": prediction, "output": crc}
            yield format_line("prediction", **values)
    kind, key, value = ("evaluation", "correct", str(correct))
    if image.test_targets is not None:
        kind, key, value = ("regression", "error", _bits(_mean(errors)))
    said: dict[str, str | int] = {"set": which, key: value, "total": image.test_count, "digest": f"{digest:08x}"}
    yield format_line(kind, **said)


def _mean(errors: list[np.float32]) -> np.float32:
    """The mean as the device has it: summed up in float32 by Kahan, which keeps what each addition rounds off for the next."""
    total, lost = np.float32(0.0), np.float32(0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for error in errors:
            corrected = error - lost
            following = total + corrected
            lost, total = (following - total) - corrected, following
    if not np.isfinite(total):
        raise NotFiniteError(
            "the sum of the mean squared errors is not finite: training diverged; lower the learning rate"
        )
    return total / np.float32(len(errors)) if errors else total


def _bits(value: np.float32) -> str:
    return f"{int(np.float32(value).view(np.uint32)):08x}"


def _train_step(plan: Plan, golden: GoldenExecutor, image: EpisodeImage, n: int) -> Iterator[str]:
    sample = int(image.order[n])
    golden.prepare(image.adapt_samples[sample], image.adapt_target(sample), image.learning_rate(n))
    said: list[str] = []
    watch = _Tracer(golden, image, n, said) if n == image.trace_step else None
    try:
        golden.train(watch)
        if image.ends_batch(n, plan.training.batch):
            golden.update(watch)
    finally:
        yield from said
    digest = golden.digest() if image.digest_due(n) else 0
    yield format_line("step", n=n, loss=_bits(golden.loss), prediction=golden.prediction, digest=f"{digest:08x}")


class _Tracer:
    """Says what every operator has written, as the device does."""

    def __init__(self, golden: GoldenExecutor, image: EpisodeImage, n: int, said: list[str]) -> None:
        self._golden, self._image, self._n, self._said = golden, image, n, said

    def __call__(self, step: Step, visit: int) -> None:
        """Behind a step."""
        op = self._golden.plan.ops[step.name]
        for row in (row for row in self._golden.plan.traced if row.op == op):
            data = self._golden.bytes_of(row.name)
            place = {"n": self._n, "op": op, "visit": visit, "output": row.output}
            self._said.append(format_line("trace", **place, crc=f"{zlib.crc32(data):08x}"))
            if (op, visit) == (self._image.dump_op, self._image.dump_visit):
                for offset in range(0, len(data), DUMP_BYTES_PER_LINE):
                    part = data[offset : offset + DUMP_BYTES_PER_LINE].hex()
                    self._said.append(format_line("dump", **place, offset=offset, bytes=part))
