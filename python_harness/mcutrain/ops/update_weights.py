"""update_weights: one step of a weight tensor, in three roundings.

step[o][tap][i] = gradient[o][tap][i] * (learning_rate * factor[o]), the whole tensor rescaled so that the largest step
is at most step_cap, then taken from the weight: with 8 more bits kept beside it (master16), with a random rounding
(stochastic8), or rounded to nearest (nearest8). Quantisation-aware scaling puts 1 / s_w[o]**2 into factor[o]. What trains
may be a part: the input channels of ``index``, the output channels of ``rows``; gradient and state have only theirs, packed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import half_even_f32
from mcutrain.ops.base import Block, Kernel, NotFiniteError, Params, Role
from mcutrain.ops.block_float import power_of_two_f32
from mcutrain.ops.lists import listed_channels, packed, packed_block
from mcutrain.ops.random import draws

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

_CODE_MAX = 127


@dataclass(frozen=True)
class UpdateWeightsParams(Params):
    """mct_update_weights_params.

    Weights: (out_channels, taps, in_channels), of which at most most_rows output and most_selected input channels train.
    """

    out_channels: int
    taps: int
    in_channels: int
    most_rows: int
    most_selected: int
    weight_min: int
    step_cap: float


def gradient_values(gradient: Block | Float32s) -> Float32s:
    """A gradient of either error mode as float32."""
    if isinstance(gradient, Block):
        return gradient.mantissa.astype(np.float32) * power_of_two_f32(int(gradient.exponent[0]))
    return gradient


def cap_ratio(magnitudes: Float32s, step_cap: float, kernel: str) -> np.float32:
    """What all steps of a tensor are multiplied by, so that the largest magnitude is at most step_cap (0: no cap).

    Raises NotFiniteError where a step is NaN or infinite.
    """
    largest = magnitudes.max(initial=np.float32(0))
    if not np.isfinite(largest):
        raise NotFiniteError(
            f"{kernel}: a step is NaN or infinite: training diverged; lower the learning rate or set a step cap"
        )
    cap = np.float32(step_cap)
    return cap / largest if cap > 0 and largest > cap else np.float32(1)


def round_s32(t: Float32s) -> Int64s:
    """Round half to even at every magnitude, |t| <= 2**30."""
    rounded: Int64s = np.rint(t.astype(np.float64)).astype(np.int64)
    return rounded


def _parts(params: UpdateWeightsParams, views: Mapping[str, Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The output and the input channels that train."""
    return (
        listed_channels(views, "rows", params.most_rows, params.out_channels),
        listed_channels(views, "index", params.most_selected, params.in_channels),
    )


def _steps(params: UpdateWeightsParams, views: Mapping[str, Any], kernel: str) -> Float32s:
    """The steps, (output channels that train, taps, input channels that train), in weight LSB."""
    rows, selected = _parts(params, views)
    shape, gradient = (rows.size, params.taps, selected.size), views["gradient"]
    gradient = packed_block(gradient, shape) if isinstance(gradient, Block) else packed(gradient, shape)
    with np.errstate(over="ignore", invalid="ignore"):
        k = views["learning_rate"][0] * views["factor"][rows]
        steps = gradient_values(gradient) * k[:, np.newaxis, np.newaxis]
    capped: Float32s = steps * cap_ratio(np.abs(steps), params.step_cap, kernel)
    return capped


def _clamped(steps: Float32s, limit: float) -> Float32s:
    return np.clip(steps, np.float32(-limit), np.float32(limit))


def _places(params: UpdateWeightsParams, views: Mapping[str, Any]) -> tuple[NDArray[Any], tuple[NDArray[np.intp], ...]]:
    """The weights, and which of them train as an index of their elements: (output channels, taps, input channels)."""
    weights = views["weights"].reshape(params.out_channels, params.taps, params.in_channels)
    rows, selected = _parts(params, views)
    return weights, np.ix_(rows, np.arange(params.taps), selected)


