"""What a run shows of its input, its updates and its loss, and when it warns."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from episode.conftest import SCHEME, MakeTarget, Prepare, digits
from mcutrain.compiler.plan import compile_plan
from mcutrain.datasets import digits_shifted
from mcutrain.emulators.base import RunResult
from mcutrain.emulators.observed import Observed, UpdateCounts
from mcutrain.episode import observed_run
from mcutrain.episode.definition import episode_names, load_episode
from mcutrain.episode.observations import InputCodes, Observations, TensorUpdates
from mcutrain.episode.observe import FEWEST_STEPS, observe_loss, observe_tensors
from mcutrain.episode.observed_warnings import observation_warnings
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.record import comparable
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.runners import REFERENCE
from mcutrain.errors import NotAvailableError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.golden.runner import run_golden
from mcutrain.methods.registry import find_method
from mcutrain.ops import update_bias, update_weights
from mcutrain.ops.steps import Step

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)
TRAINED = RunOptions(test=0, golden_steps=0)  # the whole schedule, without evaluations
NOT_DIGITS = [name for name in episode_names() if not name.startswith("digits")]


class WatchedGolden:
    """Golden, whose updates are counted where it finds their ratios."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ratios: dict[str, list[tuple[np.float32, np.float32]]] = {}  # of each tensor: the largest step, the ratio
        self.golden: GoldenExecutor | None = None
        self._tensor = ""
        run = GoldenExecutor.run

        def watched_run(golden: GoldenExecutor, step: Step) -> None:
            self.golden = golden
            operand = step.operands.get("weights", step.operands.get("bias"))
            self._tensor = "" if operand is None else golden.plan.training.root(operand)
            run(golden, step)

        monkeypatch.setattr(GoldenExecutor, "run", watched_run)
        for module in (update_weights, update_bias):
            self._watch(monkeypatch, module)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        find = module.cap_ratio

        def watched(magnitudes: Any, step_cap: float, kernel: str) -> np.float32:
            ratio: np.float32 = find(magnitudes, step_cap, kernel)
            self.ratios.setdefault(self._tensor, []).append((magnitudes.max(), ratio))
            return ratio

        monkeypatch.setattr(module, "cap_ratio", watched)

    def counts(self) -> dict[int, UpdateCounts]:
        """By the tensor's offset, as the host has them."""
        assert self.golden is not None
        found = {}
        for tensor, updates in self.ratios.items():
            ratios = [ratio for largest, ratio in updates if largest > 0]
            found[self.golden.plan.offsets[tensor]] = UpdateCounts(
                updates=len(updates),
                zero=len(updates) - len(ratios),
                capped=sum(bool(ratio < 1) for ratio in ratios),
                smallest_ratio=float(min(ratios, default=0.0)),
                largest_ratio=float(max(ratios, default=0.0)),
                largest_step=float(max(largest for largest, _ in updates)),
            )
        return found


