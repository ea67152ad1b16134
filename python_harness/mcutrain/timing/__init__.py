"""Timing: estimated cycles of the Cortex-M4 and Cortex-M7 from the exact profile of a run. See docs/timing.md."""

from mcutrain.timing.breakdown import Breakdown, OperatorName, break_down
from mcutrain.timing.cycles import CycleEstimate
from mcutrain.timing.estimate import ProfileEstimate, estimate_profile

__all__ = ["Breakdown", "CycleEstimate", "OperatorName", "ProfileEstimate", "break_down", "estimate_profile"]
