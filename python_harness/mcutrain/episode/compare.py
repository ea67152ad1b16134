"""Hold runs against each other, and find where they part: step, operator, tensor, element, and both values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.ops.base import Block, IndexList, RuntimeQuantization, view_of
from mcutrain.ops.steps import Buffer

RunImage = Callable[[EpisodeImage], Sequence[Line]]

_COMPARED_KINDS = ("evaluation", "prediction", "regression", "step")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a name for messages, and how to run an image there."""

    name: str
    run: RunImage


@dataclass(frozen=True)
class Divergence:
    """The first place where two runs part.

    step is None where an evaluation parts before any step does; the fields below it are None where the trace shows no difference
    (which a difference in the protocol itself would do). visit: which run of the operator in this step; visits: how many there are.
    """

    sides: tuple[str, str]
    line: str
    step: int | None
    op: int | None = None
    visit: int = 0
    visits: int = 1
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
        where = f"element {list(self.element)}" if self.element else "header"
        visit = f", visit {self.visit} of {self.visits}" if self.visits > 1 else ""
        return (
            f"{a} and {b} differ first at step {self.step}, operator {self.op} {self.operator} (mct_{self.kernel}){visit}, "
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


def differing_totals(totals: Mapping[str, int], boards: Mapping[str, str]) -> list[str]:
    """In words, which runners of one board did not execute as many instructions as the first of it.

    totals: instructions as in RunResult, by runner; one that counts none has no entry. boards: of each runner, by name.
    """
    first: dict[str, str] = {}
    differing = []
    for name, count in totals.items():
        reference = first.setdefault(boards[name], name)
        more = count - totals[reference]
        if more:
            differing.append(
                f"{name} executed {count:,} instructions, {abs(more):,} {'more' if more > 0 else 'fewer'} than {reference}"
            )
    return differing


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
    visited = _first_visit(a.run(traced), b.run(traced))
    if visited is None:
        return Divergence((a.name, b.name), described, step)
    op, visit = visited
    dumped = prepared.image(
        steps=step + 1, test=0, evaluate=(False, False), trace_step=step, dump_op=op, dump_visit=visit
    )
    found = _first_element(prepared.plan, op, a.run(dumped), b.run(dumped))
    made_by, visits = prepared.plan.steps[op], prepared.plan.visits[op]
    tensor, element, values = found if found is not None else (None, None, None)
    return Divergence(
        (a.name, b.name), described, step, op, visit, visits, made_by.name, made_by.kernel, tensor, element, values
    )


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


def _first_visit(a: Sequence[Line], b: Sequence[Line]) -> tuple[int, int] | None:
    """The first (operator, visit), in the order in which they ran, whose tensors differ."""
    traces_a = [line for line in a if line.kind == "trace"]
    traces_b = [line for line in b if line.kind == "trace"]
    for one, other in zip(traces_a, traces_b, strict=False):
        if one.values != other.values:
            return one.integer("op"), one.integer("visit")
    return None


def _dumped(lines: Sequence[Line], output: int) -> bytes:
    return b"".join(line.data() for line in lines if line.kind == "dump" and line.integer("output") == output)


def _first_element(
    plan: Plan, op: int, a: Sequence[Line], b: Sequence[Line]
) -> tuple[str, tuple[int, ...], tuple[str, str]] | None:
    for row in (row for row in plan.traced if row.op == op):
        left, right = _dumped(a, row.output), _dumped(b, row.output)
        if left == right or len(left) != len(right) or len(left) != row.buffer.size_bytes:
            continue
        return row.name, *_compare_tensor(row.buffer, left, right)
    return None


def _compare_tensor(buffer: Buffer, left: bytes, right: bytes) -> tuple[tuple[int, ...], tuple[str, str]]:
    """The first element that differs and what both sides have; () for what lies ahead of the elements: exponent, count or quantisation."""
    one, other = (view_of(np.frombuffer(data, dtype=np.uint8), buffer.dtype, buffer.shape) for data in (left, right))
    if isinstance(one, RuntimeQuantization) and isinstance(other, RuntimeQuantization):
        return (), (_show_quantization(one), _show_quantization(other))
    if isinstance(one, IndexList) and isinstance(other, IndexList):
        if one.count[0] != other.count[0]:
            return (), (f"{one.count[0]} listed", f"{other.count[0]} listed")
        one, other = one.index, other.index
    if isinstance(one, Block) and isinstance(other, Block):
        if one.exponent[0] != other.exponent[0]:
            return (), (f"2^{one.exponent[0]}", f"2^{other.exponent[0]}")
        one, other = one.mantissa, other.mantissa
    assert isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    # Bits, not values: NaN differs from nothing by value, and -0 from +0 does by bits.
    differs = np.array(_bits(one) != _bits(other)).reshape(one.shape)
    element = tuple(int(i) for i in np.argwhere(differs)[0])
    return element, (_show(one[element]), _show(other[element]))


def _show_quantization(value: RuntimeQuantization) -> str:
    return f"scale {_show(value.scale[0])}, zero point {value.zero_point[0]}"


def _bits(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.view(np.uint32) if array.dtype == np.float32 else array


def _show(value: np.generic) -> str:
    if isinstance(value, np.float32):
        bits = struct.unpack("<I", value.tobytes())[0]
        return f"{float(value)!r} (bits {bits:08x})"
    return str(value)
