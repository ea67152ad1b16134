"""Minibatches: one update by the exact sum of the samples' gradients, at their mean's rate."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.classifier_head import find_head, trainable_layers
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.base import Block
from mcutrain.ops.programs import SAMPLE, UPDATE
from mcutrain.ops.steps import Phase
from support.networks import NETWORKS, chain, random_network, residual, samples
from support.numpy_network import NumpyNetwork
from support.plans import isolated, outcome
from support.traced_step import StepGradients, run_step, traced_step, value_of

Real = NDArray[np.float64]
ROUNDINGS = ("master16", "stochastic8", "nearest8")


def training_of(
    graph: Graph, batch: int, errors: str = "b16", weights: str = "master16", scheme: str = "full"
) -> TrainingGraph:
    options = {"scheme": scheme, "errors": errors, "weights": weights, "batch": batch}
    return sparse_update(graph, SparseUpdateOptions.model_validate(options))


@functools.cache
def chain_plan(batch: int, errors: str = "b16") -> Plan:
    """A plan in shared memory."""
    return compile_plan(training_of(chain(), batch, errors))


def label_of(graph: Graph, number: int) -> int:
    return number % graph.tensors[find_head(graph).op.outputs[0]].elements


def summed(plan: Plan, count: int) -> GoldenExecutor:
    """An executor that has trained ``count`` samples since its last update."""
    executor = GoldenExecutor(plan)
    for number, sample in enumerate(samples(plan.training.graph, count, seed=4)):
        executor.prepare(sample, label_of(plan.training.graph, number), np.float32(1e-3))
        executor.train()
    return executor


def each_alone(graph: Graph, count: int, errors: str) -> list[StepGradients]:
    """What each of these samples gives by itself, at the initial weights."""
    plan = isolated(training_of(graph, 1, errors))
    return [
        traced_step(plan, sample, label_of(graph, number))
        for number, sample in enumerate(samples(graph, count, seed=4))
    ]


def exact_sum(values: Sequence[Real]) -> list[Fraction]:
    """The sums of the arrays' elements, without any rounding."""
    return [
        sum((Fraction(float(value.reshape(-1)[i])) for value in values), Fraction(0)) for i in range(values[0].size)
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_integer_gradients_add_up_without_any_rounding(name: str) -> None:
    graph, count = NETWORKS[name](), 7
    executor, alone = summed(isolated(training_of(graph, 8)), count), each_alone(graph, count, "b16")
    for layer in trainable_layers(graph):
        for kind, found in (("weight", [s.weights for s in alone]), ("bias", [s.biases for s in alone])):
            view = executor.view(f"{layer}.{kind}_gradient_sum")
            assert isinstance(view, Block) and view.mantissa.dtype == np.int64
            unit = Fraction(2) ** int(view.exponent[0])
            actual = [int(mantissa) * unit for mantissa in view.mantissa.reshape(-1)]
            assert actual == exact_sum([of_sample[layer] for of_sample in found]), (layer, kind)
            assert any(actual)


def mean_of(executor: GoldenExecutor, count: int) -> StepGradients:
    """The mean gradient that an update would take now."""
    graph, head = executor.plan.training.graph, find_head(executor.plan.training.graph).op.name

    def mean(name: str) -> Real:
        return value_of(executor, f"{name}_gradient_sum") / count

    found = StepGradients(head_weights=mean(f"{head}.weight"), head_bias=mean(f"{head}.bias"))
    for layer in trainable_layers(graph):
        found.weights[layer], found.biases[layer] = mean(f"{layer}.weight"), mean(f"{layer}.bias")
    return found


def assert_close(name: str, actual: Real, expected: Real) -> None:
    """Within 1e-4 of the tensor's largest element."""
    largest = np.abs(expected).max()
    assert largest > 0, f"{name}: nothing to compare"
    assert np.abs(actual.reshape(-1) - expected.reshape(-1)).max() <= 1e-4 * largest, name


def assert_same_means(actual: StepGradients, of_samples: Sequence[StepGradients]) -> None:
    def mean(values: Sequence[Real]) -> Real:
        found: Real = np.mean(np.stack(values), axis=0)
        return found

    assert_close("head weights", actual.head_weights, mean([s.head_weights for s in of_samples]))
    assert_close("head bias", actual.head_bias, mean([s.head_bias for s in of_samples]))
    for layer in actual.weights:
        assert_close(f"{layer} weights", actual.weights[layer], mean([s.weights[layer] for s in of_samples]))
        assert_close(f"{layer} biases", actual.biases[layer], mean([s.biases[layer] for s in of_samples]))


@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("name", NETWORKS)
def test_float_gradients_are_those_of_the_mean_loss(name: str, count: int) -> None:
    """The gradient of a mean is the mean of the gradients, which the float64 reference has for each sample."""
    graph = NETWORKS[name]()
    alone = each_alone(graph, count, "f32")
    reference = [
        NumpyNetwork(graph, own.activations).gradients(sample, label_of(graph, number))
        for number, (own, sample) in enumerate(zip(alone, samples(graph, count, seed=4), strict=True))
    ]
    assert_same_means(mean_of(summed(isolated(training_of(graph, count, "f32")), count), count), reference)


@pytest.mark.parametrize("name", ["chain", "residual", "separable"])
def test_float_gradients_are_those_of_pytorchs_mean_loss(name: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed: requirements-torch.txt", exc_type=ImportError)
    from support.torch_network import TorchNetwork

    graph, count = NETWORKS[name](), 8
    alone = each_alone(graph, count, "f32")
    reference = [
        TorchNetwork(graph, own.activations).gradients(sample, label_of(graph, number))
        for number, (own, sample) in enumerate(zip(alone, samples(graph, count, seed=4), strict=True))
    ]
    assert_same_means(mean_of(summed(isolated(training_of(graph, count, "f32")), count), count), reference)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("errors", ["b16", "f32"])
def test_a_batch_of_one_sample_is_that_sample(errors: str, rounding: str) -> None:
    """An update after the first sample of a minibatch does what a plan for single samples does, but for its larger cap."""
    graph = chain()
    sample = samples(graph, 1)[0]
    options = {"scheme": "full", "errors": errors, "weights": rounding, "step_cap": 0.0}
    one, eight = (
        GoldenExecutor(isolated(sparse_update(graph, SparseUpdateOptions.model_validate({**options, "batch": batch}))))
        for batch in (1, 8)
    )
    for executor in (one, eight):
        executor.seed(5)
        executor.prepare(sample, 1, np.float32(1e-4))
        executor.train()
        executor.update()
    head = find_head(graph).op.name
    for name, buffer in one.plan.buffers.items():
        if buffer.region not in ("trainable", "state"):
            continue
        if name.startswith(f"{head}."):
            # (lr g) f against lr (g f): a product of three rounds twice either way, and the difference once.
            a, b = value_of(one, name), value_of(eight, name)
            assert np.abs(a - b).max() <= 4 * 2.0**-24 * np.abs(a).max()
        else:
            assert one.bytes_of(name) == eight.bytes_of(name), name


def test_an_update_leaves_no_trace_of_its_minibatch() -> None:
    executor = summed(isolated(training_of(residual(), 8)), 8)
    sums = [name for name in executor.plan.buffers if name.endswith("_gradient_sum")]
    assert len(sums) == 2 * (len(trainable_layers(residual())) + 1)
    assert all(any(executor.bytes_of(name)) for name in sums)
    executor.update()
    assert not any(any(executor.bytes_of(name)) for name in sums)
    assert executor.samples == 0


def test_nothing_trains_before_the_minibatch_is_full() -> None:
    plan = chain_plan(4)
    executor = GoldenExecutor(plan)
    before = executor.persistent[: plan.trainable_bytes].tobytes()
    for number, sample in enumerate(samples(plan.training.graph, 4)):
        assert executor.persistent[: plan.trainable_bytes].tobytes() == before
        run_step(executor, sample, number, 1e-2)
    assert executor.persistent[: plan.trainable_bytes].tobytes() != before


def test_the_cap_grows_with_the_root_of_the_batch() -> None:
    def caps(batch: int) -> list[float]:
        return [step.params.step_cap for step in chain_plan(batch).steps if hasattr(step.params, "step_cap")]

    one = caps(1)
    assert len(one) == 8 and set(one) == {0.5}
    for batch in (2, 8, 32):
        assert set(caps(batch)) == {float(np.float32(0.5 * math.sqrt(batch)))}


def test_a_batch_of_one_adds_nothing_to_a_plan() -> None:
    for errors in ("b16", "f32"):
        plan = chain_plan(1, errors)
        assert UPDATE not in plan.training.programs
        assert not [
            name for name in plan.buffers if "sum" in name.rpartition(".")[2] and name.endswith("_gradient_sum")
        ]


def test_the_state_holds_eight_bytes_for_each_trained_number_and_nothing_of_it_is_in_flash() -> None:
    one, many = chain_plan(1), chain_plan(32)
    sums = [buffer for name, buffer in many.buffers.items() if name.endswith("_gradient_sum")]
    grown = sum(-(-buffer.size_bytes // 8) * 8 for buffer in sums)
    assert many.state_bytes == one.state_bytes + grown and many.trainable_bytes == one.trainable_bytes
    assert {buffer.dtype for buffer in sums} == {"b64", "float32"}
    factors = many.constant_bytes - one.constant_bytes
    assert factors == 0


def test_a_minibatch_shares_the_arena_between_its_samples_and_its_update() -> None:
    plan = chain_plan(8)
    drained = [block for block in plan.blocks if block.name.endswith(".drained")]
    first_of_update = plan.timeline.programs.index(UPDATE)
    assert drained and all(block.first_op >= first_of_update for block in drained)
    assert plan.arena_bytes == chain_plan(1).arena_bytes
    assert outcome(plan, steps=16) == outcome(isolated(plan.training), steps=16) == outcome(plan, 16, arena_pattern=0)


@pytest.mark.parametrize("seed", range(3))
def test_random_networks_compute_the_same_wherever_their_buffers_lie(seed: int) -> None:
    plan = compile_plan(training_of(random_network(seed), 3, weights="stochastic8"))
    assert outcome(plan, steps=6) == outcome(isolated(plan.training), steps=6)


def test_updates_run_once_a_minibatch_and_count_that_often() -> None:
    plan = chain_plan(8)
    of_sample = {moment.step.phase for moment in plan.moments_of(SAMPLE)}
    assert of_sample == set(Phase)
    names = {moment.step.name for moment in plan.moments_of(UPDATE)}
    assert {f"conv{n}.update_weights" for n in range(4)} | {"batch.mean_rate"} <= names
    assert not names & {moment.step.name for moment in plan.moments_of(SAMPLE)}


def test_a_batch_that_its_sums_have_no_room_for_is_refused_with_the_layer_and_the_largest() -> None:
    with pytest.raises(UsageError, match=r"conv\d+: a batch of 1073741824 is more .* the largest is \d+$"):
        training_of(chain(), 2**30)
