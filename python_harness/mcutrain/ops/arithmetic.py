"""Fixed point and float32 arithmetic that the golden kernels share: docs/arithmetic.md in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]


def quantise_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with multiplier in [2**30, 2**31) and ``real ~ multiplier * 2**(shift - 31)``.

    LiteRT's QuantizeMultiplier: below 2**-32 the result is (0, 0), from 2**30 on it saturates. Raises ValueError unless
    real is positive and finite.
    """
    if not (real > 0.0 and math.isfinite(real)):
        raise ValueError(f"a multiplier must be positive and finite, not {real}")
    fraction, shift = math.frexp(real)
    # fraction * 2**31 < 2**31 is far from where adding a half could round: floor(v + 0.5) is half-away for v > 0.
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return INT32_MAX, 30
    return multiplier, shift


def saturate_s32(value: Int64s) -> Int64s:
    """Clamp to the range of int32 (still as int64)."""
    return np.clip(value, INT32_MIN, INT32_MAX)


def high(a: ArrayLike, b: ArrayLike) -> Int64s:
    """(a * b + nudge) / 2**31 truncated, a and b within int32; -2**31 * -2**31 saturates."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    truncated = np.sign(nudged) * (np.abs(nudged) >> 31)
    return saturate_s32(truncated)


def halfaway(value: ArrayLike, shift: ArrayLike) -> Int64s:
    """``value / 2**shift`` rounded half away from zero; shift >= 0. int64 in, int64 out."""
    v = np.asarray(value, np.int64)
    s = np.asarray(shift, np.int64)
    half = np.where(s > 0, np.int64(1) << np.maximum(s - 1, 0), 0)
    result: Int64s = np.sign(v) * ((np.abs(v) + half) >> s)
    return result


def fit(largest: int, bits: int) -> int:
    """The smallest r >= 0 with halfaway(largest, r) <= 2**bits - 1."""
    r = 0
    while int(halfaway(largest, r)) > 2**bits - 1:
        r += 1
    return r


def requantise(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> Int64s:
    """``x * multiplier * 2**(shift - 31)``, rounded as LiteRT does; x within int32. All three broadcast."""
    s = np.asarray(shift, np.int64)
    shifted = saturate_s32(np.asarray(x, np.int64) << np.maximum(s, 0))
    return halfaway(high(shifted, multiplier), np.maximum(-s, 0))


def requantise_once(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> Int64s:
    """``x * multiplier * 2**(shift - 31)`` rounded once, half away from zero, and saturated to int32. All three broadcast."""
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    return saturate_s32(halfaway(product, 31 - np.asarray(shift, np.int64)))


def requantise_once_even(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> Int64s:
    """``x * multiplier * 2**(shift - 31)`` rounded once, half to even, and saturated to int32. All three broadcast."""
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    right = 31 - np.asarray(shift, np.int64)
    # |product| <= 2^62 and the half is at most 2^61. One less than the half: only an odd quotient takes a tie up.
    below = (np.int64(1) << (right - 1)) - 1
    return saturate_s32((product + below + ((product >> right) & 1)) >> right)


def may_tie(multiplier: int, shift: int, largest: int) -> bool:
    """Whether ``x * multiplier * 2**(shift - 31)`` lies halfway between two integers for some x up to ``largest`` in magnitude.

    x times the odd part of the multiplier is then an odd multiple of 2^(30 - shift - zeros), and so is x.
    """
    zeros = (multiplier & -multiplier).bit_length() - 1
    return multiplier > 0 and 0 <= 30 - shift - zeros <= largest.bit_length() - 1


def clamp_code(value: Int64s, lowest: int, highest: int) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Clamp to output codes; also where the value lay inside, both ends included (the clip mask)."""
    inside = (value >= lowest) & (value <= highest)
    return np.clip(value, lowest, highest).astype(np.int8), inside


def sum_ascending(start: Any, terms: Float32s) -> Float32s:
    """float32 sum of ``terms`` over axis 0 in ascending order, from ``start``: shape terms.shape[1:].

    An accumulate is sequential by definition; np.sum and BLAS reorder.
    """
    first = np.broadcast_to(np.asarray(start, np.float32), terms.shape[1:])
    sums: Float32s = np.add.accumulate(np.concatenate([first[np.newaxis], terms]), axis=0, dtype=np.float32)[-1]
    return sums


_ROUNDER = np.float32(12582912.0)  # from 2^23 to 2^24 float32 holds integers alone. check: _ROUNDER == 1.5 * 2^23


def half_even_f32(x: Float32s) -> Float32s:
    """``x`` rounded to integers, ties to even; |x| < 2**22."""
    return (x + _ROUNDER) - _ROUNDER


# Taylor coefficients, highest power first, each rounded once to float32.
_EXP = [np.float32(1.0 / c) for c in (720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0)]
_LOG = [np.float32(1.0 / c) for c in (9.0, 7.0, 5.0, 3.0, 1.0)]
_INVERSE_LN2 = np.float32(1.44269502)  # check: _INVERSE_LN2 == float32(1 / ln(2))
_LN2_HIGH = np.float32(0.693145752)  # check: bits(_LN2_HIGH) % 2^7 == 0
_LN2_LOW = np.float32(1.42860677e-6)  # check: _LN2_LOW == float32(ln(2) - _LN2_HIGH)
_LN2 = np.float32(0.693147182)  # check: _LN2 == float32(ln(2))
_SQRT2 = np.float32(1.41421354)  # check: _SQRT2 == float32(sqrt(2))


def exp_f32(x: Float32s) -> Float32s:
    """e**x for float32 x <= 0, to the bit as mct_exp_f32; 0 below -87."""
    x = np.asarray(x, np.float32)
    near = np.maximum(x, np.float32(-87.0))
    n = half_even_f32(near * _INVERSE_LN2)
    r = (near - n * _LN2_HIGH) - n * _LN2_LOW
    power = ((n.astype(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)
    result: Float32s = np.where(x < np.float32(-87.0), np.float32(0.0), _horner(_EXP, r) * power)
    return result


def log_f32(x: Float32s) -> Float32s:
    """Natural logarithm of float32 x >= 1, to the bit as mct_log_f32."""
    bits = np.asarray(x, np.float32).view(np.int32)
    k = (bits >> np.int32(23)) - np.int32(127)
    m = ((bits & np.int32(0x007FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    upper = m > _SQRT2
    m = np.where(upper, m * np.float32(0.5), m)
    k = np.where(upper, k + np.int32(1), k).astype(np.float32)
    t = (m - np.float32(1.0)) / (m + np.float32(1.0))
    u = t * t
    result: Float32s = k * _LN2 + (np.float32(2.0) * t) * _horner(_LOG, u)
    return result


def _horner(coefficients: list[np.float32], x: Float32s) -> Float32s:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = coefficient + x * total
    return total
