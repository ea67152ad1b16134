"""Plan: the steps in execution order, every buffer at a fixed address; golden interprets it and code generation prints it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from mcutrain.boards import Board
from mcutrain.compiler.arena import ArenaPlan, Block, InPlace, live_bytes, plan_arena
from mcutrain.compiler.liveness import Timeline, timeline
from mcutrain.compiler.schedule import schedules
from mcutrain.errors import UsageError
from mcutrain.methods.training_graph import INPUT, TrainingGraph
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, Moment, Program, Run, moments, training_visits
from mcutrain.ops.steps import PERSISTENT, Buffer, Phase, Region, Step

ALIGNMENT_BYTES = 8
PLACEMENT_LIMIT_SECONDS = 4.0  # of the solver's own deterministic time, for each order
IO_BYTES = 28  # sizeof(mct_model_io)

InputPlacement = Literal["sram", "external"]
INPUT_PLACEMENTS: tuple[InputPlacement, ...] = get_args(InputPlacement)


@dataclass(frozen=True)
class TracedTensor:
    """A tensor that operator ``op`` writes, as the output-th of its outputs."""

    op: int
    output: int
    name: str
    buffer: Buffer


@dataclass(frozen=True)
class Plan:
    """A training graph with an order and addresses.

    training: its programs are in the order in which they run. timeline: the moments of all programs, which blocks and live bytes count in.
    offsets: byte offset of every arena and persistent buffer (roots only) within its memory; the state lies behind the trainables, in one
    piece. in_place: pairs that start or end together in the arena. trainable_bytes, state_bytes: of the two parts of the persistent memory.
    """

    training: TrainingGraph
    timeline: Timeline
    blocks: tuple[Block, ...]
    in_place: tuple[InPlace, ...]
    arena: ArenaPlan
    offsets: Mapping[str, int]
    trainable_bytes: int
    state_bytes: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step once; its index is the number of its operator."""
        return self.training.steps

    @cached_property
    def ops(self) -> Mapping[str, int]:
        """The number of each operator, by the name of its step."""
        return {step.name: op for op, step in enumerate(self.steps)}

    @cached_property
    def visits(self) -> tuple[int, ...]:
        """How often each operator runs in one sample and the update behind it."""
        visits = training_visits(self.training.programs)
        return tuple(visits[step.name] for step in self.steps)

    def first_visits(self, program: str) -> tuple[int, ...]:
        """For each moment of a program, the number of the first visit of its step there.

        The visits of an operator are numbered by where they stand in the text of ``sample`` and ``update``; within a loop the next round
        has the next number.
        """
        before = SAMPLE if program == UPDATE else ""
        seen: dict[str, int] = {}
        for moment in self.moments_of(before):
            seen[moment.step.name] = seen.get(moment.step.name, 0) + moment.visits
        first: list[int] = []
        for moment in self.moments_of(program):
            first.append(seen.get(moment.step.name, 0))
            seen[moment.step.name] = first[-1] + moment.visits
        return tuple(first)

    def executed(self, program: str) -> Iterator[tuple[Step, int]]:
        """Every step of a program as often as it runs, in the order in which it does, and the number of its visit."""
        yield from _visited(self.training.programs.get(program, ()), iter(self.first_visits(program)))

    @cached_property
    def traced(self) -> tuple[TracedTensor, ...]:
        """Every tensor that an operator writes, in the order of operators and roles; scratch is none."""
        rows: list[TracedTensor] = []
        for op, step in enumerate(self.steps):
            roles = [role for role in step.definition.outputs if role.dtype != "scratch" and role.name in step.operands]
            names = [step.operands[role.name] for role in roles]
            rows += [TracedTensor(op, output, name, self.buffers[name]) for output, name in enumerate(names)]
        return tuple(rows)

    def moments_of(self, program: str) -> list[Moment]:
        """The moments of a program; none where the method has no such program."""
        return moments(self.training.programs.get(program, ()))

    @property
    def outlines(self) -> dict[str, list[Any]]:
        """The programs as JSON, by name: a run is a list of operators, a loop an object."""
        return {name: _outline(program, self.ops) for name, program in self.training.programs.items()}

    @property
    def input_placement(self) -> InputPlacement:
        """Where a sample lies while it is worked on: in the arena, or in memory that is mapped anyway."""
        return "sram" if self.buffers[INPUT].region == "arena" else "external"

    @property
    def input_bytes(self) -> int:
        """Size of a sample."""
        return self.buffers[INPUT].size_bytes

    @property
    def persistent_bytes(self) -> int:
        """What the digest covers: trainables and state."""
        return self.trainable_bytes + self.state_bytes

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        """Buffers by name."""
        return self.training.buffers

    @property
    def arena_bytes(self) -> int:
        """Size of the arena."""
        return self.arena.size_bytes

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants in flash, and of the initial values of the trainable state."""
        constants = sum(b.size_bytes for b in self.buffers.values() if b.region == "constant" and b.alias is None)
        return constants + self.trainable_bytes

    @property
    def static_bytes(self) -> int:
        """Bytes that generated code reserves in SRAM: arena, persistent memory and mct_model_io."""
        return self.arena_bytes + self.persistent_bytes + IO_BYTES

    def macs(self, *, backward: bool) -> int:
        """Multiply-accumulates of a training sample's forward, or backward and update, phases; of an inference where nothing trains.

        Of kernels with run-time lists the most that they can be. What ``update`` does is counted once a minibatch, shared among its
        samples.
        """
        programs = (SAMPLE, UPDATE) if SAMPLE in self.training.programs else (INFER,)
        total = 0
        for program in programs:
            own = sum(
                moment.visits * moment.step.definition.macs(moment.step.params)
                for moment in self.moments_of(program)
                if (moment.step.phase is not Phase.FORWARD) == backward
            )
            total += own // self.training.batch if program == UPDATE else own
        return total

    def live_bytes(self) -> list[int]:
        """Live arena bytes at every moment."""
        return live_bytes(self.blocks, self.in_place, len(self.timeline.moments))

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
                "sha256": hashlib.sha256(b.stored()).hexdigest() if b.data is not None else None,
            }
            for name, b in sorted(self.buffers.items())
        }
        document = {"steps": steps, "buffers": buffers, "programs": self.outlines, "batch": self.training.batch}
        if self.training.loss == "mse":
            output = self.training.graph.tensors[self.training.graph.output]
            document["mse"] = [_plain(output.scale), output.zero_point]  # an int8 output is measured dequantised
        return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _visited(program: Program, first: Iterator[int], rounds: int = 0) -> Iterator[tuple[Step, int]]:
    """first: the first visit of each moment that is still to come; rounds: of the loops around, the innermost counting fastest."""
    for node in program:
        if isinstance(node, Run):
            yield from ((step, next(first) + rounds) for step in node.steps)
            continue
        body = [next(first) for _ in moments(node.body)]
        for count in range(node.count):
            yield from _visited(node.body, iter(body), rounds * node.count + count)


def _outline(program: Program, ops: Mapping[str, int]) -> list[Any]:
    """A program as JSON: a run is a list of operators, a loop an object."""
    return [
        [ops[step.name] for step in node.steps]
        if isinstance(node, Run)
        else {"count": node.count, "counter": node.counter, "body": _outline(node.body, ops)}
        for node in program
    ]


def _plain(value: Any) -> Any:
    """A parameter as JSON: floats by their bits in hexadecimal."""
    if isinstance(value, float):
        return float(np.float32(value)).hex()
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return int(value)


def compile_plan(training: TrainingGraph, input_placement: InputPlacement = "sram") -> Plan:
    """Order the steps, share memory in place where a kernel allows it, and place every buffer.

    input_placement: "sram" plans the sample into the arena, where it is free once its last reader has run; "external" reads it where it
    lies, on boards that have that memory mapped. Raises UsageError for a network of which nothing is left to run.
    """
    if not any(moments(program) for program in training.programs.values()):
        raise UsageError(
            "the network computes nothing: its output holds the values of its input, in another shape at most"
        )
    training = _with_input(training, input_placement)
    placed = _placed(training)
    offsets, sizes = dict(placed.arena.offsets), dict.fromkeys(PERSISTENT, 0)
    end = 0
    for region in PERSISTENT:
        for name, buffer in training.buffers.items():
            if buffer.region == region and buffer.alias is None:
                offsets[name] = end
                end += _aligned(buffer.size_bytes)
                sizes[region] += _aligned(buffer.size_bytes)
    return Plan(
        training=placed.training,
        timeline=placed.timeline,
        blocks=placed.blocks,
        in_place=placed.in_place,
        arena=placed.arena,
        offsets=offsets,
        trainable_bytes=sizes["trainable"],
        state_bytes=sizes["state"],
    )


def _with_input(training: TrainingGraph, placement: InputPlacement) -> TrainingGraph:
    """The input in the arena, or where the caller has it."""
    region: Region = "arena" if placement == "sram" else "io"
    moved = {
        name: dataclasses.replace(buffer, region=region)
        for name, buffer in training.buffers.items()
        if training.root(name) == INPUT
    }
    return dataclasses.replace(training, buffers={**training.buffers, **moved})


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@dataclass(frozen=True)
class _Placed:
    """An order of the programs, and where it puts the buffers of the arena."""

    training: TrainingGraph
    timeline: Timeline
    blocks: tuple[Block, ...]
    in_place: tuple[InPlace, ...]
    arena: ArenaPlan


def arena_blocks(training: TrainingGraph, when: Timeline) -> tuple[Block, ...]:
    """Every buffer of the arena with its lives, in the order in which they begin."""
    lives: dict[str, list[tuple[int, int]]] = {}
    for life in sorted(when.lives, key=lambda life: (life.first, life.last, life.buffer)):
        lives.setdefault(life.buffer, []).append((life.first, life.last))
    return tuple(Block(name, training.buffers[name].size_bytes, *own[0], tuple(own[1:])) for name, own in lives.items())


def _placed(training: TrainingGraph) -> _Placed:
    """The order of steps and the pairs in place that give the smallest arena, placed.

    Ties are tried first only where they are needed, then all. What cannot be below an arena found, by its lower bound, is not placed.
    """
    candidates = []
    for programs in schedules(training):
        ordered = dataclasses.replace(training, programs=programs)
        when = timeline(ordered, programs)
        blocks = arena_blocks(ordered, when)
        pairs = tuple(in_place_pairs(ordered, when, blocks))
        live = live_bytes(blocks, pairs, len(when.moments), alignment_bytes=ALIGNMENT_BYTES)
        for in_place in dict.fromkeys((_needed(pairs, blocks, live), pairs)):
            candidates.append((max(live), ordered, when, blocks, in_place))
    candidates.sort(key=lambda candidate: candidate[0])
    best: _Placed | None = None
    for bound, ordered, when, blocks, in_place in candidates:
        if best is None or bound < best.arena.size_bytes:
            arena = plan_arena(
                blocks, in_place, alignment_bytes=ALIGNMENT_BYTES, time_limit_seconds=PLACEMENT_LIMIT_SECONDS
            )
            if best is None or arena.size_bytes < best.arena.size_bytes:
                best = _Placed(ordered, when, blocks, in_place, arena)
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


def in_place_pairs(training: TrainingGraph, when: Timeline, blocks: Sequence[Block]) -> list[InPlace]:
    """For each step the first pair its kernel allows whose input dies there and whose output is born there, wherever the step stands."""
    lives = {block.name: block for block in blocks}
    pairs: list[InPlace] = []
    chain_of: dict[str, list[Block]] = {}  # the blocks that already share a place with one
    sources: set[str] = set()
    for index, moment in enumerate(when.moments):
        step = moment.step
        for input_role, output_role in step.in_place:
            if input_role not in step.operands or output_role not in step.operands:
                continue
            source, output = (training.root(step.operands[role]) for role in (input_role, output_role))
            if source not in lives or output not in lives or source in sources or output in chain_of:
                continue
            chain = chain_of.get(source, [lives[source]])
            if lives[output].first_op == index and _hands_over(chain, lives[source], lives[output]):
                behind = _aligned(training.buffers[source].size_bytes) - _aligned(training.buffers[output].size_bytes)
                may_end = behind > 0 and step.definition.in_place_behind(step.params, behind)
                pairs.append(InPlace(source, output, may_end))
                sources.add(source)
                chain_of[source] = chain_of[output] = chain
                chain.append(lives[output])
                break
    return pairs


def _hands_over(chain: Sequence[Block], source: Block, output: Block) -> bool:
    """Whether every life of the output begins where one of the source ends, and it meets no block of the chain otherwise."""
    ends = {last for _, last in source.lives}
    if any(first == last for first, last in source.lives) or any(first not in ends for first, _ in output.lives):
        return False
    return all(
        s[1] < t[0] or t[1] < s[0] or (block is source and s[1] == t[0])
        for block in chain
        for s in block.lives
        for t in output.lives
    )


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
    fixed = plan.persistent_bytes + IO_BYTES + runtime_bytes + stack_bytes
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
            f"(arena {plan.arena_bytes:,}, trainable state {plan.persistent_bytes:,}, runtime and io {found.runtime_bytes + IO_BYTES:,}, "
            f"stack {found.stack_bytes:,}), the board has {found.sram_limit_bytes:,} B; largest tensor {largest.name} "
            f"({largest.size_bytes:,} B); train fewer weights or later layers, or take a board with more SRAM"
        )
    raise UsageError(
        f"{plan.training.graph.name} does not fit {board.name}: needs {found.flash_bytes:,} B of flash "
        f"(constants and initial values {plan.constant_bytes:,}), the board has {found.flash_limit_bytes:,} B"
    )


__all__ = [
    "ALIGNMENT_BYTES",
    "INPUT_PLACEMENTS",
    "IO_BYTES",
    "Fit",
    "InputPlacement",
    "Plan",
    "compile_plan",
    "fit",
    "require_fit",
]
