"""Run an episode and write down what happened: the EpisodeRecord."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcutrain.boards import board_names, load_board
from mcutrain.compiler.plan import Plan
from mcutrain.compiler.trained import trained_parameters
from mcutrain.emulators.base import RunResult
from mcutrain.emulators.lines import Line
from mcutrain.emulators.profile import Profile
from mcutrain.episode.compare import Divergence, Side, locate
from mcutrain.episode.confusion import class_names_of, confusion_of
from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.observed_run import observe_run
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.record import (
    EpisodeRecord,
    FunctionCounts,
    OperatorCounts,
    PhaseCounts,
    SramUse,
    StepRecord,
    TensorLife,
    option_words,
)
from mcutrain.episode.runners import REFERENCE, OnLine, Site, Target, make_target
from mcutrain.episode.settings import settings_of
from mcutrain.errors import MismatchError, UsageError
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, executed
from mcutrain.ops.steps import Phase
from mcutrain.timing import Breakdown, OperatorName, break_down, estimate_profile
from mcutrain.timing.breakdown import OTHER, STEP_MARKS, Share
from mcutrain.timing.cycles import total
from mcutrain.timing.energy import Supply, supply_of
from mcutrain.timing.memory import FlashMemory

# Steps that are profiled. Counts depend on the data a little (masks, loops over them), so a few samples are averaged.
PROFILED_STEPS = 10
PROFILED_INFERENCES = 5


@dataclass(frozen=True)
class RunOptions:
    """How much of an episode to run.

    steps cuts the schedule short, test uses fewer test samples, golden_steps says how many steps to repeat in the golden reference
    (None: what the episode says), profile counts instructions (emulators only), observe looks at its input, updates and loss.
    """

    steps: int | None = None
    test: int | None = None
    golden_steps: int | None = None
    profile: bool = True
    observe: bool = True


@dataclass(frozen=True)
class Watch:
    """Callbacks for progress: a line of the run, and a line of the golden reference."""

    on_line: OnLine | None = None
    on_golden_line: OnLine | None = None


@dataclass(frozen=True)
class ProfiledSteps:
    """Exact instructions of a training step, the mean over a few, and where the timing model says its cycles go."""

    instructions: PhaseCounts
    operators: tuple[OperatorCounts, ...]
    breakdown: Breakdown

    @property
    def functions(self) -> tuple[FunctionCounts, ...]:
        """Each C function that ran for each operator."""
        return tuple(
            FunctionCounts(
                op=row.op, name=part.name, instructions=part.instructions, estimated_cycles=part.estimate.cycles
            )
            for row in self.breakdown.operators
            for part in row.functions
        )

    @property
    def estimated_cycles(self) -> PhaseCounts:
        """Estimated cycles of a step."""
        by_phase = {share.name: share.estimate.cycles for share in self.breakdown.phases()}
        return _phase_counts(by_phase)


@dataclass(frozen=True)
class _Counts:
    """What was counted of a training step and of an inference."""

    step: ProfiledSteps | None = None
    inference: Share | None = None
    supply: Supply | None = None


def run_episode(
    prepared: PreparedEpisode, target: Target, options: RunOptions, watch: Watch | None = None
) -> tuple[EpisodeRecord, Divergence | None]:
    """Run on a target and count what it can count. Returns the record, and where it parts from golden, if it does."""
    watch = watch or Watch()
    result = target.result(prepared.image(steps=options.steps, test=options.test, predictions=True), watch.on_line)
    steps = min(PROFILED_STEPS, len(result.of_kind("step")))
    counts = _Counts()
    if options.profile and target.profiles:
        step = profile_steps(prepared, target, steps) if steps else None
        counts = _Counts(step, profile_inference(prepared, target), supply_of(target.board) if target.board else None)
    stack_peak = result.lines[-1].integer("stack_peak")
    divergence, golden_steps = _hold_against_golden(prepared, options, target, result, watch)
    record = _record(prepared, result, target.site, stack_peak, counts, divergence, golden_steps)
    found: dict[str, Any] = {"settings": settings_of(prepared, options)}
    if options.observe and divergence is None:
        found["observations"], divergence = observe_run(prepared, target, result, options.steps)
    return record.model_copy(update=found), divergence


def _hold_against_golden(
    prepared: PreparedEpisode, options: RunOptions, target: Target, result: RunResult, watch: Watch
) -> tuple[Divergence | None, int]:
    """Repeat the first steps in golden, and find where the run parts from it; golden itself is held against nothing."""
    asked = prepared.definition.golden_steps if options.golden_steps is None else options.golden_steps
    steps = min(asked, len(result.of_kind("step")))
    if steps == 0 or target.runner is None:
        return None, 0
    golden = make_target(prepared.plan, REFERENCE)
    if steps not in prepared.golden_lines:
        image = prepared.image(steps=steps, test=0, evaluate=(False, False))
        prepared.golden_lines[steps] = golden.run(image, watch.on_golden_line)
    reference = [line for line in prepared.golden_lines[steps] if line.kind == "step"]
    ran = list(result.of_kind("step"))[:steps]
    sides = (Side(golden.name, golden.run), Side(target.name, target.run))
    return locate(prepared, *sides, reference, ran), steps


def profile_steps(
    prepared: PreparedEpisode, target: Target, steps: int, memory: FlashMemory | None = None
) -> ProfiledSteps:
    """Profile the first ``steps`` steps of the schedule, with the waits for ``memory`` if the target simulates its caches.

    Raises:
        UsageError: the schedule has no step, or the target does not count.
        MismatchError: an operator did not run once in each of them.
        UnknownInstructionError: the timing model does not know an instruction that ran.
    """
    batch = prepared.plan.training.batch
    if steps == 0:
        raise UsageError(f"episode {prepared.definition.name} trains in no step, so there is none to profile")
    # Whole minibatches, so that each sample has its share of an update.
    image = prepared.image(steps=-(-steps // batch) * batch, test=0, evaluate=(False, False))
    steps, updates = image.steps, sum(image.ends_batch(n, batch) for n in range(image.steps))
    visits, arrivals = _counted(prepared.plan, {SAMPLE: steps, UPDATE: updates})
    profile, board = target.profile(image), target.board
    assert board is not None
    names = [OperatorName(step.name, step.layer, step.phase.value) for step in prepared.plan.steps]
    estimate = estimate_profile(profile, board.core, target.functions, memory)
    breakdown = break_down(estimate, names, core=board.core, clock_hz=board.clock_hz, steps=steps)
    operators = tuple(
        OperatorCounts(
            op=op,
            name=step.name,
            layer=step.layer,
            phase=step.phase.value,
            instructions=_mark(profile, f"mct_op_{op:04d}", arrivals[step.name]) / steps,
            estimated_cycles=breakdown.operators[op].estimate.cycles,
            visits=visits[step.name] / steps,
        )
        for op, step in enumerate(prepared.plan.steps)
    )
    by_phase = {phase.value: sum(row.instructions for row in operators if row.phase == phase.value) for phase in Phase}
    by_phase[OTHER] = sum(_mark(profile, name, None) for name in STEP_MARKS) / steps
    return ProfiledSteps(_phase_counts(by_phase), operators, breakdown)


def _phase_counts(by_phase: Mapping[str, float]) -> PhaseCounts:
    phases = {phase.value: by_phase.get(phase.value, 0.0) for phase in Phase}
    return PhaseCounts(
        total=sum(phases.values()),
        forward=phases[Phase.FORWARD],
        loss=phases[Phase.LOSS],
        backward=phases[Phase.BACKWARD],
        update=phases[Phase.UPDATE],
        other=by_phase.get(OTHER, 0.0),
    )


def profile_inference(prepared: PreparedEpisode, target: Target, memory: FlashMemory | None = None) -> Share:
    """An inference: exact instructions and estimated cycles, the mean over the first few test samples.

    Raises:
        MismatchError: an operator did not run once in each of them.
        UnknownInstructionError: the timing model does not know an instruction that ran.
    """
    image = prepared.image(steps=0, test=PROFILED_INFERENCES, evaluate=(True, False))
    profile, board = target.profile(image), target.board
    assert board is not None
    estimate = estimate_profile(profile, board.core, target.functions, memory)
    _, arrivals = _counted(prepared.plan, {INFER: image.test_count})
    marks = {f"mct_op_{prepared.plan.ops[name]:04d}": count for name, count in arrivals.items()}
    instructions = sum(_mark(profile, mark, count) for mark, count in marks.items())
    each = 1 / image.test_count
    return Share(
        "inference",
        instructions * each,
        total([estimate.mark(mark) for mark in marks]).times(each),
        stalls=total([estimate.stalls(mark) for mark in marks]).times(each),
    )


def _counted(plan: Plan, times: Mapping[str, int]) -> tuple[Counter[str], Counter[str]]:
    """How often each step runs where each program runs so many times, and how often a profile sees it begin.

    A profile does not see an operator that follows itself begin again.
    """
    visits, arrivals = Counter[str](), Counter[str]()
    for program, count in times.items():
        before = ""
        for step in executed(plan.training.programs.get(program, ())):
            visits[step.name] += count
            arrivals[step.name] += count * (step.name != before)
            before = step.name
    return visits, arrivals


def _mark(profile: Profile, name: str, visits: int | None) -> int:
    count = profile.instructions_per_mark[name]
    if visits is not None and count.visits != visits:
        raise MismatchError(f"the profile saw {name} {count.visits} times, expected {visits}")
    return count.instructions


def _reference(definition: EpisodeDefinition, site: Site) -> dict[str, Any]:
    """The record's keys for the board that a run without one is held against: the first of its episode."""
    board = definition.boards[0]
    if site.sram_limit_bytes or board not in board_names():
        return {}
    return {"reference_board": board, "reference_sram_limit_bytes": load_board(board).sram_bytes}


