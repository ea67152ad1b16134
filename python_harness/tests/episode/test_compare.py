"""Comparing runs: the first diverging step, operator, tensor and element, with both values."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from episode.conftest import MakeTarget, Prepare
from mcutrain.compiler.codegen import generate
from mcutrain.emulators.build import build_host
from mcutrain.emulators.host import HostRunner
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import PROTOCOL_VERSION, Line, LineReader, format_line
from mcutrain.episode.compare import Divergence, Side, first_difference, locate
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.targets import LIMITS
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.paths import PROJECT
from support.traced_step import value_of

STEPS = 12


# One rounding changed: the file, what it says there, what it says then, and the kernels that round there.
BREAKS = {
    "block floating point rounds a half down": (
        ("common/block_float.h", r"half = \(1u << r\) >> 1", "half = (1u << r) >> 2"),
        ("error_scale_b16", "error_normalize_b16", "error_sum_b16"),
    ),
    "requantising rounds down": (
        ("common/requantize.h", r"\(int64_t\)1 << \(30 - shift\)", "(int64_t)0"),
        ("average_pool_rescale_s8",),
    ),
    "the average forgets a pixel's zero point": (
        ("pool/average_pool_s8.c", r"zero = pixels \* params", "zero = (pixels - 1) * params"),
        ("average_pool_rescale_s8",),
    ),
    "the master weight rounds half down": (
        ("update/update_weights_master16.c", r"\(master \+ 128\) >> 8", "(master + 127) >> 8"),
        ("update_weights_master16_b16",),
    ),
}


def broken_sources(folder: Path, file: str, pattern: str, replacement: str) -> Path:
    """The project's C side with one place of one kernel changed."""
    root = folder / "sources"
    root.mkdir(parents=True)
    for name in ("CMakeLists.txt", "cmake", "emulation", "python_harness"):
        (root / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "src", root / "src")
    path = root / "src" / "kernels" / file
    text = path.read_text(encoding="ascii")
    changed, count = re.subn(pattern, replacement, text)
    assert count > 0, f"{file} has no {pattern}: adapt this test to the kernel"
    path.write_text(changed, encoding="ascii")
    return root


@pytest.mark.parametrize("name", BREAKS)
def test_one_rounding_changed_in_one_kernel_is_located(
    name: str, prepared: Prepare, target: MakeTarget, tmp_path: Path
) -> None:
    change, kernels = BREAKS[name]
    episode = prepared("b16", "master16")
    root = broken_sources(tmp_path, *change)
    generate(episode.plan, tmp_path / "model")
    host = HostRunner(build_host(tmp_path / "model", tmp_path / "build", source_root=root))
    golden = target(episode, "golden")

    def run_host(image: EpisodeImage) -> Sequence[Line]:
        return host.run(image, limits=LIMITS).lines

    image = episode.image(steps=STEPS, test=0, evaluate=(False, False))
    sides = (Side("golden", golden.run), Side("host", run_host))
    found = locate(episode, *sides, golden.run(image), run_host(image))
    assert found is not None
    assert found.kernel in kernels
    assert found.op is not None and episode.plan.steps[found.op].name == found.operator
    assert found.tensor in episode.plan.steps[found.op].operands.values()
    assert_values_are_the_tensors(episode, found)
    said = str(found)
    for part in (
        f"step {found.step}",
        f"operator {found.op}",
        str(found.operator),
        str(found.tensor),
        *(found.values or ()),
    ):
        assert part in said
    assert "\n" not in said


def assert_values_are_the_tensors(episode: PreparedEpisode, found: Divergence) -> None:
    """Golden's value is what the executor has there behind that operator of that step, and the host's another one."""
    assert found.values is not None and found.element is not None and found.tensor is not None
    assert found.step is not None and found.op is not None
    assert found.values[0] != found.values[1]
    executor = GoldenExecutor(episode.plan)
    image = episode.image(steps=found.step + 1)
    executor.seed(image.seed)
    for number in range(found.step + 1):
        sample = int(image.order[number])
        executor.prepare(image.adapt_samples[sample], int(image.adapt_labels[sample]), image.learning_rate(number))
        last = found.op + 1 if number == found.step else len(episode.plan.steps)
        for step in episode.plan.steps[:last]:
            executor.run(step)
    buffer = episode.plan.buffers[found.tensor]
    exponent = int(np.frombuffer(executor.bytes_of(found.tensor)[:4], np.int32)[0])
    if not found.element:
        assert found.values[0] == f"2^{exponent}"
        return
    value = value_of(executor, found.tensor)[found.element]
    unit = 2.0**exponent if buffer.dtype in ("b16", "b32") else 1.0
    assert float(found.values[0].split()[0]) == value / unit


def test_runs_that_agree_have_no_divergence(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "master16")
    image = episode.image(steps=5, test=3)
    golden, host = target(episode, "golden"), target(episode, "host")
    sides = (Side("golden", golden.run), Side("host", host.run))
    assert locate(episode, *sides, golden.run(image), host.run(image)) is None


