"""EXPAND_DIMS, PAD, RESHAPE and SQUEEZE."""

from __future__ import annotations

from tflite import BuiltinOperator

from mcutrain.graph.attributes import PadAttributes, Padding, ReshapeAttributes
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import Context, Rule


def _pad(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    amounts = m.values(op.inputs[1], "int32", "int64")
    rank = len(x.shape) + 1
    if rank not in (3, 4) or amounts.shape != (rank, 2):
        raise UnsupportedError(f"it pads {rank} dimensions with {list(amounts.shape)} amounts")
    batch, *sides, channels = ((int(a), int(b)) for a, b in amounts)
    vertical, horizontal = ((0, 0), *sides) if len(sides) == 1 else sides
    if batch != (0, 0) or channels != (0, 0):
        raise UnsupportedError("it pads the batch or the channels")
    m.emit(op, "pad", (x.name,), y.name, PadAttributes(Padding(*vertical, *horizontal)))


def _reshape(m: Context, op: FileOperator) -> None:
    # The output tensor has the shape; the operand that repeats it only must not be computed.
    if len(op.inputs) > 1 and op.inputs[1] >= 0:
        m.values(op.inputs[1], "int32", "int64")
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    m.emit(op, "reshape", (x.name,), y.name, ReshapeAttributes())


def _same_values(m: Context, op: FileOperator) -> None:
    """SQUEEZE and EXPAND_DIMS: the output tensor has the shape, and the values keep their order."""
    if len(op.inputs) > 1:
        m.values(op.inputs[1], "int32", "int64")
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    m.emit(op, "reshape", (x.name,), y.name, ReshapeAttributes())


RULES: dict[int, Rule] = {
    BuiltinOperator.EXPAND_DIMS: Rule("EXPAND_DIMS", _same_values, (2, 2)),
    BuiltinOperator.PAD: Rule("PAD", _pad, (2, 2)),
    BuiltinOperator.RESHAPE: Rule("RESHAPE", _reshape, (1, 2)),
    BuiltinOperator.SQUEEZE: Rule("SQUEEZE", _same_values, (1, 1)),
}
