"""The operators of an int8 .tflite file: how each becomes an operator of the Graph.

To add an operator: a function from the file's operator to a Graph operator, and one entry in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tflite
from numpy.typing import NDArray
from tflite import ActivationFunctionType, BuiltinOperator

from mcutrain.graph.model import (
    AddAttributes,
    Attributes,
    ConvAttributes,
    MeanAttributes,
    PadAttributes,
    Padding,
    PoolAttributes,
    RequantizeAttributes,
    ReshapeAttributes,
    SoftmaxAttributes,
    Tensor,
)
from mcutrain.importers.common import (
    INT8_RANGE,
    GraphBuilder,
    UnsupportedError,
    activation_clamp,
    same_padding,
)
from mcutrain.importers.tflite_file import FileModel, FileOperator

# Real-valued limits of the fused and of the stand-alone activations.
_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
_ACTIVATION_NAMES = {v: k for k, v in vars(ActivationFunctionType).items() if isinstance(v, int)}


class Context(Protocol):
    """What a rule sees of the import under way."""

    graph: GraphBuilder
    model: FileModel

    def activation(self, index: int) -> Tensor:
        """The Graph's tensor for an activation of the file, without the batch."""

    def values(self, index: int, *dtypes: str) -> NDArray[np.generic]:
        """A constant of the file as an array of its shape."""

    def weights(self, op: FileOperator, x: Tensor, output_axis: int = 0) -> tuple[str, str]:
        """Add the weights and the bias of an operator with inputs (x, weights[, bias]); their names."""

    def emit(self, op: FileOperator, kind: str, inputs: tuple[str, ...], output: str, attributes: Attributes) -> None:
        """Add the Graph operator for ``op``."""


def _fused_clamp(op: FileOperator, y: Tensor) -> tuple[int, int]:
    name = _ACTIVATION_NAMES.get(int(op.options["FusedActivationFunction"]), "an unknown one")
    if name not in _LIMITS:
        raise UnsupportedError(f"its fused activation is {name}")
    return activation_clamp(*_LIMITS[name], y.scale, y.zero_point)


def _positive(op: FileOperator, vertical: str, horizontal: str) -> tuple[int, int]:
    pair = int(op.options[vertical]), int(op.options[horizontal])
    if min(pair) < 1:
        raise UnsupportedError(f"its {vertical} and {horizontal} are {pair[0]} and {pair[1]}")
    return pair


