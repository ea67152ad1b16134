"""multiply_s8, add_broadcast_s8 and broadcast_error: golden, both C forms and LiteRT agree to the bit on any shapes that broadcast."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.graph.broadcasting import broadcast_axes
from mcutrain.ops.add_broadcast import ADD_BROADCAST_S8, AddBroadcastS8Params
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import unpack_mask
from mcutrain.ops.bounds import largest_mantissa_bits
from mcutrain.ops.broadcast import (
    BROADCAST_ERROR_B16,
    BROADCAST_ERROR_F32,
    BroadcastErrorParams,
    broadcast,
    elements_of,
)
from mcutrain.ops.multiply import MULTIPLY_S8, MultiplyS8Params
from support.backward_cases import golden_and_c_agree, refused
from support.ckernels import block16, block32, forms, run_everywhere
from support.examples import examples
from support.forward_cases import activations, clamp_of, generators, mask_rubbish, random_codes, rubbish, zero_points
from support.tflite_builder import ACTIVATIONS, Builder, run_litert

Shape = tuple[int, ...]
scales = st.one_of(st.floats(0.01, 0.5), st.integers(-6, 0).map(lambda e: 2.0**e)).map(lambda s: float(np.float32(s)))


@st.composite
def shapes(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Two shapes of up to three axes, any of them repeated in either, or missing in one."""
    out = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    kept = [draw(st.lists(st.booleans(), min_size=len(out), max_size=len(out))) for _ in range(2)]
    a, b = (tuple(n if keep else 1 for n, keep in zip(out, flags, strict=True)) for flags in kept)
    return (a, b[draw(st.integers(0, len(b) - 1)) :]) if draw(st.booleans()) else (a, b)


def in_litert(kind: str, quantizations: Any, activation: str, a: Any, b: Any) -> Any:
    builder = Builder()
    out = np.broadcast_shapes(a.shape, b.shape)
    inputs = [
        builder.tensor(name, (1, *values.shape), quantization=q)
        for name, values, q in zip("ab", (a, b), quantizations, strict=False)
    ]
    y = builder.tensor("y", (1, *out), quantization=quantizations[2])
    builder.operator(kind, inputs, [y], {"FusedActivationFunction": ACTIVATIONS[activation]})
    return run_litert(builder.build(inputs, [y]), a, b)


@given(shapes(), scales, scales, scales, zero_points, zero_points, zero_points, activations, generators)
@examples(80)
def test_products_are_those_of_litert(
    operands: tuple[Shape, Shape],
    a_scale: float,
    b_scale: float,
    y_scale: float,
    a_zero: int,
    b_zero: int,
    y_zero: int,
    activation: str,
    generator: np.random.Generator,
) -> None:
    a, b = (random_codes(generator, shape) for shape in operands)
    out = np.broadcast_shapes(*operands)
    clamp = clamp_of(activation, y_scale, y_zero)
    ratio = float(np.float32(a_scale) * np.float32(b_scale) / np.float32(y_scale))
    params = MultiplyS8Params(broadcast(*operands), a_zero, b_zero, y_zero, *quantise_multiplier(ratio), *clamp)
    outputs = {"y": rubbish(generator, out, np.int8), "inside": mask_rubbish(generator, math.prod(out))}
    got = run_everywhere(MULTIPLY_S8, params, {"a": a, "b": b}, outputs)
    quantizations = ((a_scale, a_zero), (b_scale, b_zero), (y_scale, y_zero))
    np.testing.assert_array_equal(got["y"], in_litert("MUL", quantizations, activation, a, b))
    free = run_everywhere(MULTIPLY_S8, replace(params, clamp_min=-128, clamp_max=127), {"a": a, "b": b}, outputs)
    inside = (free["y"] >= clamp[0]) & (free["y"] <= clamp[1])
    if clamp != (-128, 127):  # codes at the ends of int8 may have been clamped before
        known = (free["y"] > -128) & (free["y"] < 127)
        np.testing.assert_array_equal(unpack_mask(got["inside"], out)[known], inside[known])


@pytest.mark.parametrize("shift", [-9, -6, -1, 0, 2])
def test_a_product_on_a_tie_goes_to_the_even_code_where_that_is_asked_for(shift: int) -> None:
    a, b = np.arange(-128, 128).astype(np.int8), np.array([3], np.int8)
    params = MultiplyS8Params(broadcast((256,), (1,)), -1, 0, 4, 2**30, shift, -128, 127, half_even=1)
    got = run_everywhere(MULTIPLY_S8, params, {"a": a, "b": b}, {"y": np.zeros(256, np.int8)})
    exact = (a.astype(np.int64) + 1) * 3 * 2.0 ** (shift - 1)
    np.testing.assert_array_equal(got["y"], np.clip(np.rint(exact) + 4, -128, 127))


def test_a_scale_on_a_tie_in_float32_is_rounded_as_litert_does() -> None:
    # 1.5 in float32 and below it in double: every odd product lies on a tie, or beside it.
    a, b = np.arange(-128, 128).astype(np.int8), np.ones(1, np.int8)
    y_scale = float(np.float32(1 / 3))
    ratio = float(np.float32(0.5) * np.float32(1.0) / np.float32(y_scale))
    params = MultiplyS8Params(broadcast((256,), (1,)), 0, 0, 0, *quantise_multiplier(ratio), -128, 127)
    got = run_everywhere(MULTIPLY_S8, params, {"a": a, "b": b}, {"y": np.zeros(256, np.int8)})
    quantizations = ((0.5, 0), (1.0, 0), (y_scale, 0))
    np.testing.assert_array_equal(got["y"], in_litert("MUL", quantizations, "NONE", a, b))


