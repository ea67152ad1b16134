"""LOG_SOFTMAX, MAXIMUM, MINIMUM, PRELU, QUANTIZE, stand-alone activations and SOFTMAX."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from tflite import BuiltinOperator

from mcutrain.graph.attributes import (
    LogSoftmaxAttributes,
    PreluAttributes,
    RequantizeAttributes,
    SoftmaxAttributes,
)
from mcutrain.graph.model import Quantization
from mcutrain.importers.common import UnsupportedError, activation_clamp, is_usable_scale
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import LIMITS, Context, Rule


def _requantize(limits: str) -> Callable[[Context, FileOperator], None]:
    def rule(m: Context, op: FileOperator) -> None:
        x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
        clamp = activation_clamp(*LIMITS[limits], y.scale, y.zero_point)
        m.emit(op, "requantize", (x.name,), y.name, RequantizeAttributes(clamp, float32_quotient=op.kind != "QUANTIZE"))

    return rule


def _prelu(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    stored, codes = m.model.tensors[op.inputs[1]], m.values(op.inputs[1], "int8").astype(np.int32)
    if stored.scale.size != 1 or stored.zero_point.size != 1 or not is_usable_scale(stored.scale):
        raise UnsupportedError(f"its alpha has {stored.scale.size} scales, or one that is no positive number")
    if codes.ndim == len(x.shape) + 1 and codes.shape[0] == 1:
        codes = codes[0]  # a batch of its own
    q = Quantization(stored.scale.astype(np.float32), np.zeros(1, np.int32))
    alpha = m.graph.constant(f"{y.name}_alpha", codes - np.int32(stored.zero_point[0]), q)
    m.emit(op, "prelu", (x.name, alpha), y.name, PreluAttributes())


def _extreme(*, is_maximum: bool) -> Callable[[Context, FileOperator], None]:
    """MINIMUM and MAXIMUM of a tensor and one constant: a clamp of codes."""

    def rule(m: Context, op: FileOperator) -> None:
        constants = [i for i in op.inputs if m.model.tensors[i].data is not None]
        if len(constants) != 1:
            raise UnsupportedError("it compares two tensors, not one with a constant")
        x, y = m.activation(next(i for i in op.inputs if i != constants[0])), m.activation(op.outputs[0])
        codes = m.values(constants[0], "int8")
        stored = m.model.tensors[constants[0]]
        if codes.min() != codes.max():
            raise UnsupportedError("its constant is not one number")
        alike = all(
            q.scale.size == 1 and q.scale[0] == np.float32(x.scale) and int(q.zero_point[0]) == x.zero_point
            for q in (stored, m.model.tensors[op.outputs[0]])
        )
        if not alike:
            raise UnsupportedError("its operands and its output do not have one scale and zero point")
        limit = int(codes.reshape(-1)[0])
        clamp = (limit, 127) if is_maximum else (-128, limit)
        m.emit(op, "requantize", (x.name,), y.name, RequantizeAttributes(clamp))

    return rule


def _softmax(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    if not math.isclose(y.scale, 1 / 256, rel_tol=1e-3) or y.zero_point != -128:
        raise UnsupportedError(f"its output has scale {y.scale:g} and zero point {y.zero_point}, not 1/256 and -128")
    m.emit(op, "softmax", (x.name,), y.name, SoftmaxAttributes(float(op.options["Beta"])))


def _log_softmax(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    if y.scale != 1 / 16 or y.zero_point != 127:
        raise UnsupportedError(f"its output has scale {y.scale:g} and zero point {y.zero_point}, not 1/16 and 127")
    m.emit(op, "log_softmax", (x.name,), y.name, LogSoftmaxAttributes())


RULES: dict[int, Rule] = {
    BuiltinOperator.LOG_SOFTMAX: Rule("LOG_SOFTMAX", _log_softmax, (1, 1)),
    BuiltinOperator.MAXIMUM: Rule("MAXIMUM", _extreme(is_maximum=True), (2, 2)),
    BuiltinOperator.MINIMUM: Rule("MINIMUM", _extreme(is_maximum=False), (2, 2)),
    BuiltinOperator.PRELU: Rule("PRELU", _prelu, (2, 2)),
    BuiltinOperator.QUANTIZE: Rule("QUANTIZE", _requantize("NONE"), (1, 1)),
    BuiltinOperator.RELU: Rule("RELU", _requantize("RELU"), (1, 1)),
    BuiltinOperator.RELU6: Rule("RELU6", _requantize("RELU6"), (1, 1)),
    BuiltinOperator.RELU_0_TO_1: Rule("RELU_0_TO_1", _requantize("RELU_0_TO_1"), (1, 1)),
    BuiltinOperator.RELU_N1_TO_1: Rule("RELU_N1_TO_1", _requantize("RELU_N1_TO_1"), (1, 1)),
    BuiltinOperator.SOFTMAX: Rule("SOFTMAX", _softmax, (1, 1), ("SoftmaxOptions", ("Beta",))),
}