def observed(episode: PreparedEpisode, target: MakeTarget, steps: int | None = None) -> Observed:
    seen = target(episode, "host").result(episode.image(steps=steps, test=0, evaluate=(False, False))).observed
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("errors", "weights", "batch"),
    [("b16", "master16", 1), ("f32", "stochastic8", 1), ("b16", "nearest8", 4), ("f32", "master16", 4)],
)
def test_every_update_is_counted_as_golden_does_it_and_the_state_is_golden_s(
    errors: str, weights: str, batch: int, target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"scheme": SCHEME, "errors": errors, "weights": weights, "batch": batch}
    episode = prepare(load_episode("digits-biases").changed({"learning_rate": 0.03}, options))
    golden = WatchedGolden(monkeypatch)
    run_golden(episode.plan, episode.image(steps=24, test=0, evaluate=(False, False)))
    expected = golden.counts()
    seen = observed(episode, target, 24)
    assert seen.updates == expected
    assert golden.golden is not None and seen.state == golden.golden.persistent.tobytes()
    assert len(expected) == 6 and all(counts.updates == 24 // batch for counts in expected.values())
    assert any(0 < counts.capped < counts.updates for counts in expected.values())  # or the cap was not tried


def test_updates_without_a_gradient_are_counted_apart(target: MakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = prepare(digits(learning_rate=1e4))
    golden = WatchedGolden(monkeypatch)
    run_golden(episode.plan, episode.image(steps=24, test=0, evaluate=(False, False)))
    expected = golden.counts()
    assert all(0 < counts.zero < counts.updates for counts in expected.values())
    assert observed(episode, target, 24).updates == expected


def test_shares_of_a_tensor_are_those_of_its_bytes(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "master16")
    plan, seen = episode.plan, observed(episode, target, 60)
    found = {tensor.tensor: tensor for tensor in observe_tensors(plan, seen)}
    assert len(found) == 8 and {(t.layer, t.kind) for t in found.values()} >= {("conv2", "weights"), ("conv0", "bias")}
    for name, tensor in found.items():
        buffer = plan.buffers[name]
        first = np.asarray(buffer.data).reshape(buffer.shape)
        raw = seen.state[plan.offsets[name] : plan.offsets[name] + buffer.size_bytes]
        last = np.frombuffer(raw, first.dtype).reshape(buffer.shape)
        if (tensor.layer, tensor.kind) == ("conv2", "weights"):  # half of its input channels train
            chosen = np.asarray(plan.buffers["conv2.selected"].data)
            assert len(chosen) == buffer.shape[-1] // 2
            others = np.setdiff1d(np.arange(buffer.shape[-1]), chosen)
            assert np.array_equal(first[..., others], last[..., others])
            first, last = first[..., chosen], last[..., chosen]
        pairs = list(zip(first.ravel().tolist(), last.ravel().tolist(), strict=True))
        assert tensor.elements == len(pairs)
        assert tensor.changed_fraction == sum(a != b for a, b in pairs) / len(pairs)
        assert tensor.changed_fraction > 0 and tensor.moved
        if first.dtype == np.int8:
            ends = (-127, 127)
            assert tensor.at_limit_before == sum(a in ends for a, _ in pairs) / len(pairs) > 0
            assert tensor.at_limit_after == sum(b in ends for _, b in pairs) / len(pairs)
        elif first.dtype == np.float32:
            assert tensor.at_limit_before is None and tensor.at_limit_after is None and tensor.updates is None


def changed_state(episode: PreparedEpisode, changes: Mapping[str, Any]) -> Observed:
    """The initial state with other values of some tensors."""
    plan = episode.plan
    state = bytearray(plan.persistent_bytes)
    for name, buffer in plan.buffers.items():
        if buffer.region == "trainable" and buffer.alias is None:
            values = changes.get(name, buffer.stored())
            content = values if isinstance(values, bytes) else np.asarray(values).tobytes()
            state[plan.offsets[name] : plan.offsets[name] + buffer.size_bytes] = content
    return Observed(bytes(state), {})


def named(episode: PreparedEpisode, layer: str, role: str) -> tuple[str, Any]:
    """A tensor's name, and the parameters of its update."""
    step = next(step for step in episode.plan.steps if step.layer == layer and f"update_{role}" in step.kernel)
    return episode.plan.training.root(step.operands[role]), step.params


def test_both_ends_of_the_codes_and_the_largest_bias_are_limits(prepared: Prepare) -> None:
    episode = prepared("b16", "nearest8")
    weights, _ = named(episode, "conv1", "weights")
    bias, params = named(episode, "conv1", "bias")
    codes, biases = np.zeros(4608, np.int8), np.zeros(32, np.int32)
    codes[:1000], codes[1000:1500], codes[1500:1600] = 127, -127, 126
    biases[:8], biases[8:12], biases[12:16] = params.bias_limit, -params.bias_limit, params.bias_limit - 1
    found = {t.tensor: t for t in observe_tensors(episode.plan, changed_state(episode, {weights: codes, bias: biases}))}
    assert found[weights].at_limit_after == 1500 / 4608
    assert found[bias].at_limit_after == 12 / 32
    tensor = episode.graph.tensors[episode.graph.input]
    said = observation_warnings(Observations(tensors=tuple(found.values())), tensor, 0.1)
    assert any("the weights and biases of conv1 have run into the limits" in warning for warning in said)


def test_a_byte_kept_behind_a_weight_moves_its_tensor(prepared: Prepare) -> None:
    episode = prepared("b16", "master16")
    still = observe_tensors(episode.plan, changed_state(episode, {}))
    assert not any(tensor.moved or tensor.changed_fraction for tensor in still)
    state = bytearray(changed_state(episode, {}).state)
    state[episode.plan.offsets["conv1.fraction"] + 100] = 3
    moved = [t for t in observe_tensors(episode.plan, Observed(bytes(state), {})) if t.moved]
    assert [(t.layer, t.kind, t.changed_fraction) for t in moved] == [("conv1", "weights", 0.0)]


def test_golden_and_host_have_the_same_observations(prepared: Prepare, target: MakeTarget) -> None:
    episode = dataclasses.replace(prepared("b16", "master16"), host_runs={})
    options = RunOptions(steps=30, test=2, golden_steps=0)
    records = [run_episode(episode, target(episode, name), options)[0] for name in (REFERENCE, "host")]
    seen = [comparable(record)["observations"] for record in records]
    assert seen[0] == seen[1]
    assert len(seen[0]["tensors"]) == 8 and seen[0]["not_observed"] == "" and seen[0]["tensors"][2]["updates"] == 30


@needs_qemu
@pytest.mark.qemu
def test_a_board_has_the_observations_of_the_host_and_none_of_its_code(prepared: Prepare, target: MakeTarget) -> None:
    episode = dataclasses.replace(prepared("b16", "master16"), host_runs={})
    options = RunOptions(steps=6, test=2, golden_steps=0, profile=False)
    board, host = (run_episode(episode, target(episode, name), options)[0] for name in ("m4-256k", "host"))
    assert board.observations is not None and board.observations.tensors
    assert board.observations == host.observations
    functions = target(episode, "m4-256k").functions
    assert "mct_update_weights" in functions and not any("observe" in name for name in functions)


def test_a_run_whose_steps_are_not_the_host_s_parts_from_it_and_has_no_observations_of_updates(
    prepared: Prepare, target: MakeTarget
) -> None:
    episode = dataclasses.replace(prepared("b16", "master16"), host_runs={})
    options = RunOptions(steps=5, test=0, golden_steps=0)
    host = target(episode, "host").result(episode.image(steps=5, test=0, evaluate=(False, False)))
    episode.host_runs[5] = dataclasses.replace(host, lines=tuple(_other_digest(host, step=3)))
    record, divergence = run_episode(episode, target(episode, REFERENCE), options)
    assert divergence is not None and divergence.step == 3 and divergence.sides == ("host", REFERENCE)
    assert record.observations is not None and record.observations.tensors == ()
    assert record.observations.not_observed.startswith("the host library did other steps: ")


def _other_digest(result: RunResult, step: int) -> Iterator[Any]:
    for line in result.lines:
        is_it = line.kind == "step" and line.integer("n") == step
        yield dataclasses.replace(line, values={**line.values, "digest": "00000000"}) if is_it else line


def test_without_a_compiler_for_this_machine_a_run_says_why_its_updates_are_not_observed(
    prepared: Prepare, target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise NotAvailableError("ninja is not installed; on Debian: apt-get install ninja-build")

    episode = dataclasses.replace(prepared("b16", "master16"), host_runs={})
    monkeypatch.setattr(observed_run, "make_target", no_compiler)
    record, divergence = run_episode(episode, target(episode, REFERENCE), RunOptions(steps=3, test=0, golden_steps=0))
    assert divergence is None and record.observations is not None
    assert record.observations.not_observed == (
        "the host library could not repeat the steps: ninja is not installed; on Debian: apt-get install ninja-build"
    )
    assert record.observations.tensors == () and record.observations.warnings == ()
    assert [part.part for part in record.observations.input] == ["adapt", "test"]


def test_who_does_not_ask_gets_no_observations(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "nearest8")
    options = RunOptions(steps=2, test=0, golden_steps=0, observe=False)
    assert run_episode(episode, target(episode, "host"), options)[0].observations is None


# Warnings: none for what is shipped, one or more for what is worth nothing.


def warnings_of(episode: PreparedEpisode, target: MakeTarget, options: RunOptions = TRAINED) -> tuple[str, ...]:
    record, _ = run_episode(episode, target(episode, "host"), options)
    assert record.observations is not None and record.observations.not_observed == ""
    return record.observations.warnings


@pytest.mark.parametrize(
    "name",
    [
        *("digits-sparse", "digits-minibatch", "digits-stochastic"),
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("digits-biases", "digits-float", "digits-full")
        ),
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in NOT_DIGITS),
    ],
)
def test_no_shipped_episode_has_a_warning(name: str, target: MakeTarget) -> None:
    try:
        episode = prepare(load_episode(name))
    except NotAvailableError as error:
        pytest.skip(str(error))
    assert warnings_of(episode, target) == ()


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (1e4, "practically every step of the weights and biases of conv0, conv1 and conv2 was cut by the step cap"),
        (1e4, "most updates of the weights and biases of conv0, conv1 and conv2 had no gradient at all"),
        (1e4, "at its end the loss is no better than that of a guess"),
        (10.0, "the loss has exploded (2"),
        (1e-12, "at the learning rate 1e-12 each of their steps is rounded to nothing; raise it"),
        (1e-12, "the loss does not fall (1.85 in the first tenth of the steps, 1.82 in the last)"),
    ],
)
def test_a_learning_rate_that_trains_nothing_is_told(rate: float, told: str, rates: Any) -> None:
    assert any(told in warning for warning in rates(rate)), rates(rate)


