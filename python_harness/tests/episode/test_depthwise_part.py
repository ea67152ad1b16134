"""A network whose depthwise convolutions train in part: golden, the host library and both cores have the same bits at every step."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.episode.compare import first_difference
from mcutrain.episode.runners import make_target
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import samples, separable
from support.own_builds import own_build_folder

STEPS = 12
# Two outputs for each input, of which three train, and one for each, of which two do.
SCHEME = "b all; conv2@1/2 depthwise1@3/8 depthwise4@1/2"


def plan_of(errors: str, weights: str) -> Plan:
    options = SparseUpdateOptions.model_validate({"scheme": SCHEME, "errors": errors, "weights": weights})
    return compile_plan(sparse_update(separable(), options))


def image_of(plan: Plan) -> EpisodeImage:
    inputs = samples(separable(), 3)
    labels = np.array([0, 2, 3], np.uint16)
    return EpisodeImage(
        plan_crc32=plan.crc32,
        adapt_samples=inputs.reshape(3, -1),
        adapt_labels=labels,
        test_samples=inputs.reshape(3, -1),
        test_labels=labels,
        order=np.resize(np.arange(3), STEPS).astype(np.uint16),
        learning_rates=np.array([50.0], np.float32),
        steps_per_learning_rate=STEPS,
    )


def digests(lines: tuple[Line, ...]) -> set[str]:
    return {line.text("digest") for line in lines if line.kind == "step"}


@pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)
@pytest.mark.qemu
@pytest.mark.parametrize("weights", ["master16", "stochastic8", "nearest8"])
@pytest.mark.parametrize("errors", ["b16", "f32"])
def test_every_runner_trains_a_part_of_depthwise_convolutions_alike(
    errors: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCUTRAIN_BUILD", str(own_build_folder(tmp_path)))
    plan = plan_of(errors, weights)
    image = image_of(plan)
    golden = make_target(plan, "golden").run(image)
    assert len(digests(golden)) == STEPS, "every step changes the trainable state"
    for name in ("host", "m4-256k", "m7-256k"):
        lines = make_target(plan, name).run(image)
        assert first_difference(golden, lines) is None, name
        assert digests(lines) == digests(golden)
