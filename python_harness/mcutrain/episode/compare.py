"""Hold runs against each other, and find where they part: step, operator, tensor, element, and both values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.codegen import traced_outputs
from mcutrain.compiler.plan import Plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.golden.executor import typed_view
from mcutrain.ops.base import Block
from mcutrain.ops.steps import Buffer

RunImage = Callable[[EpisodeImage], Sequence[Line]]

_COMPARED_KINDS = ("evaluation", "prediction", "step")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a name for messages, and how to run an image there."""

    name: str
    run: RunImage


@dataclass(frozen=True)
class Divergence:
    """The first place where two runs part.

    step is None where an evaluation parts before any step does; the fields below it are None where the trace shows no difference
    (which a difference in the protocol itself would do).
    """

    sides: tuple[str, str]
    line: str
    step: int | None
    op: int | None = None
    operator: str | None = None
    kernel: str | None = None
    tensor: str | None = None
    element: tuple[int, ...] | None = None
    values: tuple[str, str] | None = None

    def __str__(self) -> str:
        """One line for the user."""
        a, b = self.sides
        if self.operator is None or self.values is None or self.element is None:
            return f"{a} and {b} differ: {self.line}"
        where = f"element {list(self.element)}" if self.element else "exponent"
        return (
            f"{a} and {b} differ first at step {self.step}, operator {self.op} {self.operator} (mct_{self.kernel}), "
            f"tensor {self.tensor}, {where}: {a} has {self.values[0]}, {b} has {self.values[1]}"
        )


def compared_lines(lines: Sequence[Line]) -> list[Line]:
    """The lines that every runner must agree on; boot and end tell about the runner itself."""
    return [line for line in lines if line.kind in _COMPARED_KINDS]


def first_difference(a: Sequence[Line], b: Sequence[Line]) -> tuple[Line | None, Line | None] | None:
    """The first pair of lines that differ (None where one run has no more), or None where all agree."""
    left, right = compared_lines(a), compared_lines(b)
    for one, other in zip(left, right, strict=False):
        if (one.kind, one.values) != (other.kind, other.values):
            return one, other
    if len(left) != len(right):
        shorter = min(len(left), len(right))
        longest = left if len(left) > len(right) else right
        return (longest[shorter], None) if longest is left else (None, longest[shorter])
    return None


def locate(
    prepared: PreparedEpisode, a: Side, b: Side, lines_a: Sequence[Line], lines_b: Sequence[Line]
) -> Divergence | None:
    """None where both runs agree; else the first diverging step, operator, tensor and element, found by running both again up to there."""
    difference = first_difference(lines_a, lines_b)
    if difference is None:
        return None
    one, other = difference
    described = f"{_describe(one)} against {_describe(other)}"
    step = _first_step(lines_a, lines_b)
    if step is None:
        # No step parts before the evaluation does: its forward operators are those of a step, so trace the first one.
        step = 0
        if prepared.image(steps=1).steps == 0:
            return Divergence((a.name, b.name), described, None)
    traced = prepared.image(steps=step + 1, test=0, evaluate=(False, False), trace_step=step)
    op = _first_operator(a.run(traced), b.run(traced))
    if op is None:
        return Divergence((a.name, b.name), described, step)
    dumped = prepared.image(steps=step + 1, test=0, evaluate=(False, False), trace_step=step, dump_op=op)
    found = _first_element(prepared.plan, op, a.run(dumped), b.run(dumped))
    made_by = prepared.plan.steps[op]
    tensor, element, values = found if found is not None else (None, None, None)
    return Divergence((a.name, b.name), described, step, op, made_by.name, made_by.kernel, tensor, element, values)


def _describe(line: Line | None) -> str:
    if line is None:
        return "nothing"
    return " ".join([line.kind, *(f"{key}={value}" for key, value in line.values.items())])


def _first_step(a: Sequence[Line], b: Sequence[Line]) -> int | None:
    steps_a = [line for line in a if line.kind == "step"]
    steps_b = [line for line in b if line.kind == "step"]
    for one, other in zip(steps_a, steps_b, strict=False):
        if one.values != other.values:
            return one.integer("n")
    return None


def _first_operator(a: Sequence[Line], b: Sequence[Line]) -> int | None:
    traces_a = [line for line in a if line.kind == "trace"]
    traces_b = [line for line in b if line.kind == "trace"]
    for one, other in zip(traces_a, traces_b, strict=False):
        if one.values != other.values:
            return min(one.integer("op"), other.integer("op"))
    return None


def _dumped(lines: Sequence[Line], output: int) -> bytes:
    return b"".join(line.data() for line in lines if line.kind == "dump" and line.integer("output") == output)


def _first_element(
    plan: Plan, op: int, a: Sequence[Line], b: Sequence[Line]
) -> tuple[str, tuple[int, ...], tuple[str, str]] | None:
    for _, output, buffer, name in (row for row in traced_outputs(plan) if row[0] == op):
        left, right = _dumped(a, output), _dumped(b, output)
        if left == right or len(left) != len(right) or len(left) != buffer.size_bytes:
            continue
        return name, *_compare_tensor(buffer, left, right)
    return None


def _compare_tensor(buffer: Buffer, left: bytes, right: bytes) -> tuple[tuple[int, ...], tuple[str, str]]:
    one, other = (typed_view(np.frombuffer(data, dtype=np.uint8), buffer, 0) for data in (left, right))
    if isinstance(one, Block) and isinstance(other, Block):
        if one.exponent[0] != other.exponent[0]:
            return (), (f"2^{one.exponent[0]}", f"2^{other.exponent[0]}")
        one, other = one.mantissa, other.mantissa
    assert isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    # Bits, not values: NaN differs from nothing by value, and -0 from +0 does by bits.
    differs = np.array(_bits(one) != _bits(other)).reshape(one.shape)
    element = tuple(int(i) for i in np.argwhere(differs)[0])
    return element, (_show(one[element]), _show(other[element]))


def _bits(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.view(np.uint32) if array.dtype == np.float32 else array


def _show(value: np.generic) -> str:
    if isinstance(value, np.float32):
        bits = struct.unpack("<I", value.tobytes())[0]
        return f"{float(value)!r} (bits {bits:08x})"
    return str(value)