def _explicit_padding(op: FileOperator, x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Padding:
    if len(x.shape) != 3:
        raise UnsupportedError(f"its input has {len(x.shape) + 1} dimensions, not 4")
    if op.options["Padding"] == tflite.Padding.VALID:
        return Padding()
    if op.options["Padding"] != tflite.Padding.SAME:
        raise UnsupportedError("its padding is neither SAME nor VALID")
    return same_padding((x.shape[0], x.shape[1]), kernel, stride)


def _conv2d(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    stride = _positive(op, "StrideH", "StrideW")
    if _positive(op, "DilationHFactor", "DilationWFactor") != (1, 1):
        raise UnsupportedError("it is dilated")
    shape = m.model.tensors[op.inputs[1]].shape
    if len(shape) != 4:
        raise UnsupportedError(f"its weights have {len(shape)} dimensions, not 4")
    padding = _explicit_padding(op, x, (shape[1], shape[2]), stride)
    if len(x.shape) == 3 and shape[3] != x.shape[2]:
        raise UnsupportedError(f"it is grouped: weights of {shape[3]} input channels, an input of {x.shape[2]}")
    attributes = ConvAttributes(_fused_clamp(op, y), stride, padding)
    m.emit(op, "conv2d", (x.name, *m.weights(op, x)), y.name, attributes)


def _depthwise_conv2d(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    stride = _positive(op, "StrideH", "StrideW")
    if _positive(op, "DilationHFactor", "DilationWFactor") != (1, 1):
        raise UnsupportedError("it is dilated")
    shape = m.model.tensors[op.inputs[1]].shape
    if len(shape) != 4 or shape[0] != 1:
        raise UnsupportedError(f"its weights have shape {list(shape)}, not [1, height, width, channels]")
    padding = _explicit_padding(op, x, (shape[1], shape[2]), stride)
    attributes = ConvAttributes(_fused_clamp(op, y), stride, padding)
    m.emit(op, "depthwise_conv2d", (x.name, *m.weights(op, x, output_axis=3)), y.name, attributes)


def _fully_connected(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    if op.options["WeightsFormat"] != 0:
        raise UnsupportedError("its weights are stored shuffled")
    attributes = ConvAttributes(_fused_clamp(op, y))
    name = x.name
    if len(x.shape) != 1:
        # LiteRT flattens silently; the Graph says so.
        name = m.graph.add_tensor(Tensor(f"{x.name}_flat", (x.elements,), "int8", x.quantization))
        flatten = f"fully_connected{op.index}_flatten"
        m.graph.add_operator(flatten, "reshape", (x.name,), name, ReshapeAttributes(), op.kind)
    m.emit(op, "fully_connected", (name, *m.weights(op, x)), y.name, attributes)


def _add(m: Context, op: FileOperator) -> None:
    a, b, y = (m.activation(i) for i in (*op.inputs, *op.outputs))
    if a.shape != b.shape:
        raise UnsupportedError(f"it broadcasts {list(a.shape)} and {list(b.shape)}")
    m.emit(op, "add", (a.name, b.name), y.name, AddAttributes(_fused_clamp(op, y)))


def _pool(kind: str) -> Callable[[Context, FileOperator], None]:
    def rule(m: Context, op: FileOperator) -> None:
        x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
        kernel, stride = _positive(op, "FilterHeight", "FilterWidth"), _positive(op, "StrideH", "StrideW")
        attributes = PoolAttributes(kernel, stride, _explicit_padding(op, x, kernel, stride))
        clamp = _fused_clamp(op, y)
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
    if rank != 4 or axes != [1, 2]:
        raise UnsupportedError(
            f"it is the mean of {rank} dimensions over {axes}, not of an image over rows and columns"
        )
    m.emit(op, "mean", (x.name,), y.name, MeanAttributes())


def _pad(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    amounts = m.values(op.inputs[1], "int32", "int64")
    if amounts.shape != (4, 2) or len(x.shape) != 3:
        raise UnsupportedError(f"it pads {len(x.shape) + 1} dimensions with {list(amounts.shape)} amounts")
    batch, vertical, horizontal, channels = ((int(a), int(b)) for a, b in amounts)
    if batch != (0, 0) or channels != (0, 0):
        raise UnsupportedError("it pads the batch or the channels")
    m.emit(op, "pad", (x.name,), y.name, PadAttributes(Padding(*vertical, *horizontal)))


def _reshape(m: Context, op: FileOperator) -> None:
    # The output tensor has the shape; the operand that repeats it only must not be computed.
    if len(op.inputs) > 1 and op.inputs[1] >= 0:
        m.values(op.inputs[1], "int32")
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    m.emit(op, "reshape", (x.name,), y.name, ReshapeAttributes())


def _requantize(limits: str) -> Callable[[Context, FileOperator], None]:
    def rule(m: Context, op: FileOperator) -> None:
        x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
        clamp = activation_clamp(*_LIMITS[limits], y.scale, y.zero_point)
        m.emit(op, "requantize", (x.name,), y.name, RequantizeAttributes(clamp, float32_quotient=op.kind != "QUANTIZE"))

    return rule


def _softmax(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    m.emit(op, "softmax", (x.name,), y.name, SoftmaxAttributes(float(op.options["Beta"])))


@dataclass(frozen=True)
class Rule:
    """How one operator of the file is imported.

    inputs: fewest and most operands. options: the operator's options table and the fields of it that matter.
    """

    name: str
    function: Callable[[Context, FileOperator], None]
    inputs: tuple[int, int]
    options: tuple[str, tuple[str, ...]] | None = None


_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_CONV2D = ("Conv2DOptions", (*_WINDOW, "DilationHFactor", "DilationWFactor"))
_DEPTHWISE = ("DepthwiseConv2DOptions", _CONV2D[1])
_POOL = ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth"))
_FULLY_CONNECTED = ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat"))

RULES: dict[int, Rule] = {
    BuiltinOperator.ADD: Rule("ADD", _add, (2, 2), ("AddOptions", ("FusedActivationFunction",))),
    BuiltinOperator.AVERAGE_POOL_2D: Rule("AVERAGE_POOL_2D", _pool("average_pool"), (1, 1), _POOL),
    BuiltinOperator.CONV_2D: Rule("CONV_2D", _conv2d, (2, 3), _CONV2D),
    BuiltinOperator.DEPTHWISE_CONV_2D: Rule("DEPTHWISE_CONV_2D", _depthwise_conv2d, (2, 3), _DEPTHWISE),
    BuiltinOperator.FULLY_CONNECTED: Rule("FULLY_CONNECTED", _fully_connected, (2, 3), _FULLY_CONNECTED),
    BuiltinOperator.MAX_POOL_2D: Rule("MAX_POOL_2D", _pool("max_pool"), (1, 1), _POOL),
    BuiltinOperator.MEAN: Rule("MEAN", _mean, (2, 2)),
    BuiltinOperator.PAD: Rule("PAD", _pad, (2, 2)),
    BuiltinOperator.QUANTIZE: Rule("QUANTIZE", _requantize("NONE"), (1, 1)),
    BuiltinOperator.RELU: Rule("RELU", _requantize("RELU"), (1, 1)),
    BuiltinOperator.RELU6: Rule("RELU6", _requantize("RELU6"), (1, 1)),
    BuiltinOperator.RELU_N1_TO_1: Rule("RELU_N1_TO_1", _requantize("RELU_N1_TO_1"), (1, 1)),
    BuiltinOperator.RESHAPE: Rule("RESHAPE", _reshape, (1, 2)),
    BuiltinOperator.SOFTMAX: Rule("SOFTMAX", _softmax, (1, 1), ("SoftmaxOptions", ("Beta",))),
}
