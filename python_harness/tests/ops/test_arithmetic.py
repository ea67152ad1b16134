"""Rounding half to even, held against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.arithmetic import INT32_MAX, INT32_MIN, may_tie, requantise_once_even
from support.examples import examples

multipliers = st.one_of(
    st.just(2**30), st.integers(1, 255).map(lambda odd: odd << 23), st.integers(2**30, INT32_MAX), st.just(0)
)
sums = st.one_of(st.integers(-300, 300), st.integers(INT32_MIN, INT32_MAX), st.sampled_from([INT32_MIN, INT32_MAX]))


@given(sums, multipliers, st.integers(-31, 30))
@examples(300)
def test_a_sum_is_rounded_once_and_half_to_even(x: int, multiplier: int, shift: int) -> None:
    exact = Fraction(x * multiplier) * Fraction(2) ** (shift - 31)
    expected = min(max(round(exact), INT32_MIN), INT32_MAX)  # Python rounds fractions half to even
    assert int(requantise_once_even(x, multiplier, shift)) == expected


@given(multipliers, st.integers(-12, 3), st.integers(0, 3000))
@examples(200)
def test_a_tie_is_foretold_where_some_sum_has_one(multiplier: int, shift: int, largest: int) -> None:
    doubled = np.arange(largest + 1, dtype=np.int64) * multiplier  # times 2^(shift - 30), a tie is odd
    unit = 1 << (30 - shift)
    found = bool(((doubled % unit == 0) & (doubled // unit % 2 == 1)).any())
    assert may_tie(multiplier, shift, largest) == found
