"""Of a file with several outputs one is chosen by name, and what it does not need is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from mcutrain import cli
from mcutrain.compiler.plan import compile_plan
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from support.onnx_models import FloatModel, quantize
from support.tflite_builder import Builder, run_litert

CODES = np.arange(-60, 60, 20).astype(np.int8)


def two_heads() -> bytes:
    """x -> relu a; a -> relu6 b (first output, dequantised); x -> TANH -> c (second output, no operator of ours)."""
    b = Builder()
    x, a = (b.tensor(n, (1, 6), quantization=(0.1, -3)) for n in "xa")
    low, real = b.tensor("b", (1, 6), quantization=(0.05, -128)), b.tensor("real", (1, 6), "float32")
    c = b.tensor("c", (1, 6), quantization=(1 / 128, 0))
    b.operator("RELU", [x], [a])
    b.operator("CUSTOM:Unknown", [x], [c])
    b.operator("RELU6", [a], [low])
    b.operator("DEQUANTIZE", [low], [real])
    return b.build([x], [real, c])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.tflite"
    file.write_bytes(two_heads())
    return file


def test_several_outputs_are_named_with_how_to_choose(path: Path) -> None:
    with pytest.raises(UsageError, match=r"has 2 outputs \('real', 'c'\): choose one by its name, with --output NAME"):
        load_model(path)


def test_what_the_chosen_output_does_not_need_is_left_out(path: Path) -> None:
    graph = load_model(path, output="real")
    assert [op.name for op in graph.operators] == ["requantize0", "requantize2"]
    assert graph.output == "b"


def test_any_tensor_inside_the_network_can_be_chosen(path: Path) -> None:
    graph = load_model(path, output="a")
    assert [op.name for op in graph.operators] == ["requantize0"]
    executor = GoldenExecutor(compile_plan(inference(graph)))
    executor.infer(CODES)
    b = Builder()
    x, a = (b.tensor(n, (1, 6), quantization=(0.1, -3)) for n in "xa")
    b.operator("RELU", [x], [a])
    np.testing.assert_array_equal(executor.output(), run_litert(b.build([x], [a]), CODES))


def test_a_chosen_output_that_no_operator_writes_is_refused_with_near_names(path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"output 'reel': no operator of the network writes such a tensor; near it are 'real'"
    ):
        load_model(path, output="reel")
    with pytest.raises(UsageError, match="output 'x': no operator"):
        load_model(path, output="x")


def test_a_long_name_may_be_given_as_messages_cut_it(path: Path) -> None:
    assert load_model(path, output="...eal").output == "b"


def test_an_output_of_an_onnx_network_is_chosen_in_the_same_way(tmp_path: Path) -> None:
    m = FloatModel((3, 6, 6))
    second = m.conv(m.node("Relu", m.conv("x", 4, 3, 3)), 2, 4, 3)
    random = np.random.default_rng(0)
    model = quantize(m.build(second, 4), [random.standard_normal((3, 6, 6)).astype(np.float32) for _ in range(8)])
    inner = next(
        n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0].startswith("relu")
    )
    model.graph.output.append(helper.make_tensor_value_info(inner, TensorProto.FLOAT, None))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"has 2 outputs \('conv_2', 'relu_1.*'\): choose one"):
        load_model(path)
    assert [op.kind for op in load_model(path, output=second).operators] == ["conv2d", "conv2d"]
    assert [op.kind for op in load_model(path, output=inner).operators] == ["conv2d"]
    with pytest.raises(UsageError, match="output 'x': no operator"):
        load_model(path, output="x")


def test_inspect_and_plan_take_the_name_of_an_output(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["inspect"], ["plan", "--method", "inference"]):
        cli.app([*command, str(path), "--json", "--output", "a"], standalone_mode=False)
        document = capsys.readouterr().out
        assert "requantize0" in document
        assert "requantize2" not in document


def test_an_episode_names_its_output(path: Path) -> None:
    episode = load_episode("digits-biases").changed({"model": str(path), "output": "a"})
    assert load_model(Path(episode.model), output=episode.output).output == "a"
    with pytest.raises(UsageError, match="output 'nothing': no operator"):
        prepare(episode.changed({"output": "nothing"}))
