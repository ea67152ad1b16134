"""add_s8, log_softmax_s8, requantize_s8 and softmax_s8: golden, both C forms and LiteRT agree to the bit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.errors import UsageError
from mcutrain.ops.add import ADD_S8, AddS8Params
from mcutrain.ops.add_linear import with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier, requantise
from mcutrain.ops.base import mask_words, unpack_mask
from mcutrain.ops.log_softmax import LOG_SOFTMAX_S8, log_softmax_params
from mcutrain.ops.requantize import REQUANTIZE_S8, RequantizeS8Params
from mcutrain.ops.softmax import SOFTMAX_S8, softmax_params
from support.ckernels import call, forms, run_everywhere
from support.examples import examples
from support.forward_cases import (
    activations,
    clamp_of,
    generators,
    mask_rubbish,
    random_codes,
    rubbish,
    scales,
    zero_points,
)
from support.tflite_builder import add_model, run_litert, softmax_model, unary_model

ALL_CODES = np.arange(-128, 128).astype(np.int8)
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)


def add_params(
    elements: int,
    a: tuple[float, int],
    b: tuple[float, int],
    y: tuple[float, int],
    clamp: tuple[int, int] = (-128, 127),
) -> AddS8Params:
    twice = 2.0 * max(a[0], b[0])
    multipliers = (quantise_multiplier(m) for m in (a[0] / twice, b[0] / twice, twice / (2**20 * y[0])))
    flat = [value for pair in multipliers for value in pair]
    params = AddS8Params(elements, a[1], b[1], y[1], flat[0], flat[1], flat[2], flat[3], flat[4], flat[5], 20, *clamp)
    return with_linear_form(params)


@given(shapes, scales(), scales(), scales(), zero_points, zero_points, zero_points, activations, generators)
@examples(60)
def test_add_is_bit_exact_to_litert(
    shape: tuple[int, ...],
    a_scale: float,
    b_scale: float,
    y_scale: float,
    a_zero: int,
    b_zero: int,
    y_zero: int,
    activation: str,
    generator: np.random.Generator,
) -> None:
    a, b, y = (a_scale, a_zero), (b_scale, b_zero), (y_scale, y_zero)
    elements = int(np.prod(shape))
    inputs = {"a": random_codes(generator, shape), "b": random_codes(generator, shape)}
    outputs = {"y": rubbish(generator, shape, np.int8), "inside": mask_rubbish(generator, elements)}
    got = run_everywhere(ADD_S8, add_params(elements, a, b, y, clamp_of(activation, *y)), inputs, outputs)
    model = add_model(shape, a=a, b=b, output=y, activation=activation)
    np.testing.assert_array_equal(got["y"], run_litert(model, inputs["a"], inputs["b"]))


def test_add_marks_the_sums_inside_the_clamp() -> None:
    x = np.repeat(ALL_CODES[::4], 3)
    params = add_params(x.size, (1.0, 0), (1.0, 0), (1.0, 0), (-50, 60))
    outputs: dict[str, Any] = {"y": np.zeros(x.size, np.int8), "inside": np.zeros(mask_words(x.size), np.uint32)}
    got = run_everywhere(ADD_S8, params, {"a": x, "b": x}, outputs)
    sums = 2 * x.astype(int)
    np.testing.assert_array_equal(unpack_mask(got["inside"], sums.shape), (sums >= -50) & (sums <= 60))
    np.testing.assert_array_equal(got["y"], np.clip(sums, -50, 60))


@given(scales(), scales(), zero_points, zero_points)
@examples(60)
def test_a_change_of_scale_is_bit_exact_to_litert(x_scale: float, y_scale: float, x_zero: int, y_zero: int) -> None:
    got = run_requantize(ALL_CODES, (x_scale, x_zero), (y_scale, y_zero), (-128, 127))
    model = unary_model("QUANTIZE", (256,), input=(x_scale, x_zero), output=(y_scale, y_zero))
    np.testing.assert_array_equal(got["y"], run_litert(model, ALL_CODES))


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
@given(scales(), scales(), zero_points, zero_points)
@examples(30)
def test_an_activation_is_bit_exact_to_litert(
    activation: str, x_scale: float, y_scale: float, x_zero: int, y_zero: int
) -> None:
    y = (y_scale, y_zero)
    got = run_requantize(ALL_CODES, (x_scale, x_zero), y, clamp_of(activation, *y), float32_quotient=True)
    model = unary_model(activation, (256,), input=(x_scale, x_zero), output=y)
    np.testing.assert_array_equal(got["y"], run_litert(model, ALL_CODES))


def run_requantize(
    x: Any, source: tuple[float, int], target: tuple[float, int], clamp: tuple[int, int], float32_quotient: bool = False
) -> dict[str, Any]:
    """LiteRT divides the scales of a stand-alone relu in float32, those of a change of scale in double."""
    quotient = source[0] / target[0]
    multiplier, shift = quantise_multiplier(float(np.float32(quotient)) if float32_quotient else quotient)
    params = RequantizeS8Params(x.size, source[1], target[1], multiplier, shift, *clamp)
    generator = np.random.default_rng(0)
    outputs = {"y": rubbish(generator, x.shape, np.int8), "inside": mask_rubbish(generator, x.size)}
    return run_everywhere(REQUANTIZE_S8, params, {"x": x}, outputs)


@given(st.integers(1, 100), zero_points, zero_points, scales(0.25, 4.0))
@examples(30)
def test_requantize_marks_the_codes_inside_the_clamp(elements: int, x_zero: int, y_zero: int, ratio: float) -> None:
    x = ALL_CODES[:: 256 // elements][:elements]
    got = run_requantize(np.ascontiguousarray(x), (ratio, x_zero), (1.0, y_zero), (-100, 90))
    multiplier, shift = quantise_multiplier(ratio)
    free = requantise(x.astype(np.int64) - x_zero, multiplier, shift) + y_zero
    np.testing.assert_array_equal(unpack_mask(got["inside"], x.shape), (free >= -100) & (free <= 90))
    assert got["inside"][-1] >> np.uint32((x.size - 1) % 32) <= 1  # spare bits are 0


@pytest.mark.parametrize("form", forms)
def test_requantize_may_run_in_place(form: str) -> None:
    multiplier, shift = quantise_multiplier(0.7)
    params = RequantizeS8Params(256, 5, -9, multiplier, shift, -90, 100)
    expected = run_requantize(ALL_CODES, (0.7, 5), (1.0, -9), (-90, 100))["y"]
    memory = ALL_CODES.copy()
    assert call(form, REQUANTIZE_S8, params, {"x": memory, "y": memory}) == 0
    np.testing.assert_array_equal(memory, expected)


@given(
    st.lists(st.integers(1, 5), max_size=2).map(tuple),
    st.integers(1, 60),
    scales(0.001, 4.0),
    st.sampled_from([0.5, 1.0, 2.0]),
    generators,
)
@examples(60)
def test_softmax_over_the_last_axis_of_any_rank_is_bit_exact_to_litert(
    rows: tuple[int, ...], depth: int, scale: float, beta: float, generator: np.random.Generator
) -> None:
    shape = (*rows, depth)
    x = random_codes(generator, shape)
    outputs = {"y": rubbish(generator, shape, np.int8)}
    got = run_everywhere(SOFTMAX_S8, softmax_params(shape, scale, beta), {"x": x}, outputs)
    np.testing.assert_array_equal(got["y"], run_litert(softmax_model(shape, input=(scale, 0), beta=beta), x))


@given(st.integers(1, 40), st.integers(1, 60), scales(0.001, 4.0), scales(1e-4, 0.1), zero_points, generators)
@examples(60)
def test_a_softmax_of_any_output_scale_is_within_a_code_of_the_real_one(
    rows: int, depth: int, scale: float, y_scale: float, y_zero: int, generator: np.random.Generator
) -> None:
    """Exponentials and their quotient are within 2^-19 of 1 in all: at 2^13 levels that is less than half a code, beside its rounding."""
    x = random_codes(generator, (rows, depth))
    params = softmax_params((rows, depth), scale, 1.0, y_scale, y_zero)
    got = run_everywhere(SOFTMAX_S8, params, {"x": x}, {"y": rubbish(generator, (rows, depth), np.int8)})
    exact = np.exp((x.astype(float) - x.max(axis=1, keepdims=True)) * scale)
    exact = exact / exact.sum(axis=1, keepdims=True) / y_scale + y_zero
    assert (np.abs(got["y"] - np.clip(exact, -128, 127)) < 1).all()


def test_a_scale_within_a_thousandth_of_that_of_litert_is_taken_for_it() -> None:
    assert softmax_params((9,), 0.1, 1.0, 1.0009 / 256, -128) == softmax_params((9,), 0.1, 1.0)
    assert softmax_params((9,), 0.1, 1.0, 1 / 255, -128) != softmax_params((9,), 0.1, 1.0)


@pytest.mark.parametrize("scale", [1e-6, 0.004, 0.1, 1.0, 31.0, 1000.0])
@pytest.mark.parametrize("x", [np.full(4095, 127, np.int8), np.tile(ALL_CODES, 15), ALL_CODES[:1]], ids=len)
def test_softmax_of_many_and_of_one_agree_in_both_forms(x: Any, scale: float) -> None:
    got = run_everywhere(SOFTMAX_S8, softmax_params(x.shape, scale, 1.0), {"x": x}, {"y": np.zeros(x.size, np.int8)})
    exact = np.exp((x.astype(float) - x.max()) * scale)
    exact = np.clip(np.rint(exact / exact.sum() * 256) - 128, -128, 127)
    np.testing.assert_allclose(got["y"], exact, atol=1)


@pytest.mark.parametrize(("depth", "scale"), [(4096, 0.1), (10, 1e-9)])
def test_a_softmax_that_fixed_point_cannot_hold_is_a_usage_error(depth: int, scale: float) -> None:
    with pytest.raises(UsageError):
        softmax_params((2, depth), scale, 1.0)


@given(
    st.lists(st.integers(1, 4), max_size=2).map(tuple),
    st.integers(1, 60),
    st.one_of(scales(0.001, 8.0), st.integers(-9, 3).map(lambda power: 2.0**power)),
    generators,
)
@examples(60)
def test_log_softmax_over_the_last_axis_of_any_rank_is_bit_exact_to_litert(
    rows: tuple[int, ...], depth: int, scale: float, generator: np.random.Generator
) -> None:
    shape = (*rows, depth)
    x = random_codes(generator, shape)
    outputs = {"y": rubbish(generator, shape, np.int8)}
    got = run_everywhere(LOG_SOFTMAX_S8, log_softmax_params(shape, scale), {"x": x}, outputs)
    model = unary_model("LOG_SOFTMAX", shape, input=(scale, 3), output=(1 / 16, 127))
    np.testing.assert_array_equal(got["y"], run_litert(model, x))


@given(
    st.integers(1, 20),
    st.integers(1, 60),
    scales(0.001, 0.5),
    scales(0.001, 15.5 / 255 - 1e-4),
    zero_points,
    generators,
)
@examples(60)
def test_a_log_softmax_of_any_output_scale_is_within_a_code_of_the_real_one(
    rows: int, depth: int, scale: float, y_scale: float, y_zero: int, generator: np.random.Generator
) -> None:
    """Differences within 2^-26 a code, and a logarithm within 2^-12, are less than half a code of 0.001, beside its rounding."""
    x = random_codes(generator, (rows, depth))
    params = log_softmax_params((rows, depth), scale, y_scale, y_zero)
    got = run_everywhere(LOG_SOFTMAX_S8, params, {"x": x}, {"y": rubbish(generator, (rows, depth), np.int8)})
    real = (x.astype(float) - x.max(axis=1, keepdims=True)) * scale
    exact = (real - np.log(np.exp(real).sum(axis=1, keepdims=True))) / y_scale + y_zero
    assert (np.abs(got["y"] - np.clip(exact, -128, 127)) < 1).all()


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.one_of(st.integers(2**30, 2**31 - 1), st.just(2**30)),
    st.integers(-31, 30),
)
@examples(300)
def test_golden_requantise_is_the_product_within_its_two_roundings(x: int, multiplier: int, shift: int) -> None:
    exact = Fraction(x * multiplier) * Fraction(2) ** (shift - 31)
    got = int(requantise(x, multiplier, shift))
    if -(2**31) <= x * 2 ** max(shift, 0) < 2**31:
        assert abs(got - exact) <= Fraction(1, 2) + Fraction(1, 2 ** (1 + max(-shift, 0)))
    else:
        assert abs(got) >= 2**30 - 1
        assert (got < 0) == (x < 0)


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (0.75, (3 * 2**29, 0)),
        (1.0 - 2.0**-40, (2**30, 1)),  # rounds up into the next power of two
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
        (2.0**31, (2**31 - 1, 30)),
    ],
)
def test_a_multiplier_is_quantised_as_litert_does(real: float, expected: tuple[int, int]) -> None:
    assert quantise_multiplier(real) == expected


@pytest.mark.parametrize("real", [0.0, -1.0, float("inf"), float("nan")])
def test_a_multiplier_must_be_positive_and_finite(real: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        quantise_multiplier(real)


ADD = add_params(4, (1.0, 0), (1.0, 0), (1.0, 0))
REQUANTIZE = RequantizeS8Params(4, 0, 0, 2**30, 0, -128, 127)
LOG_SOFTMAX = log_softmax_params((4,), 0.1)
SOFTMAX = softmax_params((4,), 0.1, 1.0)
REFUSED: list[tuple[Any, Any]] = [
    (ADD_S8, replace(ADD, elements=0)),
    (ADD_S8, replace(ADD, a_zero_point=200)),
    (ADD_S8, replace(ADD, b_zero_point=-200)),
    (ADD_S8, replace(ADD, output_zero_point=128)),
    (ADD_S8, replace(ADD, a_shift=1)),
    (ADD_S8, replace(ADD, b_multiplier=-5)),
    (ADD_S8, replace(ADD, output_shift=-32)),
    (ADD_S8, replace(ADD, left_shift=23)),
    (ADD_S8, replace(ADD, clamp_min=5, clamp_max=4)),
    (REQUANTIZE_S8, replace(REQUANTIZE, elements=-1)),
    (REQUANTIZE_S8, replace(REQUANTIZE, input_zero_point=128)),
    (REQUANTIZE_S8, replace(REQUANTIZE, shift=31)),
    (REQUANTIZE_S8, replace(REQUANTIZE, multiplier=-1)),
    (REQUANTIZE_S8, replace(REQUANTIZE, clamp_max=128)),
    (LOG_SOFTMAX_S8, replace(LOG_SOFTMAX, rows=0)),
    (LOG_SOFTMAX_S8, replace(LOG_SOFTMAX, depth=4096)),
    (LOG_SOFTMAX_S8, replace(LOG_SOFTMAX, diff_min=1)),
    (LOG_SOFTMAX_S8, replace(LOG_SOFTMAX, reverse_shift=31)),
    (LOG_SOFTMAX_S8, replace(LOG_SOFTMAX, output_multiplier=-1)),
    (LOG_SOFTMAX_S8, replace(LOG_SOFTMAX, output_zero_point=128)),
    (SOFTMAX_S8, replace(SOFTMAX, rows=0)),
    (SOFTMAX_S8, replace(SOFTMAX, depth=0)),
    (SOFTMAX_S8, replace(SOFTMAX, depth=4096)),
    (SOFTMAX_S8, replace(SOFTMAX, output_multiplier=-1)),
    (SOFTMAX_S8, replace(SOFTMAX, output_shift=31)),
    (SOFTMAX_S8, replace(SOFTMAX, output_zero_point=128)),
    (SOFTMAX_S8, replace(SOFTMAX, diff_min=1)),
    (SOFTMAX_S8, replace(SOFTMAX, input_left_shift=31)),
    (SOFTMAX_S8, replace(SOFTMAX, input_multiplier=2**30, input_left_shift=30, diff_min=-200)),
]


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(("kernel", "params"), REFUSED, ids=lambda value: getattr(value, "name", ""))
def test_wrong_parameters_are_refused_and_outputs_stay(form: str, kernel: Any, params: Any) -> None:
    views: dict[str, Any] = {role.name: np.zeros(4, np.int8) for role in kernel.inputs}
    views["y"] = np.full(4, 99, np.int8)
    assert call(form, kernel, params, views) == 1
    assert (views["y"] == 99).all()
