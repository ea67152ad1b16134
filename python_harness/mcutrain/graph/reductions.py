"""How a tensor is reduced over some of its axes: the four loops that do it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Reduction:
    """A tensor as (outer, pixels, channels, run), which is reduced over pixels and run to (outer, channels)."""

    outer: int
    pixels: int
    channels: int
    run: int


def reduced_shapes(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a reduction over ``axes``: with one element for each of these, and without them."""
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    return kept, tuple(n for axis, n in enumerate(shape) if axis not in axes)


def reduction(shape: tuple[int, ...], axes: tuple[int, ...]) -> Reduction:
    """The loops of a reduction over ``axes``. Raises ValueError where four are not enough."""
    sides = [(axis in axes, n) for axis, n in enumerate(shape) if n > 1]
    groups = [(of, math.prod(n for _, n in part)) for of, part in itertools.groupby(sides, key=lambda side: side[0])]
    loops: list[int] = []
    for is_reduced in (False, True, False, True):
        found = bool(groups) and groups[0][0] == is_reduced
        loops.append(groups.pop(0)[1] if found else 1)
    if groups:
        raise ValueError(f"a reduction of {shape} over {axes} takes more than four loops")
    return Reduction(*loops)
