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
