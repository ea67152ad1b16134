"""Pools, MEAN, REDUCE_MAX and REDUCE_MIN."""

from __future__ import annotations

from collections.abc import Callable

from tflite import BuiltinOperator

from mcutrain.graph.attributes import MeanAttributes, PoolAttributes, RequantizeAttributes
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import INT8_RANGE, UnsupportedError, add_maximum, add_minimum
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import WINDOW, Context, Rule, explicit_padding, fused_clamp, positive_pair


def _pool(kind: str) -> Callable[[Context, FileOperator], None]:
    def rule(m: Context, op: FileOperator) -> None:
        x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
        kernel, stride = positive_pair(op, "FilterHeight", "FilterWidth"), positive_pair(op, "StrideH", "StrideW")
        attributes = PoolAttributes(kernel, stride, explicit_padding(op, x, kernel, stride))
        clamp = fused_clamp(op, y)
        if clamp == INT8_RANGE:
            m.emit(op, kind, (x.name,), y.name, attributes)
            return
        pooled = m.graph.add_tensor(Tensor(f"{y.name}_unclamped", y.shape, "int8", y.quantization))
        m.emit(op, kind, (x.name,), pooled, attributes)
        m.graph.add_operator(
            f"{kind}{op.index}_clamp", "requantize", (pooled,), y.name, RequantizeAttributes(clamp), op.kind
        )

    return rule


def _reduced(m: Context, op: FileOperator) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Input, output and the Graph's axes of a reduction."""
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    rank = len(x.shape) + 1
    stated = [int(a) for a in m.values(op.inputs[1], "int32").reshape(-1)]
    axes = sorted({a % rank for a in stated if -rank <= a < rank})
    if not axes or axes[0] == 0 or any(not -rank <= a < rank for a in stated):
        raise UnsupportedError(f"it reduces {rank} dimensions over the axes {stated}; the first one is the batch")
    return x, y, tuple(a - 1 for a in axes)


def _mean(m: Context, op: FileOperator) -> None:
    x, y, axes = _reduced(m, op)
    m.emit(op, "mean", (x.name,), y.name, MeanAttributes(axes=axes))


def _reduce_max(m: Context, op: FileOperator) -> None:
    x, y, axes = _reduced(m, op)
    add_maximum(m.graph, f"max_pool{op.index}", x, y, axes, op.kind)


def _reduce_min(m: Context, op: FileOperator) -> None:
    x, y, axes = _reduced(m, op)
    add_minimum(m.graph, f"minimum{op.index}", x, y, axes, op.kind)


_POOL = ("Pool2DOptions", (*WINDOW, "FilterHeight", "FilterWidth"))


RULES: dict[int, Rule] = {
    BuiltinOperator.AVERAGE_POOL_2D: Rule("AVERAGE_POOL_2D", _pool("average_pool"), (1, 1), _POOL),
    BuiltinOperator.MAX_POOL_2D: Rule("MAX_POOL_2D", _pool("max_pool"), (1, 1), _POOL),
    BuiltinOperator.MEAN: Rule("MEAN", _mean, (2, 2)),
    BuiltinOperator.REDUCE_MAX: Rule("REDUCE_MAX", _reduce_max, (2, 2)),
    BuiltinOperator.REDUCE_MIN: Rule("REDUCE_MIN", _reduce_min, (2, 2)),
}
