"""Programs with loops and with an update of their own: what they compute, what is alive in them, and the visit of every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mcutrain.boards import load_board
from mcutrain.compiler.arena import check_arena
from mcutrain.compiler.codegen import generate, model_source
from mcutrain.compiler.liveness import UnwrittenError, alive, timeline
from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.emulators.base import Runner
from mcutrain.emulators.build import build_firmware, build_host
from mcutrain.emulators.host import HostRunner
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.golden.runner import run_golden
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, Program, Repeat, Run, moments
from mcutrain.ops.steps import Phase
from support.looped import MADE, ROUNDS, nested, separate_update, with_counter
from support.networks import chain, residual, samples
from support.plans import isolated, outcome, sample_steps, training_of
from support.traced_step import run_step


def image_of(
    plan: Plan, steps: int, *, trace_step: int | None = None, dump: tuple[int, int] | None = None
) -> EpisodeImage:
    codes = np.stack([sample.reshape(-1) for sample in samples(plan.training.graph, steps, seed=3)])
    labels = (np.arange(steps) % plan.training.classes).astype(np.uint16)
    return EpisodeImage(
        plan_crc32=plan.crc32,
        adapt_samples=codes,
        adapt_labels=labels,
        test_samples=codes,
        test_labels=labels,
        order=np.arange(steps).astype(np.uint16),
        learning_rates=np.full(1, 0.01, np.float32),
        seed=9,
        trace_step=trace_step,
        dump_op=dump[0] if dump else None,
        dump_visit=dump[1] if dump else 0,
    )


def said(lines: Sequence[Line]) -> list[tuple[str, dict[str, str]]]:
    """All that runners must agree on."""
    return [(line.kind, dict(line.values)) for line in lines if line.kind not in ("boot", "end")]


# What they compute


def test_a_loop_is_its_body_again_and_again_with_the_round_in_its_counter() -> None:
    training = training_of(chain())
    looped, plain = GoldenExecutor(compile_plan(with_counter(training))), GoldenExecutor(compile_plan(training))
    for sample in samples(training.graph, 2, seed=3):
        run_step(looped, sample, 3, 0.01)
        for label in range(ROUNDS):
            run_step(plain, sample, label, 0.01)
        assert looped.persistent.tobytes() == plain.persistent.tobytes()
        assert looped.loss == plain.loss and looped.prediction == plain.prediction


def test_loops_in_a_loop_run_their_bodies_as_often_as_their_counts_say() -> None:
    training = training_of(chain())
    looped, plain = GoldenExecutor(compile_plan(nested(training))), GoldenExecutor(compile_plan(training))
    sample = samples(training.graph, 1, seed=3)[0]
    run_step(looped, sample, 1, 0.01)
    for _ in range(2 * (1 + 3)):
        run_step(plain, sample, 1, 0.01)
    assert looped.persistent.tobytes() == plain.persistent.tobytes()


@pytest.mark.parametrize("made", MADE)
def test_shared_memory_changes_nothing_and_nothing_is_read_before_it_is_written(made: str) -> None:
    for graph in (chain(), residual()):
        plan = compile_plan(MADE[made](training_of(graph)))
        alone = outcome(isolated(plan.training), steps=4)
        assert outcome(plan, steps=4) == alone == outcome(plan, steps=4, arena_pattern=0)
        check_arena(plan.blocks, plan.in_place, plan.arena)


@pytest.mark.train
@pytest.mark.parametrize("made", MADE)
def test_golden_host_and_both_cores_agree_at_every_visit(made: str, tmp_path: Path) -> None:
    plan = compile_plan(MADE[made](training_of(chain())))
    generate(plan, tmp_path / "model")
    runners: list[Runner] = [HostRunner(build_host(tmp_path / "model", tmp_path / "host"))]
    for board in ("m4-256k", "m7-256k"):
        runners.append(QemuRunner(build_firmware(tmp_path / "model", load_board(board), tmp_path / board)))
    for trace_step in (1, 3):
        image = image_of(plan, 4, trace_step=trace_step)
        golden = run_golden(plan, image)
        visited = [(line.integer("op"), line.integer("visit")) for line in golden if line.kind == "trace"]
        written = {row.op for row in plan.traced}
        expected = {(op, visit) for op, count in enumerate(plan.visits) if op in written for visit in range(count)}
        if UPDATE not in plan.training.programs or trace_step % 2:
            assert set(visited) == expected and max(plan.visits) > 1
        for runner in runners:
            assert said(runner.run(image).lines) == said(golden), runner.name


def test_a_dump_is_of_the_visit_that_was_asked_for(tmp_path: Path) -> None:
    plan = compile_plan(with_counter(training_of(chain())))
    op = plan.ops["conv2.scaled_error"]
    dumps = []
    for visit in range(ROUNDS):
        lines = run_golden(plan, image_of(plan, 1, trace_step=0, dump=(op, visit)))
        own = [line for line in lines if line.kind == "dump"]
        assert own and {(line.integer("op"), line.integer("visit")) for line in own} == {(op, visit)}
        dumps.append(b"".join(line.data() for line in own))
    assert len(set(dumps)) == ROUNDS, "each round has another label, and so another error"


# What is alive


def test_what_a_loop_reads_from_before_lives_through_it_and_what_is_its_own_does_not() -> None:
    training = training_of(chain())
    forward, rest = training.programs[SAMPLE]
    assert isinstance(rest, Run) and isinstance(forward, Run)
    cut = next(index for index, step in enumerate(rest.steps) if step.phase is Phase.UPDATE) + 1
    looped = (forward, Repeat(2, (Run(rest.steps[:cut]),)), Run(rest.steps[cut:]))
    state = alive(training, looped)
    first = len(forward.steps)
    last = first + cut - 1
    features = training.root("reshape4.out") if "reshape4.out" in training.buffers else None
    read = {name for step in rest.steps[:cut] for name in step.reads() if training.buffers[name].region == "arena"}
    written = {name for step in rest.steps[:cut] for name in step.writes()}
    carried = {training.root(name) for name in read - written}
    assert carried and (features is None or features in carried)
    for at in range(first, last):
        assert carried <= state.after[at], "the next round reads it"
    own = {training.root(name) for name in written if name.endswith(".logits_gradient")}
    assert own and not own & state.before[first]


def test_a_step_that_reads_what_its_round_writes_later_is_refused() -> None:
    training = training_of(chain())
    forward, rest = training.programs[SAMPLE]
    backwards = Run((*rest.steps[1:], rest.steps[0]))  # type: ignore[union-attr]
    with pytest.raises(
        UnwrittenError, match=r"reads fully_connected5\.logits_gradient, which no step has written before"
    ):
        alive(training, (forward, Repeat(2, (backwards,))))


def test_a_second_forward_pass_gives_every_activation_a_second_life_and_needs_no_more_memory() -> None:
    """The bytes of an activation are free between its two lives."""
    training = training_of(chain(), "head")
    forward, rest = training.programs[SAMPLE]
    twice = dataclasses.replace(training, programs={SAMPLE: (Run(forward.steps), Run(forward.steps), rest)})  # type: ignore[union-attr]
    once, plan = compile_plan(training), compile_plan(twice)
    lives = {block.name: len(block.lives) for block in plan.blocks}
    assert lives["conv0.out"] == lives["conv1.out"] == 2
    assert plan.arena_bytes == once.arena_bytes
    assert outcome(plan) == outcome(once)


def test_an_inference_that_is_not_the_beginning_of_a_sample_is_planned_by_itself() -> None:
    training = training_of(chain(), "head")
    forward, rest = training.programs[SAMPLE]
    programs: dict[str, Program] = {INFER: (forward,), SAMPLE: (Repeat(2, (forward,)), rest)}
    plan = compile_plan(dataclasses.replace(training, programs=programs))
    assert plan.timeline.programs.count(INFER) == len(forward.steps)  # type: ignore[union-attr]
    logits = next(block for block in plan.blocks if block.name == training.logits)
    assert logits.lives[-1][1] == len(plan.timeline.moments) - 1, "it can be read when the inference is over"


def test_results_that_a_sample_writes_over_are_planned_for_the_inference_too() -> None:
    """The loss writes its gradient over the logits; an inference that ends with the loss still leaves them to be read."""
    training = training_of(chain(), "head")
    forward, rest = training.programs[SAMPLE]
    assert isinstance(forward, Run) and isinstance(rest, Run)
    assert rest.steps[0].phase is Phase.LOSS
    shared = Run((*forward.steps, rest.steps[0]))
    programs: dict[str, Program] = {INFER: (shared,), SAMPLE: (shared, Run(rest.steps[1:]))}
    longer, plain = compile_plan(dataclasses.replace(training, programs=programs)), compile_plan(training)
    executors = GoldenExecutor(longer), GoldenExecutor(plain)
    for executor in executors:
        executor.infer(samples(training.graph, 1)[0])
    logits = [executor.bytes_of(str(training.logits)) for executor in executors]
    assert logits[0] == logits[1]
    assert longer.timeline.programs.count(INFER) == len(shared.steps) and INFER not in plain.timeline.programs


def test_lives_of_a_timeline_do_not_meet() -> None:
    for made in MADE.values():
        training = made(training_of(residual()))
        last: dict[str, int] = {}
        for life in sorted(timeline(training, training.programs).lives, key=lambda life: life.first):
            assert last.get(life.buffer, -1) < life.first <= life.last
            last[life.buffer] = life.last


# Trees


def test_moments_know_their_loops() -> None:
    a, b, c = sample_steps(training_of(chain()).programs)[:3]
    found = moments((Run((a,)), Repeat(4, (Run((b,)), Repeat(5, (Run((c,)),), counter="inner")), counter="outer")))
    assert [moment.step for moment in found] == [a, b, c]
    assert [moment.visits for moment in found] == [1, 4, 20]
    assert [moment.starts for moment in found] == [(), ("outer",), ("inner",)]
    assert [moment.ends for moment in found] == [(), (), (0, 1)]


def test_a_loop_without_rounds_or_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="0 rounds"):
        Repeat(0, ())
    with pytest.raises(ValueError, match="without a step"):
        moments((Repeat(2, ()),))


def test_visits_are_numbered_through_sample_and_update() -> None:
    plan = compile_plan(separate_update(training_of(chain())))
    assert plan.first_visits(SAMPLE) == (0,) * len(plan.moments_of(SAMPLE))
    first = dict(zip((m.step.name for m in plan.moments_of(UPDATE)), plan.first_visits(UPDATE), strict=True))
    assert first["conv0"] == 1 and first["conv0.update_weights"] == 0
    assert plan.visits[plan.ops["conv0"]] == 3 and plan.visits[plan.ops["conv0.update_weights"]] == 2


def test_loops_are_printed_as_loops() -> None:
    source = model_source(compile_plan(nested(training_of(chain()))))
    assert source.count("for (uint32_t r0 = 0; r0 < 2u; r0++)") == 1
    assert source.count("for (uint32_t r1 = 0; r1 < 3u; r1++)") == 1
    assert "RUN(mct_op_0000, 0u, 3u + (r0 * 3u + r1));" in source