# Invented runs


def lines(*texts: str) -> list[Line]:
    reader = LineReader(lambda line: None)
    boot = format_line(
        "boot",
        plan="0" * 8,
        image="0" * 8,
        protocol=PROTOCOL_VERSION,
        board="x",
        data=0,
        bss=0,
        arena=0,
        trainable=0,
        stack=0,
    )
    for text in (boot, *texts):
        reader.feed(f"{text}\n".encode())
    return reader.lines


def step(n: int, *, loss: str = "3f800000", prediction: int = 1, digest: str = "00000001") -> str:
    return format_line("step", n=n, loss=loss, prediction=prediction, digest=digest)


@pytest.mark.parametrize("change", [{"loss": "3f800001"}, {"prediction": 2}, {"digest": "00000002"}])
def test_a_step_differs_by_its_loss_its_prediction_or_its_digest(change: dict[str, str]) -> None:
    difference = first_difference(lines(step(0), step(1)), lines(step(0), step(1, **change)))  # type: ignore[arg-type]
    assert difference is not None and difference[0] is not None and difference[0].integer("n") == 1


def test_a_run_that_is_shorter_differs_at_its_end() -> None:
    whole, part = lines(step(0), step(1)), lines(step(0))
    for a, b, missing in ((whole, part, 1), (part, whole, 0)):
        difference = first_difference(a, b)
        assert difference is not None and difference[missing] is None and difference[1 - missing] is not None
    assert first_difference(whole, whole) is None


def test_what_runners_say_of_themselves_is_not_compared() -> None:
    other = format_line(
        "boot",
        plan="0" * 8,
        image="0" * 8,
        protocol=PROTOCOL_VERSION,
        board="y",
        data=9,
        bss=9,
        arena=9,
        trainable=9,
        stack=9,
    )
    reader = LineReader(lambda line: None)
    reader.feed(f"{other}\n{step(0)}\n".encode())
    assert first_difference(lines(step(0)), reader.lines) is None


def test_an_evaluation_that_differs_alone_is_still_a_difference(prepared: Prepare) -> None:
    """And where no operator of the first step differs, the message is the two lines."""
    episode = prepared("b16", "master16")

    def evaluation(correct: int) -> list[Line]:
        return lines(format_line("evaluation", set="before", correct=correct, total=9, digest="0" * 8), step(0))

    same: Callable[[EpisodeImage], Sequence[Line]] = lambda image: evaluation(3)  # noqa: E731
    found = locate(episode, Side("a", same), Side("b", same), evaluation(3), evaluation(4))
    assert found is not None and found.operator is None
    assert str(found).startswith("a and b differ: evaluation set=before correct=3")


def test_a_zero_of_the_other_sign_is_a_difference(prepared: Prepare, target: MakeTarget) -> None:
    """Values that compare equal: their bits do not, and both are told."""
    episode = prepared("f32", "master16")
    golden = target(episode, "golden")
    op = max(i for i, s in enumerate(episode.plan.steps) if s.kernel == "error_scale_f32")  # behind a relu
    (zero, offset, tensor) = first_zero(golden.run(dumped(episode, op)), episode, op)

    def other(image: EpisodeImage) -> Sequence[Line]:
        return [with_the_sign_flipped(line, op, offset) for line in golden.run(image)]

    image = episode.image(steps=1, test=0, evaluate=(False, False))
    found = locate(episode, Side("golden", golden.run), Side("x", other), golden.run(image), other(image))
    assert found is not None and (found.op, found.tensor, found.element) == (op, tensor, zero)
    assert found.values == ("0.0 (bits 00000000)", "-0.0 (bits 80000000)")


def dumped(episode: PreparedEpisode, op: int) -> EpisodeImage:
    return episode.image(steps=1, test=0, evaluate=(False, False), trace_step=0, dump_op=op)


def first_zero(run: Sequence[Line], episode: PreparedEpisode, op: int) -> tuple[tuple[int, ...], int, str]:
    """(element, its byte offset, the tensor) of the first zero that ``op`` wrote."""
    tensor = episode.plan.steps[op].writes()[0]
    values = np.frombuffer(b"".join(line.data() for line in run if line.kind == "dump"), np.float32)
    index = int(np.flatnonzero(values == 0.0)[0])
    shape = episode.plan.buffers[tensor].shape
    return tuple(int(i) for i in np.unravel_index(index, shape)), 4 * index, tensor


def with_the_sign_flipped(line: Line, op: int, offset: int) -> Line:
    """The line as a runner would send it that has the sign of one float the other way round."""
    values = dict(line.values)
    if line.kind == "step":
        values["digest"] = "00000000"
    if line.kind == "trace" and line.integer("op") == op:
        values["crc"] = "00000000"
    if line.kind == "dump" and 0 <= offset - line.integer("offset") < len(line.data()):
        flipped = bytearray(line.data())
        flipped[offset - line.integer("offset") + 3] ^= 0x80
        values["bytes"] = flipped.hex()
    return Line(line.kind, values, line.number)
