"""What PyTorch's exporters and quantisers leave round the operators of an ONNX network: constants to fold, moved codes, no last Q."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mcutrain.errors import UsageError
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.onnx_constants import FOLDS, fold, fold_shape
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_values import Constant
from support.graph_reference import dequantized, half_even, quantized, run_graph
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx


def samples(*shape: int, count: int = 24) -> list[FloatArray]:
    random = np.random.default_rng(7)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def load(tmp_path: Path, model: onnx.ModelProto) -> Graph:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_model(path)


def classifier(**attributes: Any) -> onnx.ModelProto:
    m = FloatModel((3, 8, 8), opset=20, **attributes)
    a = m.node("Relu", m.conv("x", 6, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2]))
    return m.build(m.node("Gemm", m.node("Flatten", a), m.random(10, 96), m.random(10), transB=1))


def real_outputs(graph: Graph, inputs: list[FloatArray]) -> NDArray[np.float64]:
    """What the Graph puts out, as real values, a row for each input."""
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    codes = [quantized(x, i.transpose(1, 2, 0) if i.ndim == 3 else i) for i in inputs]
    return np.stack([dequantized(y, run_graph(graph, c, half_even)).reshape(-1) for c in codes])


def writer(model: onnx.ModelProto, kind: str, place: int = 0) -> tuple[int, onnx.NodeProto]:
    """The place among the nodes, and the node, of the ``place``-th node of a kind."""
    found = [(i, node) for i, node in enumerate(model.graph.node) if node.op_type == kind]
    return found[place]


RANDOM = np.random.default_rng(11)
FLOATS = RANDOM.standard_normal((3, 4, 2)).astype(np.float32)
WHOLE = RANDOM.integers(-9, 10, (3, 4)).astype(np.int64)
POSITIVE = RANDOM.integers(1, 5, (3, 4)).astype(np.int64)
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Add", [FLOATS, FLOATS[0]], {}),
    ("Sub", [WHOLE, POSITIVE[:1]], {}),
    ("Mul", [FLOATS[:, :1], FLOATS], {}),
    ("Div", [WHOLE, POSITIVE], {}),
    ("Div", [FLOATS, FLOATS + 9], {}),
    ("Cast", [FLOATS * 9], {"to": onnx.TensorProto.INT64}),
    ("Cast", [WHOLE], {"to": onnx.TensorProto.FLOAT}),
    ("Clip", [FLOATS, np.float32(-0.5), np.float32(0.25)], {}),
    ("Clip", [WHOLE.astype(np.int8), None, np.int8(3)], {}),
    ("Concat", [FLOATS, FLOATS + 1], {"axis": -1}),
    ("Flatten", [FLOATS], {"axis": 2}),
    ("Flatten", [FLOATS], {"axis": -1}),
    ("Flatten", [FLOATS], {"axis": 0}),
    ("Gather", [FLOATS, np.array([[1, -1], [0, 2]])], {"axis": 1}),
    ("Gather", [WHOLE, np.array(1)], {"axis": 0}),
    ("Identity", [FLOATS], {}),
    ("QuantizeLinear", [FLOATS, np.float32(0.03), np.int8(4)], {}),
    ("QuantizeLinear", [FLOATS, np.array([0.03, 0.5, 0.125, 1], np.float32), np.zeros(4, np.int8)], {"axis": 1}),
    ("QuantizeLinear", [np.array([0.5, 1.5, -0.5, 300], np.float32), np.float32(1), np.uint8(7)], {}),
    ("Reshape", [FLOATS, np.array([0, -1])], {}),
    ("Slice", [FLOATS, np.array([1, -9]), np.array([3, -9]), np.array([0, 1]), np.array([1, 1])], {}),
    ("Slice", [FLOATS, np.array([3]), np.array([-(2**40)]), np.array([1]), np.array([-2])], {}),
    ("Squeeze", [FLOATS[:, None], np.array([1])], {}),
    ("Squeeze", [FLOATS[:1, :1]], {}),
    ("Transpose", [FLOATS], {"perm": [2, 0, 1]}),
    ("Transpose", [FLOATS], {}),
    ("Unsqueeze", [FLOATS, np.array([0, -1])], {}),
]


def test_every_fold_has_a_case() -> None:
    assert {kind for kind, _, _ in CASES} == set(FOLDS)


@pytest.mark.parametrize(("kind", "operands", "attributes"), CASES)
def test_a_folded_node_writes_what_the_reference_of_onnx_computes(
    kind: str, operands: list[Any], attributes: dict[str, Any]
) -> None:
    names = [f"i{n}" if operand is not None else "" for n, operand in enumerate(operands)]
    feeds = {name: np.asarray(o) for name, o in zip(names, operands, strict=True) if o is not None}
    node = helper.make_node(kind, names, ["y"], **attributes)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    graph = helper.make_graph([node], "net", infos, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    outputs: Any = ReferenceEvaluator(model).run(None, feeds)
    expected = np.asarray(outputs[0])
    stated = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
    ours = fold(
        FileNode(0, 0, kind, tuple(names), ("y",), stated),
        [None if o is None else Constant("c", np.asarray(o)) for o in operands],
    )
    assert ours is not None
    assert ours.values.dtype == expected.dtype
    np.testing.assert_array_equal(ours.values, expected)


@pytest.mark.parametrize(
    ("kind", "operands"),
    [
        ("Reshape", [FLOATS, np.array([5, 5])]),
        ("Transpose", [FLOATS, None]),
        ("Div", [WHOLE, POSITIVE * 0]),
        ("QuantizeLinear", [FLOATS, np.float32(0)]),
        ("Concat", [FLOATS, WHOLE]),
    ],
)
def test_constants_that_do_not_fit_together_are_refused(kind: str, operands: list[Any]) -> None:
    node = FileNode(0, 0, kind, ("a", "b"), ("y",), {"perm": (0, 0, 1)} if kind == "Transpose" else {})
    with pytest.raises(UnsupportedError, match="do not fit together"):
        fold(node, [None if o is None else Constant("c", np.asarray(o)) for o in operands])


@pytest.mark.parametrize(("start", "end"), [(0, 4), (1, 3), (-2, 99), (3, 1)])
def test_a_shape_is_cut_as_onnx_cuts_it(start: int, end: int) -> None:
    node = FileNode(0, 0, "Shape", ("x",), ("y",), {"start": start, "end": end})
    reference = helper.make_graph(
        [helper.make_node("Shape", ["x"], ["y"], start=start, end=end)],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, 5, 7))],
        [onnx.ValueInfoProto(name="y")],
    )
    model = helper.make_model(reference, opset_imports=[helper.make_opsetid("", 20)])
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": np.zeros((1, 3, 5, 7), np.float32)})
    expected = np.asarray(outputs[0])
    np.testing.assert_array_equal(fold_shape(node, (1, 3, 5, 7)).values, expected)


def test_weights_that_the_file_quantises_and_clips_itself(tmp_path: Path) -> None:
    # What a fake quantiser with codes of -127 to 127 leaves: float weights, Q, Clip and DQ.
    inputs = samples(3, 8, 8)
    direct = quantize(classifier(), inputs)
    spelled = onnx.ModelProto()
    spelled.CopyFrom(direct)
    _, gemm = writer(spelled, "Gemm")
    dequantize = next(n for n in spelled.graph.node if gemm.input[1] in n.output)
    constants = {c.name: c for c in spelled.graph.initializer}
    codes = numpy_helper.to_array(constants[dequantize.input[0]]).astype(np.int8)
    scale = numpy_helper.to_array(constants[dequantize.input[1]])
    axis = next(a.i for a in dequantize.attribute if a.name == "axis")
    shape = [-1 if a == axis else 1 for a in range(2)]
    # One weight lies past the limits of the Clip, which is what gives it its code.
    real = codes.astype(np.float32) * scale.reshape(shape)
    largest = np.unravel_index(np.abs(codes).argmax(), codes.shape)
    real[largest] *= np.float32(1.5)
    spelled.graph.initializer.extend(
        [
            numpy_helper.from_array(real.astype(np.float32), "w_real"),
            numpy_helper.from_array(np.array(-127, np.int8), "w_low"),
            numpy_helper.from_array(np.array(127, np.int8), "w_high"),
        ]
    )
    source = dequantize.input[0]
    dequantize.input[0] = "w_clipped"
    q = helper.make_node("QuantizeLinear", ["w_real", *dequantize.input[1:]], ["w_codes"], axis=axis)
    clip = helper.make_node("Clip", ["w_codes", "w_low", "w_high"], ["w_clipped"])
    spelled.graph.node.insert(0, clip)
    spelled.graph.node.insert(0, q)
    assert abs(codes[largest]) == 127
    assert source in constants
    np.testing.assert_array_equal(
        real_outputs(load(tmp_path, spelled), inputs), real_outputs(load(tmp_path, direct), inputs)
    )


@pytest.mark.parametrize("moves", [["Flatten"], ["Reshape"], ["Reshape", "Reshape"]])
def test_codes_may_be_moved_between_q_and_dq(tmp_path: Path, moves: list[str]) -> None:
    inputs = samples(3, 8, 8)
    model = quantize(classifier(), inputs)
    expected = real_outputs(load(tmp_path, model), inputs)
    # ... Q DQ Flatten Q DQ Gemm becomes ... Q Flatten DQ Gemm.
    _, flatten = writer(model, "Flatten")
    before = next(n for n in model.graph.node if flatten.input[0] in n.output)
    after_q = next(n for n in model.graph.node if flatten.output[0] in n.input)
    after_dq = next(n for n in model.graph.node if after_q.output[0] in n.input)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "flat"))
    nodes, name = [], before.input[0]
    for step, kind in enumerate(moves):
        operands = [name, "flat"] if kind == "Reshape" else [name]
        name = f"moved{step}"
        nodes.append(helper.make_node(kind, operands, [name]))
    after_dq.input[0] = name
    at = next(i for i, node in enumerate(model.graph.node) if node is flatten or node.name == flatten.name)
    for node in reversed(nodes):
        model.graph.node.insert(at, node)
    model.graph.node.remove(after_q)
    model.graph.node.remove(next(n for n in model.graph.node if n.name == flatten.name and n.op_type == "Flatten"))
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(real_outputs(load(tmp_path, model), inputs), expected)
    theirs = run_onnx(model, inputs).reshape(len(inputs), -1)
    assert np.abs(expected - theirs).max() < 1e-4 + load(tmp_path, model).tensors[load(tmp_path, model).output].scale


def test_an_operator_that_computes_on_codes_is_refused(tmp_path: Path) -> None:
    model = quantize(classifier(), samples(3, 8, 8))
    _, gemm = writer(model, "Gemm")
    dequantize = next(n for n in model.graph.node if gemm.input[0] in n.output)
    gemm.input[0] = dequantize.input[0]
    model.graph.node.remove(dequantize)
    with pytest.raises(UsageError, match="not dequantised before it"):
        load(tmp_path, model)


def without_last_q(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the real values of its last operator as its output."""
    name = model.graph.output[0].name
    dequantize = next(n for n in model.graph.node if name in n.output)
    q = next(n for n in model.graph.node if dequantize.input[0] in n.output)
    last = next(n for n in model.graph.node if q.input[0] in n.output)
    model.graph.node.remove(dequantize)
    model.graph.node.remove(q)
    last.output[0] = name
    return model


