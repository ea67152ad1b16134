"""table_s8 and table_error: golden and both C forms agree to the bit, and the error is the product that it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.block_float import block_values
from mcutrain.ops.errors import scale_to_int32
from mcutrain.ops.table import (
    TABLE_ERROR_B16,
    TABLE_ERROR_F32,
    TABLE_S8,
    TableErrorParams,
    TableS8Params,
)
from support.backward_cases import (
    golden_and_c_agree,
    random_block16,
    random_codes,
    random_floats,
    refused,
    same_bits,
    seeds,
)
from support.ckernels import block16, call, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
sizes = st.integers(1, 70)


def random_slopes(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int32], int]:
    """Slopes of either sign, some of them 0, and their mantissas with one exponent."""
    slopes = np.where(rng.random(256) < 0.2, 0.0, rng.standard_normal(256) * np.exp2(rng.integers(-6, 6)))
    return slopes, *scale_to_int32(slopes)


@both_forms
@examples(60)
@given(elements=sizes, seed=seeds)
def test_looked_up_codes_have_goldens_bits(form: str, elements: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    views: dict[str, Any] = {"x": random_codes(rng, (elements,)), "table": random_codes(rng, (256,))}
    views["y"] = np.zeros(elements, np.int8)
    expected = golden_and_c_agree(form, TABLE_S8, TableS8Params(elements), views)
    np.testing.assert_array_equal(expected["y"], [views["table"][int(code) + 128] for code in views["x"]])


@both_forms
@pytest.mark.parametrize("elements", [1, 7, 8, 29])
def test_a_table_may_run_in_place(form: str, elements: int) -> None:
    rng = np.random.default_rng(elements)
    x, table = random_codes(rng, (elements,)), random_codes(rng, (256,))
    memory = x.copy()
    assert call(form, TABLE_S8, TableS8Params(elements), {"x": memory, "table": table, "y": memory}) == 0
    np.testing.assert_array_equal(memory, table[x.astype(int) + 128])


@both_forms
@examples(60)
@given(elements=sizes, seed=seeds)
def test_block_errors_of_a_table_have_goldens_bits(form: str, elements: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, slope, exponent = random_slopes(rng)
    views: dict[str, Any] = {"error": random_block16(rng, (elements,)), "x": random_codes(rng, (elements,))}
    views |= {"slope": slope, "out": block16((elements,))}
    golden_and_c_agree(form, TABLE_ERROR_B16, TableErrorParams(elements, exponent), views)


@examples(60)
@given(elements=sizes, seed=seeds)
def test_a_block_error_of_a_table_is_within_its_roundings_of_the_product(elements: int, seed: int) -> None:
    """Half a unit of the mantissas, and one of the 16 bits that were cut off before; the slope is within 2^-31 of the largest."""
    rng = np.random.default_rng(seed)
    slopes, slope, exponent = random_slopes(rng)
    views: dict[str, Any] = {"error": random_block16(rng, (elements,)), "x": random_codes(rng, (elements,))}
    views |= {"slope": slope, "out": block16((elements,))}
    TABLE_ERROR_B16.golden(TableErrorParams(elements, exponent), views)
    error = block_values(views["error"])
    exact = error * slopes[views["x"].astype(int) + 128]
    unit = 2.0 ** int(views["out"].exponent[0])
    floor = 2.0 ** (int(views["error"].exponent[0]) + exponent + 16)
    bound = 0.5 * unit + floor + np.abs(error) * 2.0**exponent
    assert (np.abs(block_values(views["out"]) - exact) <= bound).all()


@both_forms
@examples(40)
@given(elements=sizes, seed=seeds)
def test_float_errors_of_a_table_have_goldens_bits(form: str, elements: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slope = random_slopes(rng)[0].astype(np.float32)
    views: dict[str, Any] = {"error": random_floats(rng, (elements,)), "x": random_codes(rng, (elements,))}
    views |= {"slope": slope, "out": np.zeros(elements, np.float32)}
    expected = golden_and_c_agree(form, TABLE_ERROR_F32, TableErrorParams(elements, 0), views)
    np.testing.assert_array_equal(expected["out"], views["error"] * slope[views["x"].astype(int) + 128])


@both_forms
def test_errors_of_a_table_may_be_computed_in_place(form: str) -> None:
    rng = np.random.default_rng(3)
    _, slope, exponent = random_slopes(rng)
    error, x = random_block16(rng, (37,)), random_codes(rng, (37,))
    params, apart = TableErrorParams(37, exponent), block16((37,))
    assert call(form, TABLE_ERROR_B16, params, {"error": error, "x": x, "slope": slope, "out": apart}) == 0
    assert call(form, TABLE_ERROR_B16, params, {"error": error, "x": x, "slope": slope, "out": error}) == 0
    assert same_bits(error, apart)
    floats, factors = random_floats(rng, (37,)), slope.astype(np.float32)
    expected = floats * factors[x.astype(int) + 128]
    views: dict[str, Any] = {"error": floats, "x": x, "slope": factors, "out": floats}
    assert call(form, TABLE_ERROR_F32, TableErrorParams(37, 0), views) == 0
    np.testing.assert_array_equal(floats, expected)


def test_slopes_that_are_all_zero_have_a_mantissa_of_zero() -> None:
    scale, exponent = scale_to_int32(np.zeros(256))
    assert not scale.any()
    assert exponent == 0


@both_forms
def test_a_table_of_no_elements_is_refused(form: str) -> None:
    codes, slope = np.zeros(4, np.int8), np.zeros(256, np.int32)
    views: dict[str, Any] = {"x": codes, "table": np.zeros(256, np.int8), "y": np.full(4, 99, np.int8)}
    assert refused(form, TABLE_S8, TableS8Params(0), views)
    views = {"error": block16((4,)), "x": codes, "slope": slope, "out": block16((4,))}
    assert refused(form, TABLE_ERROR_B16, TableErrorParams(-1, 0), views)
    floats = np.ones(4, np.float32)
    views = {"error": floats, "x": codes, "slope": slope.astype(np.float32), "out": floats.copy()}
    assert refused(form, TABLE_ERROR_F32, TableErrorParams(0, 0), views)