@given(shapes(), st.booleans(), scales, scales, scales, zero_points, zero_points, zero_points, activations, generators)
@examples(80)
def test_repeated_sums_and_differences_are_those_of_litert(
    operands: tuple[Shape, Shape],
    subtracts: bool,
    a_scale: float,
    b_scale: float,
    y_scale: float,
    a_zero: int,
    b_zero: int,
    y_zero: int,
    activation: str,
    generator: np.random.Generator,
) -> None:
    a, b = (random_codes(generator, shape) for shape in operands)
    out = np.broadcast_shapes(*operands)
    twice = 2.0 * max(a_scale, b_scale)
    ratios = (a_scale / twice, b_scale / twice, twice / (2**20 * y_scale))
    flat = [value for ratio in ratios for value in quantise_multiplier(ratio)]
    clamp = clamp_of(activation, y_scale, y_zero)
    shape = broadcast(*operands)
    params = AddBroadcastS8Params(
        shape, int(subtracts), a_zero, b_zero, y_zero, flat[0], flat[1], flat[2], flat[3], flat[4], flat[5], 20, *clamp
    )
    outputs = {"y": rubbish(generator, out, np.int8), "inside": mask_rubbish(generator, math.prod(out))}
    got = run_everywhere(ADD_BROADCAST_S8, params, {"a": a, "b": b}, outputs)
    quantizations = ((a_scale, a_zero), (b_scale, b_zero), (y_scale, y_zero))
    kind = "SUB" if subtracts else "ADD"
    np.testing.assert_array_equal(got["y"], in_litert(kind, quantizations, activation, a, b))


@pytest.mark.parametrize("form", forms)
@given(shapes(), st.booleans(), st.booleans(), zero_points, generators)
@examples(60)
def test_the_error_of_a_repeated_operand_is_an_exact_sum(
    form: str,
    operands: tuple[Shape, Shape],
    is_product: bool,
    negates: bool,
    zero_point: int,
    generator: np.random.Generator,
) -> None:
    out, other = np.broadcast_shapes(*operands), random_codes(generator, operands[1])
    params = BroadcastErrorParams(broadcast(*operands), zero_point, int(negates))
    factor = np.broadcast_to(other.astype(np.int64) - zero_point, out) if is_product else np.ones(out, np.int64)
    factor = -factor if negates else factor
    error = block16(out)
    error.exponent[0] = -7
    error.mantissa[...] = generator.integers(-32767, 32768, out)
    constants = {"other": other} if is_product else {}
    got = golden_and_c_agree(
        form, BROADCAST_ERROR_B16, params, {"error": error, **constants, "sums": block32(operands[0])}
    )
    index = elements_of(params.broadcast.sizes, params.broadcast.a_steps)
    expected = np.zeros(math.prod(operands[0]), np.int64)
    np.add.at(expected, index, (error.mantissa.astype(np.int64) * factor).reshape(-1))
    assert got["sums"].exponent[0] == -7
    np.testing.assert_array_equal(got["sums"].mantissa.reshape(-1), expected)
    real: dict[str, Any] = {"error": generator.standard_normal(out).astype(np.float32), **constants}
    golden_and_c_agree(form, BROADCAST_ERROR_F32, params, {**real, "out": np.full(operands[0], np.nan, np.float32)})


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("is_product", [False, True])
def test_the_most_terms_at_their_largest_stay_within_32_bits(is_product: bool, form: str) -> None:
    terms = 70000
    bits = largest_mantissa_bits(terms=terms, other_magnitude=255 if is_product else 1, most_bits=15)
    error = block16((terms,))
    error.mantissa[...] = 2**bits - 1
    constants: dict[str, Any] = {"other": np.full(terms, -128, np.int8)} if is_product else {}
    params = BroadcastErrorParams(broadcast((1,), (terms,)), 127 if is_product else 0, 0)
    got = golden_and_c_agree(form, BROADCAST_ERROR_B16, params, {"error": error, **constants, "sums": block32((1,))})
    assert got["sums"].mantissa[0] == terms * (2**bits - 1) * (-255 if is_product else 1)
    assert 2**31 > terms * (2**bits - 1) * (255 if is_product else 1) > 2**29


def test_axes_that_can_be_walked_as_one_are() -> None:
    assert broadcast_axes((4, 5, 6), (4, 5, 6)) == [(120, 1, 1)]
    assert broadcast_axes((4, 5, 6), (6,)) == [(20, 6, 0), (6, 1, 1)]
    assert broadcast_axes((4, 5, 6), (4, 5, 1)) == [(20, 6, 1), (6, 1, 0)]
    assert broadcast_axes((4, 1, 6), (1, 5, 1)) == [(4, 6, 0), (5, 0, 1), (6, 1, 0)]
    assert broadcast_axes((1,), (1, 1, 7)) == [(7, 0, 1)]


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(
    "change", [{"a_zero_point": 128}, {"shift": 31}, {"clamp_max": -129}, {"broadcast": replace(broadcast((2,), (2,)), size_3=0)},
               {"broadcast": replace(broadcast((2,), (2,)), b_step_3=-1)}], ids=str)  # fmt: skip
def test_wrong_parameters_of_a_product_are_refused(form: str, change: dict[str, Any]) -> None:
    params = MultiplyS8Params(broadcast((2,), (2,)), 0, 0, 0, *quantise_multiplier(0.5), -128, 127)
    views = {"a": np.zeros(2, np.int8), "b": np.zeros(2, np.int8), "y": np.full(2, 99, np.int8)}
    assert refused(form, MULTIPLY_S8, replace(params, **change), views)