def test_an_output_without_its_last_q_gets_a_scale_and_a_note(tmp_path: Path) -> None:
    inputs = samples(3, 8, 8)
    model = without_last_q(quantize(classifier(), inputs))
    graph = load(tmp_path, model)
    assert len(graph.notes) == 1
    assert "is not quantised in the file" in graph.notes[0]
    ours, theirs = real_outputs(graph, inputs), run_onnx(model, inputs)
    # Half a code of rounding; the sums before it are exact, onnxruntime's are of float32.
    scale = graph.tensors[graph.output].scale
    assert np.abs(ours - theirs).max() <= scale * 0.5 * (1 + 1e-3)
    assert np.ptp(theirs) > 20 * scale


def test_a_shape_computed_from_the_input_is_folded_at_batch_1(tmp_path: Path) -> None:
    m = FloatModel((3, 8, 8), opset=17)
    a = m.node("Relu", m.conv("x", 6, 3, 3, strides=[2, 2]))
    batch = m.node("Gather", m.node("Shape", a), m.constant(np.array(0)), axis=0)
    ends = [m.node("Unsqueeze", part, m.constant(np.array([0]))) for part in (batch, m.constant(np.array(-1)))]
    flat = m.node("Reshape", a, m.node("Concat", *ends, axis=0))
    model = m.build(m.node("Gemm", flat, m.random(54, 10), m.random(10)))
    inputs = samples(3, 8, 8)
    model = quantize(model, inputs)
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["conv2d", "reshape", "fully_connected"]
    theirs = run_onnx(model, inputs)
    assert np.abs(real_outputs(graph, inputs) - theirs).max() <= graph.tensors[graph.output].scale * 1.001


