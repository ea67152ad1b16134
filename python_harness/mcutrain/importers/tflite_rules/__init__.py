"""The operators of an int8 .tflite file: how each becomes an operator of the Graph.

To add an operator: a function from the file's operator to a Graph operator, and one entry in the ``RULES`` of its family.
"""

from __future__ import annotations

from mcutrain.importers.tflite_rules import arithmetic, convolution, elementwise, movement, reduction, unary
from mcutrain.importers.tflite_rules.base import Rule

RULES: dict[int, Rule] = {
    **arithmetic.RULES,
    **convolution.RULES,
    **elementwise.RULES,
    **movement.RULES,
    **reduction.RULES,
    **unary.RULES,
}

__all__ = ["RULES", "Rule"]
