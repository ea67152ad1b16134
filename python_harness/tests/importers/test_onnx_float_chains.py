"""Float operators in a row, without a QuantizeLinear between: imported where the result has one exact meaning, else refused in one line."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from mcutrain.errors import UsageError
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from support.graph_reference import quantized
from support.inference import golden_output
from support.onnx_models import FloatArray, FloatModel, run_onnx

SHAPE = (4, 6, 6)
CODES = (0.03, 5)  # of the input
Step = Callable[[FloatModel, str], str]


def array(m: FloatModel, *values: float) -> str:
    return m.constant(np.array(values, np.float32).reshape((-1, 1, 1) if len(values) > 1 else ()))


def batch_norm(m: FloatModel, x: str, channels: int = 4) -> str:
    values = ([0.5, -1.5, 2, 1], [0.1, -0.2, 0, 1], [0.3, 0, -0.3, 0.1], [1, 2, 0.5, 0.7])
    return m.node("BatchNormalization", x, *(m.constant(np.array(v[:channels], np.float32)) for v in values))


FIRST: dict[str, Step] = {
    "Relu": lambda m, x: m.node("Relu", x),
    "Clip at codes": lambda m, x: m.node("Clip", x, array(m, -0.6), array(m, 0.9)),
    "Clip beyond codes": lambda m, x: m.node("Clip", x, array(m, -50), array(m, 60)),
    "MaxPool, Relu": lambda m, x: m.node("Relu", m.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)),
    "Concat": lambda m, x: m.node("Concat", m.node("Relu", x), x, axis=2),
    "Transpose, Relu, Slice": lambda m, x: m.node(
        "Slice", m.node("Relu", m.node("Transpose", x, perm=[0, 1, 3, 2])), *(m.constant(np.array([n])) for n in (1, 5, 2))
    ),
}  # fmt: skip
SECOND: dict[str, Step] = {
    "Add": lambda m, x: m.node("Add", x, m.node("Relu", x)),
    "AveragePool": lambda m, x: m.node("AveragePool", x, kernel_shape=[3, 3]),
    "BatchNormalization": batch_norm,
    "Concat": lambda m, x: m.node("Concat", x, x, axis=1),
    "Conv": lambda m, x: m.node("Conv", x, weights(m, 3, 4, 1, 1)),
    "GlobalAveragePool": lambda m, x: m.node("GlobalAveragePool", x),
    "HardSwish": lambda m, x: m.node("HardSwish", x),
    "Mul": lambda m, x: m.node("Mul", x, array(m, 0.3, -1, 2, 0.7)),
    "PRelu, Clip": lambda m, x: m.node("Clip", m.node("PRelu", x, array(m, 0.3, -1, 2, 0.7)), array(m, -0.37)),
    "SiLU": lambda m, x: m.node("Mul", x, m.node("Sigmoid", x)),
    "Softmax, Relu": lambda m, x: m.node("Relu", m.node("Softmax", x, axis=1)),
}


# A Relu before each, the others before a third of them.
PAIRS = [
    (a, b) for (i, a), (j, b) in itertools.product(enumerate(FIRST), enumerate(SECOND)) if i == 0 or (i + j) % 3 == 0
]


def weights(m: FloatModel, *shape: int) -> str:
    codes = np.random.default_rng(4).integers(-127, 128, shape).astype(np.int8)
    by = m.constant(np.array(0.01, np.float32)), m.constant(np.array(0, np.int8))
    return m.node("DequantizeLinear", m.constant(codes), *by)


def chain(*parts: Step, scale: float | None) -> onnx.ModelProto:
    m = FloatModel(SHAPE)
    x = m.quantized("x", *CODES)
    for part in parts:
        x = part(m, x)
    return m.build(x if scale is None else m.quantized(x, scale, -7), 4)


def inputs() -> list[FloatArray]:
    random = np.random.default_rng(6)
    return [(random.standard_normal(SHAPE) * 1.2).astype(np.float32) for _ in range(4)]


def load(model: onnx.ModelProto) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return load_model(path)


def with_its_scale(*parts: Step) -> onnx.ModelProto:
    """The chain, at an output scale that its results fill."""
    real = run_onnx(chain(*parts, scale=None), inputs())
    return chain(*parts, scale=float(np.abs(real).max()) / 120)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_result_that_codes_can_hold_is_rounded_once(first: str, second: str) -> None:
    model = with_its_scale(FIRST[first], SECOND[second])
    graph = load(model)
    assert not graph.notes
    assert_codes_of_onnxruntime(graph, model)


def assert_codes_of_onnxruntime(graph: Graph, model: onnx.ModelProto) -> None:
    ours = np.stack(
        [golden_output(graph, quantized(graph.tensors[graph.input], i.transpose(1, 2, 0))) for i in inputs()]
    )
    found = run_onnx(model, inputs())
    theirs = quantized(graph.tensors[graph.output], found.transpose(0, 2, 3, 1)).astype(int)
    off = np.abs(ours.astype(int) - theirs)
    assert off.max() <= 1
    # Ties alone are rounded to either side: all zeros of a channel at once where a Relu comes first.
    assert (off == 0).mean() > 0.8
    assert np.ptp(theirs) > 40


AFFINE: dict[str, Step] = {
    "Add": lambda m, x: m.node("Add", array(m, 0.3, -1, 2), x),
    "BatchNormalization": lambda m, x: batch_norm(m, x, 3),
    "BatchNormalization, Relu": lambda m, x: m.node("Relu", batch_norm(m, x, 3)),
    "Div, Sub, Mul": lambda m, x: m.node("Mul", m.node("Sub", array(m, 0.3), m.node("Div", x, array(m, -0.4))), array(m, 2, 0, -1)),
    "Mul": lambda m, x: m.node("Mul", x, array(m, 0.3)),
    "Neg by Mul, MaxPool": lambda m, x: m.node("MaxPool", m.node("Mul", x, array(m, -1)), kernel_shape=[2, 2]),
}  # fmt: skip


def convolution(m: FloatModel, x: str) -> str:
    return m.node("Conv", x, weights(m, 3, 4, 1, 1))


def depthwise(m: FloatModel, x: str) -> str:
    part = m.node("Slice", x, *(m.constant(np.array([n])) for n in (0, 3, 1)))
    return m.node("Conv", part, weights(m, 3, 1, 2, 2), group=3)


@pytest.mark.parametrize(("layer", "kind"), [(convolution, "conv2d"), (depthwise, "depthwise_conv2d")])
@pytest.mark.parametrize("affine", AFFINE)
def test_a_gain_and_an_offset_behind_a_layer_become_its_weights(layer: Step, kind: str, affine: str) -> None:
    model = with_its_scale(layer, AFFINE[affine])
    graph = load(model)
    assert [op.kind for op in graph.operators if op.kind not in ("slice", "max_pool")] == [kind]
    assert len([t for t in graph.tensors.values() if t.data is not None]) == 2  # weights and bias alone
    assert_codes_of_onnxruntime(graph, model)


def test_a_gain_and_an_offset_behind_a_layer_of_rows_are_of_its_columns() -> None:
    def rows(m: FloatModel, x: str) -> str:
        x = m.node("MatMul", m.node("Transpose", x, perm=[0, 2, 3, 1]), weights(m, 4, 3))
        gain, offset = (m.constant(np.array(v, np.float32)) for v in ([0.3, -1, 2], [1, 0.5, -2]))
        return m.node("Transpose", m.node("Sub", m.node("Mul", x, gain), offset), perm=[0, 3, 1, 2])

    model = with_its_scale(rows)
    graph = load(model)
    assert [op.kind for op in graph.operators if op.kind != "reshape"] == ["fully_connected"]
    assert_codes_of_onnxruntime(graph, model)


@pytest.mark.parametrize(
    ("lowest", "gain", "reason"),
    [
        (-128, [1, -1, 1], "it turns the sign of a weight of -128; quantise weights to codes of -127 to 127"),
        (-127, [1, 1e-38, 1], "a gain of it is too small or too large for the weights before it"),
    ],
)
def test_a_gain_that_weights_cannot_have_is_refused(lowest: int, gain: list[float], reason: str) -> None:
    def scaled(m: FloatModel, x: str) -> str:
        codes = np.full((3, 4, 1, 1), lowest, np.int8)
        by = m.constant(np.array(0.01, np.float32)), m.constant(np.array(0, np.int8))
        layer = m.node("Conv", x, m.node("DequantizeLinear", m.constant(codes), *by))
        return m.node("Mul", layer, array(m, *gain))

    with pytest.raises(UsageError) as error:
        load(chain(scaled, scale=0.1))
    assert reason in str(error.value)


def test_a_result_may_be_read_both_quantised_and_real() -> None:
    def both(m: FloatModel, x: str) -> str:
        limited = FIRST["MaxPool, Relu"](m, x)
        return m.node("Add", m.quantized(limited, 0.05, 3), m.node("HardSwish", limited))

    model = with_its_scale(both)
    assert_codes_of_onnxruntime(load(model), model)


@pytest.mark.parametrize("function", ["HardSwish", "SiLU"])
def test_a_function_of_a_limit_is_one_table(function: str) -> None:
    graph = load(with_its_scale(FIRST["Relu"], SECOND[function]))
    assert [op.kind for op in graph.operators] == ["table"]


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (lambda m, x: m.node("Clip", x, array(m, -0.61), array(m, 0.9)), "clip_2"),  # -0.61 has no code
        (batch_norm, "batchnormalization_2"),
        (lambda m, x: m.node("Conv", x, weights(m, 4, 4, 1, 1)), "conv_3"),
        (SECOND["GlobalAveragePool"], "globalaveragepool_2"),
        (lambda m, x: m.node("Add", x, x), "add_2"),
    ],
)
def test_a_result_that_no_codes_hold_is_refused_with_what_to_do(first: Step, kind: str) -> None:
    with pytest.raises(UsageError) as error:
        load(chain(first, SECOND["GlobalAveragePool"], scale=0.1))
    message = str(error.value)
    assert f"operand '{kind}' is not quantised" in message
    assert "quantise the output of what writes it too (onnxruntime: its kind in op_types_to_quantize)" in message
    assert "\n" not in message


def test_an_output_that_is_no_number_is_refused() -> None:
    def logarithm(m: FloatModel, x: str) -> str:
        return m.node("Log", m.node("Sub", m.node("Neg", m.node("Abs", x)), array(m, 1)))

    with pytest.raises(UsageError, match=r"output 'log_5': log of its operand is no finite number"):
        load(chain(logarithm, scale=None))
