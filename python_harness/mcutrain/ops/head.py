"""head_f32, head_error_f32, head_update_f32: the last fully connected layer, in float32 over dequantised features.

The features' quantisation is an operand, ``x_quantization``: it may change from call to call.
head_accumulate_f32 and head_step_f32 are its update in two: the gradients of a minibatch's samples are summed up, then one step is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import sum_ascending
from mcutrain.ops.base import Kernel, Params, Role, RuntimeQuantization

Float32s = NDArray[np.float32]


@dataclass(frozen=True)
class HeadF32Params(Params):
    """mct_head_f32_params."""

    features: int
    classes: int


def _features(params: HeadF32Params, views: Mapping[str, Any]) -> Float32s:
    quantization: RuntimeQuantization = views["x_quantization"]
    codes = views["x"].reshape(params.features).astype(np.int32) - quantization.zero_point
    features: Float32s = codes.astype(np.float32) * quantization.scale
    return features


def _weights(params: HeadF32Params, views: Mapping[str, Any]) -> Float32s:
    weights: Float32s = views["weights"].reshape(params.classes, params.features)
    return weights


def _golden_head(params: HeadF32Params, views: Mapping[str, Any]) -> None:
    products = _weights(params, views).T * _features(params, views)[:, np.newaxis]
    logits = sum_ascending(views["bias"], products)
    views["logits"][...] = logits
    best = 0
    for o in range(1, params.classes):  # not argmax, which would pick a NaN
        best = o if logits[o] > logits[best] else best
    views["prediction"][...] = best


def _golden_error(params: HeadF32Params, views: Mapping[str, Any]) -> None:
    products = _weights(params, views) * views["gradient"][:, np.newaxis]
    error = views["x_quantization"].scale * sum_ascending(0.0, products)
    views["error"][...] = error.reshape(views["error"].shape)


def _golden_update(params: HeadF32Params, views: Mapping[str, Any]) -> None:
    step = views["learning_rate"][0] * views["gradient"]
    weights = _weights(params, views)
    weights -= step[:, np.newaxis] * _features(params, views)[np.newaxis]
    views["bias"][...] -= step


def _golden_accumulate(params: HeadF32Params, views: Mapping[str, Any]) -> None:
    gradient = views["gradient"]
    sums = views["weight_gradient"].reshape(params.classes, params.features)
    with np.errstate(over="ignore", invalid="ignore"):
        sums += gradient[:, np.newaxis] * _features(params, views)[np.newaxis]
        views["bias_gradient"][...] += gradient


def _golden_step(params: HeadF32Params, views: Mapping[str, Any]) -> None:
    rate = views["learning_rate"][0]
    for values, sums in (("weights", "weight_gradient"), ("bias", "bias_gradient")):
        with np.errstate(over="ignore", invalid="ignore"):
            views[values].reshape(-1)[...] -= rate * views[sums].reshape(-1)
        views[sums][...] = 0


def _macs(params: HeadF32Params) -> int:
    return params.features * params.classes


_QUANTIZATION = Role("x_quantization", "quantization")

HEAD_F32 = Kernel(
    name="head_f32",
    c_params="mct_head_f32_params",
    params=HeadF32Params,
    inputs=(Role("x", "int8"), _QUANTIZATION, Role("weights", "float32"), Role("bias", "float32")),
    outputs=(Role("logits", "float32"), Role("prediction", "int32")),
    golden=_golden_head,
    macs=_macs,
)

HEAD_ERROR_F32 = Kernel(
    name="head_error_f32",
    c_params="mct_head_f32_params",
    params=HeadF32Params,
    inputs=(Role("weights", "float32"), Role("gradient", "float32"), _QUANTIZATION),
    outputs=(Role("error", "float32"),),
    golden=_golden_error,
    macs=_macs,
)

HEAD_UPDATE_F32 = Kernel(
    name="head_update_f32",
    c_params="mct_head_f32_params",
    params=HeadF32Params,
    inputs=(Role("x", "int8"), _QUANTIZATION, Role("gradient", "float32"), Role("learning_rate", "float32")),
    outputs=(Role("weights", "float32"), Role("bias", "float32")),
    golden=_golden_update,
    updates=("weights", "bias"),
    macs=_macs,
)

HEAD_ACCUMULATE_F32 = Kernel(
    name="head_accumulate_f32",
    c_params="mct_head_f32_params",
    params=HeadF32Params,
    inputs=(Role("x", "int8"), Role("x_quantization", "quantization"), Role("gradient", "float32")),
    outputs=(Role("weight_gradient", "float32"), Role("bias_gradient", "float32")),
    golden=_golden_accumulate,
    updates=("weight_gradient", "bias_gradient"),
    macs=_macs,
)

HEAD_STEP_F32 = Kernel(
    name="head_step_f32",
    c_params="mct_head_f32_params",
    params=HeadF32Params,
    inputs=(Role("learning_rate", "float32"),),
    outputs=(
        Role("weight_gradient", "float32"),
        Role("bias_gradient", "float32"),
        Role("weights", "float32"),
        Role("bias", "float32"),
    ),
    golden=_golden_step,
    updates=("weight_gradient", "bias_gradient", "weights", "bias"),
    macs=_macs,
)

KERNELS = (HEAD_F32, HEAD_ERROR_F32, HEAD_UPDATE_F32, HEAD_ACCUMULATE_F32, HEAD_STEP_F32)