@pytest.mark.parametrize("product", ["Gemm", "MatMul"])
def test_a_bias_that_does_not_fit_32_bits_widens_the_scale_of_its_filter(tmp_path: Path, product: str) -> None:
    m = FloatModel((6,))
    weights = np.random.default_rng(2).standard_normal((6, 4)).astype(np.float32)
    weights[:, 1] *= 1e-12  # a dead filter, as a pruner leaves it
    bias = np.array([0.5, 3.0, -0.25, 1.0], np.float32)
    w = m.constant(weights)
    y = (
        m.node("Gemm", "x", w, m.constant(bias))
        if product == "Gemm"
        else m.node("Add", m.node("MatMul", "x", w), m.constant(bias, "b"))
    )
    inputs = samples(6)
    model = quantize(m.build(y), inputs, extra_options={"QuantizeBias": False})
    graph = load(tmp_path, model)
    assert any("does not fit 32 bits" in note for note in graph.notes)
    theirs = run_onnx(model, inputs)
    assert np.abs(real_outputs(graph, inputs) - theirs).max() <= graph.tensors[graph.output].scale * 1.001
    assert np.abs(theirs[:, 1] - 3.0).max() < 0.1


def drop_quantization_behind(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """The model without the QuantizeLinear and DequantizeLinear directly behind the only node of a kind."""
    _, node = writer(model, kind)
    q = next((n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == node.output[0]), None)
    if q is not None:
        dequantize = next(n for n in model.graph.node if q.output[0] in n.input)
        for reader in model.graph.node:
            reader.input[:] = [node.output[0] if name == dequantize.output[0] else name for name in reader.input]
        model.graph.node.remove(q)
        model.graph.node.remove(dequantize)
    return model


@pytest.mark.parametrize(("kind", "notes"), [("GlobalAveragePool", 0), ("HardSwish", 1)])
def test_a_result_that_is_moved_or_averaged_before_it_is_quantised(tmp_path: Path, kind: str, notes: int) -> None:
    m = FloatModel((3, 8, 8))
    a = m.node("HardSwish", m.conv("x", 6, 3, 3, strides=[2, 2])) if kind == "HardSwish" else m.conv("x", 6, 3, 3)
    flat = m.node("Reshape", m.node("GlobalAveragePool", a), m.constant(np.array([1, -1])))
    inputs = samples(3, 8, 8)
    model = quantize(m.build(m.node("Gemm", flat, m.random(6, 5), m.random(5))), inputs)
    model = drop_quantization_behind(drop_quantization_behind(model, "GlobalAveragePool"), kind)
    graph = load(tmp_path, model)
    assert [note for note in graph.notes if "is not quantised in the file" in note][:1] == list(graph.notes)
    assert len(graph.notes) == notes
    ours, theirs = real_outputs(graph, inputs), run_onnx(model, inputs)
    # A code of the features may fall to either side of a tie, and then so may the sums: a code each.
    assert np.abs(ours - theirs).max() <= 2.001 * graph.tensors[graph.output].scale
    assert (np.abs(ours - theirs) <= 1.001 * graph.tensors[graph.output].scale).mean() > 0.95
    assert np.ptp(theirs) > 20 * graph.tensors[graph.output].scale


def test_a_function_at_the_output_has_the_scale_of_its_range(tmp_path: Path) -> None:
    m = FloatModel((6,))
    inputs = samples(6)
    model = quantize(m.build(m.node("Softplus", m.node("Gemm", "x", m.random(6, 5), m.random(5)))), inputs)
    graph = load(tmp_path, drop_quantization_behind(model, "Softplus"))
    ours, theirs = real_outputs(graph, inputs), run_onnx(model, inputs)
    assert np.abs(ours - theirs).max() <= graph.tensors[graph.output].scale * 0.51
    # All codes of the operand lie within the range: nothing is cut off.
    codes = graph.operators[-1].attributes
    assert min(codes.codes) >= -128 and max(codes.codes) == 127  # type: ignore[attr-defined]
