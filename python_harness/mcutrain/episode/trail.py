"""The trail that a locked run leaves, so that a later one can be told where it parts from it without the code of then.

It has the running CRC of the steps at some of them, and the CRC of what every operator put out in a few of the first.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mcutrain.compiler.plan import Plan
from mcutrain.emulators.lines import Line
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.record import Bits, Count, StepRecord
from mcutrain.episode.runners import Target

# Behind every one of the first steps, then 32 times in each doubling: a few hundred checkpoints however long the run is, and a
# later difference is known to 1/32 of the steps before it.
EVERY_STEP = 128
A_DOUBLING = 32
# Steps that are traced, as long as all their tensors together are no more than this. 8 digits each.
TRACED_STEPS = 8
MOST_TRACED_TENSORS = 256

ManyBits = Annotated[str, Field(pattern=r"^([0-9a-f]{8})*$")]
"""Any number of CRCs, of eight hexadecimal digits each."""


class Trail(BaseModel):
    """checkpoints: the digest of the first n steps, for each n of `checkpoints_of`.

    traces: by step, the CRC of every tensor that an operator wrote, in the order in which they ran. operators: CRC of what these are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoints: ManyBits
    operators: Bits
    traces: dict[Count, ManyBits]


@dataclass(frozen=True)
class Parting:
    """Where a run parts from a trail: the first step that differs is one of first..last; operator: what differs in it, in words."""

    first: int
    last: int
    operator: str = ""

    def __str__(self) -> str:
        """In words."""
        if self.first != self.last:
            return f"differs first between steps {self.first:,} and {self.last:,}"
        return f"differs first at step {self.first:,}{self.operator}"


def running_digests(steps: Sequence[StepRecord]) -> list[str]:
    """The digest of a run that had ended behind each step; the last is the record's own digest."""
    found, crc = [], 0
    for step in steps:
        crc = zlib.crc32(f"{step.loss_bits}{step.prediction}{step.digest}".encode(), crc)
        found.append(f"{crc:08x}")
    return found


def checkpoints_of(steps: int) -> list[int]:
    """The counts of steps, ascending, whose digests a trail of so many steps has; the last is all of them."""
    found = list(range(1, min(steps, EVERY_STEP) + 1))
    count, stride = EVERY_STEP, EVERY_STEP // A_DOUBLING
    while count + stride < steps:
        count += stride
        found.append(count)
        if count == stride * 2 * A_DOUBLING:
            stride *= 2
    return found if steps <= EVERY_STEP else [*found, steps]


def trail_of(prepared: PreparedEpisode, target: Target, steps: Sequence[StepRecord]) -> Trail:
    """The trail of a run that has just ended on ``target``; its first steps are run again to trace them."""
    digests = running_digests(steps)
    batch = prepared.plan.training.batch
    # The first update of minibatches is traced before other steps: no other step has its operators.
    wanted = dict.fromkeys(n for n in (0, batch - 1, *range(TRACED_STEPS)) if n < len(steps))
    traces: dict[int, str] = {}
    room = MOST_TRACED_TENSORS
    for step in wanted:
        lines = _trace(prepared, target, step)
        room -= len(lines)
        if room < 0:
            break
        traces[step] = "".join(line.text("crc") for line in lines)
    return Trail(
        checkpoints="".join(digests[count - 1] for count in checkpoints_of(len(steps))),
        operators=_operators(prepared.plan),
        traces=dict(sorted(traces.items())),
    )


def parting(trail: Trail, steps: Sequence[StepRecord], locked_steps: int) -> Parting | None:
    """Where the steps part from the trail of a run of ``locked_steps``; None where they do not, as far as both go."""
    digests, before = running_digests(steps), 0
    for count, digest in zip(checkpoints_of(locked_steps), _parts(trail.checkpoints), strict=False):
        if count > len(digests):
            break
        if digests[count - 1] != digest:
            return Parting(before, count - 1)
        before = count
    return None


def name_operator(trail: Trail, found: Parting, prepared: PreparedEpisode, target: Target) -> Parting:
    """The same with the operator that differs first, where the trail has a trace of that step and the operators are those of then."""
    if found.first != found.last:
        return found
    if trail.operators != _operators(prepared.plan):
        return Parting(found.first, found.last, "; the plan has other operators, so none can be named")
    if found.first not in trail.traces:
        traced = ", ".join(map(str, trail.traces)) or "none"
        return Parting(found.first, found.last, f"; operators are locked of the steps {traced}")
    lines = _trace(prepared, target, found.first)
    for line, crc in zip(lines, _parts(trail.traces[found.first]), strict=False):
        if line.text("crc") != crc:
            return Parting(found.first, found.last, f", {_describe(prepared.plan, line)}")
    return Parting(found.first, found.last, "; what its operators put out does not")


def _parts(bits: str) -> list[str]:
    return [bits[n : n + 8] for n in range(0, len(bits), 8)]


def _trace(prepared: PreparedEpisode, target: Target, step: int) -> list[Line]:
    image = prepared.image(steps=step + 1, test=0, evaluate=(False, False), trace_step=step)
    return [line for line in target.run(image) if line.kind == "trace"]


def _operators(plan: Plan) -> str:
    """What a line of a trace is about, by its place in the trace: equal for two plans that differ in data and addresses alone."""
    text = "\n".join([f"{row.op} {plan.steps[row.op].kernel} {row.name}" for row in plan.traced] + [str(plan.outlines)])
    return f"{zlib.crc32(text.encode()):08x}"


def _describe(plan: Plan, line: Line) -> str:
    op, output, visit = (line.integer(key) for key in ("op", "output", "visit"))
    step, visits = plan.steps[op], plan.visits[op]
    tensor = next(row.name for row in plan.traced if (row.op, row.output) == (op, output))
    which = f", visit {visit} of {visits}" if visits > 1 else ""
    return f"operator {op} {step.name} (mct_{step.kernel}){which}, tensor {tensor}"
