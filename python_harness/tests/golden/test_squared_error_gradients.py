"""The gradients of networks that train values, and of heads that are convolutions, against torch autograd."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from mcutrain.graph import Graph
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import autoencoder, convolutional_head, regression, samples
from support.plans import isolated
from support.traced_step import StepGradients, Target, traced_step

torch = pytest.importorskip("torch", reason="torch is not installed: install requirements-torch.txt for this oracle")

NETWORKS: dict[str, Callable[[], Graph]] = {
    "autoencoder": autoencoder,
    "regression": regression,
    "1x1 head": convolutional_head,
    "4x4 head": functools.partial(convolutional_head, 4),
}
# float32 against float64: sums of at most 200 products of 2^-24 each, with room for what cancels in them.
NEAR = 1e-4


def gradients(name: str, seed: int, errors: str) -> tuple[StepGradients, StepGradients]:
    """Of one step, in golden and by autograd."""
    from support.torch_network import TorchNetwork

    graph, random = NETWORKS[name](), np.random.default_rng(seed)
    plan = isolated(sparse_update(graph, SparseUpdateOptions.model_validate({"scheme": "full", "errors": errors})))
    sample = samples(graph, 1, seed=seed)[0]
    target: Target = 2
    if plan.training.loss == "mse":
        target = random.normal(size=plan.training.classes).astype(np.float32)
    step = traced_step(plan, sample, target)
    return step, TorchNetwork(graph, step.activations).gradients(sample, target)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_of_a_step_is_autograds(name: str, seed: int) -> None:
    ours, theirs = gradients(name, seed, "f32")
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    pairs = [
        (ours.head_weights.reshape(theirs.head_weights.shape), theirs.head_weights),
        (ours.head_bias, theirs.head_bias),
    ]
    for found, expected in ((ours.weights, theirs.weights), (ours.biases, theirs.biases)):
        assert found.keys() == expected.keys() and len(found) >= 2
        pairs += [(found[layer].reshape(expected[layer].shape), expected[layer]) for layer in found]
    pairs += [(error, theirs.errors[tensor].reshape(error.shape)) for tensor, error in ours.errors.items()]
    for one, other in pairs:
        assert np.abs(one - other).max() <= NEAR * np.abs(other).max() and np.abs(other).max() > 0


def test_the_gradient_of_the_error_is_mse_loss_with_mean_reduction_to_a_rounding() -> None:
    from mcutrain.ops.loss import MEAN_SQUARED_ERROR_F32, MeanSquaredErrorF32Params

    random = np.random.default_rng(5)
    for count in (1, 2, 3, 10, 640):
        outputs, target = (random.normal(size=count).astype(np.float32) for _ in range(2))
        leaf = torch.tensor(outputs, requires_grad=True)
        loss = torch.nn.functional.mse_loss(leaf, torch.tensor(target))
        loss.backward()
        views = {
            "outputs": outputs,
            "target": target,
            "gradient": np.zeros_like(outputs),
            "loss": np.zeros(1, np.float32),
        }
        MEAN_SQUARED_ERROR_F32.golden(MeanSquaredErrorF32Params(count), views)
        # Ours rounds the difference, 2 / n and the product once each; so does theirs, in an order of its own.
        np.testing.assert_allclose(views["gradient"], leaf.grad.numpy(), rtol=6 * 2.0**-24)
        np.testing.assert_allclose(views["loss"][0], loss.item(), rtol=2 * (count + 4) * 2.0**-24)
