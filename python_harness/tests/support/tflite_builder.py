"""Write small int8 .tflite models for tests, and run them in LiteRT's reference kernels.

Tests compare our importers and kernels with LiteRT on operators of any geometry; TensorFlow, which would normally write
such files, is not a dependency, so this module writes the flatbuffer itself.

One operator::

    model = conv2d_model((8, 8, 3), weights, bias, stride=(2, 2), padding="SAME", activation="RELU",
                         input=(0.05, -3), weight_scale=[0.01] * 16, output=(0.1, 4))
    y = run_litert(model, x)        # x int8 (8, 8, 3) -> y int8 (4, 4, 16)

A small graph::

    b = Builder()
    x = b.tensor("x", (1, 4, 4, 2), quantization=(0.1, 0))
    y = b.tensor("y", (1, 4, 4, 2), quantization=(0.05, -128))
    b.operator("RELU", [x], [y])
    model = b.build(inputs=[x], outputs=[y])

Shapes given to ``Builder.tensor`` are the file's and so include the batch; shapes given to the ``*_model`` functions,
and the arrays of ``run_litert``, leave it out as ``mcutrain.graph`` does. A quantisation is (scale, zero point).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tflite
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import ArrayLike, NDArray

from support.tflite_writer import Builder

__all__ = [
    "Builder",
    "add_model",
    "add_weights",
    "conv2d_model",
    "depthwise_conv2d_model",
    "fully_connected_model",
    "mean_model",
    "output_size",
    "pad_model",
    "pool_model",
    "reduced_model",
    "run_litert",
    "softmax_model",
    "unary_model",
]

Quantization = tuple[float, int]
Int8Array = NDArray[np.int8]

ACTIVATIONS: dict[str, int] = {
    "NONE": tflite.ActivationFunctionType.NONE,
    "RELU": tflite.ActivationFunctionType.RELU,
    "RELU6": tflite.ActivationFunctionType.RELU6,
    "RELU_N1_TO_1": tflite.ActivationFunctionType.RELU_N1_TO_1,
    "TANH": tflite.ActivationFunctionType.TANH,
}

PADDINGS: dict[str, int] = {"SAME": tflite.Padding.SAME, "VALID": tflite.Padding.VALID}


def output_size(size: int, kernel: int, stride: int, padding: str) -> int:
    """Length of one side of the output of a convolution or pool, SAME or VALID."""
    return -(-size // stride) if padding == "SAME" else (size - kernel) // stride + 1


def conv2d_model(
    input_shape: tuple[int, int, int],
    weights: Int8Array,
    bias: NDArray[np.int32] | None,
    *,
    input: Quantization,
    weight_scale: ArrayLike,
    output: Quantization,
    stride: tuple[int, int] = (1, 1),
    padding: str = "VALID",
    activation: str = "NONE",
    dilation: tuple[int, int] = (1, 1),
) -> bytes:
    """CONV_2D. weights (out, kernel_height, kernel_width, in); weight_scale one number or one per output channel.

    LiteRT refuses to run a quantised convolution without a bias; None serves tests of the importer.
    """
    out_channels, kernel_height, kernel_width, _ = weights.shape
    height = output_size(input_shape[0], dilation[0] * (kernel_height - 1) + 1, stride[0], padding)
    width = output_size(input_shape[1], dilation[1] * (kernel_width - 1) + 1, stride[1], padding)
    b = Builder()
    x = b.tensor("x", (1, *input_shape), quantization=input)
    operands = [x, *add_weights(b, weights, bias, input_scale=input[0], weight_scale=weight_scale)]
    y = b.tensor("y", (1, height, width, out_channels), quantization=output)
    b.operator(
        "CONV_2D",
        operands,
        [y],
        {
            "Padding": PADDINGS[padding],
            "StrideH": stride[0],
            "StrideW": stride[1],
            "DilationHFactor": dilation[0],
            "DilationWFactor": dilation[1],
            "FusedActivationFunction": ACTIVATIONS[activation],
        },
    )
    return b.build([x], [y])


def depthwise_conv2d_model(
    input_shape: tuple[int, int, int],
    weights: Int8Array,
    bias: NDArray[np.int32],
    *,
    input: Quantization,
    weight_scale: ArrayLike,
    output: Quantization,
    stride: tuple[int, int] = (1, 1),
    padding: str = "VALID",
    activation: str = "NONE",
    dilation: tuple[int, int] = (1, 1),
) -> bytes:
    """DEPTHWISE_CONV_2D. weights (out, kernel_height, kernel_width) as in the Graph; the file has (1, kh, kw, out)."""
    out_channels, kernel_height, kernel_width = weights.shape
    height = output_size(input_shape[0], dilation[0] * (kernel_height - 1) + 1, stride[0], padding)
    width = output_size(input_shape[1], dilation[1] * (kernel_width - 1) + 1, stride[1], padding)
    scale = np.atleast_1d(np.asarray(weight_scale, np.float32))
    stored = np.ascontiguousarray(weights.transpose(1, 2, 0)[np.newaxis])
    b = Builder()
    x = b.tensor("x", (1, *input_shape), quantization=input)
    w = b.tensor("weights", stored.shape, quantization=(scale, 0), data=stored, axis=3)
    c = b.tensor("bias", bias.shape, "int32", quantization=(np.float32(input[0]) * scale, 0), data=bias)
    y = b.tensor("y", (1, height, width, out_channels), quantization=output)
    options = {
        "Padding": PADDINGS[padding],
        "StrideH": stride[0],
        "StrideW": stride[1],
        "DepthMultiplier": out_channels // input_shape[2],
        "DilationHFactor": dilation[0],
        "DilationWFactor": dilation[1],
        "FusedActivationFunction": ACTIVATIONS[activation],
    }
    b.operator("DEPTHWISE_CONV_2D", [x, w, c], [y], options)
    return b.build([x], [y])


def mean_model(
    input_shape: tuple[int, int, int],
    *,
    input: Quantization,
    output: Quantization,
    keep_dims: bool,
    axes: Sequence[int] = (1, 2),
) -> bytes:
    """MEAN of an image over its rows and columns; ``axes`` counts the batch."""
    b = Builder()
    x = b.tensor("x", (1, *input_shape), quantization=input)
    indices = b.tensor("axes", (len(axes),), "int32", data=np.asarray(axes, np.int32))
    shape = (1, 1, 1, input_shape[2]) if keep_dims else (1, input_shape[2])
    y = b.tensor("y", shape, quantization=output)
    b.operator("MEAN", [x, indices], [y], {"KeepDims": keep_dims})
    return b.build([x], [y])


def reduced_model(
    kind: str,
    shape: tuple[int, ...],
    axes: Sequence[int],
    *,
    input: Quantization,
    output: Quantization,
    keep_dims: bool = True,
) -> bytes:
    """MEAN or REDUCE_MAX over ``axes``, which do not count the batch."""
    b = Builder()
    x = b.tensor("x", (1, *shape), quantization=input)
    indices = b.tensor("axes", (len(axes),), "int32", data=np.asarray(axes, np.int32) + 1)
    sides = [1 if axis in axes else n for axis, n in enumerate(shape) if keep_dims or axis not in axes]
    y = b.tensor("y", (1, *sides), quantization=output)
    b.operator(kind, [x, indices], [y], {"KeepDims": keep_dims})
    return b.build([x], [y])


def fully_connected_model(
    weights: Int8Array,
    bias: NDArray[np.int32] | None,
    *,
    input: Quantization,
    weight_scale: ArrayLike,
    output: Quantization,
    activation: str = "NONE",
) -> bytes:
    """FULLY_CONNECTED. weights (out_features, in_features); weight_scale one number or one per output feature."""
    b = Builder()
    x = b.tensor("x", (1, weights.shape[1]), quantization=input)
    operands = [x, *add_weights(b, weights, bias, input_scale=input[0], weight_scale=weight_scale)]
    y = b.tensor("y", (1, weights.shape[0]), quantization=output)
    b.operator("FULLY_CONNECTED", operands, [y], {"FusedActivationFunction": ACTIVATIONS[activation]})
    return b.build([x], [y])


def add_weights(
    b: Builder,
    weights: Int8Array,
    bias: NDArray[np.int32] | None,
    *,
    input_scale: float,
    weight_scale: ArrayLike,
    name: str = "",
) -> list[int]:
    """Add the constants of a convolution or fully connected operator; their tensor indices."""
    scale = np.atleast_1d(np.asarray(weight_scale, np.float32))
    w = b.tensor(f"{name}weights", weights.shape, quantization=(scale, 0), data=weights)
    if bias is None:
        return [w]
    bias_scale = np.float32(input_scale) * scale
    return [w, b.tensor(f"{name}bias", bias.shape, "int32", quantization=(bias_scale, 0), data=bias)]


def add_model(
    shape: tuple[int, ...], *, a: Quantization, b: Quantization, output: Quantization, activation: str = "NONE"
) -> bytes:
    """ADD of two inputs of one shape."""
    builder = Builder()
    inputs = [builder.tensor("a", (1, *shape), quantization=a), builder.tensor("b", (1, *shape), quantization=b)]
    y = builder.tensor("y", (1, *shape), quantization=output)
    builder.operator("ADD", inputs, [y], {"FusedActivationFunction": ACTIVATIONS[activation]})
    return builder.build(inputs, [y])


def pool_model(
    kind: str,
    input_shape: tuple[int, int, int],
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    quantization: Quantization,
    padding: str = "VALID",
    activation: str = "NONE",
) -> bytes:
    """kind: AVERAGE_POOL_2D or MAX_POOL_2D; input and output share their quantisation, as the converter writes it."""
    b = Builder()
    sides = (output_size(input_shape[i], kernel[i], stride[i], padding) for i in range(2))
    x = b.tensor("x", (1, *input_shape), quantization=quantization)
    y = b.tensor("y", (1, *sides, input_shape[2]), quantization=quantization)
    b.operator(
        kind,
        [x],
        [y],
        {
            "Padding": PADDINGS[padding],
            "StrideH": stride[0],
            "StrideW": stride[1],
            "FilterHeight": kernel[0],
            "FilterWidth": kernel[1],
            "FusedActivationFunction": ACTIVATIONS[activation],
        },
    )
    return b.build([x], [y])


def pad_model(
    input_shape: tuple[int, int, int], paddings: Sequence[tuple[int, int]], *, quantization: Quantization
) -> bytes:
    """PAD. paddings: (before, after) of each of the four dimensions, batch first."""
    b = Builder()
    x = b.tensor("x", (1, *input_shape), quantization=quantization)
    amounts = b.tensor("paddings", (4, 2), "int32", data=np.asarray(paddings, np.int32))
    padded = [n + sum(p) for n, p in zip((1, *input_shape), paddings, strict=True)]
    y = b.tensor("y", padded, quantization=quantization)
    b.operator("PAD", [x, amounts], [y])
    return b.build([x], [y])


def unary_model(
    kind: str,
    shape: tuple[int, ...],
    *,
    input: Quantization,
    output: Quantization,
    output_shape: tuple[int, ...] | None = None,
    options: Mapping[str, int | float | bool] | None = None,
) -> bytes:
    """An operator of one int8 tensor: RELU, RELU6, RELU_N1_TO_1, QUANTIZE, RESHAPE (needs output_shape)."""
    b = Builder()
    x = b.tensor("x", (1, *shape), quantization=input)
    result = (1, *(output_shape or shape))
    operands = [x]
    if kind == "RESHAPE":
        operands.append(b.tensor("new_shape", (len(result),), "int32", data=np.asarray(result, np.int32)))
    y = b.tensor("y", result, quantization=output)
    b.operator(kind, operands, [y], options)
    return b.build([x], [y])


def softmax_model(shape: tuple[int, ...], *, input: Quantization, beta: float = 1.0) -> bytes:
    """SOFTMAX over the last axis, output at scale 1/256 and zero point -128 as LiteRT demands."""
    return unary_model("SOFTMAX", shape, input=input, output=(1 / 256, -128), options={"Beta": beta})


def run_litert(
    model: bytes, *inputs: NDArray[np.generic], kernels: str = "BUILTIN_REF", output: int = 0
) -> NDArray[np.generic]:
    """Run one inference in LiteRT with its reference kernels (the default delegate rounds otherwise), or other ones.

    inputs: in the order of the file, without the batch. output: which of the file's to return, without the batch.
    """
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType[kernels], num_threads=1)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value[np.newaxis])
    interpreter.invoke()
    result: NDArray[np.generic] = interpreter.get_tensor(interpreter.get_output_details()[output]["index"])[0]
    return result
