"""xorshift32 (Marsaglia 2003, shifts 13, 17, 5), many draws at a time.

One draw maps the state's 32 bits linearly over GF(2), so m draws are one linear map too. A map is kept as what it makes
of each value of each byte of the state: applying it to a vector of states is four look-ups and three exclusive ors.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

States = NDArray[np.uint32]


def next_states(states: States) -> States:
    """The state after one draw, which is also what is drawn; element by element."""
    x = states ^ (states << np.uint32(13))
    x = x ^ (x >> np.uint32(17))
    drawn: States = x ^ (x << np.uint32(5))
    return drawn


@functools.cache
def _jump_table(log2_draws: int) -> States:
    """What 2**log2_draws draws make of each byte value at each byte place, (4, 256)."""
    places = np.arange(4, dtype=np.uint32)[:, np.newaxis] * np.uint32(8)
    bytes_in_place = np.arange(256, dtype=np.uint32) << places
    if log2_draws == 0:
        return next_states(bytes_in_place)
    half = _jump_table(log2_draws - 1)
    return _apply(half, _apply(half, bytes_in_place))


def _apply(table: States, states: States) -> States:
    result: States = table[0][states & np.uint32(0xFF)]
    for place in (1, 2, 3):
        result = result ^ table[place][(states >> np.uint32(8 * place)) & np.uint32(0xFF)]
    return result


def draws(state: int, count: int) -> States:
    """The next ``count`` draws from ``state`` (not 0), uint32, shape (count,); the last one is the new state.

    Doubles: the draws known so far, jumped ahead by their number, are the next as many.
    """
    if not 0 < state < 2**32:
        raise ValueError(f"the state of xorshift32 is in [1, 2**32), not {state}")
    known = next_states(np.array([state], np.uint32))
    doublings = 0
    while known.size < count:
        known = np.concatenate([known, _apply(_jump_table(doublings), known)])
        doublings += 1
    return known[:count]
