"""Networks of sequences: (channels, length) in ONNX, (length, channels) in .tflite and the Graph, convolved as images of height 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, PoolAttributes
from mcutrain.importers import load_model
from support.graph_reference import quantized
from support.inference import golden_output
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx
from support.tflite_builder import Builder, add_weights, run_litert

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


def folded_in_two() -> onnx.ModelProto:
    """Twice the channels of half the length: elements that change places in channels-last layout."""
    m = FloatModel((CHANNELS, LENGTH))
    y = m.node("Reshape", conv(m, "x", 4, CHANNELS, 1), m.constant(np.array([1, 8, 20])))
    return classified(m, m.node("Flatten", conv(m, y, 2, 8, 3)), 36)


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
@pytest.mark.parametrize("network", [flattened, folded_in_two, averaged, pooled_globally, of_a_vector])
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


def test_what_would_move_the_elements_of_an_unquantised_input_is_refused(tmp_path: Path) -> None:
    m = FloatModel((12,))
    y = m.node("Reshape", "x", m.constant(np.array([1, 3, 4])))
    assert "which moves elements before they are quantised" in refusal(tmp_path, conv(m, y, 2, 3, 2), m, 3)


def test_a_matrix_product_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    m = FloatModel((CHANNELS, LENGTH))
    model = quantize(m.build(m.node("MatMul", "x", m.random(LENGTH, 5)), 3), samples(CHANNELS, LENGTH))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 39
    with pytest.raises(UsageError, match=r"its weights take rows of 40, its input is \[1, 3, 39\]"):
        load(tmp_path, model)


@pytest.mark.parametrize(
    ("kind", "axes", "reason"),
    [
        ("Squeeze", [1], r"its axes are [1] of [1, 4, 40]"),
        ("Squeeze", [7], r"its axes are [7] of [1, 4, 40]"),
        ("Unsqueeze", [0], r"its axes are [0]"),
        ("ReduceMean", [0], r"it reduces 3 dimensions over the axes [0]; the first one is the batch"),
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


def random_codes(*shape: int, seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def load_tflite(tmp_path: Path, model: bytes) -> Graph:
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    return load_model(path)


def assert_litert_s_bits(graph: Graph, model: bytes) -> None:
    for seed in range(4):
        codes = random_codes(*graph.tensors[graph.input].shape, seed=seed)
        expected = run_litert(model, codes)
        assert np.unique(expected).size > 2
        np.testing.assert_array_equal(golden_output(graph, codes), expected)


def causal(unit_axis: str) -> bytes:
    """As Keras writes a causal Conv1D: the pad of a sequence, and a convolution between reshapes of it; then a mean over the length."""
    b = Builder()
    x, padded, y = (b.tensor(n, (1, k, 4), quantization=(q, z)) for n, k, q, z in [
        ("x", 16, 0.05, -3), ("padded", 20, 0.05, -3), ("y", 16, 0.3, 5),
    ])  # fmt: skip
    amounts = b.tensor("amounts", (3, 2), "int32", data=np.array([[0, 0], [4, 0], [0, 0]], np.int32))
    image, out = (b.tensor(n, (1, 1, k, 4), quantization=q) for n, k, q in [
        ("image", 20, (0.05, -3)), ("out", 16, (0.3, 5)),
    ])  # fmt: skip
    weights = add_weights(
        b, random_codes(4, 1, 3, 4), np.arange(4, dtype=np.int32) * 90, input_scale=0.05, weight_scale=0.02
    )
    mean, axis = (
        b.tensor("mean", (1, 4), quantization=(0.05, 0)),
        b.tensor("axis", (1,), "int32", data=np.array([1], np.int32)),
    )
    b.operator("PAD", [x, amounts], [padded])
    if unit_axis == "RESHAPE":
        shape = b.tensor("shape", (4,), "int32", data=np.array([1, 1, 20, 4], np.int32))
        b.operator("RESHAPE", [padded, shape], [image])
    else:
        b.operator("EXPAND_DIMS", [padded, axis], [image])
    b.operator(
        "CONV_2D",
        [image, *weights],
        [out],
        {"StrideW": 1, "StrideH": 1, "Padding": 1, "DilationWFactor": 2, "DilationHFactor": 1},
    )
    flat = b.tensor("flat", (3,), "int32", data=np.array([1, 16, 4], np.int32))
    b.operator("RESHAPE", [out, flat], [y])
    b.operator("MEAN", [y, axis], [mean], {"KeepDims": False})
    return b.build([x], [mean])


@pytest.mark.parametrize("unit_axis", ["RESHAPE", "EXPAND_DIMS"])
def test_a_causal_convolution_of_a_tflite_sequence_has_litert_s_bits(tmp_path: Path, unit_axis: str) -> None:
    model = causal(unit_axis)
    graph = load_tflite(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["pad", "reshape", "conv2d", "reshape", "mean"]
    assert graph.tensors[graph.input].shape == (16, 4)
    assert_litert_s_bits(graph, model)


def test_a_squeeze_is_the_same_codes_under_another_shape(tmp_path: Path) -> None:
    b = Builder()
    x, y = (b.tensor(n, shape, quantization=(0.05, 9)) for n, shape in (("x", (1, 1, 16, 4)), ("y", (1, 16, 4))))
    b.operator("SQUEEZE", [x], [y])
    graph = load_tflite(tmp_path, b.build([x], [y]))
    codes = random_codes(1, 16, 4)
    np.testing.assert_array_equal(golden_output(graph, codes), codes[0])


def rows(x_shape: tuple[int, ...], features: int, y_shape: tuple[int, ...], *, keep: bool = True) -> bytes:
    """FULLY_CONNECTED on more than a vector, at scales that leave no ties."""
    b = Builder()
    x, y = b.tensor("x", (1, *x_shape), quantization=(0.05, 9)), b.tensor("y", y_shape, quantization=(0.37, -4))
    bias = np.arange(5, dtype=np.int32) * 700
    weights = add_weights(b, random_codes(5, features), bias, input_scale=0.05, weight_scale=0.02)
    b.operator("FULLY_CONNECTED", [x, *weights], [y], {"KeepNumDims": keep})
    return b.build([x], [y])


@pytest.mark.parametrize("x_shape", [(1, 8), (2, 8), (3, 8), (4, 8), (7, 8), (3, 5, 8)])
def test_a_fully_connected_operator_acts_on_each_row_as_litert_does(tmp_path: Path, x_shape: tuple[int, ...]) -> None:
    model = rows(x_shape, 8, (1, *x_shape[:-1], 5))
    graph = load_tflite(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["fully_connected"]
    assert graph.tensors[graph.output].shape == (*x_shape[:-1], 5)
    assert_litert_s_bits(graph, model)


def test_rows_that_would_become_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tensor 'y' .* does not have batch 1"):
        load_tflite(tmp_path, rows((4, 8), 8, (4, 5), keep=False))
    with pytest.raises(
        UsageError, match=r"FULLY_CONNECTED #0 .*: its weights take \[16\] features, its input is \[4, 8\]"
    ):
        load_tflite(tmp_path, rows((4, 8), 16, (1, 5), keep=False))
