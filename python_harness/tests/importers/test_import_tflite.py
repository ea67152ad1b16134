"""Imported .tflite networks mean what LiteRT makes of the same file, and unsupported ones are refused whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import ConvAttributes, Graph, Padding, RequantizeAttributes
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from support.graph_reference import run_graph
from support.tflite_builder import (
    Builder,
    add_weights,
    conv2d_model,
    depthwise_conv2d_model,
    fully_connected_model,
    mean_model,
    pad_model,
    pool_model,
    run_litert,
    softmax_model,
    unary_model,
)

MODELS = os.environ.get("MCUTRAIN_MODELS")
needs_models = pytest.mark.skipif(not MODELS, reason="MCUTRAIN_MODELS does not name the folder of published models")


def random_codes(*shape: int, seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def load(tmp_path: Path, model: bytes) -> Graph:
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    return load_model(path)


def golden(graph: Graph, codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """What the golden reference makes of a sample."""
    executor = GoldenExecutor(compile_plan(inference(graph)))
    executor.infer(codes)
    return executor.output()


def assert_means_the_same(graph: Graph, model: bytes, *, exactly: bool = False) -> None:
    """The Graph's codes are LiteRT's: one code apart at most, and that rarely (values halfway between two codes)."""
    codes = random_codes(*graph.tensors[graph.input].shape, seed=1)
    expected = run_litert(model, codes).astype(int)
    difference = np.abs(run_graph(graph, codes).astype(int) - expected)
    assert np.unique(expected).size > 1
    assert difference.max() <= (0 if exactly else 1)
    assert (difference == 0).mean() >= 0.97


WEIGHTS = random_codes(6, 3, 2, 4, seed=2)
BIAS = np.array([900, -700, 0, 40, 5000, -1], np.int32)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("weight_scale", [0.01, [0.01, 0.002, 0.03, 0.004, 0.02, 0.01]])
def test_a_convolution_means_what_litert_computes(
    tmp_path: Path, padding: str, stride: tuple[int, int], weight_scale: float | list[float]
) -> None:
    model = conv2d_model(
        (9, 8, 4), WEIGHTS, BIAS, stride=stride, padding=padding,
        input=(0.05, -3), weight_scale=weight_scale, output=(0.4, 9),
    )  # fmt: skip
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["conv0"]
    assert_means_the_same(graph, model)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_depthwise_convolution_means_what_litert_computes(
    tmp_path: Path, padding: str, outputs: int, per_channel: bool
) -> None:
    channels = 3 * outputs
    model = depthwise_conv2d_model(
        (9, 8, 3), random_codes(channels, 3, 2, seed=2), np.arange(channels, dtype=np.int32) * 300, stride=(2, 1),
        padding=padding, input=(0.05, -3), weight_scale=np.linspace(0.01, 0.03, channels if per_channel else 1),
        output=(0.2, 9),
    )  # fmt: skip
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["depthwise0"]
    assert graph.tensors[graph.operators[0].inputs[1]].shape == (channels, 3, 2)
    assert_means_the_same(graph, model)


@pytest.mark.parametrize("keep_dims", [True, False])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-3, -2)])
def test_a_mean_over_the_image_means_what_litert_computes(
    tmp_path: Path, keep_dims: bool, axes: tuple[int, ...]
) -> None:
    model = mean_model((5, 4, 40), input=(0.1, -7), output=(0.03, 9), keep_dims=keep_dims, axes=axes)
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["mean0"]
    assert graph.tensors[graph.output].shape == ((1, 1, 40) if keep_dims else (40,))
    assert_means_the_same(graph, model)


@pytest.mark.parametrize("axes", [(0,), (0, 1), (1, 9)])
def test_a_mean_over_the_batch_or_over_no_axis_is_refused(tmp_path: Path, axes: tuple[int, ...]) -> None:
    model = mean_model((5, 4, 40), input=(0.1, -7), output=(0.03, 9), keep_dims=True, axes=axes)
    with pytest.raises(UsageError, match=r"MEAN #0 \(output 'y'\): it reduces 4 dimensions over"):
        load(tmp_path, model)


@pytest.mark.parametrize(
    ("activation", "clamp"),
    [("NONE", (-128, 127)), ("RELU", (9, 127)), ("RELU6", (9, 26)), ("RELU_N1_TO_1", (6, 12))],
)
def test_a_fused_activation_becomes_the_clamp_of_its_operator(
    tmp_path: Path, activation: str, clamp: tuple[int, int]
) -> None:
    model = conv2d_model(
        (5, 5, 4), WEIGHTS, BIAS, activation=activation, input=(0.05, -3), weight_scale=0.01, output=(0.36, 9)
    )
    graph = load(tmp_path, model)
    attributes = graph.operators[0].attributes
    assert isinstance(attributes, ConvAttributes)
    assert attributes.clamp == clamp
    assert_means_the_same(graph, model)


def test_the_odd_row_of_same_padding_goes_to_the_bottom_and_right(tmp_path: Path) -> None:
    weights = random_codes(2, 3, 3, 1)
    model = conv2d_model(
        (8, 8, 1), weights, BIAS[:2], stride=(2, 2), padding="SAME", input=(1, 0), weight_scale=0.01, output=(3, 0)
    )
    attributes = load(tmp_path, model).operators[0].attributes
    assert isinstance(attributes, ConvAttributes)
    assert attributes.padding == Padding(top=0, bottom=1, left=0, right=1)


@pytest.mark.parametrize("bias", [BIAS, None])
@pytest.mark.parametrize("weight_scale", [0.01, [0.01, 0.002, 0.03, 0.004, 0.02, 0.01]])
def test_a_fully_connected_operator_means_what_litert_computes(
    tmp_path: Path, bias: NDArray[np.int32] | None, weight_scale: float | list[float]
) -> None:
    model = fully_connected_model(
        random_codes(6, 20, seed=7), bias, input=(0.05, 11), weight_scale=weight_scale, output=(0.5, -9)
    )
    assert_means_the_same(load(tmp_path, model), model)


def test_a_fully_connected_operator_on_an_image_gets_an_explicit_reshape(tmp_path: Path) -> None:
    b = Builder()
    x = b.tensor("x", (1, 2, 3, 2), quantization=(0.05, 1))
    operands = [x, *add_weights(b, random_codes(6, 12), BIAS, input_scale=0.05, weight_scale=0.01)]
    y = b.tensor("y", (1, 6), quantization=(0.5, 0))
    b.operator("FULLY_CONNECTED", operands, [y], {})
    model = b.build([x], [y])
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["fully_connected0_flatten", "fully_connected0"]
    assert_means_the_same(graph, model)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_pool_is_exactly_litert_s(tmp_path: Path, kind: str, padding: str) -> None:
    model = pool_model(kind, (7, 6, 3), kernel=(3, 2), stride=(2, 2), quantization=(0.1, 5), padding=padding)
    assert_means_the_same(load(tmp_path, model), model, exactly=True)


def test_an_activation_that_narrows_a_pool_becomes_an_operator_of_its_own(tmp_path: Path) -> None:
    def pool(quantization: tuple[float, int]) -> bytes:
        return pool_model(
            "AVERAGE_POOL_2D", (6, 6, 3), kernel=(2, 2), stride=(2, 2), quantization=quantization, activation="RELU6"
        )

    narrow = load(tmp_path, pool((0.1, -5)))
    assert [op.name for op in narrow.operators] == ["average_pool0", "average_pool0_clamp"]
    assert narrow.operators[1].attributes == RequantizeAttributes(clamp=(-5, 55))
    assert_means_the_same(narrow, pool((0.1, -5)), exactly=True)
    wide = load(tmp_path, pool((6 / 255, -128)))
    assert [op.name for op in wide.operators] == ["average_pool0"]


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE"])
def test_a_stand_alone_activation_is_a_requantize(tmp_path: Path, kind: str) -> None:
    model = unary_model(kind, (4, 5, 6), input=(0.07, 12), output=(0.05, -30))
    graph = load(tmp_path, model)
    assert [(op.kind, op.source) for op in graph.operators] == [("requantize", kind)]
    assert_means_the_same(graph, model)


def test_padding_is_filled_with_the_zero_point(tmp_path: Path) -> None:
    model = pad_model((3, 4, 2), [(0, 0), (1, 2), (0, 3), (0, 0)], quantization=(0.1, 17))
    assert_means_the_same(load(tmp_path, model), model, exactly=True)


def test_softmax_keeps_its_beta(tmp_path: Path) -> None:
    model = softmax_model((10,), input=(0.02, 3), beta=0.5)
    assert_means_the_same(load(tmp_path, model), model)


def test_a_residual_add_means_what_litert_computes(tmp_path: Path) -> None:
    b = Builder()
    x = b.tensor("x", (1, 4, 4, 3), quantization=(0.1, 4))
    r = b.tensor("r", (1, 4, 4, 3), quantization=(0.03, -128))
    y = b.tensor("y", (1, 4, 4, 3), quantization=(0.12, -7))
    b.operator("RELU", [x], [r])
    b.operator("ADD", [x, r], [y], {"FusedActivationFunction": 0})
    model = b.build([x], [y])
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["requantize0", "add1"]
    assert_means_the_same(graph, model)


def test_weights_that_two_operators_share_are_one_tensor_and_mean_what_litert_computes(tmp_path: Path) -> None:
    b = Builder()
    shape = (1, 5, 4, 6)
    x, a, y = (b.tensor(name, shape, quantization=(0.05, -3)) for name in "xay")
    weights = add_weights(b, random_codes(6, 3, 3, 6), BIAS, input_scale=0.05, weight_scale=0.01)
    for before, after in ((x, a), (a, y)):
        b.operator("CONV_2D", [before, *weights], [after], {"StrideW": 1, "StrideH": 1})
    model = b.build([x], [y])
    graph = load(tmp_path, model)
    assert graph.operators[0].inputs[1:] == graph.operators[1].inputs[1:]
    assert_means_the_same(graph, model)


def wrapped(outer: str, outer_quantization: tuple[float, int] | None) -> bytes:
    """A RELU between a QUANTIZE from ``outer`` numbers and a conversion back to them."""
    b = Builder()
    ends = {"dtype": outer, "quantization": outer_quantization}
    x = b.tensor("x", (1, 6), ends["dtype"], quantization=outer_quantization)  # type: ignore[arg-type]
    a = b.tensor("a", (1, 6), quantization=(0.5, -3))
    c = b.tensor("c", (1, 6), quantization=(0.5, -3))
    y = b.tensor("y", (1, 6), outer, quantization=outer_quantization)
    b.operator("QUANTIZE", [x], [a])
    b.operator("RELU", [a], [c])
    b.operator("DEQUANTIZE" if outer == "float32" else "QUANTIZE", [c], [y])
    return b.build([x], [y])


@pytest.mark.parametrize(
    ("outer", "quantization", "domain"),
    [("float32", None, "float32 / 0.5 + -3"), ("uint8", (0.5, 125), "uint8 - 128")],
)
def test_conversions_at_both_ends_are_left_out_and_recorded(
    tmp_path: Path, outer: str, quantization: tuple[float, int] | None, domain: str
) -> None:
    graph = load(tmp_path, wrapped(outer, quantization))
    assert [op.name for op in graph.operators] == ["requantize1"]
    assert (graph.input, graph.output, graph.input_domain) == ("a", "c", domain)


def test_uint8_ends_of_another_scale_are_a_change_of_scale(tmp_path: Path) -> None:
    model = wrapped("uint8", (0.25, 120))
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["requantize0", "requantize1", "requantize2"]
    assert (graph.input, graph.output, graph.input_domain) == ("x", "y", "uint8 - 128")
    codes = np.stack([random_codes(6, seed=n) for n in range(20)])
    expected = [run_litert(model, (c.astype(int) + 128).astype(np.uint8)).astype(int) - 128 for c in codes]
    np.testing.assert_array_equal([golden(graph, c) for c in codes], expected)


def test_uint8_inside_the_network_is_refused(tmp_path: Path) -> None:
    b = Builder()
    x = b.tensor("x", (1, 6), "uint8", quantization=(0.5, 125))
    y = b.tensor("y", (1, 6), quantization=(0.5, 3))
    b.operator("RELU", [x], [y])
    with pytest.raises(UsageError, match=r"tensor 'x' \(#0\) is uint8, not int8"):
        load(tmp_path, b.build([x], [y]))


def test_the_first_unsupported_operators_and_tensors_are_named_in_one_line(tmp_path: Path) -> None:
    b = Builder()
    shape = (1, 4, 4, 2)
    x = b.tensor("x", shape, quantization=(0.1, 0))
    names = ["t", "grouped", "wide", "short", "y", "z"]
    t, grouped, wide, short, y, z = (b.tensor(n, shape, quantization=(0.1, 0)) for n in names)
    real = b.tensor("real", shape, "float32")
    weights = add_weights(b, random_codes(2, 1, 1, 3), BIAS[:2], input_scale=0.1, weight_scale=0.1)
    one = b.tensor("one", (1, 1, 1, 3), quantization=(0.1, 0))
    b.operator("CUSTOM:Bend", [x], [t])
    b.operator("CONV_2D", [t, *weights], [grouped], {"StrideW": 1, "StrideH": 1})
    b.operator("CONV_2D", [grouped, x, weights[1]], [wide], {"StrideW": 1, "StrideH": 1})
    b.operator("ADD", [wide, one], [short], {"FusedActivationFunction": 0})
    b.operator("DEQUANTIZE", [short], [real])
    b.operator("RELU", [real], [y])
    b.operator("CUSTOM:Bend", [y], [z])
    with pytest.raises(UsageError) as error:
        load(tmp_path, b.build([x], [z]))
    message = str(error.value)
    assert "\n" not in message
    assert "6 unsupported" in message
    for part in (
        "custom operator Bend #0 (output 't') and 1 more custom operator Bend",
        "DEQUANTIZE #4 (output 'real')",
        "CONV_2D #1 (output 'grouped'): its weights take 3 channels, of which its input of 2 is no multiple",
        "CONV_2D #2 (output 'wide'): operand 'x' (#0) is not constant",
        "ADD #3 (output 'short'): it broadcasts [4, 4, 2] and [1, 1, 3] to [4, 4, 2]",
        "; and 1 more",
    ):
        assert part in message


def single(kind: str, **tensor: object) -> bytes:
    b = Builder()
    x = b.tensor("x", tensor.get("shape", (1, 6)), quantization=(0.5, 3), shape_signature=tensor.get("signature"))  # type: ignore[arg-type]
    y = b.tensor("y", tensor.get("shape", (1, 6)), quantization=(0.5, 3))  # type: ignore[arg-type]
    b.operator(kind, [x], [y])
    return b.build([x], [y])


def test_a_batch_of_the_whole_network_is_taken_as_one(tmp_path: Path) -> None:
    model = single("RELU", shape=(2, 6))
    graph = load(tmp_path, model)
    assert graph.tensors["x"].shape == graph.tensors["y"].shape == (6,)


def test_a_batch_whose_samples_an_operator_may_mix_is_refused(tmp_path: Path) -> None:
    b = Builder()
    x = b.tensor("x", (2, 6), quantization=(0.5, 3))
    y = b.tensor("y", (1, 12), quantization=(0.5, 3))
    b.operator("RESHAPE", [x], [y], {})
    with pytest.raises(UsageError, match=r"has batch 2, and tensor 'y' of shape \[1, 12\] may mix its samples"):
        load(tmp_path, b.build([x], [y]))


def test_a_dynamic_batch_is_taken_as_one_and_other_dynamic_dimensions_are_refused(tmp_path: Path) -> None:
    assert load(tmp_path, single("RELU", signature=(-1, 6))).tensors["x"].shape == (6,)
    with pytest.raises(UsageError, match=r"tensor 'x' \(#0\) has the dynamic shape \[1, -1\]"):
        load(tmp_path, single("RELU", signature=(1, -1)))


def test_several_inputs_are_refused_by_name(tmp_path: Path) -> None:
    b = Builder()
    a, c, y = (b.tensor(n, (1, 6), quantization=(0.5, 3)) for n in "acy")
    b.operator("ADD", [a, c], [y], {"FusedActivationFunction": 0})
    with pytest.raises(UsageError, match=r"the network has 2 inputs \('a', 'c'\)"):
        load(tmp_path, b.build([a, c], [y]))


def test_asymmetric_weights_and_a_foreign_bias_scale_are_refused(tmp_path: Path) -> None:
    def model(zero_point: int, bias_scale: float) -> bytes:
        b = Builder()
        x = b.tensor("x", (1, 4), quantization=(0.5, 3))
        w = b.tensor("w", (2, 4), quantization=(0.1, zero_point), data=random_codes(2, 4))
        bias = b.tensor("bias", (2,), "int32", quantization=(bias_scale, 0), data=BIAS[:2])
        y = b.tensor("y", (1, 2), quantization=(1.0, 0))
        b.operator("FULLY_CONNECTED", [x, w, bias], [y], {})
        return b.build([x], [y])

    load(tmp_path, model(0, 0.05))
    with pytest.raises(UsageError, match=r"weights 'w' \(#1\) have a zero point other than 0"):
        load(tmp_path, model(1, 0.05))
    with pytest.raises(UsageError, match=r"the scale of bias 'bias' \(#2\)"):
        load(tmp_path, model(0, 0.051))


def test_a_bias_of_zeros_is_right_at_any_scale(tmp_path: Path) -> None:
    b = Builder()
    x, a, y = (b.tensor(n, (1, 4), quantization=(0.5, 3)) for n in "xay")
    zeros = b.tensor("zeros", (4,), "int32", quantization=(0.007, 0), data=np.zeros(4, np.int32))
    for n, (before, after) in enumerate(((x, a), (a, y))):
        w = b.tensor(f"w{n}", (4, 4), quantization=(0.01 * (n + 1), 0), data=random_codes(4, 4, seed=n))
        b.operator("FULLY_CONNECTED", [before, w, zeros], [after], {})
    model = b.build([x], [y])
    graph = load(tmp_path, model)
    np.testing.assert_array_equal(golden(graph, random_codes(4)), run_litert(model, random_codes(4)))


def test_options_that_a_writer_left_out_are_zero(tmp_path: Path) -> None:
    b = Builder()
    x, r, y = (b.tensor(n, (1, 6), quantization=(0.5, 3)) for n in "xry")
    b.operator("RELU", [x], [r])
    b.operator("ADD", [x, r], [y], None)
    model = b.build([x], [y])
    codes = random_codes(6)
    np.testing.assert_array_equal(golden(load(tmp_path, model), codes), run_litert(model, codes))


@needs_models
def test_resnet8_imports_with_the_names_of_its_file() -> None:
    path = Path(MODELS or "") / "mlperf_tiny" / "pretrainedResnet_quant.tflite"
    graph = load_model(path)
    assert " ".join(op.name for op in graph.operators) == (
        "conv0 conv1 conv2 add3 conv4 conv5 conv6 add7 conv8 conv9 conv10 add11 "
        "average_pool12 reshape13 fully_connected14 softmax15"
    )
    codes = random_codes(32, 32, 3)
    expected = run_litert(path.read_bytes(), codes).astype(int)
    # Halfway cases fall differently in real arithmetic, and a code of the logits moves a softmax by a few.
    assert np.abs(run_graph(graph, codes).astype(int) - expected).max() <= 8


@needs_models
def test_a_float_network_is_refused_as_what_it_is() -> None:
    with pytest.raises(UsageError, match="a float32 model: quantise it to int8 first") as error:
        load_model(Path(MODELS or "") / "mlperf_tiny" / "pretrainedResnet.tflite")
    assert "\n" not in str(error.value)
