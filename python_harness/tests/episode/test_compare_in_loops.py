"""A step that goes wrong in one round of a loop is named with that round."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from episode.conftest import Prepare
from mcutrain.compiler.plan import compile_plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.episode.compare import Side, locate
from mcutrain.golden import runner
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.golden.runner import run_golden
from mcutrain.ops.steps import Step
from support.looped import ROUNDS, with_counter

STEPS = 4
BROKEN_STEP, BROKEN_VISIT = 2, 1
BROKEN = "conv2.bias_gradient"


class BrokenOnce(GoldenExecutor):
    """Adds one to an element of what a step writes, in one visit of one training step."""

    ran = 0

    def run(self, step: Step) -> None:
        super().run(step)
        if step.name == BROKEN:
            if divmod(self.ran, ROUNDS) == (BROKEN_STEP, BROKEN_VISIT):
                gradient = self.view(step.operands["gradient"])
                gradient.mantissa[3] += 1 << 10  # type: ignore[union-attr]
            self.ran += 1


def test_a_step_that_is_broken_in_a_loop_is_named_by_its_visit(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = prepared("b16", "master16")
    plan = compile_plan(with_counter(episode.plan.training))
    episode = dataclasses.replace(episode, plan=plan, golden_lines={})

    def right(image: EpisodeImage) -> Sequence[Line]:
        return run_golden(plan, image)

    def broken(image: EpisodeImage) -> Sequence[Line]:
        with monkeypatch.context() as context:
            context.setattr(runner, "GoldenExecutor", BrokenOnce)
            return run_golden(plan, image)

    image = episode.image(steps=STEPS, test=0, evaluate=(False, False))
    found = locate(episode, Side("golden", right), Side("board", broken), right(image), broken(image))
    assert found is not None
    assert (found.step, found.operator, found.visit, found.visits) == (BROKEN_STEP, BROKEN, BROKEN_VISIT, ROUNDS)
    assert found.tensor == BROKEN and found.element == (3,)
    assert f"step {BROKEN_STEP}, operator {found.op} {BROKEN} (mct_bias_gradient_b16), visit 1 of 3, tensor" in str(
        found
    )
