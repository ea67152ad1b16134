"""softmax_s8: softmax of one int8 vector in fixed point, output scale 1/256 and zero point -128."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.ops.arithmetic import INT32_MAX, halfaway, high, quantise_multiplier, saturate_s32
from mcutrain.ops.base import Kernel, Params, Role

_MAX_ELEMENTS = 4095  # their sum, in Q12.19, must stay within int32
_DIFF_FRACTION_BITS = 26
_SUM_FRACTION_BITS = 19

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class SoftmaxS8Params(Params):
    """mct_softmax_s8_params. Differences to the largest code below diff_min count as probability 0."""

    elements: int
    input_multiplier: int
    input_left_shift: int
    diff_min: int


def softmax_params(elements: int, input_scale: float, beta: float) -> SoftmaxS8Params:
    """Parameters for an input of this scale; LiteRT's PreprocessSoftmaxScaling and CalculateInputRadius.

    Raises UsageError where the kernel cannot compute it.
    """
    if elements > _MAX_ELEMENTS:
        raise UsageError(f"softmax over {elements} elements: at most {_MAX_ELEMENTS} are possible; remove the softmax")
    factor = beta * input_scale * 2.0**_DIFF_FRACTION_BITS
    if not factor > 1.0:
        raise UsageError(f"softmax of an input with scale {input_scale:g} and beta {beta:g}: the scale is too small")
    multiplier, left_shift = quantise_multiplier(factor)
    diff_min = -math.floor(31 * 2**_DIFF_FRACTION_BITS / 2**left_shift)
    return SoftmaxS8Params(elements, multiplier, left_shift, diff_min)


def _fixed(value: float, fraction_bits: int) -> int:
    return round(value * 2.0**fraction_bits)


def _exp_of_negative(x: Int64s) -> Int64s:
    """e**x in Q0.31 for x <= 0 in Q5.26: a Taylor series on the last quarter, one factor a bit on the rest."""
    quarter = 1 << (_DIFF_FRACTION_BITS - 2)
    last = (x & (quarter - 1)) - quarter
    t = saturate_s32(last << 5) + 2**28
    t2 = high(t, t)
    third_and_fourth = high(halfaway(high(t2, t2), 2) + high(t2, t), _fixed(1 / 3, 31))
    series = t + halfaway(third_and_fourth + t2, 1)
    result = _fixed(math.exp(-1 / 8), 31) + high(series, _fixed(math.exp(-1 / 8), 31))
    for i in range(7):
        has_bit = ((last - x) & (quarter << i)) != 0
        result = np.where(has_bit, high(result, _fixed(math.exp(-(2.0 ** (i - 2))), 31)), result)
    return np.where(x == 0, INT32_MAX, result)


def _reciprocal_of_one_plus(x: int) -> int:
    """1 / (1 + x) in Q0.31 for x in [0, 1) in Q0.31, by Newton's method in Q2.29."""
    half_denominator = (x + INT32_MAX + 1) // 2
    estimate = _fixed(48 / 17, 29) + int(high(half_denominator, _fixed(-32 / 17, 29)))
    for _ in range(3):
        miss = 2**29 - int(high(half_denominator, estimate))
        estimate += int(saturate_s32(high(estimate, miss) << 2))
    return min(estimate << 1, INT32_MAX)


def _golden(params: SoftmaxS8Params, views: Mapping[str, Any]) -> None:
    x = views["x"].astype(np.int64).reshape(-1)
    difference = x - x.max()
    counts = difference >= params.diff_min
    scaled = high(np.where(counts, difference, 0) << params.input_left_shift, params.input_multiplier)
    exponential = np.where(counts, _exp_of_negative(scaled), 0)
    total = int(halfaway(exponential, 31 - _SUM_FRACTION_BITS).sum())
    # total = 2**over * (1 + rest) in Q12.19
    over = total.bit_length() - 1 - _SUM_FRACTION_BITS
    scale = _reciprocal_of_one_plus((total << (12 - over)) - 2**31)
    probability = halfaway(high(scale, exponential), over + 31 - 8)
    views["y"][...] = np.where(counts, np.minimum(probability - 128, 127), -128).reshape(views["y"].shape)


SOFTMAX_S8 = Kernel(
    name="softmax_s8",
    c_params="mct_softmax_s8_params",
    params=SoftmaxS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden,
)

KERNELS = (SOFTMAX_S8,)
