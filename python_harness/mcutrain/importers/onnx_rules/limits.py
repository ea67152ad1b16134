"""Limits that are constants of the file: those of a Clip, and single numbers."""

from __future__ import annotations

import math

import numpy as np

from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, optional_constant
from mcutrain.importers.onnx_values import Constant, Value


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


def single_number(value: Value) -> float | None:
    """The float32 number that a constant of one element is; None of anything else."""
    if not isinstance(value, Constant) or value.values.size != 1 or value.values.dtype.kind not in "fiu":
        return None
    return float(np.float32(value.real().reshape(())))
