"""The limits of a Clip."""

from __future__ import annotations

import math

from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, optional_constant


def clip_limits(context: Context, node: FileNode) -> tuple[float | None, float | None]:
    """The lowest and highest value of a Clip, from its attributes or its operands; None where it has no such limit."""
    limits: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        limit = node.attributes.get(name)
        given = optional_constant(context, node, position, f"its {name}")
        if given is not None:
            if given.values.size != 1:
                raise UnsupportedError(f"its {name} is not one number")
            limit = float(given.real().reshape(()))
        if limit is not None and not (isinstance(limit, int | float) and not math.isnan(limit)):
            raise UnsupportedError(f"its {name} is not a number")
        limits.append(None if limit is None or math.isinf(limit) else limit)
    low, high = limits
    if low is not None and high is not None and low > high:
        raise UnsupportedError(f"its min {low:g} is above its max {high:g}")
    return low, high
