"""mean_rate: the learning rate of a minibatch's sum of gradients, where the step is to be of their mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.base import Kernel, Params, Role


@dataclass(frozen=True)
class MeanRateParams(Params):
    """mct_mean_rate_params. batch: the most samples of an update."""

    batch: int


def _golden(params: MeanRateParams, views: Mapping[str, Any]) -> None:
    samples = int(views["samples"][0])
    if not 1 <= samples <= params.batch:
        raise ValueError(f"mean_rate: {samples} samples since the last update, of a batch of {params.batch}")
    views["rate"][...] = views["learning_rate"] / np.float32(samples)


MEAN_RATE_F32 = Kernel(
    name="mean_rate_f32",
    c_params="mct_mean_rate_params",
    params=MeanRateParams,
    inputs=(Role("learning_rate", "float32"), Role("samples", "int32")),
    outputs=(Role("rate", "float32"),),
    golden=_golden,
)

KERNELS = (MEAN_RATE_F32,)
