"""The gradients of whole networks: golden against a NumPy oracle that is always there, against torch autograd where torch is installed,
and against finite differences of its own loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.classifier_head import find_head, trainable_layers
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.ops.errors import FULL_MANTISSA_BITS
from support.networks import (
    NETWORKS,
    curved,
    random_network,
    samples,
    uneven_network,
    with_power_of_two_scales,
)
from support.numpy_network import Bounds, NumpyNetwork
from support.plans import isolated
from support.traced_step import StepGradients, run_step, traced_step

Real = NDArray[np.float64]
LABEL = 1
ORACLES = ("numpy", "torch")


def rounded_scales(made: Callable[[], Graph]) -> Callable[[], Graph]:
    return lambda: with_power_of_two_scales(made())


EVERY_NETWORK: dict[str, Callable[[], Graph]] = {
    **NETWORKS,
    "curved": curved,
    **{f"random {seed}": functools.partial(random_network, seed) for seed in range(12)},
    **{f"uneven {seed}": functools.partial(uneven_network, seed) for seed in range(16)},
    # A table holds codes of the scales that it was made for.
    **{f"{name}, powers of two": rounded_scales(made) for name, made in NETWORKS.items() if name != "curved"},
}

# Block floating point is held against the oracle in these; its kernels are the same in all.
SOME_NETWORKS = [*NETWORKS, "curved", "random 4", "random 6", *(f"uneven {seed}" for seed in (1, 5, 7, 9, 10, 11, 13))]


def layers_of(name: str) -> tuple[str, ...]:
    return trainable_layers(EVERY_NETWORK[name]())


def planned(graph: Graph, mode: str, scheme: str = "full") -> Plan:
    """A plan whose buffers keep their own addresses: its gradients are those of any other, and it is made at once."""
    training = sparse_update(graph, SparseUpdateOptions.model_validate({"scheme": scheme, "errors": mode}))
    return isolated(training)


@dataclass(frozen=True)
class Golden:
    """One training step of a network in golden, and how far its float32 may be from the real gradients."""

    graph: Graph
    sample: NDArray[np.int8]
    plan: Plan
    step: StepGradients
    network: NumpyNetwork
    bounds: Bounds


@functools.cache
def golden(name: str, mode: str = "f32", scheme: str = "full") -> Golden:
    graph = EVERY_NETWORK[name]()
    sample, plan = samples(graph, 1)[0], planned(graph, mode, scheme)
    step = traced_step(plan, sample, LABEL)
    network = NumpyNetwork(graph, step.activations)
    return Golden(graph, sample, plan, step, network, network.bounds(sample, LABEL))


def expected_gradients(oracle: str, of: Golden, closed: frozenset[str] = frozenset()) -> StepGradients:
    """What an oracle says of the same sample."""
    if oracle == "numpy":
        return NumpyNetwork(of.graph, of.step.activations, closed).gradients(of.sample, LABEL)
    pytest.importorskip("torch", reason="torch is not installed: install requirements-torch.txt for this second oracle")
    from support.torch_network import TorchNetwork

    return TorchNetwork(of.graph, of.step.activations, closed).gradients(of.sample, LABEL)


def assert_within(name: str, actual: Real, expected: Real, bound: Real) -> None:
    """Element for element, where there is something to compare."""
    assert np.abs(expected).max() > 0, f"{name}: nothing to compare"
    expected, bound = expected.reshape(actual.shape), bound.reshape(actual.shape)
    too_far = np.abs(actual - expected) > bound
    assert not too_far.any(), f"{name}: {actual[too_far][0]} is not {expected[too_far][0]} +- {bound[too_far][0]}"


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_every_gradient_of_a_network_is_within_the_float32_bound_of_the_oracle(name: str, oracle: str) -> None:
    found = golden(name)
    actual, bounds, expected = found.step, found.bounds, expected_gradients(oracle, found)
    assert actual.weights.keys() == actual.biases.keys() == expected.weights.keys()
    for layer, gradient in actual.weights.items():
        assert gradient.shape == expected.weights[layer].shape, layer
        assert_within(f"weights of {layer}", gradient, expected.weights[layer], bounds.weights[layer])
        assert_within(f"bias of {layer}", actual.biases[layer], expected.biases[layer], bounds.biases[layer])
    for tensor, error in actual.errors.items():
        assert_within(f"error of {tensor}", error, expected.errors[tensor], bounds.errors[tensor])
    assert_within("weights of the head", actual.head_weights, expected.head_weights, bounds.head_weights)
    assert_within("bias of the head", actual.head_bias, expected.head_bias, bounds.head_bias)
    assert abs(actual.loss - expected.loss) <= bounds.loss


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_an_error_is_computed_of_every_tensor_behind_the_first_trained_layer(name: str) -> None:
    found = golden(name)
    layers = trainable_layers(found.graph)
    assert found.step.weights.keys() == found.step.biases.keys() == set(layers)
    first = [op.name for op in found.graph.operators].index(layers[0])
    body = found.graph.operators[first : find_head(found.graph).index]
    assert found.step.errors.keys() == {op.outputs[0] for op in body if op.kind != "reshape"}


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_the_float32_bounds_are_far_below_the_gradients_that_they_are_of(name: str) -> None:
    """A bound as large as its gradient would let anything pass; what a rule may get wrong is off by more than a part in ten."""
    expected, bounds = expected_gradients("numpy", golden(name)), golden(name).bounds
    for layer, gradient in expected.weights.items():
        assert np.median(bounds.weights[layer]) < 0.05 * np.abs(gradient).max(), layer
        assert np.median(bounds.biases[layer]) < 0.05 * np.abs(expected.biases[layer]).max(), layer


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_residual_block_whose_both_paths_train_has_the_sum_of_both(oracle: str) -> None:
    """The stem's gradient is that of the left path alone plus that of the right path alone."""
    found = golden("residual")
    without_left, without_right = (
        expected_gradients(oracle, found, frozenset({path})).errors["t0"] for path in ("conv1", "conv2")
    )
    assert np.abs(without_left).max() > 0 and np.abs(without_right).max() > 0
    bound = found.bounds.errors["t0"]
    assert_within("sum of both paths", found.step.errors["t0"], without_left + without_right, bound)


