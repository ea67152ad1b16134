"""Checks of log_softmax, prelu, requantize, softmax and table."""

from __future__ import annotations

import math

import numpy as np

from mcutrain.graph.attributes import (
    LogSoftmaxAttributes,
    PreluAttributes,
    RequantizeAttributes,
    SoftmaxAttributes,
    TableAttributes,
)
from mcutrain.graph.checks.base import Check, check_clamp, check_operands, check_rescale, check_shape, require
from mcutrain.graph.model import Graph, Operator

MAX_ALPHA = 2**15 - 1  # times a code less its zero point: 23 bits


def _prelu(graph: Graph, op: Operator) -> None:
    x, alpha, y = check_operands(graph, op, PreluAttributes, (False, True))
    check_shape(op, y, x.shape)
    sides = zip(reversed(alpha.shape), reversed(x.shape), strict=False)
    fits = len(alpha.shape) <= len(x.shape) and all(a in (1, n) for a, n in sides)
    require(fits, f"{op.name}: alpha '{alpha.name}' {alpha.shape} does not broadcast to {x.shape}")
    assert alpha.data is not None
    largest = int(np.abs(alpha.data.astype(np.int64)).max())
    plain = alpha.dtype == "int32" and alpha.zero_point == 0 and largest <= MAX_ALPHA
    require(plain, f"{op.name}: alpha '{alpha.name}' must be int32 of at most {MAX_ALPHA}, with zero point 0")
    check_rescale(op, 255, x.scale / y.scale)
    check_rescale(op, 255 * largest, x.scale * alpha.scale / y.scale)


def _requantize(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, RequantizeAttributes, (False,))
    assert isinstance(op.attributes, RequantizeAttributes)
    check_clamp(op, op.attributes.clamp)
    check_shape(op, y, x.shape)
    check_rescale(op, 255, x.scale / y.scale)


def _log_softmax(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, LogSoftmaxAttributes, (False,))
    check_shape(op, y, x.shape)
    # Differences of more than 15.5 may leave the kernel's fixed point, as in LiteRT, whose output has the scale 1/16.
    reached = y.scale <= 1 / 16
    require(
        reached, f"{op.name}: the scale {y.scale:g} of '{y.name}' is above 1/16; end the model before its log_softmax"
    )
    require(x.scale * 2**26 > 1, f"{op.name}: the scale of '{x.name}' is too small")


def _softmax(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, SoftmaxAttributes, (False,))
    assert isinstance(op.attributes, SoftmaxAttributes)
    check_shape(op, y, x.shape)
    # The fixed-point exponential multiplies differences by beta * scale * 2^26, which must exceed 1 and fit.
    multiplier = op.attributes.beta * x.scale * 2**26
    require(1 < multiplier < math.inf, f"{op.name}: beta {op.attributes.beta:g} times the input's scale is too small")


def _table(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, TableAttributes, (False,))
    assert isinstance(op.attributes, TableAttributes)
    check_shape(op, y, x.shape)
    codes, slopes = op.attributes.codes, op.attributes.slopes
    require(len(codes) == len(slopes) == 256, f"{op.name}: {len(codes)} codes and {len(slopes)} slopes, not 256")
    require(all(-128 <= code <= 127 for code in codes), f"{op.name}: a code is outside [-128, 127]")
    require(all(math.isfinite(slope) for slope in slopes), f"{op.name}: a slope is not finite")


CHECKS: dict[str, Check] = {
    "log_softmax": _log_softmax,
    "prelu": _prelu,
    "requantize": _requantize,
    "softmax": _softmax,
    "table": _table,
}
