"""The check of every kind of operator."""

from __future__ import annotations

from mcutrain.graph.checks import arithmetic, convolution, elementwise, movement, reduction
from mcutrain.graph.checks.base import Check

CHECKS: dict[str, Check] = {
    **arithmetic.CHECKS,
    **convolution.CHECKS,
    **elementwise.CHECKS,
    **movement.CHECKS,
    **reduction.CHECKS,
}
