"""A model that is no int8 network is refused in one line that says what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from mcutrain.importers.onnx_rules import RULES as ONNX_RULES
from mcutrain.importers.tflite_rules import RULES as TFLITE_RULES
from support.tflite_builder import Builder

ROOT = Path(__file__).resolve().parents[3]
Q = (0.1, 0)


def refusal(tmp_path: Path, name: str, content: bytes) -> str:
    """What is said of a file, without its path: one line."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_model(path)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    return message.removeprefix(f"{path}: ")


def dense(activation: str, weights: str, *, dequantized: bool = False) -> bytes:
    """One FULLY_CONNECTED of these types; its weights through DEQUANTIZE where said."""
    b = Builder()
    quantization = None if activation.startswith("float") else Q
    x, y = (b.tensor(n, (1, 4), activation, quantization=quantization) for n in "xy")
    numpy_type = {"int4": "int8"}.get(weights, weights)
    data = np.zeros((4, 4), numpy_type)
    w = b.tensor("w", (4, 4), weights, quantization=None if weights.startswith("float") else Q, data=data)
    if dequantized:
        real = b.tensor("real", (4, 4), "float32")
        b.operator("DEQUANTIZE", [w], [real])
        w = real
    b.operator("FULLY_CONNECTED", [x, w], [y], {})
    return b.build([x], [y])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dense("float32", "float32"), "a float32 model: quantise it to int8 first"),
        (dense("float32", "int8"), "a dynamic-range model (int8 weights, float32 activations): quantise it"),
        (dense("float32", "int8", dequantized=True), "a dynamic-range model"),
        (dense("float32", "float16", dequantized=True), "a model with float16 weights: quantise it"),
        (dense("float16", "float16"), "a float16 model: quantise it"),
        (dense("int16", "int8"), "a 16x8 model (int16 activations): quantise it"),
        (dense("uint8", "uint8"), "a model in the old uint8 scheme"),
        (dense("int8", "int4"), "a model with weights of 4 bits or less"),
    ],
)
def test_a_tflite_model_of_other_numbers_is_named_by_them(tmp_path: Path, content: bytes, words: str) -> None:
    assert refusal(tmp_path, "model.tflite", content).startswith(words)


def with_operator(kind: str, *, dtype: str = "int8") -> bytes:
    """An operator between two tensors of the network."""
    b = Builder()
    x = b.tensor("x", (1, 4), dtype, quantization=Q)
    boxes = b.tensor("boxes", (1, 4), quantization=Q)
    real = b.tensor("real", (1, 4), "float32")
    y = b.tensor("y", (1, 4), "float32")
    b.operator("RELU", [x], [boxes])
    b.operator("DEQUANTIZE", [boxes], [real])
    b.operator(kind, [real], [y], {})
    return b.build([x], [y])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "a recurrent network (UNIDIRECTIONAL_SEQUENCE_LSTM): only feed-forward"),
        ("SVDF", "a recurrent network (SVDF): only feed-forward"),
        ("WHILE", "a network with control flow (WHILE): only feed-forward"),
        ("ASSIGN_VARIABLE", "a network that keeps state between its inputs (ASSIGN_VARIABLE), as streaming models do"),
        (
            "CUSTOM:edgetpu-custom-op",
            "a model compiled for the Edge TPU: take the .tflite file that it was compiled from",
        ),
        ("CUSTOM:ethos-u", "a model compiled for an Arm Ethos-U: take"),
        (
            "CUSTOM:TFLite_Detection_PostProcess",
            "a network that ends in what is no int8 operator (TFLite_Detection_PostProcess): of the int8 tensors before that "
            "('boxes'), choose one by its name, with --output NAME",
        ),
        ("LOG_SOFTMAX", "a network that ends in what is no int8 operator (LOG_SOFTMAX): of the int8 tensors before"),
    ],
)
def test_a_tflite_model_of_other_operators_is_named_by_them(tmp_path: Path, kind: str, words: str) -> None:
    assert refusal(tmp_path, "model.tflite", with_operator(kind)).startswith(words)


def test_the_document_that_messages_name_lists_every_operator() -> None:
    text = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    section = text.partition("## Operators")[2].partition("\n## ")[0]
    _, of_tflite, of_onnx = section.replace("\n", " ").replace("Of ONNX", "Of `.tflite`").split("Of `.tflite`")
    assert re.findall(r"[A-Z][A-Z0-9_]{2,}", of_tflite) == sorted(rule.name for rule in TFLITE_RULES.values())
    named = sorted([*ONNX_RULES, "QuantizeLinear", "DequantizeLinear"])
    assert re.findall(r"[A-Z][A-Za-z]+", of_onnx.rpartition("number):")[2]) == named


def test_an_unknown_operator_within_an_int8_network_is_named(tmp_path: Path) -> None:
    b = Builder()
    x, a, y = (b.tensor(n, (1, 4), quantization=Q) for n in "xay")
    b.operator("CUSTOM:Whatever", [x], [a])
    b.operator("RELU", [a], [y])
    message = refusal(tmp_path, "model.tflite", b.build([x], [y]))
    assert message.startswith(
        "1 unsupported: custom operator Whatever #0 (output 'a'). Supported operators: docs/networks.md"
    )


