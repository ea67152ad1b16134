"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED."""

from __future__ import annotations

from tflite import BuiltinOperator

from mcutrain.graph.attributes import ConvAttributes, Padding, ReshapeAttributes, dilated
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import WINDOW, Context, Rule, explicit_padding, fused_clamp, positive_pair

Pair = tuple[int, int]


def _geometry(op: FileOperator, x: Tensor, kernel: tuple[int, int]) -> tuple[Pair, Padding, Pair]:
    """Stride, explicit padding and dilation of a convolution of ``x``."""
    stride, dilation = positive_pair(op, "StrideH", "StrideW"), positive_pair(op, "DilationHFactor", "DilationWFactor")
    return stride, explicit_padding(op, x, dilated(kernel, dilation), stride), dilation


def _conv2d(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    shape = m.model.tensors[op.inputs[1]].shape
    if len(shape) != 4:
        raise UnsupportedError(f"its weights have {len(shape)} dimensions, not 4")
    stride, padding, dilation = _geometry(op, x, (shape[1], shape[2]))
    if shape[3] < 1 or x.shape[2] % shape[3]:
        raise UnsupportedError(
            f"its weights take {shape[3]} channels, of which its input of {x.shape[2]} is no multiple"
        )
    attributes = ConvAttributes(fused_clamp(op, y), stride, padding, dilation, x.shape[2] // shape[3])
    m.emit(op, "conv2d", (x.name, *m.weights(op, x)), y.name, attributes)


def _depthwise_conv2d(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    shape = m.model.tensors[op.inputs[1]].shape
    if len(shape) != 4 or shape[0] != 1:
        raise UnsupportedError(f"its weights have shape {list(shape)}, not [1, height, width, channels]")
    attributes = ConvAttributes(fused_clamp(op, y), *_geometry(op, x, (shape[1], shape[2])))
    m.emit(op, "depthwise_conv2d", (x.name, *m.weights(op, x, output_axis=3)), y.name, attributes)


def _fully_connected(m: Context, op: FileOperator) -> None:
    x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
    if op.options["WeightsFormat"] != 0:
        raise UnsupportedError("its weights are stored shuffled")
    attributes = ConvAttributes(fused_clamp(op, y))
    features = m.model.tensors[op.inputs[1]].shape[-1:]
    name = x.name
    if x.shape[-1:] != features or len(x.shape) != len(y.shape):
        if (x.elements,) != features:
            # LiteRT would make a batch of them.
            raise UnsupportedError(f"its weights take {list(features)} features, its input is {list(x.shape)}")
        # LiteRT flattens silently; the Graph says so.
        name = m.graph.add_tensor(Tensor(f"{x.name}_flat", (x.elements,), "int8", x.quantization))
        flatten = f"fully_connected{op.index}_flatten"
        m.graph.add_operator(flatten, "reshape", (x.name,), name, ReshapeAttributes(), op.kind)
    m.emit(op, "fully_connected", (name, *m.weights(op, x)), y.name, attributes)


_CONV2D = ("Conv2DOptions", (*WINDOW, "DilationHFactor", "DilationWFactor"))


_DEPTHWISE = ("DepthwiseConv2DOptions", _CONV2D[1])


_FULLY_CONNECTED = ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat"))


RULES: dict[int, Rule] = {
    BuiltinOperator.CONV_2D: Rule("CONV_2D", _conv2d, (2, 3), _CONV2D),
    BuiltinOperator.DEPTHWISE_CONV_2D: Rule("DEPTHWISE_CONV_2D", _depthwise_conv2d, (2, 3), _DEPTHWISE),
    BuiltinOperator.FULLY_CONNECTED: Rule("FULLY_CONNECTED", _fully_connected, (2, 3), _FULLY_CONNECTED),
}
