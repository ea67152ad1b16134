"""prelu_s8 and prelu_error: golden and both C forms agree to the bit, and the error is the product that it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import mask_words
from mcutrain.ops.block_float import block_values
from mcutrain.ops.errors import scale_to_int32
from mcutrain.ops.prelu import PRELU_ERROR_B16, PRELU_ERROR_F32, PRELU_S8, PreluErrorParams, PreluS8Params
from support.backward_cases import (
    golden_and_c_agree,
    random_block16,
    random_codes,
    random_floats,
    random_mask,
    refused,
    seeds,
)
from support.ckernels import block16, call, forms, run_everywhere
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
rows, alphas = st.integers(1, 12), st.integers(1, 11)


def forward_params(rng: np.random.Generator, elements: int, alphas: int) -> PreluS8Params:
    multipliers = (
        quantise_multiplier(float(2.0 ** rng.uniform(-3, 2))),
        quantise_multiplier(2.0 ** rng.uniform(-9, -4)),
    )
    x_zero, y_zero = (int(zero) for zero in rng.integers(-128, 128, 2))
    return PreluS8Params(elements, alphas, x_zero, y_zero, *multipliers[0], *multipliers[1])


def forward_views(rng: np.random.Generator, elements: int, alphas: int) -> dict[str, Any]:
    alpha = rng.integers(-(2**15) + 1, 2**15, alphas) >> int(rng.integers(0, 12))
    return {"x": random_codes(rng, (elements,)), "alpha": alpha.astype(np.int32)}


@examples(60)
@given(rows=rows, alphas=alphas, seed=seeds, masked=st.booleans())
def test_codes_of_a_prelu_have_goldens_bits(rows: int, alphas: int, seed: int, masked: bool) -> None:
    rng, elements = np.random.default_rng(seed), rows * alphas
    outputs: dict[str, Any] = {"y": np.full(elements, 99, np.int8)}
    if masked:
        outputs["inside"] = np.full(mask_words(elements), 0x5A5A5A5A, np.uint32)
    run_everywhere(PRELU_S8, forward_params(rng, elements, alphas), forward_views(rng, elements, alphas), outputs)


@both_forms
def test_a_prelu_may_run_in_place(form: str) -> None:
    rng = np.random.default_rng(4)
    params, views = forward_params(rng, 45, 9), forward_views(rng, 45, 9)
    expected = views | {"y": np.zeros(45, np.int8)}
    PRELU_S8.golden(params, expected)
    memory = views["x"].copy()
    assert call(form, PRELU_S8, params, views | {"x": memory, "y": memory}) == 0
    np.testing.assert_array_equal(memory, expected["y"])


def error_case(
    rng: np.random.Generator, rows: int, alphas: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, Any], int]:
    """The slopes, those of each element with its mask, x and the mask, and the zero point."""
    slopes = rng.standard_normal(1 + alphas) * np.exp2(rng.integers(-6, 6))
    x, zero_point = random_codes(rng, (rows * alphas,)), int(rng.integers(-128, 128))
    inside, words = random_mask(rng, x.shape)
    below = np.tile(slopes[1:], rows)
    of_each = np.where(x > zero_point, slopes[0], below) * inside
    return slopes, of_each, {"x": x, "inside": words}, zero_point


@both_forms
@examples(60)
@given(rows=rows, alphas=alphas, seed=seeds)
def test_block_errors_of_a_prelu_have_goldens_bits(form: str, rows: int, alphas: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes, _, views, zero_point = error_case(rng, rows, alphas)
    slope, exponent = scale_to_int32(slopes)
    elements = rows * alphas
    views |= {"error": random_block16(rng, (elements,)), "slope": slope, "out": block16((elements,))}
    golden_and_c_agree(form, PRELU_ERROR_B16, PreluErrorParams(elements, alphas, zero_point, exponent), views)


@examples(60)
@given(rows=rows, alphas=alphas, seed=seeds)
def test_a_block_error_of_a_prelu_is_within_its_roundings_of_the_product(rows: int, alphas: int, seed: int) -> None:
    """Half a unit of the mantissas, and one of the 16 bits that were cut off before; the slope is within 2^-31 of the largest."""
    rng = np.random.default_rng(seed)
    slopes, of_each, views, zero_point = error_case(rng, rows, alphas)
    slope, exponent = scale_to_int32(slopes)
    elements = rows * alphas
    views |= {"error": random_block16(rng, (elements,)), "slope": slope, "out": block16((elements,))}
    PRELU_ERROR_B16.golden(PreluErrorParams(elements, alphas, zero_point, exponent), views)
    error = block_values(views["error"])
    unit = 2.0 ** int(views["out"].exponent[0])
    floor = 2.0 ** (int(views["error"].exponent[0]) + exponent + 16)
    bound = 0.5 * unit + floor + np.abs(error) * 2.0**exponent
    assert (np.abs(block_values(views["out"]) - error * of_each) <= bound).all()


@both_forms
@examples(40)
@given(rows=rows, alphas=alphas, seed=seeds)
def test_float_errors_of_a_prelu_have_goldens_bits(form: str, rows: int, alphas: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes, of_each, views, zero_point = error_case(rng, rows, alphas)
    elements = rows * alphas
    views |= {"error": random_floats(rng, (elements,)), "slope": slopes.astype(np.float32)}
    views["out"] = np.zeros(elements, np.float32)
    expected = golden_and_c_agree(form, PRELU_ERROR_F32, PreluErrorParams(elements, alphas, zero_point, 0), views)
    np.testing.assert_allclose(expected["out"], views["error"].astype(np.float64) * of_each, rtol=2**-22)


@both_forms
@pytest.mark.parametrize(("elements", "alphas"), [(0, 1), (6, 0), (6, 4)])
def test_wrong_sizes_are_refused(form: str, elements: int, alphas: int) -> None:
    views: dict[str, Any] = {"x": np.zeros(6, np.int8), "alpha": np.ones(6, np.int32), "y": np.full(6, 99, np.int8)}
    assert refused(form, PRELU_S8, PreluS8Params(elements, alphas, 0, 0, 2**30, 0, 2**30, 0), views)
    views = {"error": block16((6,)), "x": np.zeros(6, np.int8), "slope": np.ones(7, np.int32), "out": block16((6,))}
    assert refused(form, PRELU_ERROR_B16, PreluErrorParams(elements, alphas, 0, 0), views)
    floats = np.ones(6, np.float32)
    views = {"error": floats, "x": np.zeros(6, np.int8), "slope": np.ones(7, np.float32), "out": floats.copy()}
    assert refused(form, PRELU_ERROR_F32, PreluErrorParams(elements, alphas, 0, 0), views)