def _accuracy(lines: Sequence[Line], which: str) -> float | None:
    for line in lines:
        if line.text("set") == which and line.integer("total"):
            return line.integer("correct") / line.integer("total")
    return None


def _mean_squared_error(lines: Sequence[Line], which: str) -> float | None:
    for line in lines:
        if line.text("set") == which and line.integer("total"):
            return line.float32("error")
    return None


def run_digest(steps: Sequence[Line]) -> str:
    """CRC-32 over every step's loss, prediction and digest: equal for two runs that did the same."""
    text = "".join(f"{line.text('loss')}{line.text('prediction')}{line.text('digest')}" for line in steps)
    return f"{zlib.crc32(text.encode()):08x}"


def _record(
    prepared: PreparedEpisode,
    result: RunResult,
    site: Site,
    stack_peak: int,
    counts: _Counts,
    divergence: Divergence | None,
    golden_steps: int,
) -> EpisodeRecord:
    definition, plan = prepared.definition, prepared.plan
    profiled, inference, supply = counts.step, counts.inference, counts.supply
    words = option_words(plan.training.options)
    evaluations, regressions, steps = (result.of_kind(kind) for kind in ("evaluation", "regression", "step"))
    tested = [line.integer("total") for line in (*evaluations, *regressions)]
    adapt, order = prepared.data.adapt, definition.order(len(prepared.data.adapt))
    labels = adapt.labels[order] if adapt.targets is None else None
    return EpisodeRecord(
        episode=definition.name,
        board=site.board,
        core=site.core,
        runner=result.emulator,
        method=plan.training.method,
        scheme=words["scheme"],
        error_mode=words["error_mode"],
        weight_rounding=words["weight_rounding"],
        options=dict(plan.training.options),
        seed=definition.seed,
        batch=plan.training.batch,
        trained_parameters=trained_parameters(plan),
        steps=len(steps),
        samples_adapt=len(prepared.data.adapt),
        samples_test=tested[0] if tested else 0,
        evaluated=definition.data.evaluate,
        accuracy_before=_accuracy(evaluations, "before"),
        accuracy_after=_accuracy(evaluations, "after"),
        loss=plan.training.loss,
        class_names=class_names_of(prepared),
        confusion_before=confusion_of(prepared, result.lines, "before"),
        confusion_after=confusion_of(prepared, result.lines, "after"),
        mse_before=_mean_squared_error(regressions, "before"),
        mse_after=_mean_squared_error(regressions, "after"),
        digest=run_digest(steps),
        plan_crc32=f"{plan.crc32:08x}",
        matches_golden=None if golden_steps == 0 else divergence is None,
        golden_steps=golden_steps,
        instructions=result.instructions,
        instructions_by_part=dict(result.parts),
        instructions_per_step=profiled.instructions if profiled else None,
        estimated_cycles_per_step=profiled.estimated_cycles if profiled else None,
        estimated_cycles_low=profiled.breakdown.training.estimate.low if profiled else None,
        estimated_cycles_high=profiled.breakdown.training.estimate.high if profiled else None,
        instructions_per_inference=inference.instructions if inference else None,
        estimated_cycles_per_inference=inference.estimate.cycles if inference else None,
        estimated_cycles_per_inference_low=inference.estimate.low if inference else None,
        estimated_cycles_per_inference_high=inference.estimate.high if inference else None,
        estimated_millijoules_per_step=(
            supply.millijoules(profiled.breakdown.training.estimate.cycles) if supply and profiled else None
        ),
        estimated_millijoules_per_inference=(
            supply.millijoules(inference.estimate.cycles) if supply and inference else None
        ),
        supply_source=supply.source if supply else None,
        operators=profiled.operators if profiled else (),
        functions=profiled.functions if profiled else (),
        sram=SramUse(
            data=site.data_bytes,
            bss=site.bss_bytes,
            arena=plan.arena_bytes,
            trainable=plan.persistent_bytes,
            state=plan.state_bytes,
            stack_peak=stack_peak,
            stack_reserve=site.stack_reserve_bytes,
        ),
        sram_peak_bytes=site.data_bytes + site.bss_bytes + stack_peak,
        sram_planned_bytes=site.sram_planned_bytes,
        input_placement=plan.input_placement,
        input_bytes=plan.input_bytes,
        sram_limit_bytes=site.sram_limit_bytes,
        **_reference(definition, site),
        flash_bytes=site.flash_bytes,
        flash_limit_bytes=site.flash_limit_bytes,
        clock_hz=site.clock_hz,
        macs_forward=plan.macs(backward=False),
        macs_backward=plan.macs(backward=True),
        step_records=tuple(
            StepRecord(
                n=line.integer("n"),
                loss_bits=line.text("loss"),
                loss=line.float32("loss"),
                prediction=line.integer("prediction"),
                correct=None if labels is None else line.integer("prediction") == int(labels[line.integer("n")]),
                digest=line.text("digest"),
            )
            for line in steps
        ),
        arena_tensors=tuple(
            TensorLife(
                name=block.name,
                offset_bytes=plan.offsets[block.name],
                size_bytes=block.size_bytes,
                first_op=first,
                last_op=last,
            )
            for block in plan.blocks
            for first, last in block.lives
        ),
        operator_names=tuple(moment.step.name for moment in plan.timeline.moments),
        operator_programs=plan.timeline.programs,
        emulator=result.emulator,
        emulator_version=result.emulator_version,
        compiler=site.compiler,
        compiler_flags=site.flags,
        elf_sha256=site.sha256,
        wall_seconds=result.wall_seconds,
    )
