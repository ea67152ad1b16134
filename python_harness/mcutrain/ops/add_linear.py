"""The linear form of an add: one plane through all 65,536 pairs of codes that rounds to what add_s8 specifies.

LiteRT's add rounds four times, but over int8 codes the result is a staircase of a and b that a plane nearly always follows: two
multiply-accumulates an element in the place of four roundings. The plane is searched when a network is planned, and held against
the specification on every pair of codes; golden knows nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.add import AddS8Params, unclamped
from mcutrain.ops.arithmetic import INT32_MAX, INT32_MIN

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]

# y - clamp_min = (offset + floor(a_factor a / 2^8) + floor(b_factor b / 2^8)) / 2^16, rounded down.
_SUM_BITS, _FACTOR_BITS = 16, 8
_STEP, _NONE = 1 << _SUM_BITS, 1 << 60
_CODES: Int64s = np.arange(-128, 128, dtype=np.int64)
_A, _B = _CODES[:, np.newaxis], _CODES[np.newaxis, :]
# In the linear program slopes and gaps are counted in these, so that its numbers are near 1.
_FINE = 2.0**-16
# Slopes this far from the real ones, and gaps this wide, are enough: sums are exact to 2^-15.
_FURTHEST, _WIDEST = 64.0, 2.0**13
_ROUNDS = 8


@dataclass(frozen=True)
class LinearForm:
    """``y - clamp_min = (offset + (a_factor * a >> 8) + (b_factor * b >> 8)) >> 16`` before the clamp; all int32."""

    a_factor: int
    b_factor: int
    offset: int


def with_linear_form(params: AddS8Params) -> AddS8Params:
    """The same add with its linear form, or with the zeros that stand for none. Takes a few milliseconds."""
    form = linear_form(params) or LinearForm(0, 0, 0)
    return replace(params, a_factor=form.a_factor, b_factor=form.b_factor, offset=form.offset)


def linear_form(params: AddS8Params) -> LinearForm | None:
    """The linear form that leaves the code and the clip mask of add_s8 for all pairs of codes, None if none was found."""
    low, high = params.clamp_min, params.clamp_max
    codes = np.clip(unclamped(params, _A, _B), low - 1, high + 1)
    scale = 2.0 ** (params.left_shift + params.output_shift - 31) * params.output_multiplier
    slopes = _separate(
        codes,
        low,
        high,
        scale * params.a_multiplier * 2.0 ** (params.a_shift - 31),
        scale * params.b_multiplier * 2.0 ** (params.b_shift - 31),
    )
    a_factor, b_factor = (round(slope * 2.0 ** (_SUM_BITS + _FACTOR_BITS)) for slope in slopes)
    if not (a_factor or b_factor) or max(abs(a_factor), abs(b_factor)) > INT32_MAX:
        return None
    products = (a_factor * _A >> _FACTOR_BITS) + (b_factor * _B >> _FACTOR_BITS)
    # Offsets from `least` to below `beyond` put every code but those below the clamp on the plane or under it, and every code but
    # those above it less than a step under it. Where all are below the clamp, or all above, one of the two says nothing.
    least = int(((codes << _SUM_BITS) - products)[codes >= low].max(initial=-_NONE))
    beyond = int(((codes + 1 << _SUM_BITS) - products)[codes <= high].min(initial=_NONE))
    if least >= beyond:
        return None
    least = beyond - _STEP if least == -_NONE else least
    beyond = least + _STEP if beyond == _NONE else beyond
    offset = (least + beyond) // 2 - (low << _SUM_BITS)
    sums = products + offset
    if sums.min() < INT32_MIN or sums.max() > INT32_MAX:
        return None
    return LinearForm(a_factor, b_factor, (offset - INT32_MIN) % 2**32 + INT32_MIN)  # sums may wrap on the way


def _separate(codes: Int64s, low: int, high: int, a_slope: float, b_slope: float) -> tuple[float, float]:
    """The slopes near the given ones of the plane that stays furthest from both edges of every step.

    codes: of all pairs, clipped to [low - 1, high + 1]. For an offset c, the edges are c + plane >= codes where codes >= low, and
    c + plane < codes + 1 where codes <= high. A linear program over the pair of each row whose edge is nearest; while its optimum
    crosses another edge, that row's pair joins in.
    """
    from scipy.optimize import linprog  # imported here: slow, and only networks that add need it

    plane = a_slope * _A + b_slope * _B
    floor: Float64s = np.where(codes >= low, codes - plane, -np.inf)
    ceiling: Float64s = np.where(codes <= high, codes + 1 - plane, np.inf)
    middle = float(floor.max() if (codes >= low).any() else ceiling.min())
    edges: list[Float64s] = []
    distances: list[Float64s] = []
    a_change = b_change = gap = 0.0
    for _ in range(_ROUNDS):
        change = (a_change * _A + b_change * _B) * _FINE
        lower, upper = floor - change, ceiling - change
        if edges and upper.min() - lower.max() >= (2 * gap - 0.1) * _FINE:
            break
        for sign, edge, nearest in ((-1.0, floor, lower.argmax(axis=1)), (1.0, ceiling, upper.argmin(axis=1))):
            at = edge[np.arange(256), nearest]
            rows = np.flatnonzero(np.isfinite(at))
            ones = np.ones(rows.size)
            edges.append(np.stack([sign * _CODES[rows], sign * _CODES[nearest[rows]], sign * ones, ones], axis=1))
            distances.append(sign * (at[rows] - middle) / _FINE)
        program: Any = linprog(
            [0.0, 0.0, 0.0, -1.0],
            A_ub=np.concatenate(edges),
            b_ub=np.concatenate(distances),
            bounds=[(-_FURTHEST, _FURTHEST), (-_FURTHEST, _FURTHEST), (None, None), (None, _WIDEST)],
            method="highs",
        )
        if program.x is None:
            break
        a_change, b_change, _, gap = (float(value) for value in program.x)
    return a_slope + a_change * _FINE, b_slope + b_change * _FINE
