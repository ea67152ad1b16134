"""update_bias: one step of a convolution's int32 biases, capped in output LSB and rounded half-even."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.update_weights import cap_ratio, gradient_values, round_s32


@dataclass(frozen=True)
class UpdateBiasParams(Params):
    """mct_update_bias_params. bias_limit: |bias| that keeps the forward sums within int32; step_cap: in output LSB."""

    channels: int
    bias_limit: int
    step_cap: float


def _golden(params: UpdateBiasParams, views: Mapping[str, Any]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        k = views["learning_rate"][0] * views["factor"]
        steps = gradient_values(views["gradient"]).reshape(-1) * k
        in_outputs = np.abs(steps * views["output_scale"])
    steps = steps * cap_ratio(in_outputs, params.step_cap, "update_bias")
    whole = round_s32(np.clip(steps, np.float32(-(2.0**30)), np.float32(2.0**30)))
    bias = views["bias"].reshape(-1)
    bias[...] = np.clip(bias.astype(np.int64) - whole, -params.bias_limit, params.bias_limit)


def _kernel(name: str, gradient: str) -> Kernel:
    return Kernel(
        name=name,
        c_params="mct_update_bias_params",
        params=UpdateBiasParams,
        inputs=(
            Role("gradient", gradient),
            Role("factor", "float32"),
            Role("output_scale", "float32"),
            Role("learning_rate", "float32"),
        ),
        outputs=(Role("bias", "int32"),),
        golden=_golden,
        updates=("bias",),
    )


UPDATE_BIAS_B16 = _kernel("update_bias_b16", "b32")
UPDATE_BIAS_F32 = _kernel("update_bias_f32", "float32")

KERNELS = (UPDATE_BIAS_B16, UPDATE_BIAS_F32)
