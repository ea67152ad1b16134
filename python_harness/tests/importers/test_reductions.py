"""Means and maxima of files over any of their axes are what LiteRT and onnxruntime compute."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import TableAttributes
from mcutrain.importers import load_model
from mcutrain.importers.onnx_values import graph_axes
from mcutrain.methods.inference import inference
from support.graph_reference import quantized
from support.onnx_models import FloatModel, run_onnx
from support.tflite_builder import reduced_model, run_litert

AXES = [axes for n in (1, 2, 3) for axes in itertools.combinations(range(3), n)]


@pytest.mark.parametrize("keep_dims", [False, True])
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("kind", ["MEAN", "REDUCE_MAX", "REDUCE_MIN"])
def test_a_reduction_of_a_tflite_file_is_that_of_litert(
    kind: str, axes: tuple[int, ...], keep_dims: bool, tmp_path: Path
) -> None:
    if len(axes) == 3 and not keep_dims:
        pytest.skip("a number has no axes, which a tensor of the network has")
    output = (0.25, -3) if kind == "MEAN" else (0.5, 7)
    model = reduced_model(kind, (5, 4, 6), axes, input=(0.5, 7), output=output, keep_dims=keep_dims)
    (tmp_path / "model.tflite").write_bytes(model)
    executor = GoldenExecutor(compile_plan(inference(load_model(tmp_path / "model.tflite"))))
    random = np.random.default_rng(1)
    for _ in range(4):
        x = random.integers(-128, 128, (5, 4, 6)).astype(np.int8)
        executor.infer(x)
        np.testing.assert_array_equal(executor.output(), run_litert(model, x).reshape(-1))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"])
def test_a_reduction_of_an_onnx_file_is_that_of_onnxruntime(
    kind: str, axes: tuple[int, ...], keepdims: int, tmp_path: Path
) -> None:
    if len(axes) == 3 and not keepdims:
        pytest.skip("a number has no axes, which a tensor of the network has")
    sums = kind == "ReduceSum"  # whose axes are an operand since opset 13
    m = FloatModel((6, 5, 4), opset=11 if sums else 17)
    x = m.quantized("x", 0.02, 4)
    reduced = m.node(kind, x, axes=[a + 1 for a in axes], keepdims=keepdims)
    y = m.quantized(
        m.node("Relu", reduced) if kind in ("ReduceMax", "ReduceSum") else reduced, 0.07 if sums else 0.009, -20
    )
    model = m.build(y, 4 if keepdims else 4 - len(axes))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    graph = load_model(tmp_path / "model.onnx")
    executor = GoldenExecutor(compile_plan(inference(graph)))
    random = np.random.default_rng(1)
    for _ in range(4):
        real = random.standard_normal((6, 5, 4)).astype(np.float32)
        executor.infer(quantized(graph.tensors[graph.input], real.transpose(1, 2, 0)))
        found = run_onnx(model, [real])[0]
        theirs = quantized(graph.tensors[graph.output], found.transpose(graph_axes(found.ndim)))
        assert np.abs(executor.output().astype(int) - theirs.reshape(-1)).max() <= (0 if kind == "ReduceMin" else 1)


def test_a_minimum_is_that_of_the_negated_real_values(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(
        reduced_model("REDUCE_MIN", (5, 4, 6), (0, 1), input=(0.5, 7), output=(0.5, 7))
    )
    graph = load_model(tmp_path / "model.tflite")
    negation, _, *_, back = graph.operators
    for table in (negation, back):
        x, y = graph.tensors[table.inputs[0]], graph.tensors[table.outputs[0]]
        assert isinstance(table.attributes, TableAttributes)
        assert set(table.attributes.slopes) == {-1.0}
        codes = np.array(table.attributes.codes) - y.zero_point
        np.testing.assert_array_equal(codes * y.scale, -(np.arange(-128, 128) - x.zero_point) * x.scale)


@pytest.mark.parametrize(("scales", "reason"), [
    ((0.5, 1.2e-38), r"QuantizeLinear.*its scale 1.2e-38 is too small for a sum of 30 elements"),
    ((3e38, None), r"the scale 3e\+38 is too large for a sum of 30 elements"),
])  # fmt: skip
def test_a_sum_at_a_scale_beyond_float32_is_refused(
    scales: tuple[float, float | None], reason: str, tmp_path: Path
) -> None:
    m = FloatModel((6, 5), opset=11)
    y = m.node(
        "ReduceSum", m.node("Reshape", m.quantized("x", scales[0], 4), m.constant(np.array([1, 1, 30]))), axes=[2]
    )
    y = y if scales[1] is None else m.quantized(y, scales[1], -20)
    (tmp_path / "model.onnx").write_bytes(m.build(y, 3).SerializeToString())
    with pytest.raises(UsageError, match=reason):
        load_model(tmp_path / "model.onnx")
