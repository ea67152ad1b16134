"""CycleEstimate: a figure of the timing model with its range."""

from __future__ import annotations

from typing import NamedTuple


class CycleEstimate(NamedTuple):
    """Estimated cycles, and what they are at the lower and the upper ends of the table's doubtful parameters."""

    cycles: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def plus(self, other: CycleEstimate) -> CycleEstimate:
        """The sum. The doubtful parameters are the same for both, so the ends of the ranges add up too."""
        return CycleEstimate(self.cycles + other.cycles, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> CycleEstimate:
        """The multiple, such as the mean over steps or a number of milliseconds."""
        return CycleEstimate(self.cycles * factor, self.low * factor, self.high * factor)


NO_CYCLES = CycleEstimate()


def total(estimates: list[CycleEstimate] | tuple[CycleEstimate, ...]) -> CycleEstimate:
    """The sum of many."""
    result = CycleEstimate()
    for estimate in estimates:
        result = result.plus(estimate)
    return result
