"""Convolutions with dilated taps and in groups mean as a Graph what LiteRT and onnxruntime make of the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, Padding
from mcutrain.importers import load_model
from support.graph_reference import quantized
from support.inference import golden_output
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx
from support.tflite_builder import conv2d_model, depthwise_conv2d_model, run_litert

SIZE = (11, 9)


def random_codes(*shape: int, seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def load(tmp_path: Path, model: bytes, suffix: str = "tflite") -> Graph:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(model)
    return load_model(path)


def convolution_of(graph: Graph) -> ConvAttributes:
    attributes = graph.operators[0].attributes
    assert isinstance(attributes, ConvAttributes)
    return attributes


def assert_bit_exact(graph: Graph, model: bytes) -> None:
    codes = random_codes(*graph.tensors[graph.input].shape, seed=1)
    expected = run_litert(model, codes)
    assert np.unique(expected).size > 20
    np.testing.assert_array_equal(golden_output(graph, codes), expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (2, 3)), ((2, 1), (2, 2)), ((2, 3), (1, 2))])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_tflite_convolution_has_litert_s_bits(
    tmp_path: Path, padding: str, stride: tuple[int, int], dilation: tuple[int, int], groups: int
) -> None:
    model = conv2d_model(
        (*SIZE, 4), random_codes(8, 3, 3, 4 // groups), 300 * np.arange(8, dtype=np.int32), stride=stride,
        padding=padding, dilation=dilation, input=(0.05, -3), weight_scale=np.linspace(0.01, 0.03, 8), output=(0.4, 9),
    )  # fmt: skip
    graph = load(tmp_path, model)
    assert (convolution_of(graph).dilation, convolution_of(graph).groups) == (dilation, groups)
    assert_bit_exact(graph, model)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_dilated_depthwise_tflite_convolution_has_litert_s_bits(tmp_path: Path, padding: str, outputs: int) -> None:
    model = depthwise_conv2d_model(
        (*SIZE, 3), random_codes(3 * outputs, 3, 3), 300 * np.arange(3 * outputs, dtype=np.int32), stride=(2, 1),
        padding=padding, dilation=(3, 2), input=(0.05, -3), weight_scale=0.02, output=(0.2, 9),
    )  # fmt: skip
    graph = load(tmp_path, model)
    assert (graph.operators[0].kind, convolution_of(graph).dilation) == ("depthwise_conv2d", (3, 2))
    assert_bit_exact(graph, model)


def test_same_padding_is_of_the_dilated_kernel(tmp_path: Path) -> None:
    model = conv2d_model(
        (8, 8, 1), random_codes(2, 3, 2, 1), np.zeros(2, np.int32), padding="SAME", dilation=(2, 3),
        input=(1, 0), weight_scale=0.01, output=(3, 0),
    )  # fmt: skip
    assert convolution_of(load(tmp_path, model)).padding == Padding(top=2, bottom=2, left=1, right=2)


def test_weights_that_are_no_whole_part_of_the_input_s_channels_are_refused(tmp_path: Path) -> None:
    model = conv2d_model(
        (*SIZE, 5), random_codes(4, 1, 1, 2), np.zeros(4, np.int32), input=(1, 0), weight_scale=0.01, output=(3, 0)
    )
    with pytest.raises(UsageError, match=r"CONV_2D #0 .*: its weights take 2 channels, of which its input of 5 is no"):
        load(tmp_path, model)
    odd = conv2d_model(
        (*SIZE, 4), random_codes(3, 1, 1, 2), np.zeros(3, np.int32), input=(1, 0), weight_scale=0.01, output=(3, 0)
    )
    with pytest.raises(UsageError, match=r"conv0: 2 groups of 4 input and 3 output channels are not whole"):
        load(tmp_path, odd)


def samples(*shape: int, count: int = 24) -> list[FloatArray]:
    random = np.random.default_rng(5)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def dilated_network() -> onnx.ModelProto:
    """As ResNeXt, DeepLab and ShuffleNet have them."""
    m = FloatModel((3, *SIZE))
    stem = m.node("Relu", m.conv("x", 8, 3, 3, dilations=[2, 2], pads=[2, 2, 2, 2]))
    grouped = m.node("Relu", m.conv(stem, 12, 8, 3, group=4, strides=[2, 1], pads=[1, 1, 1, 1]))
    pointwise = m.conv(grouped, 8, 12, 1, group=2)
    wide = m.node("Relu", m.conv(pointwise, 16, 8, 3, group=8, dilations=[2, 3], pads=[2, 3, 2, 3]))
    both = m.conv(wide, 6, 16, 2, group=2, dilations=[3, 1])
    return m.build(m.node("Gemm", m.node("ReduceMean", both, axes=[2, 3], keepdims=0), m.random(6, 5), m.random(5)))


@pytest.mark.parametrize("activation", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_an_onnx_network_is_within_a_code_of_onnxruntime(
    tmp_path: Path, activation: QuantType, per_channel: bool
) -> None:
    inputs = samples(3, *SIZE)
    model = quantize(dilated_network(), inputs[:12], activation=activation, per_channel=per_channel)
    graph = load(tmp_path, model.SerializeToString(), "onnx")
    layers = [op for op in graph.operators if op.kind.endswith("conv2d")]
    assert [(op.kind, op.attributes.dilation, op.attributes.groups) for op in layers] == [  # type: ignore[attr-defined]
        ("conv2d", (2, 2), 1), ("conv2d", (1, 1), 4), ("conv2d", (1, 1), 2), ("depthwise_conv2d", (2, 3), 1),
        ("conv2d", (3, 1), 2),
    ]  # fmt: skip
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    ours = np.stack([golden_output(graph, quantized(x, i.transpose(1, 2, 0))) for i in inputs]).astype(int)
    theirs = quantized(y, run_onnx(model, inputs)).astype(int)
    assert np.unique(theirs).size > 20
    assert (np.abs(ours - theirs) <= 1).mean() > 0.99


@pytest.mark.parametrize("group", [3, 0, -1])
def test_a_group_that_does_not_divide_the_output_channels_is_refused(tmp_path: Path, group: int) -> None:
    m = FloatModel((4, *SIZE))
    model = quantize(m.build(m.conv("x", 8, 4, 3, group=2), 4), samples(4, *SIZE))
    (node,) = (n for n in model.graph.node if n.op_type == "Conv")
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = group
    with pytest.raises(UsageError, match=r"Conv #\d+ .*: its 8 output channels are no multiple of its group of"):
        load(tmp_path, model.SerializeToString(), "onnx")
