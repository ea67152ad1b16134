"""The order of the steps: it keeps every dependency, and nothing outlives its use."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcutrain.compiler.arena import live_bytes
from mcutrain.compiler.liveness import timeline
from mcutrain.compiler.plan import arena_blocks, compile_plan
from mcutrain.compiler.schedule import Programs, ScheduleError, check_order, dependencies, schedule
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.methods.inference import inference
from mcutrain.methods.training_graph import INPUT, TrainingGraph
from mcutrain.ops.programs import INFER, SAMPLE, Repeat, Run
from mcutrain.ops.steps import Phase, Step
from support.networks import NETWORKS, chain, random_network, residual, samples
from support.plans import in_order, isolated, network_plan, outcome, sample_steps, training_of
from support.traced_step import run_step

MODES = ("b16", "f32")
ROUNDINGS = ("master16", "stochastic8")


def any_order(training: TrainingGraph, seed: int) -> list[Step]:
    """The forward steps, then the others in a random order that keeps their dependencies."""
    emitted = sample_steps(training.programs)
    needs = dependencies(training, emitted)
    random = np.random.default_rng(seed)
    done: set[int] = set()
    order: list[Step] = []
    while len(order) < len(emitted):
        ready = [index for index in range(len(emitted)) if index not in done and needs[index] <= done]
        forward = [index for index in ready if emitted[index].phase is Phase.FORWARD]
        index = forward[0] if forward else int(random.choice(ready))
        done.add(index)
        order.append(emitted[index])
    return order


def scheduled(training: TrainingGraph) -> list[Step]:
    """The steps of a training sample in their scheduled order."""
    return sample_steps(schedule(training))


def peak_bytes(training: TrainingGraph, programs: Programs, *, scratch: bool = True) -> int:
    """The most bytes alive at any moment, nothing in place."""
    when = timeline(training, programs)
    blocks = [
        block for block in arena_blocks(training, when) if scratch or training.buffers[block.name].dtype != "scratch"
    ]
    return max(live_bytes(blocks, (), len(when.moments), alignment_bytes=1))


def position(steps: Sequence[Step], name: str) -> int:
    return [step.name for step in steps].index(name)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    order=st.integers(0, 10**6),
    mode=st.sampled_from(MODES),
    rounding=st.sampled_from(ROUNDINGS),
)
def test_any_order_that_keeps_the_dependencies_computes_the_same(
    seed: int, order: int, mode: str, rounding: str
) -> None:
    """Each buffer has its own memory here, so that only the order can make a difference."""
    training = training_of(random_network(seed), "full", mode, rounding)
    as_emitted = outcome(isolated(training), steps=2)
    assert outcome(isolated(training, in_order(training, any_order(training, order))), steps=2) == as_emitted
    assert outcome(isolated(training, schedule(training)), steps=2) == as_emitted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_schedule_has_every_step_once_and_keeps_every_dependency(name: str, mode: str) -> None:
    training = training_of(NETWORKS[name](), "full", mode)
    emitted, steps = sample_steps(training.programs), scheduled(training)
    at = {id(step): index for index, step in enumerate(steps)}
    assert sorted(at) == sorted(id(step) for step in emitted)
    for index, needs in enumerate(dependencies(training, emitted)):
        assert all(at[id(emitted[need])] < at[id(emitted[index])] for need in needs), emitted[index].name


def test_an_update_waits_for_the_last_reader_of_the_weights() -> None:
    """dX reads the old weights, and the head's error the old weights of the head."""
    for mode in MODES:
        steps = scheduled(training_of(chain(), "full", mode))
        for layer in ("conv1", "conv2", "conv3"):
            assert position(steps, f"{layer}.input_error.products") < position(steps, f"{layer}.update_weights")
        assert position(steps, "fully_connected5.input_error") < position(steps, "fully_connected5.update")


def test_stochastic_updates_draw_in_one_order() -> None:
    """They share the state of one generator: their order is part of the result."""
    training = training_of(chain(), "full", "b16", "stochastic8")
    emitted = [step.name for step in training.steps if step.name.endswith(".update_weights")]
    for order in range(5):
        names = [step.name for step in any_order(training, order)]
        assert [name for name in names if name in emitted] == emitted


@pytest.mark.parametrize("name", NETWORKS)
def test_the_forward_steps_come_first_and_in_the_order_of_the_network(name: str) -> None:
    training = training_of(NETWORKS[name]())
    steps = scheduled(training)
    forward = [step for step in training.steps if step.phase is Phase.FORWARD]
    assert list(steps[: len(forward)]) == forward


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_each_update_runs_as_soon_as_what_it_waits_for_is_done(name: str, mode: str, rounding: str) -> None:
    """Between an update and the last step it needs there are other updates at most."""
    training = training_of(NETWORKS[name](), "full", mode, rounding)
    steps = scheduled(training)
    needs = dependencies(training, steps)
    updates = [index for index, step in enumerate(steps) if step.phase is Phase.UPDATE]
    assert len(updates) >= 5
    for index in updates:
        waited = steps[max(needs[index]) + 1 : index]
        assert all(step.phase is Phase.UPDATE for step in waited), (steps[index].name, [step.name for step in waited])