def relative_distance(actual: Real, expected: Real) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def block_float_noise(found: Golden) -> float:
    """Root mean square of what all roundings of block floating point add, relative to the signal.

    A tensor rounded to b bits of its largest element m is at most m 2^-b off, uniformly: a noise of m 2^-b / sqrt(3) in each element.
    Beside a signal of root mean square s that is (m / s) 2^-b / sqrt(3). Every error is rounded to 15 bits, and once more, scaled, in
    front of its layer to the layer's bits. A layer passes noise and signal on alike, so the noises of all roundings add up as squares.
    """
    bits = {s.name: s.params.mantissa_bits for s in found.plan.steps if s.kernel == "error_scale_b16"}  # type: ignore[attr-defined]
    errors = found.network.gradients(found.sample, LABEL).errors
    rounded = [(errors[name], FULL_MANTISSA_BITS) for name in found.step.errors]
    for layer, g in found.network.scaled_errors(found.sample, LABEL).items():
        rounded.append((g, bits[f"{layer}.scaled_error"]))
    return float(np.sqrt(sum(np.abs(x).max() ** 2 / np.square(x).mean() * 4.0**-b / 3 for x, b in rounded)))


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("name", SOME_NETWORKS)
def test_block_floating_point_is_as_far_from_the_oracle_as_its_mantissas_are_short(name: str, oracle: str) -> None:
    """4: a layer may pass the noise of few elements on and cancel the signal; the worst of these networks has 2."""
    found = golden(name, "b16")
    actual, expected, noise = found.step, expected_gradients(oracle, found), block_float_noise(found)
    assert noise < 0.005
    for layer in trainable_layers(found.graph):
        assert relative_distance(actual.weights[layer], expected.weights[layer]) < 4 * noise, layer
        assert relative_distance(actual.biases[layer], expected.biases[layer]) < 4 * noise, layer


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name in NETWORKS for layer in layers_of(name)])
def test_a_layer_that_trains_alone_has_the_gradient_that_it_has_among_others(
    name: str, layer: str, oracle: str
) -> None:
    """Its error comes along its own path, on whichever side of a sum that is."""
    found = golden(name, "f32", f"b0; {layer}")
    expected = expected_gradients(oracle, found)
    assert found.step.weights.keys() == {layer} and not found.step.biases
    assert_within(layer, found.step.weights[layer], expected.weights[layer], found.bounds.weights[layer])


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_gradient_of_chosen_channels_is_that_part_of_the_whole(oracle: str) -> None:
    found = golden("chain", "f32", "b all; 1@1/2 2@1/4")
    expected = expected_gradients(oracle, found)
    assert found.step.weights.keys() == {"conv1", "conv2"}
    for layer, count in (("conv1", 3), ("conv2", 2)):
        selected = chosen(found.plan, layer, count)
        whole, bound = (of.weights[layer][..., selected] for of in (expected, found.bounds))
        assert found.step.weights[layer].shape == whole.shape
        assert_within(layer, found.step.weights[layer], whole, bound)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_the_gradient_of_chosen_depthwise_channels_is_those_rows_of_the_whole(mode: str, oracle: str) -> None:
    """depthwise1 has two outputs for each input, depthwise4 one."""
    found = golden("separable", mode, "b all; depthwise1@3/8 depthwise4@1/2")
    expected = expected_gradients(oracle, found)
    for layer, count in (("depthwise1", 3), ("depthwise4", 2)):
        selected = chosen(found.plan, layer, count)
        actual, rows = found.step.weights[layer], expected.weights[layer][selected]
        assert actual.shape == rows.shape
        if mode == "f32":
            assert_within(layer, actual, rows, found.bounds.weights[layer][selected])
        else:
            assert relative_distance(actual, rows) < 4 * block_float_noise(found), layer


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_the_gradient_of_chosen_channels_of_groups_is_that_part_of_every_group(mode: str, oracle: str) -> None:
    """conv1 has three groups of two inputs, conv2 two of three, both dilated; depthwise4 two outputs for each input."""
    found = golden("dilated and grouped", mode, "b all; conv1@1/2 conv2@2/3 depthwise4@5/12 conv5@1/3")
    expected = expected_gradients(oracle, found)
    for layer, count in (("conv1", 1), ("conv2", 2), ("depthwise4", 5), ("conv5", 1)):
        selected = chosen(found.plan, layer, count)
        part = (selected,) if layer == "depthwise4" else (..., selected)
        actual, whole = found.step.weights[layer], expected.weights[layer][part]
        assert actual.shape == whole.shape
        if mode == "f32":
            assert_within(layer, actual, whole, found.bounds.weights[layer][part])
        else:
            assert relative_distance(actual, whole) < 4 * block_float_noise(found), layer


