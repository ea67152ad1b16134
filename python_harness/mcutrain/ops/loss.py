"""softmax_cross_entropy_f32: the loss of one sample and its gradient with respect to the logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import exp_f32, log_f32, sum_ascending
from mcutrain.ops.base import Kernel, NotFiniteError, Params, Role


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

KERNELS = (SOFTMAX_CROSS_ENTROPY_F32,)
