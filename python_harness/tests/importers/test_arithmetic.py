"""Products, sums and differences of files, with constants and operands that are repeated, mean what LiteRT and onnxruntime compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from support.graph_reference import quantized
from support.onnx_models import FloatModel, run_onnx
from support.tflite_builder import Builder, run_litert

KINDS = ["ADD", "MUL", "SUB"]


def golden(graph: Graph, x: NDArray[np.int8]) -> NDArray[Any]:
    executor = GoldenExecutor(compile_plan(inference(graph)))
    executor.infer(x)
    return executor.output()


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (6,), (1, 1, 6), (1, 1, 1, 6), (4, 5, 6), (1, 4, 1, 1), (5, 1)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_of_a_tflite_file_is_repeated_as_in_litert(
    kind: str, shape: tuple[int, ...], first: bool, power_of_two: bool, tmp_path: Path
) -> None:
    random = np.random.default_rng(len(shape))
    scales = (0.25, 0.5, 1.0) if power_of_two else (0.031, 0.017, 0.044)
    y_scale = scales[2] if kind != "MUL" else scales[0] * scales[1] * (64 if power_of_two else 71.0)
    b = Builder()
    x = b.tensor("x", (1, 4, 5, 6), quantization=(scales[0], 3))
    codes = random.integers(-128, 128, shape).astype(np.int8)
    c = b.tensor("c", shape, quantization=(scales[1], -9), data=codes)
    y = b.tensor("y", (1, 4, 5, 6), quantization=(y_scale, 5))
    b.operator(kind, [c, x] if first else [x, c], [y], {"FusedActivationFunction": 1})
    model = b.build([x], [y])
    (tmp_path / "model.tflite").write_bytes(model)
    graph = load_model(tmp_path / "model.tflite")
    for _ in range(4):
        sample = random.integers(-128, 128, (4, 5, 6)).astype(np.int8)
        np.testing.assert_array_equal(golden(graph, sample), run_litert(model, sample).reshape(-1))


def test_a_gate_of_a_tflite_file_multiplies_every_pixel_as_in_litert(tmp_path: Path) -> None:
    b = Builder()
    x = b.tensor("x", (1, 4, 5, 6), quantization=(0.03, 3))
    axes = b.tensor("axes", (2,), "int32", data=np.array([1, 2], np.int32))
    gate = b.tensor("gate", (1, 1, 1, 6), quantization=(0.011, -2))
    y = b.tensor("y", (1, 4, 5, 6), quantization=(0.03, -5))
    b.operator("MEAN", [x, axes], [gate], {"KeepDims": True})
    b.operator("MUL", [gate, x], [y], {"FusedActivationFunction": 0})
    model = b.build([x], [y])
    (tmp_path / "model.tflite").write_bytes(model)
    graph = load_model(tmp_path / "model.tflite")
    sample = np.random.default_rng(1).integers(-128, 128, (4, 5, 6)).astype(np.int8)
    np.testing.assert_array_equal(golden(graph, sample), run_litert(model, sample).reshape(-1))


def load(tmp_path: Path, model: onnx.ModelProto) -> Graph:
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return load_model(tmp_path / "model.onnx")


def assert_within_a_code_of_onnxruntime(tmp_path: Path, model: onnx.ModelProto, *, image: bool = True) -> Graph:
    graph = load(tmp_path, model)
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    random = np.random.default_rng(3)
    differs = []
    for _ in range(6):
        real = (random.standard_normal((4, 6, 5) if image else (24,)) * 0.9).astype(np.float32)
        ours = golden(graph, quantized(x, real.transpose(1, 2, 0) if image else real))
        theirs = quantized(y, run_onnx(model, [real])[0])
        theirs = theirs.transpose(1, 2, 0) if theirs.ndim == 3 else theirs
        assert np.unique(theirs).size > 10
        differs.append(ours.reshape(theirs.shape).astype(int) - theirs)
    assert np.abs(differs).max() <= 1
    # A few lie on a tie up to the last digits of a scale, or are rounded twice where LiteRT does.
    assert (np.stack(differs) != 0).mean() < 0.03
    return graph


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(), (4, 1, 1), (1, 4, 1, 1), (4, 6, 5), (6, 1)], ids=str)
@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub"])
def test_a_quantised_constant_of_an_onnx_file_is_repeated_as_in_onnxruntime(
    kind: str, shape: tuple[int, ...], first: bool, tmp_path: Path
) -> None:
    m = FloatModel((4, 6, 5))
    x = m.quantized("x", 0.02, 4)
    codes = m.constant(np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8))
    by = (m.constant(np.array(0.013, np.float32)), m.constant(np.array(-6, np.int8)))
    c = m.node("DequantizeLinear", codes, *by)
    y = m.node("Relu", m.node(kind, c, x) if first else m.node(kind, x, c))
    assert_within_a_code_of_onnxruntime(tmp_path, m.build(m.quantized(y, 0.027, -100), 4))


@pytest.mark.parametrize("shape", [(), (4, 1, 1)], ids=str)
@pytest.mark.parametrize(
    ("kind", "first"), [("Add", False), ("Add", True), ("Sub", False), ("Sub", True), ("Mul", False), ("Div", False)]
)
def test_a_real_constant_a_channel_is_exact(kind: str, first: bool, shape: tuple[int, ...], tmp_path: Path) -> None:
    m = FloatModel((4, 6, 5))
    x = m.quantized("x", 0.02, 4)
    c = m.constant(np.random.default_rng(5).uniform(0.3, 1.7, shape).astype(np.float32) * np.float32(-1))
    y = m.node(kind, c, x) if first else m.node(kind, x, c)
    assert_within_a_code_of_onnxruntime(tmp_path, m.build(m.quantized(y, 0.033, -7), 4))


def test_a_batch_normalization_of_its_own_is_a_gain_and_an_offset(tmp_path: Path) -> None:
    m = FloatModel((4, 6, 5))
    random = np.random.default_rng(2)
    gain = m.constant(np.array([0.8, -1.2, 0.0, 0.05], np.float32))
    offset, mean = (m.constant(random.standard_normal(4).astype(np.float32)) for _ in range(2))
    variance = m.constant(random.uniform(0.5, 2.0, 4).astype(np.float32))
    y = m.node("BatchNormalization", m.quantized("x", 0.02, 4), gain, offset, mean, variance, epsilon=1e-3)
    graph = assert_within_a_code_of_onnxruntime(tmp_path, m.build(m.quantized(y, 0.025, -7), 4))
    assert [op.kind for op in graph.operators] == ["depthwise_conv2d"]


def test_a_gate_of_an_onnx_file_multiplies_every_pixel_as_in_onnxruntime(tmp_path: Path) -> None:
    m = FloatModel((4, 6, 5))
    x = m.quantized("x", 0.02, 4)
    gate = m.quantized(m.node("GlobalAveragePool", x), 0.004, 2)
    graph = assert_within_a_code_of_onnxruntime(tmp_path, m.build(m.quantized(m.node("Mul", gate, x), 0.008, 1), 4))
    assert graph.tensors[graph.operators[1].inputs[0]].shape == (1, 1, 4)


def test_a_constant_vector_meets_a_flattened_image_in_its_order(tmp_path: Path) -> None:
    m = FloatModel((4, 6, 5))
    flat = m.quantized(m.node("Flatten", m.quantized("x", 0.02, 4)), 0.02, 4)
    codes = m.constant(np.random.default_rng(5).integers(-128, 128, 120).astype(np.int8))
    by = (m.constant(np.array(0.013, np.float32)), m.constant(np.array(-6, np.int8)))
    product = m.quantized(m.node("Mul", flat, m.node("DequantizeLinear", codes, *by)), 0.02, 3)
    stored = m.constant(np.random.default_rng(6).integers(-127, 128, (7, 120)).astype(np.int8))
    scale = (m.constant(np.array(0.0004, np.float32)), m.constant(np.array(0, np.int8)))
    weights = m.node("DequantizeLinear", stored, *scale)
    model = m.build(m.quantized(m.node("Gemm", product, weights, transB=1), 0.02, 0))
    graph = load(tmp_path, model)
    real = np.random.default_rng(8).standard_normal((4, 6, 5)).astype(np.float32)
    ours = golden(graph, quantized(graph.tensors[graph.input], real.transpose(1, 2, 0)))
    theirs = quantized(graph.tensors[graph.output], run_onnx(model, [real])[0])
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("Div", np.array([[[1.0]], [[0.0]], [[1.0]], [[1.0]]], np.float32), "which has zeros"),
        ("Mul", np.random.default_rng(0).standard_normal((4, 6, 5)).astype(np.float32), "is not quantised"),
        ("Add", np.ones((2, 4, 1, 1), np.float32), "has the shape"),
    ],
)
def test_what_a_constant_cannot_be_is_one_line(kind: str, values: NDArray[Any], said: str, tmp_path: Path) -> None:
    m = FloatModel((4, 6, 5))
    y = m.quantized(m.node(kind, m.quantized("x", 0.02, 4), m.constant(values)), 0.02, 0)
    with pytest.raises(UsageError, match=said):
        load(tmp_path, m.build(y, 4))
