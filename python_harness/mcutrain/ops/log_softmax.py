"""log_softmax_s8: the logarithm of softmax over the last axis in fixed point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import halfaway, high, quantise_multiplier, requantise, requantise_once, saturate_s32
from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.softmax import (
    exponentials,
    fixed,
    input_scaling,
    reciprocal_of_one_plus,
    require_depth,
)

Int64s = NDArray[np.int64]

_SUM_INTEGER_BITS = 12
_LOG_FRACTION_BITS = 25  # one less than the result's, for room


@dataclass(frozen=True)
class LogSoftmaxS8Params(Params):
    """mct_log_softmax_s8_params: as of softmax, and the multiplier from logarithms in Q5.26 back to codes."""

    rows: int
    depth: int
    input_multiplier: int
    input_left_shift: int
    diff_min: int
    reverse_multiplier: int
    reverse_shift: int
    output_multiplier: int
    output_shift: int
    output_zero_point: int


def log_softmax_params(
    shape: tuple[int, ...], input_scale: float, output_scale: float = 1 / 16, output_zero_point: int = 127
) -> LogSoftmaxS8Params:
    """Parameters for tensors of ``shape`` with these scales, by LiteRT's PreprocessLogSoftmaxScalingExp.

    LiteRT knows the output scale 1/16 alone. Raises UsageError as softmax_params does.
    """
    require_depth(shape)
    multiplier, left_shift, diff_min = input_scaling(input_scale, 1.0)
    reverse = quantise_multiplier(2.0 ** (31 - left_shift) / multiplier)
    output = quantise_multiplier(2.0**-26 / output_scale)
    rows, depth = math.prod(shape[:-1]), shape[-1]
    return LogSoftmaxS8Params(rows, depth, multiplier, left_shift, diff_min, *reverse, *output, output_zero_point)


def _headroom(x: Int64s) -> Int64s:
    """The leading zeros of 32-bit words."""
    return 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)


def _log_of_sum(x: Int64s) -> Int64s:
    """ln(x) in Q5.26 for x >= 1 in Q12.19: the power of two, and a quotient of polynomials of what is left about 2**(-1/4)."""
    root = 2.0**0.25
    sqrt_half, middle, quarter = fixed(math.sqrt(0.5), 31), fixed(1 / root, 31), 1 << (_LOG_FRACTION_BITS - 2)
    zeros = _headroom(x)
    zeros_b = _headroom(high(x, sqrt_half)) - 1
    r = np.minimum(high(x << (zeros - 1), sqrt_half) << 1, saturate_s32(x << zeros_b))
    power = np.maximum(
        ((_SUM_INTEGER_BITS - zeros) << _LOG_FRACTION_BITS) + quarter,
        ((_SUM_INTEGER_BITS - zeros_b) << _LOG_FRACTION_BITS) - quarter,
    )
    p, q = (r + middle + 1) // 2, 2 * (r - middle)
    q2 = high(q, q)
    numerator = high(q, r) + high(high(q, q2), fixed(11 / 240 * root, 31))
    inner = fixed(2 / root - root, 31) + q + high(fixed(root / 20, 31), q2)
    denominator = high(p, inner) + high(fixed(root / 4, 31), q)
    quotient = high(halfaway(numerator, 6), reciprocal_of_one_plus(denominator))
    return saturate_s32((high(power, fixed(math.log(2), 31)) + quotient) << 1)


def _golden(params: LogSoftmaxS8Params, views: Mapping[str, Any]) -> None:
    x = views["x"].astype(np.int64).reshape(params.rows, params.depth)
    difference, scaled, _, total = exponentials(x, params.input_multiplier, params.input_left_shift, params.diff_min)
    log_sum = _log_of_sum(total)
    lowest = requantise(log_sum - 2**31, params.reverse_multiplier, params.reverse_shift)
    counts = difference > np.maximum(lowest, params.diff_min - 1)
    magnitude = np.where(counts, log_sum - scaled, 0)  # a logarithm is not above 0: half up is half away
    codes = params.output_zero_point - requantise_once(magnitude, params.output_multiplier, params.output_shift)
    views["y"][...] = np.where(counts, np.clip(codes, -128, 127), -128).reshape(views["y"].shape)


LOG_SOFTMAX_S8 = Kernel(
    name="log_softmax_s8",
    c_params="mct_log_softmax_s8_params",
    params=LogSoftmaxS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden,
)

KERNELS = (LOG_SOFTMAX_S8,)