def chosen(plan: Plan, layer: str, count: int) -> NDArray[np.generic]:
    selected = plan.buffers[f"{layer}.selected"].data
    assert selected is not None and selected.size == count
    return selected


def test_the_gradient_of_the_head_agrees_with_finite_differences() -> None:
    graph = NETWORKS["residual"]()
    plan = planned(graph, "f32", "head")
    sample = samples(graph, 1)[0]
    step = traced_step(plan, sample, LABEL)
    head = find_head(graph).op.name
    checked = 0
    for part, gradient in (("weights", step.head_weights), ("bias", step.head_bias)):
        for element in np.random.default_rng(0).choice(gradient.size, min(12, gradient.size), replace=False):
            slope = finite_difference(plan, f"{head}.{part}", int(element), sample)
            assert slope == pytest.approx(gradient.flat[element], abs=1e-3 * np.abs(gradient).max() + 1e-4), part
            checked += 1
    assert checked == 12 + step.head_bias.size


def finite_difference(plan: Plan, name: str, element: int, sample: NDArray[np.int8], distance: float = 0.02) -> float:
    """Central difference of the float32 loss by one element of the head."""
    losses = []
    for sign in (1.0, -1.0):
        executor = GoldenExecutor(plan)
        view = executor.view(name)
        assert isinstance(view, np.ndarray)
        view.reshape(-1)[element] += np.float32(sign * distance)
        run_step(executor, sample, LABEL, 0.0)
        losses.append(float(executor.loss))
    return (losses[0] - losses[1]) / (2 * distance)


def test_training_in_float_mode_lowers_the_loss_of_the_sample_it_trains_on() -> None:
    graph = NETWORKS["residual"]()
    executor = GoldenExecutor(planned(graph, "f32"))
    executor.seed(1)
    sample, losses = samples(graph, 1)[0], []
    for _ in range(6):
        run_step(executor, sample, LABEL, 2e-2)
        losses.append(float(executor.loss))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
