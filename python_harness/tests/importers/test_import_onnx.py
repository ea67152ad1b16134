"""ONNX QDQ networks, quantised by onnxruntime, mean as a Graph what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, RequantizeAttributes
from mcutrain.importers import load_model
from support.golden_inference import golden_output
from support.graph_reference import half_even, quantized, run_graph
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx

Integers = NDArray[np.int_]


def samples(*shape: int, count: int = 24, seed: int = 5) -> list[FloatArray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def load(tmp_path: Path, model: onnx.ModelProto) -> Graph:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_model(path)


def residual_network() -> onnx.ModelProto:
    m = FloatModel((3, 12, 10))
    a = m.node("Relu", m.conv("x", 8, 3, 3, pads=[0, 1, 2, 1]))
    limits = (m.constant(np.array(-0.5, np.float32)), m.constant(np.array(1, np.float32)))
    b = m.node("Clip", m.conv(a, 8, 8, 3, auto_pad="SAME_UPPER"), *limits)
    c = m.node("MaxPool", m.node("Relu", m.node("Add", a, b)), kernel_shape=[2, 2], strides=[2, 2])
    p = m.node("Pad", c, m.constant(np.array([0, 0, 1, 0, 0, 0, 1, 2])), mode="constant")
    # A window of nine has no ties, which float32 noise in onnxruntime would break either way.
    d = m.conv(m.node("AveragePool", p, kernel_shape=[3, 3], strides=[2, 2]), 6, 8, 2)
    e = m.node("Relu", m.node("Gemm", m.node("Flatten", d), m.random(16, 24), m.random(16), transB=1))
    return m.build(m.node("Gemm", e, m.random(16, 5), m.random(5)))


def outputs(graph: Graph, model: onnx.ModelProto, inputs: list[FloatArray]) -> tuple[Integers, Integers]:
    """The output codes of the Graph and of onnxruntime, a row for each input."""
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    channels_last = (i.transpose(1, 2, 0) if i.ndim == 3 else i for i in inputs)
    ours = np.stack([run_graph(graph, quantized(x, i), half_even) for i in channels_last]).astype(int)
    found = run_onnx(model, inputs)
    found = found.transpose(0, 2, 3, 1) if found.ndim == 4 else found
    theirs = quantized(y, found.reshape(len(inputs), -1)).astype(int)
    return ours.reshape(theirs.shape), theirs


def assert_agrees(graph: Graph, model: onnx.ModelProto, inputs: list[FloatArray]) -> None:
    """Within one code on more than 99 % of the outputs, and the same class where it is clear."""
    ours, theirs = outputs(graph, model, inputs)
    assert np.unique(theirs).size > 20
    assert (np.abs(ours - theirs) <= 1).mean() > 0.99
    first, second = np.sort(theirs, axis=1)[:, -1], np.sort(theirs, axis=1)[:, -2]
    clear = first - second > 4
    assert clear.any()
    assert np.array_equal(ours.argmax(axis=1)[clear], theirs.argmax(axis=1)[clear])


@pytest.mark.parametrize("activation", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_residual_network_agrees_with_onnxruntime(tmp_path: Path, activation: QuantType, per_channel: bool) -> None:
    inputs = samples(3, 12, 10)
    model = quantize(residual_network(), inputs[:12], activation=activation, per_channel=per_channel)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == [
        "conv2d", "conv2d", "add", "max_pool", "pad", "average_pool", "conv2d", "reshape",
        "fully_connected", "fully_connected",
    ]  # fmt: skip
    assert_agrees(graph, model, inputs)


def separable_network() -> onnx.ModelProto:
    m = FloatModel((3, 12, 10))
    stem = m.node("Relu", m.conv("x", 8, 3, 3, pads=[1, 1, 1, 1]))
    wide = m.node("Relu", m.conv(stem, 16, 8, 3, pads=[1, 1, 1, 1], group=8))
    narrow = m.conv(wide, 8, 16, 1)
    deep = m.node("Relu", m.conv(m.node("Add", narrow, stem), 8, 8, 5, auto_pad="SAME_UPPER", strides=[2, 2], group=8))
    features = m.node("ReduceMean", deep, axes=[2, 3], keepdims=0)
    return m.build(m.node("Gemm", features, m.random(8, 5), m.random(5)))


@pytest.mark.parametrize("activation", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_network_of_depthwise_convolutions_agrees_with_onnxruntime(
    tmp_path: Path, activation: QuantType, per_channel: bool
) -> None:
    inputs = samples(3, 12, 10)
    model = quantize(separable_network(), inputs[:12], activation=activation, per_channel=per_channel)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators if op.kind != "requantize"] == [
        "conv2d", "depthwise_conv2d", "conv2d", "add", "depthwise_conv2d", "mean", "fully_connected",
    ]  # fmt: skip
    assert_agrees(graph, model, inputs)


def test_relu_and_clip_between_their_own_quantisations_are_requantize_operators(tmp_path: Path) -> None:
    # With symmetric activations the quantiser keeps them: a zero point of 0 leaves room for negative codes.
    inputs = samples(3, 12, 10)
    model = quantize(residual_network(), inputs[:12], extra_options={"ActivationSymmetric": True})
    graph = load(tmp_path, model)
    sources = [op.source for op in graph.operators if op.kind == "requantize"]
    assert sources == ["Relu", "Clip", "Relu", "Relu"]
    assert_agrees(graph, model, inputs)


def test_relu_and_clip_before_the_quantisation_fold_into_the_clamp(tmp_path: Path) -> None:
    inputs = samples(3, 12, 10)
    model = quantize(residual_network(), inputs[:12])
    at = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    conv = model.graph.node[at]
    result, conv.output[0] = conv.output[0], "raw"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.4, np.float32), "limit"))
    model.graph.node.insert(at + 1, helper.make_node("Relu", ["raw"], ["positive"]))
    model.graph.node.insert(at + 2, helper.make_node("Clip", ["positive", "", "limit"], [result]))
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators[:3]] == ["conv2d", "conv2d", "add"]
    y = graph.tensors[graph.operators[0].outputs[0]]
    attributes = graph.operators[0].attributes
    assert isinstance(attributes, ConvAttributes)
    assert attributes.clamp == (y.zero_point, y.zero_point + round(0.4 / y.scale))
    assert attributes.clamp[1] < 127
    assert_agrees(graph, model, inputs)


def test_a_relu_on_a_pool_becomes_an_operator_after_it(tmp_path: Path) -> None:
    m = FloatModel((4, 6, 6))
    inputs = samples(4, 6, 6)
    model = quantize(m.build(m.node("MaxPool", m.conv("x", 8, 4, 3), kernel_shape=[2, 2]), 4), inputs)
    at = next(i for i, node in enumerate(model.graph.node) if node.op_type == "MaxPool")
    pool = model.graph.node[at]
    result, pool.output[0] = pool.output[0], "raw"
    model.graph.node.insert(at + 1, helper.make_node("Relu", ["raw"], [result]))
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators][1:] == [
        "max_pool1",
        "max_pool1_clamp",
    ]  # conv is 0: Q and DQ do not count
    zero_point = graph.tensors[graph.output].zero_point
    assert zero_point > -100
    assert graph.operators[2].attributes == RequantizeAttributes((zero_point, 127))


def test_a_bias_left_in_float_is_quantised_by_the_importer(tmp_path: Path) -> None:
    inputs = samples(3, 12, 10)
    model = quantize(residual_network(), inputs[:12], extra_options={"QuantizeBias": False})
    assert any(i.data_type == TensorProto.FLOAT and list(i.dims) == [8] for i in model.graph.initializer)
    assert_agrees(load(tmp_path, model), model, inputs)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "AveragePool", "padded", "counting its padding"])
def test_an_average_is_rounded_once_to_the_scale_that_follows_it(tmp_path: Path, kind: str) -> None:
    m = FloatModel((4, 6, 6))
    window: dict[str, Any] = {} if kind.startswith("Global") else {"kernel_shape": [3, 3], "strides": [2, 2]}
    if kind in ("padded", "counting its padding"):
        window |= {"pads": [1, 2, 1, 0], "count_include_pad": int(kind != "padded")}
    node = kind if kind.endswith("Pool") else "AveragePool"
    pooled = m.node(node, m.conv("x", 8, 4, 3, pads=[1, 1, 1, 1]), **window)
    inputs = samples(4, 6, 6)
    model = quantize(m.build(pooled, 4), inputs)
    # The quantiser gives only some of them a scale of their own: one, finer than the input's, for all.
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.011, np.float32), "finer"))
    pool_node = next(n for n in model.graph.node if n.op_type == node)
    q = next(n for n in model.graph.node if pool_node.output[0] in n.input)
    for n in (q, next(n for n in model.graph.node if q.output[0] in n.input)):
        n.input[1] = "finer"
    graph = load(tmp_path, model)
    padded = ["pad"] if kind == "counting its padding" else []
    assert [op.kind for op in graph.operators] == ["conv2d", *padded, "average_pool"]
    pool = graph.operators[-1]
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    ours = np.stack([run_graph(graph, quantized(x, i.transpose(1, 2, 0)), half_even) for i in inputs]).astype(int)
    theirs = quantized(y, run_onnx(model, inputs).transpose(0, 2, 3, 1)).astype(int)
    # Finer than its input: with a rounding to the input's scale before it, the codes would be ratio / 2 apart.
    assert graph.tensors[pool.inputs[0]].scale / graph.tensors[pool.outputs[0]].scale > 1.2
    # Equal but for ties, which float32 noise in onnxruntime breaks either way.
    assert np.abs(ours - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.97


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(
    ("pads", "stride"), [((3, 0, 0, 0), 1), ((2, 5, 4, 3), 2), ((0, 0, 0, 7), 1), ((0, 0, 6, 0), 3)]
)
def test_windows_in_the_padding_alone_yield_the_bias_as_in_onnxruntime(
    pads: tuple[int, ...], stride: int, group: int, tmp_path: Path
) -> None:
    m = FloatModel((4, 6, 6))
    inputs = samples(4, 6, 6)
    model = quantize(m.build(m.conv("x", 8, 4, 3, pads=pads, strides=[stride, stride], group=group), 4), inputs)
    graph = load(tmp_path, model)
    # Depthwise layers have one group for each channel, and no kernel of groups.
    assert graph.operators[0].kind == "pad"
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    ours = golden_output(graph, quantized(x, inputs[0].transpose(1, 2, 0))).astype(int)
    theirs = quantized(y, run_onnx(model, inputs[:1])[0]).transpose(1, 2, 0)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("shape", [(6,), (1,), ()], ids=str)
def test_a_matrix_product_takes_the_constant_added_to_it_as_its_bias(tmp_path: Path, shape: tuple[int, ...]) -> None:
    m = FloatModel((20,))
    hidden = m.node("Relu", m.node("Add", m.node("MatMul", "x", m.random(20, 24)), m.random(24)))
    inputs = samples(20)
    product = m.node("MatMul", hidden, m.random(24, 6))
    model = quantize(m.build(m.node("Add", m.constant(np.ones(shape, np.float32)), product)), inputs)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["fully_connected", "fully_connected"]
    assert all(np.any(graph.tensors[op.inputs[2]].data) for op in graph.operators)
    # onnxruntime rounds the product to a code before it adds: two roundings to one, so now and then two codes.
    ours, theirs = outputs(graph, model, inputs)
    assert np.abs(ours - theirs).max() <= 3
    assert (np.abs(ours - theirs) <= 1).mean() > 0.9


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
def test_a_softmax_writes_the_scale_that_the_file_gives_it(tmp_path: Path, kind: QuantType) -> None:
    m = FloatModel((12,))
    logits = m.node("Gemm", "x", m.random(8, 12), transB=1)
    inputs = samples(12)
    model = quantize(m.build(m.node("Softmax", logits)), inputs, activation=kind)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["fully_connected", "softmax"]
    assert graph.tensors[graph.output].scale != 1 / 256
    assert_agrees(graph, model, inputs)


def test_a_log_softmax_writes_the_scale_that_the_file_gives_it(tmp_path: Path) -> None:
    m = FloatModel((12,))
    logits = m.node("Gemm", "x", m.random(8, 12), transB=1)
    inputs = samples(12)
    model = quantize(m.build(m.node("LogSoftmax", logits)), inputs, extra_options={"ForceQuantizeNoInputCheck": True})
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["fully_connected", "log_softmax"]
    ours = golden_output(graph, *[quantized(graph.tensors[graph.input], i) for i in inputs]).astype(int)
    theirs = quantized(graph.tensors[graph.output], run_onnx(model, inputs).reshape(len(inputs), -1)).astype(int)
    assert (np.abs(ours - theirs) <= 1).mean() > 0.99


@pytest.mark.parametrize(("opset", "axis"), [(17, 1), (17, -3)])
def test_a_softmax_over_the_channels_of_an_image_is_one_over_the_last_axis(
    tmp_path: Path, opset: int, axis: int
) -> None:
    m = FloatModel((5, 4, 3), opset=opset)
    inputs = samples(5, 4, 3)
    model = quantize(m.build(m.node("Softmax", m.conv("x", 6, 5, 1), axis=axis), output_rank=4), inputs)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["conv2d", "softmax"]
    assert_agrees(graph, model, inputs)


@pytest.mark.parametrize(("opset", "axis"), [(17, 2), (17, -1), (12, 3)])
def test_a_softmax_over_another_axis_is_one_between_transposes(tmp_path: Path, opset: int, axis: int) -> None:
    m = FloatModel((5, 4, 3), opset=opset)
    inputs = samples(5, 4, 3)
    output = m.node("Softmax", m.conv("x", 6, 5, 1), axis=axis)
    model = quantize(m.build(output, output_rank=4), inputs, per_channel=False)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["conv2d", "transpose", "softmax", "transpose"]
    assert_agrees(graph, model, inputs)


def test_a_softmax_over_several_axes_is_refused(tmp_path: Path) -> None:
    m = FloatModel((5, 4, 3), opset=12)
    model = quantize(
        m.build(m.node("Softmax", m.conv("x", 6, 5, 1), axis=1), output_rank=4), samples(5, 4, 3), per_channel=False
    )
    assert "it is over the axes [1, 2, 3] at once; put a Flatten before it" in refusal(tmp_path, model)


def test_a_reshape_that_flattens_moves_the_columns_of_the_product_after_it(tmp_path: Path) -> None:
    m = FloatModel((5, 4, 3))
    flat = m.node("Reshape", "x", m.constant(np.array([-1, 60])))
    inputs = samples(5, 4, 3)
    model = quantize(m.build(m.node("Gemm", flat, m.random(7, 60), transB=1)), inputs)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["reshape", "fully_connected"]
    assert_agrees(graph, model, inputs)


def test_uint8_activations_become_int8_with_the_same_meaning(tmp_path: Path) -> None:
    inputs = samples(3, 12, 10)
    signed, unsigned = (
        load(tmp_path, quantize(residual_network(), inputs, activation=kind))
        for kind in (QuantType.QInt8, QuantType.QUInt8)
    )
    assert signed.tensors[signed.input].zero_point == unsigned.tensors[unsigned.input].zero_point
    assert signed.input_domain == unsigned.input_domain


def refusal(tmp_path: Path, model: onnx.ModelProto) -> str:
    with pytest.raises(UsageError) as error:
        load(tmp_path, model)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_unsupported_node_is_named_in_one_line(tmp_path: Path) -> None:
    m = FloatModel((4, 8, 8))
    spread = m.node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])
    a = m.node("Sin", m.conv(spread, 4, 4, 3))
    b = m.node("Cos", m.conv(a, 4, 4, 3))
    model = quantize(m.build(b, 4), samples(4, 8, 8))
    message = refusal(tmp_path, model)
    index = {node.op_type: i for i, node in enumerate(model.graph.node)}
    assert f"Sin #{index['Sin']} " in message
    assert f"Cos #{index['Cos']} " in message
    assert f"MaxPool #{index['MaxPool']} " in message
    assert "it is dilated" in message
    assert "Supported operators: docs/networks.md" in message


def test_data_in_another_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    model = quantize(residual_network(), samples(3, 12, 10))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    message = refusal(tmp_path, model)
    assert "keeps its data in another file" in message
    assert "passwd" not in message


def edit(kind: str, position: int, **attributes: object) -> onnx.ModelProto:
    model = quantize(residual_network(), samples(3, 12, 10))
    node = [n for n in model.graph.node if n.op_type == kind][position]
    kept = [a for a in node.attribute if a.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items())])
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (edit("MaxPool", 0, ceil_mode=1, kernel_shape=[3, 3], strides=[2, 2]), "its ceil_mode makes it reach past"),
        (edit("Gemm", 0, alpha=0.5), "its alpha is 0.5, not 1"),
        (edit("Conv", 1, mystery=3), "attribute 'mystery'"),
        (edit("Flatten", 0, axis=5), "its axis is 5, of 4 dimensions"),
        (edit("Pad", 0, mode="reflect"), "its mode is 'reflect', not 'constant'"),
        (edit("Conv", 0, auto_pad="DIAGONAL"), "its auto_pad is 'DIAGONAL'"),
    ],
)
def test_an_attribute_with_another_meaning_is_refused(tmp_path: Path, model: onnx.ModelProto, reason: str) -> None:
    assert reason in refusal(tmp_path, model)


def test_an_opset_that_was_never_checked_is_refused(tmp_path: Path) -> None:
    model = quantize(residual_network(), samples(3, 12, 10))
    model.opset_import[0].version = 99
    assert "opset 99, outside 10 to 25" in refusal(tmp_path, model)