def test_float32_between_int8_operators_is_named_operator_by_operator(tmp_path: Path) -> None:
    b = Builder()
    x, a, y = (b.tensor(n, (1, 4), quantization=Q) for n in "xay")
    real, bent = (b.tensor(n, (1, 4), "float32") for n in ("real", "bent"))
    b.operator("DEQUANTIZE", [x], [real])
    b.operator("CUSTOM:Bend", [real], [bent])
    b.operator("QUANTIZE", [bent], [a])
    b.operator("RELU", [a], [y])
    message = refusal(tmp_path, "model.tflite", b.build([x], [y]))
    assert "unsupported: DEQUANTIZE #0 (output 'real'); custom operator Bend #1 (output 'bent')" in message


def test_a_model_of_strings_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, "model.tflite", with_operator("CAST", dtype="string")).startswith("a model of strings")


def test_a_model_quantised_in_part_says_how_much_of_it_is(tmp_path: Path) -> None:
    b = Builder()
    x = b.tensor("x", (1, 4), quantization=Q)
    a, y = b.tensor("a", (1, 4), quantization=Q), b.tensor("y", (1, 4), "float32")
    real = b.tensor("real", (1, 4), "float32")
    w = b.tensor("w", (4, 4), quantization=Q, data=np.zeros((4, 4), np.int8))
    v = b.tensor("v", (4, 4), "float32", data=np.zeros((4, 4), np.float32))
    b.operator("FULLY_CONNECTED", [x, w], [a], {})
    b.operator("DEQUANTIZE", [a], [real])
    b.operator("FULLY_CONNECTED", [real, v], [y], {})
    message = refusal(tmp_path, "model.tflite", b.build([x], [y]))
    assert message.startswith("a model quantised in part: 1 of its 2 operators with weights work on float32")


def test_subgraphs_that_nothing_calls_are_no_matter(tmp_path: Path) -> None:
    b = Builder()
    x, y = (b.tensor(n, (1, 4), quantization=Q) for n in "xy")
    b.operator("RELU", [x], [y])
    path = tmp_path / "model.tflite"
    path.write_bytes(b.build([x], [y], empty_subgraphs=1))
    assert [op.kind for op in load_model(path).operators] == ["requantize"]


def onnx_model(
    *nodes: onnx.NodeProto, dtype: int = TensorProto.FLOAT, constants: dict[str, NDArray[Any]] | None = None
) -> bytes:
    """An ONNX network of these nodes from x to y."""
    x, y = (helper.make_tensor_value_info(n, dtype, [1, 4]) for n in "xy")
    initializers = [numpy_helper.from_array(v, n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], initializers)
    domains = [
        helper.make_opsetid("", 17),
        helper.make_opsetid("com.microsoft", 1),
        helper.make_opsetid("ai.onnx.ml", 3),
    ]
    return bytes(helper.make_model(graph, opset_imports=domains).SerializeToString())


def node(kind: str, inputs: str = "x", outputs: str = "y", domain: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), domain=domain)


SCALE: dict[str, NDArray[Any]] = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int16)}
CONSTANT: dict[str, NDArray[Any]] = {
    "s": np.array(0.1, np.float32),
    "w": np.zeros((4, 4), np.int8),
    "zw": np.array(0, np.int8),
}

ONNX_MODELS: list[tuple[Callable[[], bytes], str]] = [
    (lambda: onnx_model(node("Relu")), "a float32 model: quantise it to int8 first, with onnxruntime.quantization"),
    (lambda: onnx_model(node("Relu"), dtype=TensorProto.FLOAT16), "a float16 model"),
    (
        lambda: onnx_model(node("DequantizeLinear", "w s zw", "r"), node("MatMul", "x r"), constants=CONSTANT),
        "a model of which only the weights are quantised",
    ),
    (lambda: onnx_model(node("Relu"), dtype=TensorProto.UINT8), "a model without QuantizeLinear and DequantizeLinear"),
    (lambda: onnx_model(node("QLinearConv")), "a model in QOperator format"),
    (lambda: onnx_model(node("QLinearAdd", domain="com.microsoft")), "a model in QOperator format"),
    (lambda: onnx_model(node("DynamicQuantizeLinear", "x", "y s z")), "a dynamically quantised model"),
    (lambda: onnx_model(node("DynamicQuantizeMatMul", domain="com.microsoft")), "a dynamically quantised model"),
    (lambda: onnx_model(node("LSTM")), "a recurrent network (LSTM): only feed-forward"),
    (lambda: onnx_model(node("Loop")), "a network with control flow (Loop)"),
    (
        lambda: onnx_model(node("TreeEnsembleClassifier", domain="ai.onnx.ml")),
        "a model of classical machine learning (ai.onnx.ml.TreeEnsembleClassifier)",
    ),
    (lambda: onnx_model(node("QuantizeLinear", "x s z"), constants=SCALE), "a model quantised to 16 bits"),
]


@pytest.mark.parametrize(("model", "words"), ONNX_MODELS)
def test_an_onnx_model_of_another_form_is_named(tmp_path: Path, model: Callable[[], bytes], words: str) -> None:
    assert refusal(tmp_path, "model.onnx", model()).startswith(words)
