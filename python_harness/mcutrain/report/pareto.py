"""The Pareto front: what costs least for what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """cost: less is better. gain: more is better."""

    cost: float
    gain: float


def front(candidates: Sequence[Candidate]) -> list[int]:
    """Indices of those that no other dominates, by rising cost.

    One dominates another where it costs no more and gives no less, and is better in one of both. Equal ones are all on the front.
    """
    order = sorted(range(len(candidates)), key=lambda i: (candidates[i].cost, -candidates[i].gain))
    found: list[int] = []
    for i in order:
        best = candidates[found[-1]] if found else None
        if best is None or candidates[i].gain > best.gain or candidates[i] == best:
            found.append(i)
    return found
