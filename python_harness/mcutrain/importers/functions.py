"""Real functions of one number, with their slopes: what the unary operators of model files mean.

Values are those of float64. Where a function has a kink, or no slope, the slope is PyTorch's where that is finite, and else 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Function:
    """A function and its slope, of arrays of real numbers."""

    name: str
    value: Callable[[Real], Real]
    slope: Callable[[Real], Real]


def _elementwise(of: Callable[[float], float]) -> Callable[[Real], Real]:
    return lambda x: np.array([of(float(v)) for v in x.reshape(-1)], np.float64).reshape(x.shape)


erf = _elementwise(math.erf)
erfc = _elementwise(math.erfc)


def _sigmoid(x: Real) -> Real:
    return 1.0 / (1.0 + np.exp(-x))


def _sigmoid_slope(x: Real) -> Real:
    return _sigmoid(x) * _sigmoid(-x)


def _normal_density(x: Real) -> Real:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _gelu_argument(x: Real) -> Real:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _tanh_gelu_slope(x: Real) -> Real:
    t = np.tanh(_gelu_argument(x))
    slope: Real = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return slope


def _softplus(x: Real) -> Real:
    return np.logaddexp(0.0, x)


def _mish_slope(x: Real) -> Real:
    t = np.tanh(_softplus(x))
    slope: Real = t + x * (1 - t * t) * _sigmoid(x)
    return slope


def _sqrt_slope(x: Real) -> Real:
    return np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, 1.0)), 0.0)


ABS = Function("abs", np.abs, np.sign)
ERF = Function("erf", erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x))
EXP = Function("exp", np.exp, np.exp)
GELU = Function(
    "gelu",
    lambda x: 0.5 * x * erfc(-x / math.sqrt(2)),
    lambda x: 0.5 * erfc(-x / math.sqrt(2)) + x * _normal_density(x),
)
TANH_GELU = Function("gelu (tanh)", lambda x: 0.5 * x * (1 + np.tanh(_gelu_argument(x))), _tanh_gelu_slope)
HARD_SWISH = Function(
    "hard_swish",
    lambda x: x * np.clip(x + 3, 0, 6) / 6,
    lambda x: np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0)),
)
LOG = Function(
    "log", lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), -np.inf), lambda x: np.where(x > 0, 1 / x, 0.0)
)
MISH = Function("mish", lambda x: x * np.tanh(_softplus(x)), _mish_slope)
NEG = Function("neg", np.negative, lambda x: np.full_like(x, -1.0))
RECIPROCAL = Function("reciprocal", lambda x: 1 / x, lambda x: -1 / (x * x))
SIGMOID = Function("sigmoid", _sigmoid, _sigmoid_slope)
SILU = Function("silu", lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) + x * _sigmoid_slope(x))
SOFTPLUS = Function("softplus", _softplus, _sigmoid)
SOFTSIGN = Function("softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2)
SQRT = Function("sqrt", lambda x: np.sqrt(np.maximum(x, 0.0)), _sqrt_slope)
TANH = Function("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2)


def leaky_relu(alpha: float) -> Function:
    """Leave x above 0, alpha x from 0 down."""
    return Function("leaky_relu", lambda x: np.where(x > 0, x, alpha * x), lambda x: np.where(x > 0, 1.0, alpha))


def elu(alpha: float) -> Function:
    """Leave x above 0, alpha (e^x - 1) from 0 down."""
    return scaled_elu("elu", 1.0, alpha, 1.0)


def scaled_elu(name: str, gain: float, alpha: float, width: float) -> Function:
    """Scale: gain x above 0, gain alpha (e^(x / width) - 1) from 0 down: elu, selu and celu."""
    return Function(
        name,
        lambda x: gain * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / width)),
        lambda x: gain * np.where(x > 0, 1.0, alpha / width * np.exp(np.minimum(x, 0) / width)),
    )


def clip(low: float, high: float) -> Function:
    """Between two limits; the slope is 1 on them, as in torch.clamp."""
    return Function("clip", lambda x: np.clip(x, low, high), lambda x: ((x >= low) & (x <= high)).astype(np.float64))


RELU = Function("relu", lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(np.float64))


def thresholded_relu(alpha: float) -> Function:
    """Leave x above alpha, else 0."""
    return Function("thresholded_relu", lambda x: np.where(x > alpha, x, 0.0), lambda x: (x > alpha).astype(np.float64))


def hard_sigmoid(alpha: float, beta: float) -> Function:
    """Cut alpha x + beta off at 0 and 1."""

    def slope(x: Real) -> Real:
        y = alpha * x + beta
        return np.where((y > 0) & (y < 1), alpha, 0.0)

    return Function("hard_sigmoid", lambda x: np.clip(alpha * x + beta, 0, 1), slope)
