"""ONNX models in QOperator form: QLinearConv and the like become what they are in QDQ form, with the codes of onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType

from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from mcutrain.importers.onnx_qoperator import _CONCAT, _FORMS
from mcutrain.importers.onnx_values import graph_axes
from support.graph_reference import quantized
from support.inference import golden_output
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx

SHAPE = (3, 7, 9)


def samples() -> list[FloatArray]:
    random = np.random.default_rng(3)
    return [random.standard_normal(SHAPE).astype(np.float32) for _ in range(12)]


def residual(m: FloatModel) -> str:
    a = m.node("Relu", m.conv("x", 6, 3, 3, pads=[1, 1, 1, 1]))
    b = m.node("Add", m.conv(a, 6, 6, 3, pads=[1, 1, 1, 1], group=6), a)
    return m.node("GlobalAveragePool", m.node("LeakyRelu", b, alpha=0.1))


def gated(m: FloatModel) -> str:
    a = m.conv("x", 6, 3, 1, strides=[2, 2])
    both = m.node("Concat", m.node("Mul", a, m.node("Sigmoid", a)), a, axis=1)
    return m.node("AveragePool", m.node("MaxPool", both, kernel_shape=[2, 2]), kernel_shape=[3, 3])


def classifier(m: FloatModel) -> str:
    x = m.node("Flatten", m.conv("x", 4, 3, 3, strides=[2, 2]))
    x = m.node("Relu", m.node("Gemm", x, m.random(9, 48), m.random(9), transB=1))
    return m.node("Softmax", m.node("Gemm", x, m.random(9, 5), m.random(5)))


def rows(m: FloatModel) -> str:
    return m.node("MatMul", m.node("Transpose", "x", perm=[0, 2, 3, 1]), m.random(3, 8))


NETWORKS: dict[Callable[[FloatModel], str], tuple[int, set[str]]] = {
    residual: (4, {"QLinearConv", "QLinearAdd", "QLinearLeakyRelu", "QLinearGlobalAveragePool"}),
    gated: (4, {"QLinearConv", "QLinearMul", "QLinearSigmoid", "QLinearConcat", "QLinearAveragePool"}),
    classifier: (2, {"QLinearConv", "QGemm", "QLinearSoftmax"}),
    rows: (4, {"QLinearMatMul"}),
}


def quantized_model(
    network: Callable[[FloatModel], str], activation: QuantType = QuantType.QInt8, *, per_channel: bool = True
) -> onnx.ModelProto:
    m = FloatModel(SHAPE)
    model = m.build(network(m), NETWORKS[network][0])
    return quantize(model, samples(), activation=activation, per_channel=per_channel, form=QuantFormat.QOperator)


def test_every_operator_of_codes_is_in_a_network() -> None:
    known = {kind.removeprefix("com.microsoft.") for kind in (*_FORMS, _CONCAT)}
    assert set().union(*(kinds for _, kinds in NETWORKS.values())) == known


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activation", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_in_qoperator_form_has_the_codes_of_onnxruntime(
    tmp_path: Path, network: Callable[[FloatModel], str], activation: QuantType, per_channel: bool
) -> None:
    model = quantized_model(network, activation, per_channel=per_channel)
    assert NETWORKS[network][1] <= {node.op_type for node in model.graph.node}
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    graph = load_model(path)
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    ours = np.stack([golden_output(graph, quantized(x, i.transpose(1, 2, 0))) for i in samples()]).astype(int)
    found = run_onnx(model, samples())
    theirs = quantized(y, found.transpose([0, *(a + 1 for a in graph_axes(found.ndim - 1))])).astype(int)
    assert np.ptp(theirs) > 100
    assert np.abs(ours - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.8


@pytest.mark.parametrize("damage", ["operands", "channels_last"])
def test_an_operator_of_another_form_is_refused(tmp_path: Path, damage: str) -> None:
    model = quantized_model(residual)
    (pool,) = (node for node in model.graph.node if node.op_type == "QLinearGlobalAveragePool")
    if damage == "operands":
        del pool.input[3:]
    else:
        pool.attribute[0].i = 1
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"a model in QOperator format \(QLinearGlobalAveragePool\): quantise"):
        load_model(path)
