"""A plan whose operators are the cases: code generation, build and profile then work as for a network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcutrain.bench.cases import Case, Data, Output
from mcutrain.compiler.arena import ArenaPlan
from mcutrain.compiler.arena import Block as Placed
from mcutrain.compiler.liveness import Timeline
from mcutrain.compiler.plan import ALIGNMENT_BYTES, Plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.graph import Graph
from mcutrain.methods.training_graph import INPUT, TrainingGraph
from mcutrain.ops.base import Block, Role, dtype_bytes
from mcutrain.ops.programs import SAMPLE, Moment, Run
from mcutrain.ops.registry import KERNELS
from mcutrain.ops.steps import StepBuilder


def bench_plan(cases: Sequence[Case]) -> Plan:
    """The plan: inputs in flash, outputs in SRAM. No case reads another's results, so all outputs begin where the arena does."""
    build = StepBuilder()
    build.buffer(INPUT, "int8", (4,), "io")
    for number, case in enumerate(cases):
        _add(build, number, case)
    steps = tuple(build.steps)
    blocks, offsets, trainable_bytes = [], dict[str, int](), 0
    for number, step in enumerate(steps):
        end = 0
        for name in step.operands.values():
            buffer = build.buffers[name]
            size = -(-buffer.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            if buffer.region == "arena":
                offsets[name] = end
                end += size
                blocks.append(Placed(name, buffer.size_bytes, number, number))
            elif buffer.region == "trainable":
                offsets[name] = trainable_bytes
                trainable_bytes += size
    arena_bytes = max((offsets[block.name] + block.size_bytes for block in blocks), default=0)
    arena = ArenaPlan(offsets, -(-arena_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES, 0, False, "bench")
    training = TrainingGraph(
        graph=Graph("bench", {}, (), INPUT, INPUT, "none", ""),
        method="bench",
        options={},
        buffers=build.buffers,
        programs={SAMPLE: (Run(steps),)},
        classes=1,
    )
    when = Timeline(tuple(Moment(step) for step in steps), (SAMPLE,) * len(steps), ())
    return Plan(training, when, tuple(blocks), (), arena, offsets, trainable_bytes, state_bytes=0)


def one_step(plan: Plan, *, trace: bool = False) -> EpisodeImage:
    """An episode of one step and no evaluation: each case runs once. trace: the device says what each has written."""
    return EpisodeImage(
        plan_crc32=plan.crc32,
        adapt_samples=np.zeros((1, 4), np.int8),
        adapt_labels=np.zeros(1, np.uint16),
        test_samples=np.zeros((0, 4), np.int8),
        test_labels=np.zeros(0, np.uint16),
        order=np.zeros(1, np.uint16),
        learning_rates=np.ones(1, np.float32),
        evaluate_before=False,
        evaluate_after=False,
        trace_step=0 if trace else None,
    )


def _add(build: StepBuilder, number: int, case: Case) -> None:
    kernel = KERNELS[case.kernel]
    operands: dict[str, str | None] = {}
    for role in (*kernel.inputs, *kernel.outputs):
        if role.name in case.operands:
            operands[role.name] = _buffer(build, f"{number} {role.name}", role, case, kernel.updates)
    build.step(f"{case.kernel} {case.shape}", case.kernel, case.params, case.phase, case.kernel, operands)


def _buffer(build: StepBuilder, own_name: str, role: Role, case: Case, updated: Sequence[str]) -> str:
    """The buffer of a role; cases share inputs of equal contents."""
    given = case.operands[role.name]
    if isinstance(given, Output):
        return build.buffer(own_name, role.dtype, given.shape)
    is_block = role.dtype in ("b16", "b32", "b64")
    values = given.mantissa if isinstance(given, Block) else given
    # A block has no C initialiser: it is state, loaded from an image of its bytes.
    stored = _stored(role.dtype, given) if is_block else values
    if role.name in updated:
        return build.buffer(own_name, role.dtype, values.shape, "trainable", stored)
    name = f"input {role.dtype} {hashlib.sha256(stored.tobytes()).hexdigest()[:16]}"
    if name in build.buffers:
        return name
    if role.dtype == "quantization":
        return build.quantization(name, float(values[0]), int(values[1]))
    return build.buffer(name, role.dtype, values.shape, "trainable" if is_block else "constant", stored)


def _stored(dtype: str, given: Data | Block) -> NDArray[np.uint8]:
    """The bytes of block floating point."""
    block = given if isinstance(given, Block) else Block(np.zeros(1, np.int32), given)
    header = block.exponent.tobytes().ljust(dtype_bytes(dtype, 0), b"\0")
    return np.frombuffer(header + block.mantissa.tobytes(), np.uint8)