def _trained(params: UpdateWeightsParams, views: Mapping[str, Any]) -> Int64s:
    """The trained weights, in the order of the steps."""
    weights, places = _places(params, views)
    trained: Int64s = weights[places].astype(np.int64)
    return trained


def _store(params: UpdateWeightsParams, views: Mapping[str, Any], codes: Int64s) -> None:
    weights, places = _places(params, views)
    weights[places] = codes


def _master16(params: UpdateWeightsParams, views: Mapping[str, Any]) -> None:
    steps = _steps(params, views, "update_weights_master16")
    fraction = packed(views["fraction"], steps.shape)
    with np.errstate(over="ignore"):
        fine = _clamped(steps * np.float32(256), 2.0**21)
    master = 256 * _trained(params, views) + fraction - half_even_f32(fine).astype(np.int64)
    master = np.clip(master, 256 * params.weight_min, 256 * _CODE_MAX)
    codes = (master + 128) >> 8
    _store(params, views, codes)
    fraction[...] = master - 256 * codes


def _stochastic8(params: UpdateWeightsParams, views: Mapping[str, Any]) -> None:
    steps = _steps(params, views, "update_weights_stochastic8")
    random = draws(int(views["random"][0]), steps.size)
    fine = round_s32(_clamped(steps, 512.0) * np.float32(65536))
    part = (random >> np.uint32(16)).astype(np.int64).reshape(steps.shape)
    codes = (65536 * _trained(params, views) - fine + part) >> 16
    _store(params, views, np.clip(codes, params.weight_min, _CODE_MAX))
    if random.size:
        views["random"][0] = random[-1]


def _nearest8(params: UpdateWeightsParams, views: Mapping[str, Any]) -> None:
    steps = _steps(params, views, "update_weights_nearest8")
    whole = half_even_f32(_clamped(steps, 2.0**21)).astype(np.int64)
    _store(params, views, np.clip(_trained(params, views) - whole, params.weight_min, _CODE_MAX))


def _kernel(name: str, gradient: str, state: Role | None, golden: Callable[[Any, Mapping[str, Any]], None]) -> Kernel:
    outputs = (Role("weights", "int8"), *([state] if state else []))
    return Kernel(
        name=name,
        c_params="mct_update_weights_params",
        params=UpdateWeightsParams,
        inputs=(
            Role("gradient", gradient),
            Role("factor", "float32"),
            Role("index", "index", optional=True),
            Role("rows", "index", optional=True),
            Role("learning_rate", "float32"),
        ),
        outputs=outputs,
        golden=golden,
        updates=tuple(role.name for role in outputs),
    )


_FRACTION = Role("fraction", "int8")
_RANDOM = Role("random", "uint32")

UPDATE_WEIGHTS_MASTER16_B16 = _kernel("update_weights_master16_b16", "b32", _FRACTION, _master16)
UPDATE_WEIGHTS_MASTER16_F32 = _kernel("update_weights_master16_f32", "float32", _FRACTION, _master16)
UPDATE_WEIGHTS_STOCHASTIC8_B16 = _kernel("update_weights_stochastic8_b16", "b32", _RANDOM, _stochastic8)
UPDATE_WEIGHTS_STOCHASTIC8_F32 = _kernel("update_weights_stochastic8_f32", "float32", _RANDOM, _stochastic8)
UPDATE_WEIGHTS_NEAREST8_B16 = _kernel("update_weights_nearest8_b16", "b32", None, _nearest8)
UPDATE_WEIGHTS_NEAREST8_F32 = _kernel("update_weights_nearest8_f32", "float32", None, _nearest8)

KERNELS = (
    UPDATE_WEIGHTS_MASTER16_B16,
    UPDATE_WEIGHTS_MASTER16_F32,
    UPDATE_WEIGHTS_STOCHASTIC8_B16,
    UPDATE_WEIGHTS_STOCHASTIC8_F32,
    UPDATE_WEIGHTS_NEAREST8_B16,
    UPDATE_WEIGHTS_NEAREST8_F32,
)
