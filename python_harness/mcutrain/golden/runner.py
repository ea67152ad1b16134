"""The golden reference as a runner: it takes the same episode image as a board and answers in the same lines."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np

from mcutrain.compiler.codegen import traced_outputs
from mcutrain.compiler.plan import Plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import PROTOCOL_VERSION, Line, LineReader, format_line
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.ops.base import NotFiniteError
from mcutrain.status import status_number

_BYTES_PER_DUMP_LINE = 64


def run_golden(plan: Plan, image: EpisodeImage, on_line: Callable[[Line], None] | None = None) -> tuple[Line, ...]:
    """Run ``image`` through the golden executor; returns every line, boot to end."""
    reader = LineReader()
    for text in _lines(plan, image):
        for line in reader.feed(f"{text}\n".encode("ascii")):
            if on_line is not None:
                on_line(line)
    reader.finish()
    return tuple(reader.lines)


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
        image=f"{zlib.crc32(image.to_bytes()[16:]):08x}",
        protocol=PROTOCOL_VERSION,
        board="golden",
        data=0,
        bss=0,
        arena=plan.arena_bytes,
        trainable=plan.trainable_bytes,
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
    for n in range(image.test_count):
        prediction = golden.infer(image.test_samples[n])
        output = golden.output().tobytes() if golden.plan.training.output is not None else b""
        digest = zlib.crc32(output, zlib.crc32(bytes([prediction & 0xFF]), digest))
        correct += prediction == int(image.test_labels[n])
        if image.predictions:
            crc = f"{zlib.crc32(output) if output else 0:08x}"
            values: dict[str, str | int] = {"set": which, "n": n, "class": prediction, "output": crc}
            yield format_line("prediction", **values)
    yield format_line("evaluation", set=which, correct=correct, total=image.test_count, digest=f"{digest:08x}")


def _train_step(plan: Plan, golden: GoldenExecutor, image: EpisodeImage, n: int) -> Iterator[str]:
    sample = int(image.order[n])
    golden.prepare(image.adapt_samples[sample], int(image.adapt_labels[sample]), image.learning_rate(n))
    traced = n == image.trace_step
    outputs = traced_outputs(plan) if traced else []
    for op, step in enumerate(plan.steps):
        golden.run(step)
        for _, output, _, name in (row for row in outputs if row[0] == op):
            data = golden.bytes_of(name)
            yield format_line("trace", n=n, op=op, output=output, crc=f"{zlib.crc32(data):08x}")
            if op == image.dump_op:
                for offset in range(0, len(data), _BYTES_PER_DUMP_LINE):
                    part = data[offset : offset + _BYTES_PER_DUMP_LINE].hex()
                    yield format_line("dump", n=n, op=op, output=output, offset=offset, bytes=part)
    digest = golden.digest() if image.digest_due(n) else 0
    loss = int(np.float32(golden.loss).view(np.uint32))
    yield format_line("step", n=n, loss=f"{loss:08x}", prediction=golden.prediction, digest=f"{digest:08x}")
