"""Clip, LogSoftmax, Max, Min, PRelu, Relu and Softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mcutrain.graph.attributes import (
    Attributes,
    LogSoftmaxAttributes,
    PreluAttributes,
    RequantizeAttributes,
    SoftmaxAttributes,
)
from mcutrain.graph.checks.elementwise import MAX_ALPHA
from mcutrain.graph.model import Quantization
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.movement import Movement
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, codes_operand, constant_operand, softmax_axis
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_rules.limits import clip_limits, single_number
from mcutrain.importers.onnx_values import Pending, Value, graph_shape

_LOG_SOFTMAX_OUTPUT = Quantization(np.array([1 / 16], np.float32), np.array([127], np.int32))
_SOFTMAX_OUTPUT = Quantization(np.array([1 / 256], np.float32), np.array([-128], np.int32))


def _activation(context: Context, node: FileNode, low: float | None, high: float | None, position: int = 0) -> Value:
    """Limits of the operand at ``position``."""
    name = node.inputs[position]
    value = context.value(name)
    if isinstance(value, Pending) and not value.is_limited_codes and context.sole_reader(name) is None:
        value = context.settled(name)
        if isinstance(value, Pending):
            raise UnsupportedError("its input is also read before it is quantised")
    if isinstance(value, Pending):
        lows = [limit for limit in (value.low, low) if limit is not None]
        highs = [limit for limit in (value.high, high) if limit is not None]
        return replace(value, low=max(lows, default=None), high=min(highs, default=None), awaits_bias=False)
    x = codes_operand(context, name, or_rows=True)
    operands, shape = (x.tensor.name,), x.tensor.shape
    name = f"requantize{node.position}"
    return Pending(
        name, "requantize", node.kind, operands, shape, x.order, RequantizeAttributes, low=low, high=high, rows=x.rows
    )


def _relu(context: Context, node: FileNode) -> Value:
    return _activation(context, node, 0.0, None)


def _clip(context: Context, node: FileNode) -> Value:
    return _activation(context, node, *clip_limits(context, node))


def _extreme(*, is_maximum: bool) -> Callable[[Context, FileNode], Value]:
    """Max and Min of a tensor and one number: a limit."""

    def rule(context: Context, node: FileNode) -> Value:
        limits = [single_number(context.value(name)) for name in node.inputs]
        if sum(limit is not None for limit in limits) != 1:
            raise UnsupportedError("it compares tensors, not one with a single number")
        position = limits.index(None)
        limit = limits[1 - position]
        low, high = (limit, None) if is_maximum else (None, limit)
        return _activation(context, node, low, high, position)

    return rule


def _prelu(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_rows=True)
    slope = constant_operand(context, node.inputs[1], "its slopes")
    if slope.quantization is not None and slope.quantization.scale.size != 1:
        raise UnsupportedError(f"its slopes have {slope.quantization.scale.size} scales")
    real, rank = slope.real(), len(x.tensor.shape)
    if not np.isfinite(real).all():
        raise UnsupportedError("a slope is not finite")
    while real.ndim > rank and real.shape[0] == 1:
        real = real[0]
    if real.ndim > rank:
        raise UnsupportedError(f"its slopes {list(slope.values.shape)} are not one a channel")
    if x.order is not None and real.size > 1:
        # The file flattens channels first, the Graph channels last: the slopes follow the elements.
        real = np.broadcast_to(real, x.tensor.shape).reshape(x.order).transpose(1, 2, 0).reshape(-1)
    # Channels come last in the Graph. Slopes of 15 bits are far finer than codes.
    real = real.reshape((1,) * (rank - real.ndim) + real.shape).transpose(graph_shape(tuple(range(rank))))
    scale = np.float32(max(float(np.abs(real).max()) / MAX_ALPHA, float(np.finfo(np.float32).tiny)))
    codes = np.clip(np.rint(real / scale), -MAX_ALPHA, MAX_ALPHA).astype(np.int32)
    q = Quantization(np.array([scale], np.float32), np.zeros(1, np.int32))
    alpha = context.graph.constant(f"{node.outputs[0]}_alpha", codes, q)
    name, operands = f"prelu{node.position}", (x.tensor.name, alpha)
    return Pending(
        name,
        "prelu",
        node.kind,
        operands,
        x.tensor.shape,
        x.order,
        lambda _: PreluAttributes(),
        clamps=False,
        rows=x.rows,
    )


def _softmax(context: Context, node: FileNode) -> Value:
    return _over_axis(context, node, "softmax", SoftmaxAttributes(), _SOFTMAX_OUTPUT)


def _log_softmax(context: Context, node: FileNode) -> Value:
    return _over_axis(context, node, "log_softmax", LogSoftmaxAttributes(), _LOG_SOFTMAX_OUTPUT)


def _over_axis(context: Context, node: FileNode, kind: str, attributes: Attributes, unstated: Quantization) -> Pending:
    """An operator over the last axis of the Graph's, to which that of the file is brought."""
    x = codes_operand(context, node.inputs[0], or_rows=True)
    name, shape = f"{kind}{node.position}", x.tensor.shape
    rows, turned = Movement(context.graph, f"{name}_rows", node.kind).axis_last(
        x.tensor, softmax_axis(context, node, x)
    )
    return Pending(
        name,
        kind,
        node.kind,
        (rows.name,),
        shape,
        x.order,
        lambda _: attributes,
        unstated=unstated,
        clamps=False,
        rows=x.rows,
        turned=turned,
    )


RULES: dict[str, Rule] = {
    "Clip": Rule(_clip, (1, 3), frozenset({"min", "max"})),
    "LogSoftmax": Rule(_log_softmax, (1, 1), frozenset({"axis"})),
    "Max": Rule(_extreme(is_maximum=True), (2, 2)),
    "Min": Rule(_extreme(is_maximum=False), (2, 2)),
    "PRelu": Rule(_prelu, (2, 2)),
    "Relu": Rule(_relu, (1, 1)),
    "Softmax": Rule(_softmax, (1, 1), frozenset({"axis"})),
}