@pytest.fixture(scope="module")
def rates(target: MakeTarget) -> Any:
    known: dict[float, tuple[str, ...]] = {}

    def of(rate: float) -> tuple[str, ...]:
        if rate not in known:
            known[rate] = warnings_of(prepare(load_episode("digits-sparse").changed({"learning_rate": rate})), target)
        return known[rate]

    return of


def of_samples(folder: Path, factor: float, pixel_scale: float | None = None) -> PreparedEpisode:
    """The digits as float32 in 0..1, times ``factor``."""
    data = digits_shifted()
    arrays: dict[str, Any] = {"adapt_labels": data.adapt.labels, "test_labels": data.test.labels}
    for part, samples in (("adapt", data.adapt.samples), ("test", data.test.samples)):
        arrays[f"{part}_samples"] = samples.astype(np.float32) / np.float32(255) * np.float32(factor)
    np.savez(folder / "mine.npz", **arrays)
    return prepare(digits(data={"file": str(folder / "mine.npz"), "pixel_scale": pixel_scale}))


@pytest.mark.parametrize(
    ("factor", "pixel_scale", "told"),
    [
        (1000.0, None, r"^\d\d\.\d % of the adapt and \d\d\.\d % of the test values lie outside what the input's codes hold"),
        (255.0, 1.0, r"^\d\d\.\d % of the adapt and \d\d\.\d % of the test values lie outside what the input's codes hold \(0 to 1\)"),
        (0.001, None, r"^of the input's codes, -128 to 127, the adapt samples -128 to -128 and the test samples -128 to -128 are"),
        (1.0, 1.0 / 255.0, r"^of the input's codes, -128 to 127, the adapt samples -128 to -127 and the test samples"),
    ],
)  # fmt: skip
def test_samples_of_another_scale_are_told(
    factor: float, pixel_scale: float | None, told: str, target: MakeTarget, tmp_path: Path
) -> None:
    episode = of_samples(tmp_path, factor, pixel_scale)
    said = warnings_of(episode, target, RunOptions(steps=2, test=0, golden_steps=0))
    assert len(said) == 1 and re.search(told, said[0]), said


