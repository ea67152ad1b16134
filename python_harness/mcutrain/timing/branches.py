"""A branch predictor for the M7, over the counts of edges: the order of a branch's outcomes is not in a profile.

Arm describes a branch target address cache with predictor state, not its algorithm. Two-bit saturating counters are assumed, and
no lack of entries.
"""

from __future__ import annotations

from mcutrain.timing.engine import Exits


def mispredictions(exits: Exits) -> float:
    """How often the branch at the end of a block is expected to be predicted wrongly."""
    if not exits.last.branch:
        return 0.0
    if exits.last.branch == "indirect":
        return _indirect(exits)
    if not exits.last.conditional:
        return 0.0
    taken = exits.taken
    not_taken = exits.total - taken
    backward = any(target <= exits.start for target, _ in exits.targets if exits.is_taken(target))
    if backward:
        return float(min(taken, not_taken))  # a loop: once for each time that it is left
    return _two_bit_counter(taken, not_taken)


def _two_bit_counter(taken: int, not_taken: int) -> float:
    """Expected mispredictions of a two-bit saturating counter, outcomes in random order.

    Its four states have stationary probabilities in the ratio 1 : r : r^2 : r^3 with r = taken / not_taken; it predicts
    taken in the upper two.
    """
    if taken == 0 or not_taken == 0:
        return 0.0
    ratio = taken / not_taken
    weights = [1.0, ratio, ratio**2, ratio**3]
    predicts_taken = (weights[2] + weights[3]) / sum(weights)
    return (1.0 - predicts_taken) * taken + predicts_taken * not_taken


def _indirect(exits: Exits) -> float:
    """Expected changes of target: the last one is predicted.

    In random order this is n (1 - sum of p squared). A target that a loop calls from is visited in a row, though, so no more
    changes are counted than the rarer targets can make, one there and one back.
    """
    counts = [count for target, count in exits.targets if exits.is_taken(target)]
    taken = sum(counts)
    if taken == 0:
        return 0.0
    by_target: dict[int, int] = {}
    for target, count in exits.targets:
        if exits.is_taken(target):
            by_target[target] = by_target.get(target, 0) + count
    random = taken - sum(count * count for count in by_target.values()) / taken
    return min(random, 2.0 * (taken - max(by_target.values())))
