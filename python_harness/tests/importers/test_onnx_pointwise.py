"""Functions of one tensor in ONNX QDQ files, as one node or spelled out, are tables with onnxruntime's codes for every input code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mcutrain.graph import Graph, TableAttributes
from mcutrain.importers import functions
from mcutrain.importers.functions import Function
from support.golden_inference import golden_output, loaded
from support.onnx_models import run_onnx

torch: Any = pytest.importorskip("torch")

ALL_CODES = np.arange(-128, 128).astype(np.int8)


@dataclass
class QuantizedModel:
    """A QDQ file in which every node is named. quantised: whether what lies between two nodes has a Q and DQ of its own."""

    input: tuple[float, int]
    quantised: bool = False
    opset: int = 20
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = self.qdq("x", *self.input)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value: float) -> str:
        """A float32 number; with ``quantised``, as int8 codes behind a DQ."""
        if not self.quantised:
            return self.constant(np.float32(value))
        codes = self.constant(np.int8(127 if value > 0 else -127))
        inputs = [codes, self.constant(np.float32(abs(value) / 127)), self.constant(np.int8(0))]
        return self._node("DequantizeLinear", inputs)

    def op(self, kind: str, *inputs: str, between: tuple[float, int] | None = None, **attributes: Any) -> str:
        """A node. between: the quantisation behind it, where the model is quantised there."""
        y = self._node(kind, list(inputs), **attributes)
        return self.qdq(y, *between) if between is not None and self.quantised else y

    def qdq(self, x: str, scale: float, zero_point: int) -> str:
        operands = [self.constant(np.float32(scale)), self.constant(np.int8(zero_point))]
        return self._node("DequantizeLinear", [self._node("QuantizeLinear", [x, *operands]), *operands])

    def build(self, y: str, output: tuple[float, int] | None, shape: tuple[int, ...] = (256,)) -> onnx.ModelProto:
        last = y if output is None else self.qdq(y, *output)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])
        out = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, *shape])
        graph = helper.make_graph(self.nodes, "net", [x], [out], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        onnx.checker.check_model(model)
        return model

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name


def table_of(model: onnx.ModelProto) -> tuple[Graph, TableAttributes]:
    """The Graph of one table that a model must be."""
    graph = loaded(model.SerializeToString(), ".onnx")
    (op,) = graph.operators
    assert isinstance(op.attributes, TableAttributes)
    return graph, op.attributes


def codes_of_onnxruntime(graph: Graph, model: onnx.ModelProto) -> NDArray[np.int_]:
    """For every input code."""
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    real = (np.float32(x.scale) * (ALL_CODES.astype(np.float32) - np.float32(x.zero_point))).astype(np.float32)
    found = run_onnx(model, [real])[0]
    codes: NDArray[np.int_] = np.rint(found.astype(np.float64) / y.scale).astype(int) + y.zero_point
    return codes


def assert_same_codes(model: onnx.ModelProto, *, most_off: int = 2) -> TableAttributes:
    """onnxruntime approximates exponentials, so a value beside a tie may fall on its other side: by one code, and seldom."""
    graph, attributes = table_of(model)
    theirs = codes_of_onnxruntime(graph, model)
    off = np.abs(np.array(attributes.codes) - theirs)
    assert np.unique(theirs).size > 10
    assert off.max() <= 1
    assert (off > 0).sum() <= most_off
    np.testing.assert_array_equal(golden_output(graph, ALL_CODES)[0], attributes.codes)
    return attributes


UNARY: list[tuple[str, dict[str, Any], tuple[float, int]]] = [
    ("Abs", {}, (0.03, -128)),
    ("Celu", {"alpha": 0.6}, (0.03, -40)),
    ("Elu", {}, (0.03, -40)),
    ("Elu", {"alpha": 0.4}, (0.03, -40)),
    ("Erf", {}, (1 / 128, 0)),
    ("Exp", {}, (0.2, -128)),
    ("Gelu", {}, (0.03, -100)),
    ("Gelu", {"approximate": "tanh"}, (0.03, -100)),
    ("HardSigmoid", {}, (1 / 255, -128)),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, (1 / 255, -128)),
    ("HardSwish", {}, (0.03, -100)),
    ("LeakyRelu", {"alpha": 0.1}, (0.03, -90)),
    ("Mish", {}, (0.03, -100)),
    ("Neg", {}, (0.03, 0)),
    ("Selu", {}, (0.03, -60)),
    ("Sigmoid", {}, (1 / 255, -128)),
    ("Softplus", {}, (0.03, -128)),
    ("Softsign", {}, (1 / 128, 0)),
    ("Tanh", {}, (1 / 127, 0)),
    ("ThresholdedRelu", {"alpha": 0.7}, (0.03, -128)),
]


@pytest.mark.parametrize(("kind", "attributes", "output"), UNARY)
@pytest.mark.parametrize("input", [(0.05, 5), (2.0**-5, 0), (0.021, -30)])
def test_a_unary_node_has_the_codes_of_onnxruntime(
    kind: str, attributes: dict[str, Any], output: tuple[float, int], input: tuple[float, int]
) -> None:
    m = QuantizedModel(input)
    assert_same_codes(m.build(m.op(kind, m.x, **attributes), output))


@pytest.mark.parametrize(("kind", "output"), [("Log", (0.05, 0)), ("Sqrt", (0.02, -128)), ("Reciprocal", (0.2, -128))])
def test_a_function_of_positive_numbers_has_the_codes_of_onnxruntime(kind: str, output: tuple[float, int]) -> None:
    m = QuantizedModel((0.05, -129 + 1))
    graph, attributes = table_of(m.build(m.op(kind, m.x), output))
    theirs = codes_of_onnxruntime(graph, m.build(m.op(kind, m.x), output))[1:]
    np.testing.assert_array_equal(attributes.codes[1:], np.clip(theirs, -128, 127))


def silu(m: QuantizedModel) -> str:
    return m.op("Mul", m.x, m.op("Sigmoid", m.x, between=(1 / 255, -128)))


def silu_reversed(m: QuantizedModel) -> str:
    return m.op("Mul", m.op("Sigmoid", m.x, between=(1 / 255, -128)), m.x)


def gelu_by_erf(m: QuantizedModel) -> str:
    scaled = m.op("Div", m.x, m.number(2**0.5), between=(0.04, 0))
    one_more = m.op("Add", m.op("Erf", scaled, between=(1 / 127, 0)), m.number(1.0), between=(2 / 255, -128))
    return m.op("Mul", m.op("Mul", m.x, one_more, between=(0.06, -80)), m.number(0.5))


def gelu_by_tanh(m: QuantizedModel) -> str:
    cube = m.op("Pow", m.x, m.constant(np.float32(3)), between=(1.5, 0))
    inner = m.op("Add", m.x, m.op("Mul", cube, m.number(0.044715), between=(0.08, 0)), between=(0.12, 0))
    t = m.op("Tanh", m.op("Mul", inner, m.number(0.7978845608), between=(0.1, 0)), between=(1 / 127, 0))
    half = m.op("Mul", m.x, m.number(0.5), between=(0.03, 0))
    return m.op("Mul", half, m.op("Add", t, m.number(1.0), between=(2 / 255, -128)))


def hard_swish(m: QuantizedModel) -> str:
    shifted = m.op("Add", m.x, m.number(3.0), between=(0.06, -60))
    limits = (m.constant(np.float32(0)), m.constant(np.float32(6)))
    clipped = m.op("Clip", shifted, *limits, between=(6 / 255, -128))
    return m.op("Div", m.op("Mul", m.x, clipped, between=(0.2, -100)), m.number(6.0))


def mish(m: QuantizedModel) -> str:
    return m.op("Mul", m.x, m.op("Tanh", m.op("Softplus", m.x, between=(0.03, -128)), between=(1 / 255, -128)))


def square(m: QuantizedModel) -> str:
    return m.op("Mul", m.x, m.x)


SPELLED_OUT: list[tuple[Callable[[QuantizedModel], str], Function, tuple[float, int]]] = [
    (silu, functions.SILU, (0.03, -110)),
    (silu_reversed, functions.SILU, (0.03, -110)),
    (gelu_by_erf, functions.GELU, (0.03, -110)),
    (gelu_by_tanh, functions.TANH_GELU, (0.03, -110)),
    (hard_swish, functions.HARD_SWISH, (0.03, -110)),
    (mish, functions.MISH, (0.03, -110)),
    (square, Function("square", np.square, lambda x: 2 * x), (0.1, -128)),
]


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize(("spelled", "function", "output"), SPELLED_OUT)
def test_a_function_spelled_out_is_one_table_with_the_codes_of_onnxruntime(
    spelled: Callable[[QuantizedModel], str], function: Function, output: tuple[float, int], quantised: bool
) -> None:
    m = QuantizedModel((0.051, 7), quantised)  # no code at a kink of the hard swish
    attributes = assert_same_codes(m.build(spelled(m), output))
    if not quantised:
        real = (float(np.float32(0.051)) * (np.arange(-128, 128) - 7)).astype(np.float64)
        exact = function.value(real) / output[0] + output[1]
        slopes = function.slope(real) * 0.051 / output[0]
        inside = (exact > -128) & (exact < 127)
        np.testing.assert_allclose(np.array(attributes.slopes)[inside], slopes[inside], rtol=1e-4, atol=1e-5)


def test_a_rounding_between_two_nodes_is_part_of_the_table() -> None:
    rough, exact = (QuantizedModel((0.05, 7), quantised) for quantised in (True, False))
    tables = [table_of(m.build(silu(m), (0.03, -110)))[1].codes for m in (rough, exact)]
    assert tables[0] != tables[1]


def test_a_slope_is_0_where_a_value_between_is_cut_off() -> None:
    m = QuantizedModel((0.05, 0), quantised=True)
    between = m.op("Mul", m.x, m.number(1.0), between=(0.01, 0))
    _, attributes = table_of(m.build(m.op("Tanh", between), (1 / 127, 0)))
    real = 0.05 * np.arange(-128, 128)
    slopes = np.array(attributes.slopes)
    assert not slopes[np.abs(real) > 1.285].any()
    assert (slopes[np.abs(real) < 1.2] > 0).all()


@pytest.mark.parametrize(("kind", "expected"), [("Sigmoid", (1 / 256, -128)), ("Tanh", (1 / 128, 0))])
def test_a_function_at_the_end_without_a_quantisation_has_that_of_its_range(
    kind: str, expected: tuple[float, int]
) -> None:
    m = QuantizedModel((0.05, 0))
    graph, _ = table_of(m.build(m.op(kind, m.x), None))
    y = graph.tensors[graph.output]
    assert (y.scale, y.zero_point) == expected


def test_a_function_at_the_end_without_a_quantisation_has_that_of_what_its_codes_reach() -> None:
    m = QuantizedModel((0.05, 0))
    _, attributes = table_of(m.build(m.op("Mish", m.x), None))
    assert min(attributes.codes) == -128 and max(attributes.codes) == 127


def test_a_table_that_another_node_reads_too_is_kept() -> None:
    m = QuantizedModel((0.05, 0), quantised=True)
    gate = m.op("Sigmoid", m.x, between=(1 / 255, -128))
    both = m.op("Add", m.qdq(m.op("Mul", m.x, gate), 0.03, -110), m.op("Flatten", gate, between=(1 / 255, -128)))
    graph = loaded(m.build(both, (0.05, 0)).SerializeToString(), ".onnx")
    assert [op.kind for op in graph.operators] == ["table", "table", "reshape", "add"]


def test_the_sum_of_a_tensor_with_itself_stays_an_add() -> None:
    m = QuantizedModel((0.05, 0))
    graph = loaded(m.build(m.op("Add", m.x, m.x), (0.1, 0)).SerializeToString(), ".onnx")
    assert [op.kind for op in graph.operators] == ["add"]


@pytest.mark.parametrize(("kind", "limit"), [("Max", -1.0), ("Min", 2.0), ("Max", 0.0)])
@pytest.mark.parametrize("number_first", [False, True])
def test_a_maximum_or_minimum_with_a_number_is_a_clamp(kind: str, limit: float, number_first: bool) -> None:
    m = QuantizedModel((0.05, 0))
    operands = (m.number(limit), m.x) if number_first else (m.x, m.number(limit))
    model = m.build(m.op(kind, *operands), (0.05, 0))
    graph = loaded(model.SerializeToString(), ".onnx")
    assert [op.kind for op in graph.operators] == ["requantize"]
    np.testing.assert_array_equal(golden_output(graph, ALL_CODES)[0], codes_of_onnxruntime(graph, model))


def test_a_limit_on_a_function_is_part_of_its_table() -> None:
    m = QuantizedModel((0.05, 3))
    limited = m.op("Min", m.op("Max", m.op("Mish", m.x), m.number(-0.1)), m.number(2.0))
    attributes = assert_same_codes(m.build(limited, (0.02, -100)))
    assert attributes.slopes[128 + 3 - 20] == attributes.slopes[-1] == 0  # at -1 and above 2


@pytest.mark.parametrize("slope_shape", [(), (1,), (5, 1, 1), (1, 5, 1, 1), (5, 3, 4), (1, 3, 1)])
@pytest.mark.parametrize("quantised", [False, True])
def test_a_prelu_of_an_image_is_within_a_code_of_onnxruntime(slope_shape: tuple[int, ...], quantised: bool) -> None:
    m = QuantizedModel((0.05, 7))
    random = np.random.default_rng(1)
    if quantised:
        codes = m.constant(random.integers(-128, 128, slope_shape).astype(np.int8))
        operands = [codes, m.constant(np.float32(0.01)), m.constant(np.int8(5))]
        slopes = m._node("DequantizeLinear", operands)
    else:
        slopes = m.constant(random.uniform(-0.5, 1.5, slope_shape).astype(np.float32))
    model = m.build(m.op("PRelu", m.x, slopes), (0.06, -20), (5, 3, 4))
    graph = loaded(model.SerializeToString(), ".onnx")
    assert [op.kind for op in graph.operators] == ["prelu"]
    x = random.integers(-128, 128, (3, 4, 5)).astype(np.int8)
    real = (np.float32(0.05) * (x.astype(np.float32) - 7)).transpose(2, 0, 1)
    theirs = np.rint(run_onnx(model, [real])[0].transpose(1, 2, 0) / np.float32(0.06)).astype(int) - 20
    ours = golden_output(graph, x)[0].astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.9
