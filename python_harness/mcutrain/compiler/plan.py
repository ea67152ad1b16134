"""Plan: the steps in execution order, every buffer at a fixed address; golden interprets it and code generation prints it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mcutrain.boards import Board
from mcutrain.compiler.arena import ArenaPlan, Block, InPlace, live_bytes, plan_arena
from mcutrain.compiler.schedule import arena_blocks, schedules
from mcutrain.errors import UsageError
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.steps import Buffer, Phase, Step

ALIGNMENT_BYTES = 8
PLACEMENT_LIMIT_SECONDS = 4.0  # of the solver's own deterministic time, for each order
IO_BYTES = 24  # sizeof(mct_model_io)


@dataclass(frozen=True)
class Plan:
    """A training graph with an order and addresses.

    offsets: byte offset of every arena and trainable buffer (roots only) within its region. in_place: pairs that start or end
    together in the arena.
    inference_op_count: how many of the first steps make an inference.
    """

    training: TrainingGraph
    steps: tuple[Step, ...]
    blocks: tuple[Block, ...]
    in_place: tuple[InPlace, ...]
    arena: ArenaPlan
    offsets: Mapping[str, int]
    trainable_bytes: int

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        """Buffers by name."""
        return self.training.buffers

    @property
    def arena_bytes(self) -> int:
        """Size of the arena."""
        return self.arena.size_bytes

    @property
    def inference_op_count(self) -> int:
        """Steps of the forward phase; they come first."""
        return sum(step.phase is Phase.FORWARD for step in self.steps)

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants in flash, and of the initial values of the trainable state."""
        constants = sum(b.size_bytes for b in self.buffers.values() if b.region == "constant" and b.alias is None)
        return constants + self.trainable_bytes

    @property
    def static_bytes(self) -> int:
        """Bytes that generated code reserves in SRAM: arena, trainable state and mct_model_io."""
        return self.arena_bytes + self.trainable_bytes + IO_BYTES

    def macs(self, *, backward: bool) -> int:
        """Multiply-accumulates of a step's forward, or backward and update, phases."""
        return sum(
            step.definition.macs(step.params) for step in self.steps if (step.phase is not Phase.FORWARD) == backward
        )

    def live_bytes(self) -> list[int]:
        """Live arena bytes at every step."""
        return live_bytes(self.blocks, self.in_place, len(self.steps))

    @cached_property
    def crc32(self) -> int:
        """Identity of the plan: CRC-32 of its canonical JSON. Firmware, episode image and records carry it."""
        return zlib.crc32(self.canonical_json().encode())

    def canonical_json(self) -> str:
        """Everything that decides what a run computes, in a stable order."""
        steps = [
            {
                "name": step.name,
                "kernel": step.kernel,
                "params": _plain(step.params),
                "operands": dict(sorted(step.operands.items())),
            }
            for step in self.steps
        ]
        buffers = {
            name: {
                "dtype": b.dtype,
                "shape": list(b.shape),
                "region": b.region,
                "alias": b.alias,
                "offset": self.offsets.get(name),
                "sha256": hashlib.sha256(np.ascontiguousarray(b.data).tobytes()).hexdigest()
                if b.data is not None
                else None,
            }
            for name, b in sorted(self.buffers.items())
        }
        return json.dumps({"steps": steps, "buffers": buffers}, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """A parameter as JSON: floats by their bits in hexadecimal."""
    if isinstance(value, float):
        return float(np.float32(value)).hex()
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return int(value)


def compile_plan(training: TrainingGraph) -> Plan:
    """Order the steps, share memory in place where a kernel allows it, and place every buffer."""
    steps, blocks, in_place, arena = _placed(training)
    offsets = dict(arena.offsets)
    trainable_bytes = 0
    for name, buffer in training.buffers.items():
        if buffer.region == "trainable" and buffer.alias is None:
            offsets[name] = trainable_bytes
            trainable_bytes += _aligned(buffer.size_bytes)
    return Plan(training, steps, blocks, in_place, arena, offsets, trainable_bytes)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


_Placed = tuple[tuple[Step, ...], tuple[Block, ...], tuple[InPlace, ...], ArenaPlan]


def _placed(training: TrainingGraph) -> _Placed:
    """The order of steps and the pairs in place that give the smallest arena, placed.

    Ties are tried first only where they are needed, then all. What cannot be below an arena found, by its lower bound, is not placed.
    """
    candidates = []
    for steps in schedules(training):
        blocks = tuple(arena_blocks(training, steps))
        pairs = tuple(_in_place_pairs(training, steps, blocks))
        live = live_bytes(blocks, pairs, len(steps), alignment_bytes=ALIGNMENT_BYTES)
        for in_place in dict.fromkeys((_needed(pairs, blocks, live), pairs)):
            candidates.append((max(live), steps, blocks, in_place))
    candidates.sort(key=lambda candidate: candidate[0])
    best: _Placed | None = None
    for bound, steps, blocks, in_place in candidates:
        if best is None or bound < best[3].size_bytes:
            arena = plan_arena(
                blocks, in_place, alignment_bytes=ALIGNMENT_BYTES, time_limit_seconds=PLACEMENT_LIMIT_SECONDS
            )
            if best is None or arena.size_bytes < best[3].size_bytes:
                best = steps, blocks, in_place, arena
    assert best is not None, "a training graph has steps"
    return best


def _needed(pairs: Sequence[InPlace], blocks: Sequence[Block], live: Sequence[int]) -> tuple[InPlace, ...]:
    """The pairs whose operator would have more than the lower bound alive if the two lay apart.

    The others are better free: an output that may go anywhere lets a tensor leave a place where it splits the memory that comes free.
    """
    size = {block.name: _aligned(block.size_bytes) for block in blocks}
    op = {block.name: block.first_op for block in blocks}
    bound = max(live)
    return tuple(pair for pair in pairs if live[op[pair.output]] + min(size[pair.source], size[pair.output]) > bound)


def _in_place_pairs(training: TrainingGraph, steps: tuple[Step, ...], blocks: tuple[Block, ...]) -> list[InPlace]:
    """For each step the first pair its kernel allows whose input dies there and whose output is born there."""
    lives = {block.name: block for block in blocks}
    pairs: list[InPlace] = []
    taken: set[str] = set()
    for index, step in enumerate(steps):
        for input_role, output_role in step.in_place:
            if input_role not in step.operands or output_role not in step.operands:
                continue
            source, output = (training.root(step.operands[role]) for role in (input_role, output_role))
            if source not in lives or output not in lives or source in taken:
                continue
            if lives[source].last_op == index == lives[output].first_op and lives[source].first_op < index:
                behind = _aligned(training.buffers[source].size_bytes) - _aligned(training.buffers[output].size_bytes)
                may_end = behind > 0 and step.definition.in_place_behind(step.params, behind)
                pairs.append(InPlace(source, output, may_end))
                taken.add(source)
                break
    return pairs


@dataclass(frozen=True)
class Fit:
    """A plan held against a board, bytes. runtime_bytes: static data of the runtime; stack_bytes: its reserve."""

    fits: bool
    sram_peak_bytes: int
    sram_lower_bound_bytes: int
    sram_limit_bytes: int
    runtime_bytes: int
    stack_bytes: int
    flash_bytes: int
    flash_limit_bytes: int


def fit(plan: Plan, board: Board, *, runtime_bytes: int, stack_bytes: int, code_bytes: int) -> Fit:
    """What the plan needs on ``board``; code_bytes is the flash that kernels and runtime take."""
    fixed = plan.trainable_bytes + IO_BYTES + runtime_bytes + stack_bytes
    peak = plan.arena_bytes + fixed
    flash = plan.constant_bytes + code_bytes
    return Fit(
        fits=peak <= board.sram_bytes and flash <= board.flash_bytes,
        sram_peak_bytes=peak,
        sram_lower_bound_bytes=plan.arena.lower_bound_bytes + fixed,
        sram_limit_bytes=board.sram_bytes,
        runtime_bytes=runtime_bytes,
        stack_bytes=stack_bytes,
        flash_bytes=flash,
        flash_limit_bytes=board.flash_bytes,
    )


def require_fit(plan: Plan, board: Board, found: Fit) -> None:
    """Raise UsageError with the numbers, and with what would make it fit, where the plan is over a limit."""
    if found.fits:
        return
    largest = max(plan.blocks, key=lambda block: block.size_bytes)
    if found.sram_peak_bytes > found.sram_limit_bytes:
        raise UsageError(
            f"{plan.training.graph.name} does not fit {board.name}: needs {found.sram_peak_bytes:,} B of SRAM "
            f"(arena {plan.arena_bytes:,}, trainable {plan.trainable_bytes:,}, runtime and io {found.runtime_bytes + IO_BYTES:,}, "
            f"stack {found.stack_bytes:,}), the board has {found.sram_limit_bytes:,} B; largest tensor {largest.name} "
            f"({largest.size_bytes:,} B); train fewer weights or later layers, or take a board with more SRAM"
        )
    raise UsageError(
        f"{plan.training.graph.name} does not fit {board.name}: needs {found.flash_bytes:,} B of flash "
        f"(constants and initial values {plan.constant_bytes:,}), the board has {found.flash_limit_bytes:,} B"
    )


__all__ = ["ALIGNMENT_BYTES", "IO_BYTES", "Fit", "Plan", "compile_plan", "fit", "require_fit"]
