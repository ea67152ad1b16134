"""softmax_cross_entropy_f32, mean_squared_error_f32: the loss of one sample and its gradient with respect to the network's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import exp_f32, log_f32, sum_ascending
from mcutrain.ops.base import Kernel, NotFiniteError, Params, Role

Float32s = NDArray[np.float32]


@dataclass(frozen=True)
class SoftmaxCrossEntropyF32Params(Params):
    """mct_softmax_cross_entropy_f32_params."""

    classes: int


def _golden(params: SoftmaxCrossEntropyF32Params, views: Mapping[str, Any]) -> None:
    logits, label = views["logits"], int(views["label"][0])
    if not np.isfinite(logits).all():
        raise NotFiniteError("a logit is NaN or infinite: training diverged; lower the learning rate")
    with np.errstate(over="ignore"):  # a difference may become -inf: its exponential is 0
        shifted = logits - logits.max()
    target = shifted[label]
    exponentials = exp_f32(shifted)
    total = sum_ascending(0.0, exponentials)
    gradient = exponentials / total
    gradient[label] -= np.float32(1.0)
    views["gradient"][...] = gradient
    views["loss"][...] = log_f32(total) - target


SOFTMAX_CROSS_ENTROPY_F32 = Kernel(
    name="softmax_cross_entropy_f32",
    c_params="mct_softmax_cross_entropy_f32_params",
    params=SoftmaxCrossEntropyF32Params,
    inputs=(Role("logits", "float32"), Role("label", "int32")),
    outputs=(Role("gradient", "float32"), Role("loss", "float32")),
    golden=_golden,
    in_place=(("logits", "gradient"),),
)


@dataclass(frozen=True)
class MeanSquaredErrorF32Params(Params):
    """mct_mean_squared_error_f32_params."""

    outputs: int


def mean_squared_error(outputs: Float32s, target: Float32s) -> np.float32:
    """The mean of (outputs - target)^2 over equal shapes (n,), summed up ascending from 0; not finite where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = outputs - target
        return np.float32(sum_ascending(0.0, difference * difference) / np.float32(outputs.size))


def _golden_squared(params: MeanSquaredErrorF32Params, views: Mapping[str, Any]) -> None:
    outputs, target = views["outputs"], views["target"]
    loss = mean_squared_error(outputs, target)
    if not np.isfinite(loss):
        raise NotFiniteError("the mean squared error is NaN or infinite: training diverged; lower the learning rate")
    slope = np.float32(2.0) / np.float32(params.outputs)
    views["gradient"][...] = slope * (outputs - target)
    views["loss"][...] = loss


MEAN_SQUARED_ERROR_F32 = Kernel(
    name="mean_squared_error_f32",
    c_params="mct_mean_squared_error_f32_params",
    params=MeanSquaredErrorF32Params,
    inputs=(Role("outputs", "float32"), Role("target", "float32")),
    outputs=(Role("gradient", "float32"), Role("loss", "float32")),
    golden=_golden_squared,
    in_place=(("outputs", "gradient"),),
)

KERNELS = (SOFTMAX_CROSS_ENTROPY_F32, MEAN_SQUARED_ERROR_F32)
