"""What one training step does to a network: with quantisation-aware scaling it is plain gradient descent on the real weights.

A weight of code w stands for s_w w, so descent on the real weight, ``s_w w - rate * d loss / d (s_w w)``, takes ``rate * G / s_w^2``
from the code, where G = d loss / d w; likewise a bias of scale s_x s_w. The gradients and their bounds are those of the NumPy oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph, Operator
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import INPUT_SCALE, NETWORKS, samples, uneven_network
from support.numpy_network import UNIT_ROUNDOFF, NumpyNetwork, scales_of
from support.plans import isolated
from support.traced_step import run_step, traced_step, value_of

Real = NDArray[np.float64]
LABEL = 1
FAR_TOO_FAST = 1e6  # a rate at which every tensor reaches its cap
FRACTION = 1 / 256  # of a code: what master16 keeps of a weight
ROUNDINGS = 8 * UNIT_ROUNDOFF  # of a step in float32: its factor, three products, the ratio of a cap


NETWORKS_OF_ALL_LAYERS: dict[str, Callable[[], Graph]] = {
    "chain": NETWORKS["chain"],
    "perceptron": NETWORKS["perceptron"],
    "separable": NETWORKS["separable"],
    "uneven": lambda: uneven_network(2),
}
LAYERS = [(name, op.name) for name, made in NETWORKS_OF_ALL_LAYERS.items() for op in NumpyNetwork(made()).layers]

every_layer = pytest.mark.parametrize(("name", "layer"), LAYERS)


@dataclass(frozen=True)
class Steps:
    """The steps of a tensor at a rate of 1, in codes, and how far those from a float32 gradient may be away."""

    exact: Real
    bound: Real

    @property
    def largest(self) -> float:
        return float(np.abs(self.exact).max())

    def at(self, rate: float) -> Steps:
        return Steps(rate * self.exact, rate * (self.bound + ROUNDINGS * np.abs(self.exact)))

    def capped(self, cap: float, unit: Real | float = 1.0) -> Steps:
        """Where the largest, counted in ``unit``, is ``cap``: an error of the largest goes into all."""
        largest = float(np.abs(self.exact * unit).max())
        of_the_largest = float((self.bound * unit).max()) / largest
        moved = self.at(cap / largest)
        return Steps(moved.exact, moved.bound + of_the_largest * np.abs(moved.exact))


def assert_taken(taken: Real, expected: Real, steps: Steps, resolution: float) -> None:
    """resolution: of the codes, to which steps are rounded."""
    assert np.abs(expected).max() > 4 * resolution
    assert (np.abs(taken - expected) <= steps.bound + resolution / 2).all()


@dataclass(frozen=True)
class Layer:
    """A layer, the scales of its weights, and the steps of descent on its real weights (as rows of output channels) and biases."""

    graph: Graph
    op: Operator
    scales: Real
    weights: Steps
    biases: Steps

    @property
    def input_scale(self) -> float:
        return self.graph.tensors[self.op.inputs[0]].scale

    @property
    def output_scale(self) -> float:
        return self.graph.tensors[self.op.outputs[0]].scale


def layer_of(name: str, layer: str) -> Layer:
    graph = NETWORKS_OF_ALL_LAYERS[name]()
    training = sparse_update(graph, SparseUpdateOptions(scheme="full", errors="f32"))
    sample = samples(graph, 1)[0]
    activations = traced_step(isolated(training), sample, LABEL).activations
    network = NumpyNetwork(graph, activations)
    op = next(op for op in network.layers if op.name == layer)
    found, bounds = network.gradients(sample, LABEL), network.bounds(sample, LABEL)
    scales = scales_of(graph.tensors[op.inputs[1]])
    bias_scales = scales * graph.tensors[op.inputs[0]].scale

    def by_rows(gradient: Real) -> Real:
        return gradient.reshape(len(scales), -1) / scales[:, np.newaxis] ** 2

    weights = Steps(by_rows(found.weights[layer]), by_rows(bounds.weights[layer]))
    biases = Steps(found.biases[layer] / bias_scales**2, bounds.biases[layer] / bias_scales**2)
    return Layer(graph, op, scales, weights, biases)


def steps_taken(of: Layer, rate: float, scheme: str = "full", **options: object) -> tuple[Real, Real]:
    """By how many codes a training step lowers each weight (rows of output channels) and each bias."""
    chosen = SparseUpdateOptions(scheme=scheme, errors="f32", **options)  # type: ignore[arg-type]
    training = sparse_update(of.graph, chosen)
    executor = GoldenExecutor(isolated(training))
    executor.seed(1)

    def stored() -> tuple[Real, Real]:
        weights = value_of(executor, f"{of.op.name}.weights")
        if f"{of.op.name}.fraction" in executor.plan.buffers:
            fraction = value_of(executor, f"{of.op.name}.fraction")
            weights = weights + fraction.reshape(weights.shape) * FRACTION
        return weights.reshape(of.weights.exact.shape), value_of(executor, f"{of.op.name}.bias")

    before = stored()
    run_step(executor, samples(of.graph, 1)[0], LABEL, rate)
    after = stored()
    return before[0] - after[0], before[1] - after[1]


def held_in_range(of: Layer, steps: Real) -> Real:
    """The steps as far as a weight can go."""
    data = of.graph.tensors[of.op.inputs[1]].data
    assert data is not None
    codes = data.astype(np.float64).reshape(steps.shape)
    return codes - np.clip(codes - steps, -127, 127)


@every_layer
def test_a_step_is_gradient_descent_on_the_real_weights(name: str, layer: str) -> None:
    of = layer_of(name, layer)
    rate = 20.0 / of.weights.largest
    taken, _ = steps_taken(of, rate, step_cap=0.0, input_scale_correction=False)
    steps = of.weights.at(rate)
    assert_taken(taken, held_in_range(of, steps.exact), steps, FRACTION)


@every_layer
def test_a_step_is_gradient_descent_on_the_real_biases(name: str, layer: str) -> None:
    of = layer_of(name, layer)
    rate = 1000.0 / of.biases.largest
    _, taken = steps_taken(of, rate, step_cap=0.0)
    steps = of.biases.at(rate)
    assert_taken(taken, steps.exact, steps, 1.0)


@every_layer
def test_the_cap_is_the_largest_step_of_a_weight_and_all_steps_keep_their_ratio(name: str, layer: str) -> None:
    of = layer_of(name, layer)
    taken, _ = steps_taken(of, FAR_TOO_FAST, step_cap=8.0)
    steps = of.weights.capped(8.0)
    assert_taken(taken, held_in_range(of, steps.exact), steps, FRACTION)


@every_layer
def test_the_cap_of_the_biases_is_counted_in_codes_of_the_output(name: str, layer: str) -> None:
    """A bias has a scale of s_x s_w, its output one of s_y."""
    of = layer_of(name, layer)
    _, taken = steps_taken(of, FAR_TOO_FAST, step_cap=8.0)
    steps = of.biases.capped(8.0, of.scales * of.input_scale / of.output_scale)
    assert_taken(taken, steps.exact, steps, 1.0)


@pytest.mark.parametrize("lowest", [-127, -128])
def test_a_weight_goes_down_to_minus_127_unless_the_file_has_one_below(lowest: int) -> None:
    of = layer_of("chain", "conv1")
    weights = of.graph.tensors[of.op.inputs[1]]
    assert weights.data is not None
    codes = weights.data.copy()
    codes[0, 0, 0, 0] = lowest
    changed = {**of.graph.tensors, weights.name: replace(weights, data=codes)}
    of = replace(of, graph=replace(of.graph, tensors=changed))
    taken, _ = steps_taken(of, 1000.0 / of.weights.largest, step_cap=0.0)
    after = codes.astype(np.float64).reshape(taken.shape) - taken
    assert (after.min(), after.max()) == (lowest, 127)


def test_the_layer_at_the_input_steps_as_if_its_input_were_in_units_of_1_255() -> None:
    """Its weights' step is taken by (255 s_x)^2, so that much faster it is the plain one."""
    of = layer_of("chain", "conv0")
    rate = 20.0 / of.weights.largest
    taken, _ = steps_taken(of, rate * (255 * INPUT_SCALE) ** 2, step_cap=0.0, input_scale_correction=True)
    steps = of.weights.at(rate)
    assert_taken(taken, held_in_range(of, steps.exact), steps, FRACTION)


def test_of_a_layer_that_trains_in_part_the_chosen_channels_step_and_no_other() -> None:
    """By the same steps as they would in the whole layer."""
    of = layer_of("chain", "conv1")
    rate = 20.0 / of.weights.largest
    taken, _ = steps_taken(of, rate, "b all; conv1@1/3", step_cap=0.0, weights="nearest8")
    data = of.graph.tensors[of.op.inputs[1]].data
    assert data is not None
    magnitude = (np.abs(data.astype(np.float64)) * of.scales.reshape(-1, 1, 1, 1)).sum(axis=(0, 1, 2))
    chosen = np.tile(magnitude >= np.sort(magnitude)[-2], data.size // magnitude.size).reshape(taken.shape)
    steps = of.weights.at(rate)
    assert np.count_nonzero(chosen) == 8 * 3 * 3 * 2
    assert_taken(taken, held_in_range(of, steps.exact * chosen), steps, 1.0)
    assert not taken[~chosen].any()
