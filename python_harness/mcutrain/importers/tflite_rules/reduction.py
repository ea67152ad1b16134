"""Pools and MEAN."""

from __future__ import annotations

from collections.abc import Callable

from tflite import BuiltinOperator

from mcutrain.graph.attributes import MeanAttributes, PoolAttributes, RequantizeAttributes
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import INT8_RANGE, UnsupportedError
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


def _mean(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    rank = len(x.shape) + 1
    axes = sorted(int(a) % rank for a in m.values(op.inputs[1], "int32").reshape(-1) if -rank <= int(a) < rank)
    if rank not in (3, 4) or axes != list(range(1, rank - 1)):
        what = "an image over rows and columns, or of a sequence over its length"
        raise UnsupportedError(f"it is the mean of {rank} dimensions over {axes}, not of {what}")
    m.emit(op, "mean", (x.name,), y.name, MeanAttributes())


_POOL = ("Pool2DOptions", (*WINDOW, "FilterHeight", "FilterWidth"))


RULES: dict[int, Rule] = {
    BuiltinOperator.AVERAGE_POOL_2D: Rule("AVERAGE_POOL_2D", _pool("average_pool"), (1, 1), _POOL),
    BuiltinOperator.MAX_POOL_2D: Rule("MAX_POOL_2D", _pool("max_pool"), (1, 1), _POOL),
    BuiltinOperator.MEAN: Rule("MEAN", _mean, (2, 2)),
}
