"""The linear form of add_s8: found for nearly all scales, and the specified codes and mask for every pair of codes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcutrain.ops.add import ADD_S8, AddS8Params, unclamped
from mcutrain.ops.add_linear import LinearForm, linear_form, with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import mask_words
from support.ckernels import call, forms, run_everywhere
from support.examples import examples
from support.forward_cases import (
    clamp_of,
    codes,
    generators,
    mask_rubbish,
    random_codes,
    rubbish,
    scales,
    zero_points,
)
from support.tflite_builder import add_model, run_litert

CODES = np.arange(-128, 128)
FULL = (-128, 127)
PAIRS = {"a": np.repeat(CODES, 256).astype(np.int8), "b": np.tile(CODES, 256).astype(np.int8)}

clamps = st.one_of(
    st.just(FULL), st.lists(codes, min_size=2, max_size=2).map(sorted), codes.map(lambda code: [code] * 2)
)


def add_params(
    elements: int, scale: tuple[float, float, float], zero: tuple[int, int, int], clamp: tuple[int, int] = FULL
) -> AddS8Params:
    """Without a linear form."""
    a, b, y = scale
    twice = 2.0 * max(a, b)
    pairs = [quantise_multiplier(m) for m in (a / twice, b / twice, twice / (2**20 * y))]
    return AddS8Params(elements, *zero, *pairs[0], *pairs[1], *pairs[2], 20, *clamp)


@st.composite
def additions(draw: st.DrawFn) -> AddS8Params:
    """Equal scales, scales up to 2^10 apart, and any; sums that fill the codes, or saturate, or hardly move."""
    a = draw(scales(0.01, 1.0))
    ratio = draw(st.one_of(st.just(1.0), st.floats(-10.0, 0.0).map(lambda power: 2.0**power), st.floats(0.3, 1.0)))
    b = float(np.float32(a * ratio))
    y = float(np.float32(max(a, b) * draw(st.one_of(st.floats(0.5, 2.5), st.floats(0.01, 50.0)))))
    scale = (a, b, y) if draw(st.booleans()) else (b, a, y)
    zero = (draw(zero_points), draw(zero_points), draw(zero_points))
    low, high = draw(clamps)
    return add_params(draw(st.integers(1, 140)), scale, zero, (low, high))


def codes_of(params: AddS8Params, form: LinearForm) -> Any:
    """What the form stands for, by its definition, for all pairs; codes beyond the clamp count as next to it."""
    products = (form.a_factor * CODES[:, np.newaxis] >> 8) + (form.b_factor * CODES >> 8)
    sums = (products + form.offset).astype(np.uint32).view(np.int32)
    return np.clip((sums >> 16) + params.clamp_min, params.clamp_min - 1, params.clamp_max + 1)


@given(additions())
@examples(80)
def test_a_linear_form_is_the_sum_for_all_pairs_of_codes(params: AddS8Params) -> None:
    form = linear_form(params)
    assume(form is not None)
    assert form is not None
    free = unclamped(params, CODES[:, np.newaxis], CODES)
    expected = np.clip(free, params.clamp_min - 1, params.clamp_max + 1)
    np.testing.assert_array_equal(codes_of(params, form), expected)


@given(additions(), generators, st.booleans())
@examples(150)
def test_add_is_golden_with_its_linear_form_and_without(
    params: AddS8Params, generator: np.random.Generator, masked: bool
) -> None:
    shape = (params.elements,)
    inputs = {"a": random_codes(generator, shape), "b": random_codes(generator, shape)}
    outputs: dict[str, Any] = {"y": rubbish(generator, shape, np.int8)}
    if masked:
        outputs["inside"] = mask_rubbish(generator, params.elements)
    run_everywhere(ADD_S8, params, inputs, outputs)
    run_everywhere(ADD_S8, with_linear_form(params), inputs, outputs)


@pytest.mark.parametrize("clamp", [FULL, (-20, 57), (7, 7)])
@pytest.mark.parametrize(
    ("scale", "zero"),
    [
        ((0.9, 1.0, 1.6), (-5, 7, 3)),
        ((0.031, 0.031, 0.05), (-128, 127, 0)),
        ((1.0, 2.0**-10, 1.0), (127, -128, -128)),
        ((0.02, 0.07, 0.09), (0, 0, 127)),
    ],
)
def test_every_pair_of_codes_is_golden(
    scale: tuple[float, float, float], zero: tuple[int, int, int], clamp: tuple[int, int]
) -> None:
    params = with_linear_form(add_params(65536, scale, zero, clamp))
    assert params.a_factor
    mask: Any = np.zeros(mask_words(65536), np.uint32)
    run_everywhere(ADD_S8, params, PAIRS, {"y": np.zeros(65536, np.int8), "inside": mask})
    run_everywhere(ADD_S8, params, PAIRS, {"y": np.zeros(65536, np.int8)})


@pytest.mark.parametrize("equal", [False, True])
def test_of_usual_scales_nearly_all_have_a_linear_form(equal: bool) -> None:
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        a, b = generator.uniform(0.01, 0.1, 2).astype(np.float32)
        b = a if equal else b
        y = np.float32(max(a, b) * generator.uniform(0.5, 1.2))
        zero = tuple(int(point) for point in generator.integers(-128, 128, 3))
        found += linear_form(add_params(1, (float(a), float(b), float(y)), (zero[0], zero[1], zero[2]))) is not None
    assert found >= 196


def test_a_sum_that_no_plane_follows_has_no_linear_form() -> None:
    params = add_params(1, (7.0, 3.0, 2.0), (-17, 40, 0))
    assert linear_form(params) is None
    assert with_linear_form(params) == params


@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
@pytest.mark.parametrize(
    ("scale", "zero"),
    [
        ((7.0, 3.0, 2.0), (-17, 40, 0)),  # no plane follows it
        ((3.0, 7.0, 2.0), (40, -17, 0)),
        ((0.75, 1.0, 1.625), (-5, 7, 3)),
        ((0.03125, 0.03125, 0.046875), (-128, 127, 0)),
        ((1.0, 2.0**-10, 1.0), (127, -128, -128)),
    ],
)
def test_without_a_linear_form_every_pair_of_codes_is_golden_and_bit_exact_to_litert(
    scale: tuple[float, float, float], zero: tuple[int, int, int], activation: str
) -> None:
    a, b, y = zip(scale, zero, strict=True)
    params = add_params(65536, scale, zero, clamp_of(activation, *y))
    assert params.a_factor == params.b_factor == 0
    mask: Any = np.zeros(mask_words(65536), np.uint32)
    got = run_everywhere(ADD_S8, params, PAIRS, {"y": np.zeros(65536, np.int8), "inside": mask})
    model = add_model((65536,), a=a, b=b, output=y, activation=activation)
    np.testing.assert_array_equal(got["y"], run_litert(model, PAIRS["a"], PAIRS["b"]))


@pytest.mark.parametrize("with_form", [False, True])
@pytest.mark.parametrize("clamp", [FULL, (-20, 57)])
@pytest.mark.parametrize("role", ["a", "b"])
@pytest.mark.parametrize("form", forms)
def test_add_may_run_in_place(form: str, role: str, clamp: tuple[int, int], with_form: bool) -> None:
    params = add_params(331, (0.9, 1.0, 1.6), (-5, 7, 3), clamp)
    params = with_linear_form(params) if with_form else params
    generator = np.random.default_rng(1)
    inputs = {name: random_codes(generator, (331,)) for name in "ab"}
    expected = run_everywhere(ADD_S8, params, inputs, {"y": np.zeros(331, np.int8)})["y"]
    memory = inputs[role].copy()
    assert call(form, ADD_S8, params, {**inputs, role: memory, "y": memory}) == 0
    np.testing.assert_array_equal(memory, expected)


def test_a_wrong_factor_is_seen() -> None:
    params = with_linear_form(add_params(65536, (0.9, 1.0, 1.6), (-5, 7, 3)))
    wrong = replace(params, a_factor=params.a_factor + 2**15)
    with pytest.raises(AssertionError):
        run_everywhere(ADD_S8, wrong, PAIRS, {"y": np.zeros(65536, np.int8)})