def test_samples_of_the_network_s_own_scale_are_not_told(target: MakeTarget, tmp_path: Path) -> None:
    assert warnings_of(of_samples(tmp_path, 1.0), target, RunOptions(steps=2, test=0, golden_steps=0)) == ()


def test_shuffled_labels_are_told(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "master16")
    labels = np.random.RandomState(0).permutation(episode.data.adapt.labels)
    adapt = dataclasses.replace(episode.data.adapt, labels=labels)
    shuffled = dataclasses.replace(episode, data=dataclasses.replace(episode.data, adapt=adapt))
    assert any("no better than that of a guess" in warning for warning in warnings_of(shuffled, target))
    assert not warnings_of(episode, target)


def test_a_dead_layer_is_told(target: MakeTarget) -> None:
    """conv1's biases are so low that its ReLU lets nothing through: it and what lies in front of it gets no gradient."""
    definition = digits()
    graph = prepare(definition).graph
    conv1 = next(op for op in graph.operators if op.name == "conv1")
    name = conv1.inputs[2]
    low = dataclasses.replace(graph.tensors[name], data=np.full(32, -(10**6), np.int32))
    dead = dataclasses.replace(graph, tensors={**graph.tensors, name: low})
    plan = compile_plan(find_method(definition.method).build(dead, definition.options))
    whole = prepare(definition)
    episode = PreparedEpisode(definition, dead, plan, whole.data)
    said = warnings_of(episode, target, RunOptions(steps=30, test=0, golden_steps=0))
    assert len(said) == 1 and "no gradient has ever reached" in said[0], said
    assert "conv0" in said[0] and "conv1" in said[0]


