"""The NumPy oracle itself: its gradients are the slopes of its loss, by central differences in double precision."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.graph import Graph
from mcutrain.ops.rules import RULES
from support.networks import (
    NETWORKS,
    chain,
    identity_residual,
    random_network,
    samples,
    uneven_network,
)
from support.numpy_network import NumpyNetwork, scales_of

Real = NDArray[np.float64]
LABEL = 1

SOME_NETWORKS: dict[str, Callable[[], Graph]] = {
    **NETWORKS,
    **{f"random {seed}": functools.partial(random_network, seed) for seed in range(4)},
    **{f"uneven {seed}": functools.partial(uneven_network, seed) for seed in range(12)},
}

STEP = (
    1e-6  # of a code. The loss bends little within it, and doubles leave about 1e-16 / 1e-6 = 1e-10 of it in a slope.
)
TOLERANCE = 1e-6  # of the slope along a direction with all signs as the gradient's: the sum of its magnitudes
UNTIED = 0.1  # of a code: clamped values are equal, and the loss has no slope where two maxima of a pool are


def assert_slope(
    name: str, place: dict[str, Real], key: str, unit: Real | float, gradient: Real, loss: Callable[[], float]
) -> None:
    """The slopes of the loss along one random direction, along the gradient's signs, and along its three largest elements.

    place[key]: what the loss depends on. unit: real value of a code. gradient: d loss / d code.
    """
    random = np.random.default_rng(3)
    directions = [random.choice([-1.0, 1.0], gradient.shape), np.sign(gradient)]
    for element in np.argsort(-np.abs(gradient), axis=None)[:3]:
        directions.append(np.zeros(gradient.shape))
        directions[-1].flat[element] = 1.0
    here = place[key]
    for direction in directions:
        place[key] = here + STEP * direction * unit
        above = loss()
        place[key] = here - STEP * direction * unit
        slope = (above - loss()) / (2 * STEP)
        place[key] = here
        # The second term: what the square of the step leaves where functions are curved, not only the loss.
        assert slope == pytest.approx((gradient * direction).sum(), abs=TOLERANCE * np.abs(gradient).sum() + 5e-9), name


@pytest.mark.parametrize("name", SOME_NETWORKS)
def test_the_gradients_of_the_oracle_are_the_slopes_of_its_loss(name: str) -> None:
    graph = SOME_NETWORKS[name]()
    sample, network, random = samples(graph, 1)[0], NumpyNetwork(graph), np.random.default_rng(4)
    for y in (graph.tensors[output] for op in network.body for output in op.outputs):
        network.nudges[y.name] = y.scale * random.uniform(-UNTIED, UNTIED, y.shape)
    network.nudges[graph.input] = np.zeros(sample.shape)
    found = network.gradients(sample, LABEL)

    def loss() -> float:
        return network.loss(sample, LABEL)

    for op in network.layers:
        x, w, b = (graph.tensors[operand] for operand in op.inputs)
        unit = scales_of(w)
        along_rows = unit.reshape(-1, *[1] * (len(w.shape) - 1))
        assert_slope(w.name, network.parameters, w.name, along_rows, found.weights[op.name], loss)
        assert_slope(b.name, network.parameters, b.name, unit * x.scale, found.biases[op.name], loss)
    _, weights, bias = network.head.inputs
    assert_slope(weights, network.parameters, weights, 1.0, found.head_weights, loss)
    assert_slope(bias, network.parameters, bias, 1.0, found.head_bias, loss)
    for tensor, error in found.errors.items():
        assert_slope(tensor, network.nudges, tensor, graph.tensors[tensor].scale, error, loss)


def test_every_operator_that_has_a_rule_is_in_one_of_these_networks() -> None:
    """All but softmax and its logarithm, which nothing trains through."""
    kinds = {op.kind for made in SOME_NETWORKS.values() for op in NumpyNetwork(made()).body}
    assert kinds == RULES.keys() - {"softmax", "log_softmax"}


def test_clamps_bite_in_these_networks_and_not_everywhere() -> None:
    """Otherwise the slopes would not show a wrong mask."""
    network = NumpyNetwork(chain())
    network.loss(samples(network.graph, 1)[0], LABEL)
    convolutions = [inside for name, inside in network.inside.items() if name.startswith("conv")]
    assert len(convolutions) == 4
    assert all(inside.any() and not inside.all() for inside in convolutions)


def test_a_tensor_that_goes_into_a_sum_twice_has_twice_the_error() -> None:
    graph = identity_residual()
    network = NumpyNetwork(graph)
    found = network.gradients(samples(graph, 1)[0], LABEL)
    twice = next(op for op in graph.operators if op.kind == "add" and op.inputs[0] == op.inputs[1])
    operand, total = (graph.tensors[name] for name in (twice.inputs[0], twice.outputs[0]))
    passed = np.where(network.inside[twice.name], found.errors[total.name], 0.0)
    np.testing.assert_allclose(found.errors[operand.name], 2 * passed * operand.scale / total.scale, rtol=1e-12)


def test_a_closed_operator_passes_nothing_on() -> None:
    graph = chain()
    sample = samples(graph, 1)[0]
    found = NumpyNetwork(graph, closed=frozenset({"conv2"})).gradients(sample, LABEL)
    assert np.abs(found.errors["t2"]).max() > 0
    assert not found.errors["t1"].any() and not found.weights["conv1"].any()
