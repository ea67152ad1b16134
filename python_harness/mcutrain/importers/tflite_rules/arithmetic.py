"""ADD, MUL and SUB, whose operands may be repeated, and one of them a constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tflite import BuiltinOperator

from mcutrain.graph.attributes import AddAttributes, Attributes, MultiplyAttributes
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers.common import UnsupportedError, quoted
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import Context, Rule, fused_clamp


def _operand(m: Context, index: int, rank: int) -> str:
    """The name of an operand; a constant gets the ``rank`` dimensions of the output, without the batch."""
    t = m.model.tensors[index]
    if t.data is None:
        return m.activation(index).name
    values = m.values(index, "int8")
    shape = (1,) * (rank + 1 - values.ndim) + values.shape
    if shape[0] != 1 or len(shape) != rank + 1:
        raise UnsupportedError(f"constant {quoted(t.name)} has the shape {list(values.shape)}")
    if t.scale.size != 1 or t.zero_point.size != 1:
        raise UnsupportedError(f"constant {quoted(t.name)} has {t.scale.size} scales, where one is needed")
    quantization = Quantization(t.scale.astype(np.float32), t.zero_point.astype(np.int32))
    return m.graph.constant(f"constant{index}_of_rank{rank}", values.reshape(shape[1:]), quantization)


def _broadcast_to(shapes: list[tuple[int, ...]], shape: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(*shapes) == shape
    except ValueError:
        return False


def _rule(kind: str, attributes: Callable[[tuple[int, int]], Attributes]) -> Callable[[Context, FileOperator], None]:
    def rule(m: Context, op: FileOperator) -> None:
        y: Tensor = m.activation(op.outputs[0])
        if all(m.model.tensors[i].data is not None for i in op.inputs):
            raise UnsupportedError("both of its operands are constants")
        a, b = (_operand(m, i, len(y.shape)) for i in op.inputs)
        shapes = [m.graph.tensors[name].shape for name in (a, b)]
        if not _broadcast_to(shapes, y.shape):
            stated = " and ".join(str(list(shape)) for shape in shapes)
            raise UnsupportedError(f"it broadcasts {stated} to {list(y.shape)}")
        m.emit(op, kind, (a, b), y.name, attributes(fused_clamp(op, y)))

    return rule


_FUSED = ("FusedActivationFunction",)


RULES: dict[int, Rule] = {
    BuiltinOperator.ADD: Rule("ADD", _rule("add", AddAttributes), (2, 2), ("AddOptions", _FUSED)),
    BuiltinOperator.MUL: Rule("MUL", _rule("multiply", MultiplyAttributes), (2, 2), ("MulOptions", _FUSED)),
    BuiltinOperator.SUB: Rule(
        "SUB", _rule("add", lambda clamp: AddAttributes(clamp, subtracts=True)), (2, 2), ("SubOptions", _FUSED)
    ),
}