def tensor(**changes: Any) -> TensorUpdates:
    of_a_good_run = {
        **{"tensor": "w", "layer": "conv7", "kind": "weights", "elements": 100, "changed_fraction": 0.5, "moved": True},
        **{"at_limit_before": 0.01, "at_limit_after": 0.02, "updates": 100, "capped": 95, "without_gradient": 0},
        **{"smallest_ratio": 0.1, "largest_ratio": 1.0, "largest_step": 2.0},
    }
    return TensorUpdates.model_validate({**of_a_good_run, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"capped": 96}, "step cap"),
        ({"capped": 19, "updates": 19}, ""),
        ({"capped": 48, "without_gradient": 50}, "step cap"),
        ({"without_gradient": 50}, "step cap"),
        ({"without_gradient": 50, "capped": 40}, ""),
        ({"without_gradient": 51, "capped": 40}, "had no gradient at all"),
        ({"at_limit_after": 0.26}, ""),
        ({"at_limit_after": 0.27}, "have run into the limits"),
        ({"moved": False, "changed_fraction": 0.0}, "rounded to nothing"),
        (
            {"moved": False, "changed_fraction": 0.0, "without_gradient": 100, "capped": 0},
            "no gradient has ever reached",
        ),
        ({"moved": False, "changed_fraction": 0.0, "updates": 19, "capped": 0}, ""),
        ({"moved": False, "updates": None, "capped": None, "without_gradient": None}, "rounded to nothing"),
    ],
)
def test_a_warning_begins_where_its_constant_says(changes: Mapping[str, Any], told: str, prepared: Prepare) -> None:
    graph = prepared("b16", "master16").graph
    said = observation_warnings(Observations(tensors=(tensor(**changes),)), graph.tensors[graph.input], 0.5)
    assert len(said) == (told != "") and all(told in warning and "conv7" in warning for warning in said), said


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, False),
        ({"clipped_fraction": 0.1}, False),
        ({"clipped_fraction": 0.11}, True),
        ({"lowest_code": 0, "highest_code": 15}, False),
        ({"lowest_code": 0, "highest_code": 14}, True),
    ],
)
def test_a_warning_of_the_input_begins_where_its_constant_says(
    changes: Mapping[str, Any], told: bool, prepared: Prepare
) -> None:
    graph = prepared("b16", "master16").graph
    codes = {"part": "test", "values": 100, "clipped_fraction": 0.0, "lowest_code": -128, "highest_code": 90}
    part = InputCodes.model_validate({**codes, **changes})
    said = observation_warnings(Observations(input=(part,)), graph.tensors[graph.input], 0.5)
    assert len(said) == told


# The loss: series of which it is known whether they fall.


def loss_warnings(losses: Any, samples: Any, prepared: Prepare, classes: int | None = 10) -> tuple[str, ...]:
    graph = prepared("b16", "master16").graph
    trend = observe_loss(losses, samples, classes)
    assert trend is not None
    return observation_warnings(Observations(loss=trend), graph.tensors[graph.input], 0.5)


