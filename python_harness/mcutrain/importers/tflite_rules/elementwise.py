"""ADD, QUANTIZE, stand-alone activations and SOFTMAX."""

from __future__ import annotations

import math
from collections.abc import Callable

from tflite import BuiltinOperator

from mcutrain.graph.attributes import AddAttributes, RequantizeAttributes, SoftmaxAttributes
from mcutrain.importers.common import UnsupportedError, activation_clamp
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import LIMITS, Context, Rule, fused_clamp


def _add(m: Context, op: FileOperator) -> None:
    a, b, y = (m.activation(i) for i in (*op.inputs, *op.outputs))
    if a.shape != b.shape:
        raise UnsupportedError(f"it broadcasts {list(a.shape)} and {list(b.shape)}")
    m.emit(op, "add", (a.name, b.name), y.name, AddAttributes(fused_clamp(op, y)))


def _requantize(limits: str) -> Callable[[Context, FileOperator], None]:
    def rule(m: Context, op: FileOperator) -> None:
        x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
        clamp = activation_clamp(*LIMITS[limits], y.scale, y.zero_point)
        m.emit(op, "requantize", (x.name,), y.name, RequantizeAttributes(clamp, float32_quotient=op.kind != "QUANTIZE"))

    return rule


def _softmax(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    if not math.isclose(y.scale, 1 / 256, rel_tol=1e-3) or y.zero_point != -128:
        raise UnsupportedError(f"its output has scale {y.scale:g} and zero point {y.zero_point}, not 1/256 and -128")
    m.emit(op, "softmax", (x.name,), y.name, SoftmaxAttributes(float(op.options["Beta"])))


RULES: dict[int, Rule] = {
    BuiltinOperator.ADD: Rule("ADD", _add, (2, 2), ("AddOptions", ("FusedActivationFunction",))),
    BuiltinOperator.QUANTIZE: Rule("QUANTIZE", _requantize("NONE"), (1, 1)),
    BuiltinOperator.RELU: Rule("RELU", _requantize("RELU"), (1, 1)),
    BuiltinOperator.RELU6: Rule("RELU6", _requantize("RELU6"), (1, 1)),
    BuiltinOperator.RELU_N1_TO_1: Rule("RELU_N1_TO_1", _requantize("RELU_N1_TO_1"), (1, 1)),
    BuiltinOperator.SOFTMAX: Rule("SOFTMAX", _softmax, (1, 1), ("SoftmaxOptions", ("Beta",))),
}
