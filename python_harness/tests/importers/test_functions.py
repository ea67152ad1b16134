"""The functions of unary operators and their slopes are PyTorch's, at their kinks too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mcutrain.importers import functions
from mcutrain.importers.functions import Function

torch: Any = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402, N812

# About every kink, on it, and far from it.
POINTS = np.sort(
    np.concatenate([np.linspace(-12, 12, 241), [-3.0, 0.0, 1.0, 3.0, -0.5, 0.5], np.linspace(-0.01, 0.01, 11)])
)

ORACLES: list[tuple[Function, Callable[[Any], Any]]] = [
    (functions.ABS, torch.abs),
    (functions.clip(-1.0, 3.0), lambda x: torch.clamp(x, -1.0, 3.0)),
    (functions.elu(1.0), F.elu),
    (functions.elu(0.7), lambda x: F.elu(x, 0.7)),
    (functions.scaled_elu("celu", 1.0, 0.6, 0.6), lambda x: F.celu(x, 0.6)),
    (functions.scaled_elu("selu", 1.0507009873554805, 1.6732632423543772, 1.0), F.selu),
    (functions.ERF, torch.erf),
    (functions.EXP, torch.exp),
    (functions.GELU, F.gelu),
    (functions.TANH_GELU, lambda x: F.gelu(x, approximate="tanh")),
    (functions.hard_sigmoid(1 / 6, 0.5), F.hardsigmoid),
    (functions.HARD_SWISH, F.hardswish),
    (functions.leaky_relu(0.1), lambda x: F.leaky_relu(x, 0.1)),
    (functions.leaky_relu(-0.5), lambda x: F.leaky_relu(x, -0.5)),
    (functions.MISH, F.mish),
    (functions.NEG, torch.neg),
    (functions.RELU, F.relu),
    (functions.SIGMOID, torch.sigmoid),
    (functions.SILU, F.silu),
    (functions.SOFTPLUS, F.softplus),
    (functions.SOFTSIGN, F.softsign),
    (functions.TANH, torch.tanh),
    (functions.thresholded_relu(1.0), lambda x: F.threshold(x, 1.0, 0.0)),
]


def names(pair: Any) -> str:
    return pair.name if isinstance(pair, Function) else ""


@pytest.mark.parametrize(("function", "oracle"), ORACLES, ids=names)
def test_a_function_and_its_slope_are_those_of_torch(function: Function, oracle: Callable[[Any], Any]) -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    y = oracle(x)
    y.sum().backward()
    np.testing.assert_allclose(function.value(POINTS), y.detach().numpy(), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(function.slope(POINTS), x.grad.numpy(), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("function", "oracle"),
    [(functions.LOG, torch.log), (functions.SQRT, torch.sqrt), (functions.RECIPROCAL, torch.reciprocal)],
    ids=names,
)
def test_a_function_of_positive_numbers_is_that_of_torch(function: Function, oracle: Callable[[Any], Any]) -> None:
    positive = POINTS[POINTS > 0]
    x = torch.tensor(positive, requires_grad=True)
    y = oracle(x)
    y.sum().backward()
    np.testing.assert_allclose(function.value(positive), y.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(function.slope(positive), x.grad.numpy(), rtol=1e-12)


def test_a_slope_that_does_not_exist_is_0() -> None:
    outside = np.array([-2.0, 0.0])
    np.testing.assert_array_equal(functions.SQRT.slope(outside), 0)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(functions.LOG.slope(outside), 0)
