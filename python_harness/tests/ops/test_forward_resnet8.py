"""Every tensor inside the published ResNet8: golden, both C forms and LiteRT agree to the bit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mcutrain.graph.attributes import AddAttributes, ConvAttributes, PoolAttributes
from mcutrain.graph.model import Graph, Operator, Tensor
from mcutrain.importers import load_model
from mcutrain.ops.add import ADD_S8, AddS8Params
from mcutrain.ops.add_linear import with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.average_pool import AVERAGE_POOL_S8, PoolS8Params
from mcutrain.ops.base import Window, mask_words
from mcutrain.ops.conv2d import CONV2D_S8, Conv2dS8Params
from mcutrain.ops.softmax import SOFTMAX_S8, softmax_params
from support.ckernels import run_everywhere

MODELS = os.environ.get("MCUTRAIN_MODELS")
RESNET8 = Path(MODELS or ".") / "mlperf_tiny" / "pretrainedResnet_quant.tflite"

Codes = NDArray[np.int8]
Values = dict[str, Codes]


def output_buffers(y: Tensor) -> dict[str, Any]:
    return {"y": np.full(y.shape, 99, np.int8), "inside": np.zeros(mask_words(y.elements), np.uint32)}


def convolution(graph: Graph, op: Operator, values: Values) -> Codes:
    assert isinstance(op.attributes, ConvAttributes)
    x, weights, bias = (graph.tensors[name] for name in op.inputs)
    y = graph.tensors[op.outputs[0]]
    assert weights.data is not None
    assert weights.quantization is not None
    assert bias.data is not None
    if op.kind == "fully_connected":
        window = Window(1, 1, x.elements, 1, 1, y.elements, 1, 1, 1, 1, 0, 0)
    else:
        border, kernel = op.attributes.padding, weights.shape[1:3]
        in_height, in_width, in_channels = x.shape
        out_height, out_width, channels = y.shape
        sizes = (in_height, in_width, in_channels, out_height, out_width, channels)
        window = Window(*sizes, kernel[0], kernel[1], *op.attributes.stride, border.top, border.left)
    weight_scale = np.broadcast_to(weights.quantization.scale.astype(np.float64), (window.out_channels,))
    multipliers = [quantise_multiplier(x.scale * float(s) / y.scale) for s in weight_scale]
    inputs = {
        "x": values[x.name],
        "weights": weights.data,
        "bias": bias.data,
        "multiplier": np.array([m for m, _ in multipliers], np.int32),
        "shift": np.array([s for _, s in multipliers], np.int32),
    }
    once = int(op.kind == "fully_connected")
    params = Conv2dS8Params(window, x.zero_point, y.zero_point, *op.attributes.clamp, single_rounding=once)
    return run_everywhere(CONV2D_S8, params, inputs, output_buffers(y))["y"]


def add(graph: Graph, op: Operator, values: Values) -> Codes:
    assert isinstance(op.attributes, AddAttributes)
    a, b = (graph.tensors[name] for name in op.inputs)
    y = graph.tensors[op.outputs[0]]
    twice = 2.0 * max(a.scale, b.scale)
    a_pair, b_pair = quantise_multiplier(a.scale / twice), quantise_multiplier(b.scale / twice)
    y_pair = quantise_multiplier(twice / (2.0**20 * y.scale))
    zero_points = (a.zero_point, b.zero_point, y.zero_point)
    params = AddS8Params(y.elements, *zero_points, *a_pair, *b_pair, *y_pair, 20, *op.attributes.clamp)
    inputs = {"a": values[a.name], "b": values[b.name]}
    return run_everywhere(ADD_S8, with_linear_form(params), inputs, output_buffers(y))["y"]


def average_pool(graph: Graph, op: Operator, values: Values) -> Codes:
    assert isinstance(op.attributes, PoolAttributes)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    p = op.attributes
    in_height, in_width, channels = x.shape
    out_height, out_width, _ = y.shape if len(y.shape) == 3 else (1, 1, channels)
    sizes = (in_height, in_width, channels, out_height, out_width, channels)
    window = Window(*sizes, *p.kernel, *p.stride, p.padding.top, p.padding.left)
    outputs = {"y": np.full(y.shape, 99, np.int8)}
    return run_everywhere(AVERAGE_POOL_S8, PoolS8Params(window), {"x": values[x.name]}, outputs)["y"]


def reshape(graph: Graph, op: Operator, values: Values) -> Codes:
    return values[op.inputs[0]].reshape(graph.tensors[op.outputs[0]].shape)


def softmax(graph: Graph, op: Operator, values: Values) -> Codes:
    x = graph.tensors[op.inputs[0]]
    params = softmax_params(x.shape, x.scale, 1.0)
    outputs = {"y": np.full(x.shape, 99, np.int8)}
    return run_everywhere(SOFTMAX_S8, params, {"x": values[x.name]}, outputs)["y"]


RUN: dict[str, Callable[[Graph, Operator, Values], Codes]] = {
    "conv2d": convolution,
    "fully_connected": convolution,
    "add": add,
    "average_pool": average_pool,
    "reshape": reshape,
    "softmax": softmax,
}


@pytest.mark.skipif(
    not RESNET8.is_file(), reason="MCUTRAIN_MODELS does not hold mlperf_tiny/pretrainedResnet_quant.tflite"
)
@pytest.mark.parametrize("seed", range(3))
def test_every_tensor_of_resnet8_is_bit_exact_to_litert(seed: int) -> None:
    graph = load_model(RESNET8)
    interpreter = Interpreter(
        model_path=str(RESNET8),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    generator = np.random.default_rng(seed)
    # Smooth images: noise alone would leave most channels clamped.
    image = np.kron(generator.integers(-128, 128, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.int8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
    interpreter.invoke()
    index = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}

    values: Values = {graph.input: image}
    compared = 0
    for op in graph.operators:
        y = graph.tensors[op.outputs[0]]
        values[y.name] = RUN[op.kind](graph, op, values)
        expected = interpreter.get_tensor(index[y.name])
        np.testing.assert_array_equal(values[y.name].reshape(-1), expected.reshape(-1), err_msg=op.name)
        compared += int(np.unique(expected).size > 1)
    assert compared == len(graph.operators) == 16
