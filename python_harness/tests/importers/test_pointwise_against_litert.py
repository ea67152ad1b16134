"""Pointwise operators of a .tflite file, imported, planned and run by golden, leave LiteRT's reference bits: any rank, all codes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph import TableAttributes
from support.golden_inference import golden_output, loaded
from support.tflite_builder import Builder, run_litert, softmax_model, unary_model


@pytest.mark.parametrize("shape", [(7,), (6, 5), (1, 1, 9), (4, 3, 10), (2, 3, 1)])
@pytest.mark.parametrize("scale", [0.25, 0.0371, 1.0])
def test_a_softmax_is_over_the_last_axis(shape: tuple[int, ...], scale: float) -> None:
    model = softmax_model(shape, input=(scale, 3))
    x = np.random.default_rng(len(shape)).integers(-128, 128, shape).astype(np.int8)
    np.testing.assert_array_equal(golden_output(loaded(model), x)[0], run_litert(model, x))


@pytest.mark.parametrize("shape", [(7,), (6, 5), (4, 3, 10)])
def test_a_log_softmax_is_over_the_last_axis(shape: tuple[int, ...]) -> None:
    model = unary_model("LOG_SOFTMAX", shape, input=(0.09, 3), output=(1 / 16, 127))
    x = np.random.default_rng(len(shape)).integers(-128, 128, shape).astype(np.int8)
    np.testing.assert_array_equal(golden_output(loaded(model), x)[0], run_litert(model, x))


def test_a_log_softmax_whose_output_litert_would_refuse_is_refused() -> None:
    with pytest.raises(UsageError, match=r"LOG_SOFTMAX #0 .*its output has scale 0.05 and zero point 127, not 1/16"):
        loaded(unary_model("LOG_SOFTMAX", (4,), input=(0.1, 0), output=(0.05, 127)))


def test_a_softmax_whose_output_litert_would_refuse_is_refused() -> None:
    with pytest.raises(UsageError, match=r"SOFTMAX #0 .*its output has scale 0.0039\d+ and zero point -128, not 1/256"):
        loaded(unary_model("SOFTMAX", (4,), input=(0.1, 0), output=(1 / 255, -128), options={"Beta": 1.0}))


Quantized = tuple[float, int]
ALL_CODES = np.arange(-128, 128).astype(np.int8)
ALPHAS = (0.0, 0.01, 0.2, 0.25, -0.25, -0.5, -1.0, 1.5)


def random_scale(random: np.random.Generator, lowest: float, highest: float) -> float:
    """Between two powers of two; one of them half of the time."""
    power = random.uniform(lowest, highest)
    return float(np.float32(2.0 ** (round(power) if random.random() < 0.5 else power)))


def random_unary_model(kind: str, random: np.random.Generator) -> bytes:
    """An operator of one tensor with 256 elements, and scales at which its output leaves the codes only in part."""
    x_scale = random_scale(random, -8, 1)
    y_scale = random_scale(random, -8, -3) if random.random() < 0.3 else x_scale * random_scale(random, -2, 4)
    x_zero, y_zero = (int(random.choice([-128, 0, 127, int(random.integers(-128, 128))])) for _ in range(2))
    options: dict[str, float | bool] = {}
    if kind == "LEAKY_RELU":
        options["Alpha"] = float(np.float32(random.choice([*ALPHAS, random.uniform(0, 1)])))
    if kind == "GELU":
        options["Approximate"] = bool(random.integers(2))
    if kind == "LOGISTIC":
        y_scale = 1 / 256
    if kind == "SQRT":
        x_zero = -128  # LiteRT stops at negative numbers
    if kind == "HARD_SWISH":
        y_scale = max(y_scale, x_scale / 127)  # LiteRT refuses smaller ones
    return unary_model(kind, (256,), input=(x_scale, x_zero), output=(y_scale, y_zero), options=options)


@pytest.mark.parametrize(
    "kind", ["ABS", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "SQRT", "TANH"]
)
def test_every_code_of_a_unary_operator_has_litert_s_bits(kind: str) -> None:
    """ELU is not among the reference kernels; the others have one kernel for it."""
    random = np.random.default_rng(len(kind))
    kernels = "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if kind == "ELU" else "BUILTIN_REF"
    several = 0
    for _ in range(40):
        model = random_unary_model(kind, random)
        graph = loaded(model)
        (op,) = graph.operators
        assert isinstance(op.attributes, TableAttributes)
        theirs = run_litert(model, ALL_CODES, kernels=kernels)
        np.testing.assert_array_equal(op.attributes.codes, theirs)
        several += np.unique(theirs).size > 20
    assert several > 10
    np.testing.assert_array_equal(golden_output(graph, ALL_CODES)[0], theirs)


def test_the_slopes_of_a_table_are_those_of_the_function_and_0_where_it_is_cut_off() -> None:
    x_scale, y_scale = 0.05, 0.03
    graph = loaded(unary_model("LEAKY_RELU", (8,), input=(x_scale, -4), output=(y_scale, 0), options={"Alpha": 0.25}))
    attributes = graph.operators[0].attributes
    assert isinstance(attributes, TableAttributes)
    ratio = graph.tensors["x"].scale / graph.tensors["y"].scale
    centred = np.arange(-128, 128) + 4
    exact = np.where(centred > 0, 1, 0.25) * ratio * centred
    expected = np.where(centred > 0, ratio, 0.25 * ratio) * (np.abs(exact + 0.5) <= 128)
    np.testing.assert_allclose(attributes.slopes, expected, rtol=1e-12)
    assert (expected == 0).any()


def test_a_logistic_whose_output_litert_would_refuse_is_refused() -> None:
    with pytest.raises(UsageError, match=r"LOGISTIC #0 .*its output has scale 0.01, not 1/256"):
        loaded(unary_model("LOGISTIC", (4,), input=(0.1, 0), output=(0.01, -128)))


def test_a_hard_swish_whose_output_litert_would_refuse_is_refused() -> None:
    with pytest.raises(UsageError, match=r"HARD_SWISH #0 .*scale 0.0001 is too small for its input's 0.1"):
        loaded(unary_model("HARD_SWISH", (4,), input=(0.1, 0), output=(0.0001, -128)))


def prelu_model(shape: tuple[int, ...], alpha: NDArray[np.int8], x: Quantized, a: Quantized, y: Quantized) -> bytes:
    b = Builder()
    operands = [
        b.tensor("x", (1, *shape), quantization=x),
        b.tensor("alpha", alpha.shape, quantization=a, data=alpha),
    ]
    out = b.tensor("y", (1, *shape), quantization=y)
    b.operator("PRELU", operands, [out])
    return b.build([operands[0]], [out])


@pytest.mark.parametrize(
    "alpha_shape", [(5,), (1, 5), (1, 1, 5), (1, 1, 1), (3, 1, 1), (1, 4, 1), (3, 4, 5), (1, 1, 1, 5), (4, 5)]
)
def test_a_prelu_has_litert_s_bits(alpha_shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(7)
    for _ in range(12):
        x = random.integers(-128, 128, (3, 4, 5)).astype(np.int8)
        alpha = random.integers(-128, 128, alpha_shape).astype(np.int8)
        zeros = [int(random.choice([-128, 0, 127, int(random.integers(-128, 128))])) for _ in range(3)]
        x_scale = random_scale(random, -8, 1)
        scales = (x_scale, random_scale(random, -9, -5), x_scale * random_scale(random, -1, 2))
        q = [(scale, zero) for scale, zero in zip(scales, zeros, strict=True)]
        model = prelu_model((3, 4, 5), alpha, *q)
        np.testing.assert_array_equal(golden_output(loaded(model), x)[0], run_litert(model, x))


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"])
def test_every_code_of_a_stand_alone_activation_has_litert_s_bits(kind: str) -> None:
    random = np.random.default_rng(len(kind))
    for _ in range(10):
        zeros = [int(random.integers(-128, 128)) for _ in range(2)]
        x_scale = random_scale(random, -8, 0)
        y = (x_scale * random_scale(random, -1, 2), zeros[1])
        model = unary_model(kind, (256,), input=(x_scale, zeros[0]), output=y)
        np.testing.assert_array_equal(golden_output(loaded(model), ALL_CODES)[0], run_litert(model, ALL_CODES))


def extreme_model(kind: str, constant: NDArray[np.int8], y: Quantized, *, constant_first: bool) -> bytes:
    b = Builder()
    operands = [
        b.tensor("x", (1, 256), quantization=(0.05, 3)),
        b.tensor("c", constant.shape, quantization=(0.05, 3), data=constant),
    ]
    out = b.tensor("y", (1, 256), quantization=y)
    b.operator(kind, operands[::-1] if constant_first else operands, [out])
    return b.build([operands[0]], [out])


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize("constant_first", [False, True])
@pytest.mark.parametrize("constant", [np.array(-20, np.int8), np.array([[90]], np.int8), np.full((1, 256), 3, np.int8)])
def test_an_extreme_with_a_number_has_litert_s_bits(
    kind: str, constant: NDArray[np.int8], constant_first: bool
) -> None:
    model = extreme_model(kind, constant, (0.05, 3), constant_first=constant_first)
    np.testing.assert_array_equal(golden_output(loaded(model), ALL_CODES)[0], run_litert(model, ALL_CODES))


@pytest.mark.parametrize(
    ("constant", "y", "reason"),
    [
        (np.arange(256).astype(np.int8)[np.newaxis], (0.05, 3), "its constant is not one number"),
        (np.array([4], np.int8), (0.06, 3), "its operands and its output do not have one scale and zero point"),
    ],
)
def test_an_extreme_that_is_no_clamp_is_refused(constant: NDArray[np.int8], y: Quantized, reason: str) -> None:
    with pytest.raises(UsageError, match=f"MAXIMUM #0 .*{reason}"):
        loaded(extreme_model("MAXIMUM", constant, y, constant_first=False))
