"""A network that moves its elements about trains on the host as in golden, in a planned arena, in both error modes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.golden.executor import GoldenExecutor
from support.host_models import CModel
from support.networks import samples, shuffled
from support.plans import training_of
from support.traced_step import run_step


@pytest.mark.parametrize("error_mode", ["b16", "f32"])
def test_the_host_has_goldens_losses_and_state_after_every_step(tmp_path: Path, error_mode: str) -> None:
    plan = compile_plan(training_of(shuffled(), error_mode=error_mode))
    model, golden = CModel(plan, tmp_path), GoldenExecutor(plan)
    model.reset(seed=77)
    golden.seed(77)
    first = golden.digest()
    for number, sample in enumerate(samples(plan.training.graph, 4, seed=5)):
        label = number % plan.training.classes
        run_step(golden, sample, label, 0.01)
        loss, prediction = model.train(sample.reshape(-1), label, 0.01)
        assert (loss.tobytes(), prediction) == (golden.loss.tobytes(), golden.prediction)
        assert model.digest() == golden.digest() != first


def test_what_a_concatenation_has_written_is_alive_until_its_last_part_is() -> None:
    plan = compile_plan(training_of(shuffled()))
    lives = {block.name: block.lives for block in plan.blocks}
    parts = [
        (at, moment.step.operands["y"])
        for at, moment in enumerate(plan.timeline.moments)
        if moment.step.kernel == "copy_into_s8"
    ]
    assert parts
    for at, y in parts:
        begins = max(
            i
            for i, moment in enumerate(plan.timeline.moments[:at])
            if moment.step.kernel == "copy_s8" and moment.step.operands["y"] == y
        )
        assert any(first <= begins and at <= last for first, last in lives[y])
