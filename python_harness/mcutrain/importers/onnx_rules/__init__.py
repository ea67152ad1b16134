"""The operators of an ONNX QDQ network: how each becomes an operator of the Graph.

To add an operator: a function from the file's node to its value, and one entry in the ``RULES`` of its family.
"""

from __future__ import annotations

from mcutrain.importers.onnx_rules import arithmetic, convolution, elementwise, movement, pointwise, reduction
from mcutrain.importers.onnx_rules.base import Rule

RULES: dict[str, Rule] = {
    **arithmetic.RULES,
    **convolution.RULES,
    **elementwise.RULES,
    **movement.RULES,
    **pointwise.RULES,
    **reduction.RULES,
}

__all__ = ["RULES", "Rule"]