def noise(count: int, seed: int = 1) -> Any:
    """Losses of single samples: their standard deviation is their mean, 1."""
    return np.random.RandomState(seed).exponential(1.0, count)


def test_the_trend_has_the_means_of_both_tenths_and_their_standard_errors() -> None:
    losses = noise(1003)
    trend = observe_loss(losses.tolist(), list(range(1003)), 10)
    assert trend is not None and trend.steps == 100 and trend.of_a_guess == math.log(10)
    assert trend.first == pytest.approx(sum(losses[:100]) / 100, rel=1e-12)
    assert trend.last == pytest.approx(sum(losses[-100:]) / 100, rel=1e-12)
    errors = []
    for tenth in (losses[:100], losses[-100:]):
        blocks = [sum(tenth[10 * i : 10 * i + 10]) / 10 for i in range(10)]
        mean = sum(blocks) / 10
        errors.append(math.sqrt(sum((block - mean) ** 2 for block in blocks) / 9 / 10))
    assert trend.last_error == pytest.approx(errors[1], rel=1e-12)
    assert trend.fall == pytest.approx(trend.first - trend.last, rel=1e-12)
    assert trend.fall_error == pytest.approx(math.hypot(*errors), rel=1e-12)


def test_the_fall_is_of_each_sample_from_its_first_to_its_last_step() -> None:
    own = noise(200)  # of each sample; every epoch takes 0.01 off
    random = np.random.RandomState(3)
    orders = [random.permutation(200) for _ in range(4)]
    losses = np.concatenate([own[order] - 0.01 * epoch for epoch, order in enumerate(orders)]) + 1.0
    trend = observe_loss(losses.tolist(), np.concatenate(orders).tolist(), None)
    assert trend is not None and trend.fall == pytest.approx(0.03, rel=1e-9) and trend.fall_error < 1e-9
    assert abs(trend.first - trend.last - 0.03) > 0.02  # of the tenths, the noise is larger than the fall


def test_a_loss_that_stays_where_it_is_is_told_though_its_samples_differ(prepared: Prepare) -> None:
    own = noise(200)
    order = np.concatenate([np.random.RandomState(seed).permutation(200) for seed in range(3)])
    assert [warning[:22] for warning in loss_warnings(own[order].tolist(), order.tolist(), prepared)] == [
        "the loss does not fall"
    ]
    falling = own[order] * np.linspace(1.0, 0.7, 600)
    assert loss_warnings(falling.tolist(), order.tolist(), prepared) == ()


def test_noise_that_hides_the_fall_is_not_told(prepared: Prepare) -> None:
    told = sum(bool(loss_warnings(noise(400, seed).tolist(), list(range(400)), prepared)) for seed in range(40))
    assert told <= 10  # of 40 runs of which nobody knows


def test_a_loss_that_rises_is_told_of_values_too(prepared: Prepare) -> None:
    rising = (noise(2000) + np.linspace(0.0, 2.0, 2000)).tolist()
    (said,) = loss_warnings(rising, list(range(2000)), prepared, classes=None)
    assert said.startswith("the loss does not fall") and "guess" not in said


@pytest.mark.parametrize(("ends", "told"), [(2.0, False), (2.25, True), (2.6, True)])
def test_a_loss_near_that_of_a_guess_is_told(ends: float, told: bool, prepared: Prepare) -> None:
    losses = (np.linspace(4.0, ends, 1000) ** 1.0).tolist()
    losses[-100:] = [ends] * 100
    said = loss_warnings(losses, list(range(1000)), prepared)
    assert any("no better than that of a guess" in warning for warning in said) == told


def test_a_run_too_short_or_not_finite_has_no_trend() -> None:
    assert observe_loss([1.0] * (FEWEST_STEPS - 1), list(range(FEWEST_STEPS - 1)), 10) is None
    assert observe_loss([1.0] * FEWEST_STEPS, list(range(FEWEST_STEPS)), 10) is not None
    assert observe_loss([1.0] * FEWEST_STEPS + [math.inf], list(range(FEWEST_STEPS + 1)), 10) is None
