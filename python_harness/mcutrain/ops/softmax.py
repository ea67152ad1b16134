"""softmax_s8: softmax over the last axis of an int8 tensor in fixed point."""

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

_MAX_DEPTH = 4095  # their sum, in Q12.19, must stay within int32
_DIFF_FRACTION_BITS = 26
_SUM_FRACTION_BITS = 19

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class SoftmaxS8Params(Params):
    """mct_softmax_s8_params. Differences to the largest code of a row below diff_min count as probability 0."""

    rows: int
    depth: int
    input_multiplier: int
    input_left_shift: int
    diff_min: int
    output_multiplier: int
    output_shift: int
    output_zero_point: int


def softmax_params(
    shape: tuple[int, ...],
    input_scale: float,
    beta: float,
    output_scale: float = 1 / 256,
    output_zero_point: int = -128,
) -> SoftmaxS8Params:
    """Parameters for tensors of ``shape`` with these scales; LiteRT's PreprocessSoftmaxScaling and CalculateInputRadius.

    LiteRT knows the output scale 1/256 alone, and takes one within a thousandth of it for that; so is it taken here. Raises UsageError
    where the kernel cannot compute it.
    """
    require_depth(shape)
    depth = shape[-1]
    multiplier, left_shift, diff_min = input_scaling(input_scale, beta)
    levels = 256.0 if math.isclose(output_scale, 1 / 256, rel_tol=1e-3) else 1 / output_scale
    rows = math.prod(shape[:-1])
    return SoftmaxS8Params(
        rows, depth, multiplier, left_shift, diff_min, *quantise_multiplier(levels), output_zero_point
    )


def require_depth(shape: tuple[int, ...]) -> None:
    """Raise UsageError where the last axis of ``shape`` is too long for the sum of its exponentials."""
    if shape[-1] > _MAX_DEPTH:
        raise UsageError(f"softmax over {shape[-1]} elements: at most {_MAX_DEPTH} are possible; remove the softmax")


def input_scaling(input_scale: float, beta: float) -> tuple[int, int, int]:
    """(multiplier, left shift, diff_min) of differences of codes to Q5.26. Raises UsageError where the scale is too small."""
    factor = beta * input_scale * 2.0**_DIFF_FRACTION_BITS
    if not factor > 1.0:
        raise UsageError(f"softmax of an input with scale {input_scale:g} and beta {beta:g}: the scale is too small")
    multiplier, left_shift = quantise_multiplier(factor)
    return multiplier, left_shift, -math.floor(31 * 2**_DIFF_FRACTION_BITS / 2**left_shift)


def fixed(value: float, fraction_bits: int) -> int:
    """A constant in fixed point."""
    return round(value * 2.0**fraction_bits)


def _exp_of_negative(x: Int64s) -> Int64s:
    """e**x in Q0.31 for x <= 0 in Q5.26: a Taylor series on the last quarter, one factor a bit on the rest."""
    quarter = 1 << (_DIFF_FRACTION_BITS - 2)
    last = (x & (quarter - 1)) - quarter
    t = saturate_s32(last << 5) + 2**28
    t2 = high(t, t)
    third_and_fourth = high(halfaway(high(t2, t2), 2) + high(t2, t), fixed(1 / 3, 31))
    series = t + halfaway(third_and_fourth + t2, 1)
    result = fixed(math.exp(-1 / 8), 31) + high(series, fixed(math.exp(-1 / 8), 31))
    for i in range(7):
        has_bit = ((last - x) & (quarter << i)) != 0
        result = np.where(has_bit, high(result, fixed(math.exp(-(2.0 ** (i - 2))), 31)), result)
    return np.where(x == 0, INT32_MAX, result)


def reciprocal_of_one_plus(x: Int64s) -> Int64s:
    """1 / (1 + x) in Q0.31 for x in [0, 1) in Q0.31, by Newton's method in Q2.29."""
    half_denominator = (x + INT32_MAX + 1) // 2
    estimate = fixed(48 / 17, 29) + high(half_denominator, fixed(-32 / 17, 29))
    for _ in range(3):
        miss = 2**29 - high(half_denominator, estimate)
        estimate = estimate + saturate_s32(high(estimate, miss) << 2)
    result: Int64s = np.minimum(estimate << 1, INT32_MAX)
    return result


def exponentials(x: Int64s, multiplier: int, left_shift: int, diff_min: int) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Of rows of codes: differences to the largest, these in Q5.26, exponentials in Q0.31, and their sum in Q12.19, (rows, 1).

    Differences below ``diff_min`` count as exponentials of 0.
    """
    difference = x - x.max(axis=1, keepdims=True)
    counts = difference >= diff_min
    scaled = high(np.where(counts, difference, 0) << left_shift, multiplier)
    exponential = np.where(counts, _exp_of_negative(scaled), 0)
    total = halfaway(exponential, 31 - _SUM_FRACTION_BITS).sum(axis=1, keepdims=True)
    return difference, scaled, exponential, total


def _golden(params: SoftmaxS8Params, views: Mapping[str, Any]) -> None:
    x = views["x"].astype(np.int64).reshape(params.rows, params.depth)
    _, _, exponential, total = exponentials(x, params.input_multiplier, params.input_left_shift, params.diff_min)
    # total = 2**over * (1 + rest) in Q12.19
    over = np.frexp(total.astype(np.float64))[1] - 1 - _SUM_FRACTION_BITS
    share = high(reciprocal_of_one_plus((total << (12 - over)) - 2**31), exponential)
    right = 31 - params.output_shift + 31 + over
    # A product is below 2**62: where it is divided by 2**63 or more, less than a half is left.
    levels = (share * params.output_multiplier + (np.int64(1) << np.minimum(right - 1, 61))) >> np.minimum(right, 62)
    codes = np.minimum(np.where(right > 62, 0, levels) + params.output_zero_point, 127)
    views["y"][...] = codes.reshape(views["y"].shape)


SOFTMAX_S8 = Kernel(
    name="softmax_s8",
    c_params="mct_softmax_s8_params",
    params=SoftmaxS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden,
)

KERNELS = (SOFTMAX_S8,)