@pytest.mark.parametrize("mode", MODES)
def test_no_two_weight_gradients_of_a_chain_are_alive_at_once(mode: str) -> None:
    training = training_of(chain(), "full", mode)
    blocks = arena_blocks(training, timeline(training, schedule(training)))
    gradients = sorted(
        (block for block in blocks if block.name.endswith(".weight_gradient")), key=lambda block: block.first_op
    )
    assert len(gradients) == 4
    assert all(earlier.last_op < later.first_op for earlier, later in itertools.pairwise(gradients))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_outlives_its_use(name: str, mode: str) -> None:
    """The first operator of a buffer's life writes it, and the last one reads it (scratch lives for one)."""
    plan = network_plan(name, "full", mode)
    assert plan.blocks
    for block in plan.blocks:
        touching = [
            op
            for op, step in enumerate(plan.steps)
            if block.name in {plan.training.root(n) for n in (*step.reads(), *step.writes())}
        ]
        assert (block.first_op, block.last_op) == (touching[0], touching[-1]), block.name
        first, last = plan.steps[block.first_op], plan.steps[block.last_op]
        if block.name == INPUT:
            assert block.first_op == 0, "it is there when a sample begins"
        else:
            assert block.name in {plan.training.root(n) for n in first.writes()}, block.name
            assert block.name not in {plan.training.root(n) for n in first.reads()}, block.name
        if plan.buffers[block.name].dtype == "scratch":
            assert block.first_op == block.last_op
        else:
            assert block.name in {plan.training.root(n) for n in last.reads()}, block.name


def test_the_output_of_an_inference_lives_to_its_end() -> None:
    """In this network it is written before the last step is over, and read after it."""
    training = inference(residual())
    blocks = {block.name: block for block in arena_blocks(training, timeline(training, training.programs))}
    assert training.output is not None
    assert blocks[training.root(training.output)].last_op == len(training.steps) - 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_schedule_never_needs_more_than_the_emitted_order(name: str) -> None:
    training = training_of(NETWORKS[name]())
    assert peak_bytes(training, schedule(training)) <= peak_bytes(training, training.programs)


def test_delaying_every_update_to_the_end_needs_more_memory() -> None:
    """What reordering is for: without it every gradient lives until the last one is there. Scratch, which no order saves, is left out."""
    training = training_of(chain())
    steps = sample_steps(training.programs)
    updates_last = [step for step in steps if step.phase is not Phase.UPDATE]
    updates_last += [step for step in steps if step.phase is Phase.UPDATE]
    least = peak_bytes(training, schedule(training), scratch=False)
    assert least < 0.7 * peak_bytes(training, in_order(training, updates_last), scratch=False)


def test_a_run_that_two_programs_share_keeps_its_order_and_stays_one() -> None:
    programs = schedule(training_of(residual()))
    (infer,), (forward, _) = programs[INFER], programs[SAMPLE]
    assert infer is forward


def test_forward_update_forward_keeps_its_order() -> None:
    """Phases say what a step is for, never where it may stand: a second forward pass behind an update sees the updated weights."""
    training = training_of(chain())
    emitted = sample_steps(training.programs)
    forward = [step for step in emitted if step.phase is Phase.FORWARD]
    order = [*emitted, *forward]
    twice = dataclasses.replace(training, programs={SAMPLE: (Run(tuple(emitted)), Run(tuple(forward)))})
    assert [step.phase for step in sample_steps(schedule(twice))][-len(forward) :] == [Phase.FORWARD] * len(forward)
    once = dataclasses.replace(training, programs={SAMPLE: (Run(tuple(order)),)})
    assert sample_steps(schedule(once)) == order, "nothing is known to be movable in a run that has a step twice"
    sample = samples(training.graph, 1)[0]
    for programs in (once, twice):
        updated, again = GoldenExecutor(compile_plan(training)), GoldenExecutor(compile_plan(programs))
        for executor in (updated, again):
            run_step(executor, sample, 1, 0.01)
        first = updated.bytes_of(str(training.logits))
        updated.infer(sample)
        assert again.bytes_of(str(training.logits)) == updated.bytes_of(str(training.logits)) != first


def swapped(run: Run, first: str, second: str) -> Run:
    """The run with two steps exchanged."""
    steps = list(run.steps)
    a, b = position(steps, first), position(steps, second)
    steps[a], steps[b] = steps[b], steps[a]
    return Run(tuple(steps))


def test_an_order_that_a_pass_would_break_raises() -> None:
    training = training_of(chain())
    forward, rest = training.programs[SAMPLE]
    assert isinstance(rest, Run) and isinstance(forward, Run)
    check_order(training, training.programs[SAMPLE], (forward, rest))
    with pytest.raises(ScheduleError, match=r"moved before conv1\.input_error\.products, which it depends on"):
        check_order(
            training, (forward, rest), (forward, swapped(rest, "conv1.input_error.products", "conv1.update_weights"))
        )
    for other in (
        (Run(forward.steps[:-1]), Run((forward.steps[-1], *rest.steps))),
        (forward, Run(rest.steps[1:])),
        (Run((*forward.steps, *rest.steps)),),
        (forward, Repeat(2, (rest,))),
        (forward, Run((*rest.steps[:-1], rest.steps[0]))),
    ):
        with pytest.raises(ScheduleError):
            check_order(training, (forward, rest), other)
