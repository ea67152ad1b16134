"""The gradients of whole networks: golden against torch autograd of the fake-quantised network, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.classifier_head import find_head, trainable_layers
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import NETWORKS, random_network, residual, samples
from support.traced_step import StepGradients, run_step, traced_step

pytest.importorskip("torch", reason="torch is not installed: install requirements-torch.txt for this oracle")
from support.torch_network import TorchNetwork

Real = NDArray[np.float64]
LABEL = 1


def planned(graph: Graph, mode: str, scheme: str = "full") -> Plan:
    return compile_plan(sparse_update(graph, SparseUpdateOptions.model_validate({"scheme": scheme, "errors": mode})))


def both(graph: Graph, mode: str = "f32", scheme: str = "full") -> tuple[StepGradients, StepGradients]:
    """What golden and what autograd say, of the same sample."""
    sample = samples(graph, 1)[0]
    golden = traced_step(planned(graph, mode, scheme), sample, LABEL)
    return golden, TorchNetwork(graph, golden.activations).gradients(sample, LABEL)


def assert_close(name: str, actual: Real, expected: Real) -> None:
    """Within 1e-4 of the tensor's largest element."""
    assert actual.shape == expected.shape, name
    largest = np.abs(expected).max()
    assert largest > 0, f"{name}: nothing to compare"
    assert np.abs(actual - expected).max() <= 1e-4 * largest, name


def cosine(a: Real, b: Real) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def assert_all_close(golden: StepGradients, torch: StepGradients, graph: Graph) -> None:
    layers = set(trainable_layers(graph))
    assert golden.weights.keys() == golden.biases.keys() == layers
    for layer in layers:
        assert_close(f"weights of {layer}", golden.weights[layer], torch.weights[layer])
        assert_close(f"bias of {layer}", golden.biases[layer], torch.biases[layer])
    for tensor, error in golden.errors.items():
        assert_close(f"error of {tensor}", error, torch.errors[tensor].reshape(error.shape))
    assert_close("weights of the head", golden.head_weights, torch.head_weights)
    assert_close("bias of the head", golden.head_bias, torch.head_bias)
    assert golden.loss == pytest.approx(torch.loss, rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_of_a_network_equals_torch_autograd(name: str) -> None:
    graph = NETWORKS[name]()
    golden, torch = both(graph)
    assert_all_close(golden, torch, graph)
    first = [op.name for op in graph.operators].index(trainable_layers(graph)[0])
    body = graph.operators[first : find_head(graph).index]
    assert golden.errors.keys() == {op.outputs[0] for op in body if op.kind != "reshape"}


@pytest.mark.parametrize("seed", range(12))
def test_every_gradient_of_a_random_network_equals_torch_autograd(seed: int) -> None:
    graph = random_network(seed)
    assert_all_close(*both(graph), graph)


def test_a_residual_block_whose_both_paths_train_has_the_sum_of_both() -> None:
    """The stem's gradient is that of the left path alone plus that of the right path alone."""
    graph = residual()
    golden, torch = both(graph)
    assert_close("error of the stem", golden.errors["t0"], torch.errors["t0"])
    assert_close("weights of the stem", golden.weights["conv0"], torch.weights["conv0"])
    sample = samples(graph, 1)[0]
    without_left, without_right = (
        TorchNetwork(graph, golden.activations, frozenset({path})).gradients(sample, LABEL).errors["t0"]
        for path in ("conv1", "conv2")
    )
    assert np.abs(without_left).max() > 0 and np.abs(without_right).max() > 0
    assert_close("sum of both paths", golden.errors["t0"], without_left + without_right)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradients_of_block_floating_point_point_where_those_of_torch_do(name: str) -> None:
    """Each layer rounds its scaled error to 11 bits of the largest, a uniform noise of 2^-12 / sqrt(3) of it in each element.

    A typical element is a quarter of the largest: noise 2^-10 / sqrt(3) of the signal a layer, twice that over four layers in a row.
    1 - cosine = noise^2 / 2 = 6e-7, and 1e-5 leaves room for errors that few pixels carry.
    """
    graph = NETWORKS[name]()
    golden, torch = both(graph, "b16")
    for layer in trainable_layers(graph):
        assert cosine(golden.weights[layer], torch.weights[layer]) > 1 - 1e-5, layer
        assert cosine(golden.biases[layer], torch.biases[layer]) > 1 - 1e-5, layer
        ratio = np.linalg.norm(golden.weights[layer]) / np.linalg.norm(torch.weights[layer])
        assert ratio == pytest.approx(1.0, abs=2e-3), layer


def test_the_gradient_of_chosen_channels_is_that_part_of_the_whole() -> None:
    graph = NETWORKS["chain"]()
    plan = planned(graph, "f32", "b all; 1@1/2 2@1/4")
    golden, torch = both(graph, "f32", "b all; 1@1/2 2@1/4")
    assert golden.weights.keys() == {"conv1", "conv2"}
    for layer, count in (("conv1", 3), ("conv2", 2)):
        selected = plan.buffers[f"{layer}.selected"].data
        assert selected is not None and selected.size == count
        assert_close(layer, golden.weights[layer], torch.weights[layer][..., selected])


@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_the_gradient_of_chosen_depthwise_channels_is_those_rows_of_the_whole(mode: str) -> None:
    """depthwise1 has two outputs for each input, depthwise4 one."""
    graph, scheme = NETWORKS["separable"](), "b all; depthwise1@3/8 depthwise4@1/2"
    plan = planned(graph, mode, scheme)
    golden, torch = both(graph, mode, scheme)
    for layer, count in (("depthwise1", 3), ("depthwise4", 2)):
        selected = plan.buffers[f"{layer}.selected"].data
        assert selected is not None and selected.size == count
        rows = torch.weights[layer][selected]
        if mode == "f32":
            assert_close(layer, golden.weights[layer], rows)
        else:
            assert cosine(golden.weights[layer], rows) > 1 - 1e-5, layer


def test_the_gradient_of_the_head_agrees_with_finite_differences() -> None:
    graph = NETWORKS["residual"]()
    plan = planned(graph, "f32", "head")
    sample = samples(graph, 1)[0]
    golden = traced_step(plan, sample, LABEL)
    head = find_head(graph).op.name
    checked = 0
    for part, gradient in (("weights", golden.head_weights), ("bias", golden.head_bias)):
        for element in np.random.default_rng(0).choice(gradient.size, min(12, gradient.size), replace=False):
            slope = finite_difference(plan, f"{head}.{part}", int(element), sample)
            assert slope == pytest.approx(gradient.flat[element], abs=1e-3 * np.abs(gradient).max() + 1e-4), part
            checked += 1
    assert checked == 12 + golden.head_bias.size


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
