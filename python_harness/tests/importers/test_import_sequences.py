"""Networks of sequences: (channels, length) in ONNX, (length, channels) in the Graph, convolved as images of height 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, PoolAttributes
from mcutrain.importers import load_model
from support.graph_reference import quantized
from support.inference import golden_output
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx

CHANNELS, LENGTH = 3, 40


def samples(*shape: int, count: int = 24) -> list[FloatArray]:
    random = np.random.default_rng(5)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def load(tmp_path: Path, model: onnx.ModelProto) -> Graph:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_model(path)


def conv(m: FloatModel, x: str, outputs: int, inputs: int, kernel: int, **attributes: object) -> str:
    weights = m.random(outputs, inputs // int(attributes.get("group", 1)), kernel)  # type: ignore[call-overload]
    return m.node("Conv", x, weights, m.random(outputs, gain=0.3), **attributes)


def classified(m: FloatModel, features: str, count: int) -> onnx.ModelProto:
    return m.build(m.node("Gemm", features, m.random(7, count), m.random(7), transB=1))


def flattened() -> onnx.ModelProto:
    """Strided, dilated, grouped and depthwise convolutions, a max pool; Flatten goes over channels first."""
    m = FloatModel((CHANNELS, LENGTH))
    y = m.node("Relu", conv(m, "x", 8, CHANNELS, 5, pads=[2, 2], strides=[2]))
    y = m.node(
        "MaxPool", m.node("Relu", conv(m, y, 8, 8, 3, dilations=[2], pads=[4, 0])), kernel_shape=[2], strides=[2]
    )
    y = m.node("Relu", conv(m, y, 8, 8, 3, group=4, auto_pad="SAME_UPPER"))
    y = m.node("Add", conv(m, y, 8, 8, 3, group=8, pads=[1, 1]), y)
    return classified(m, m.node("Flatten", y), 80)


def averaged() -> onnx.ModelProto:
    """An average pool, a border of zeros and a mean over the length that leaves a vector."""
    m = FloatModel((CHANNELS, LENGTH))
    y = m.node("AveragePool", m.node("Relu", conv(m, "x", 8, CHANNELS, 4)), kernel_shape=[3], strides=[3])
    y = conv(m, m.node("Pad", y, m.constant(np.array([0, 0, 2, 0, 0, 1]))), 6, 8, 3)
    return classified(m, m.node("ReduceMean", y, axes=[-1], keepdims=0), 6)


def pooled_globally() -> onnx.ModelProto:
    m = FloatModel((CHANNELS, LENGTH))
    y = m.node("GlobalAveragePool", m.node("Relu", conv(m, "x", 8, CHANNELS, 4)))
    return classified(m, m.node("Squeeze", y, m.constant(np.array([2]))), 8)


def of_a_vector() -> onnx.ModelProto:
    """A signal without channels gets one; the sequence is an image in between, and a flat one at the end."""
    m = FloatModel((LENGTH,))
    y = m.node("Relu", conv(m, m.node("Unsqueeze", "x", m.constant(np.array([1]))), 8, 1, 5))
    y = m.node("Relu", m.conv(m.node("Unsqueeze", y, m.constant(np.array([-2]))), 6, 8, 1))
    y = m.node("Reshape", y, m.constant(np.array([0, 6, -1])))
    return classified(m, m.node("Reshape", conv(m, y, 4, 6, 3), m.constant(np.array([1, -1]))), 136)


@pytest.mark.parametrize("activation", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("network", [flattened, averaged, pooled_globally, of_a_vector])
def test_a_network_of_sequences_is_within_a_code_of_onnxruntime(
    tmp_path: Path, network: Callable[[], onnx.ModelProto], activation: QuantType
) -> None:
    float_model = network()
    inputs = samples(*[d.dim_value for d in float_model.graph.input[0].type.tensor_type.shape.dim[1:]])
    model = quantize(float_model, inputs[:12], activation=activation)
    graph = load(tmp_path, model)
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    assert x.shape == ((LENGTH,) if network is of_a_vector else (LENGTH, CHANNELS))
    ours = np.stack([golden_output(graph, quantized(x, i.T)) for i in inputs]).astype(int)
    theirs = quantized(y, run_onnx(model, inputs)).astype(int)
    assert np.unique(theirs).size > 20
    assert (np.abs(ours - theirs) <= 1).mean() > 0.99


def test_windows_of_a_sequence_are_one_high(tmp_path: Path) -> None:
    graph = load(tmp_path, quantize(flattened(), samples(CHANNELS, LENGTH)))
    convolutions = [op for op in graph.operators if isinstance(op.attributes, ConvAttributes)][:-1]
    shapes = [graph.tensors[op.inputs[1]].shape for op in convolutions]
    assert shapes == [(8, 1, 5, 3), (8, 1, 3, 8), (8, 1, 3, 2), (8, 1, 3)]
    attributes = [op.attributes for op in convolutions]
    assert [(a.stride, a.dilation, a.padding.left, a.padding.right) for a in attributes] == [  # type: ignore[attr-defined]
        ((1, 2), (1, 1), 2, 2), ((1, 1), (1, 2), 4, 0), ((1, 1), (1, 1), 1, 1), ((1, 1), (1, 1), 1, 1),
    ]  # fmt: skip
    (pool,) = (op.attributes for op in graph.operators if isinstance(op.attributes, PoolAttributes))
    assert (pool.kernel, pool.stride) == ((1, 2), (1, 2))


def refusal(tmp_path: Path, output: str, m: FloatModel, rank: int) -> str:
    with pytest.raises(UsageError) as error:
        load(tmp_path, quantize(m.build(output, rank), samples(*m.input_shape)))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_would_move_the_elements_of_a_sequence_is_refused(tmp_path: Path) -> None:
    m = FloatModel((12,))
    y = m.node("Reshape", "x", m.constant(np.array([1, 3, 4])))
    assert "which would move elements in channels-last layout" in refusal(tmp_path, conv(m, y, 2, 3, 2), m, 3)
    m = FloatModel((CHANNELS, LENGTH))
    y = m.node("Reshape", conv(m, "x", 4, CHANNELS, 1), m.constant(np.array([1, 8, 20])))
    assert "which would move elements in channels-last layout" in refusal(tmp_path, y, m, 3)


def test_a_matrix_product_over_the_length_of_a_sequence_is_refused(tmp_path: Path) -> None:
    m = FloatModel((CHANNELS, LENGTH))
    product = m.node("MatMul", "x", m.random(LENGTH, 5))
    assert f"its weights take a vector of {LENGTH}, its input is (3, 40)" in refusal(tmp_path, product, m, 3)


@pytest.mark.parametrize(
    ("kind", "axes", "reason"),
    [
        ("Squeeze", [1], r"it takes the axes [1] from [1, 4, 40]"),
        ("Squeeze", [7], r"its axes are (7,), of 3 dimensions"),
        ("Unsqueeze", [0], r"it adds the axes [0] to [1, 4, 40]"),
        ("ReduceMean", [1], r"it is the mean over the axes [1], not over rows and columns (2 and 3) or a length (2)"),
    ],
)
def test_axes_of_another_meaning_are_refused(tmp_path: Path, kind: str, axes: list[int], reason: str) -> None:
    m = FloatModel((CHANNELS, LENGTH))
    y = conv(m, "x", 4, CHANNELS, 1)
    model = quantize(
        m.build(m.node("Relu", m.node("Unsqueeze", y, m.constant(np.array([3])))), 4), samples(*m.input_shape)
    )
    (node,) = (n for n in model.graph.node if n.op_type == "Unsqueeze")
    node.op_type = kind
    constants = {i.name: i for i in model.graph.initializer}
    constants[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(np.array(axes), node.input[1]))
    with pytest.raises(UsageError) as error:
        load(tmp_path, model)
    assert reason in str(error.value)
