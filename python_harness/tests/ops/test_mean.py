"""mean_s8: golden, both C forms and LiteRT agree to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.graph.reductions import reduction
from mcutrain.ops.base import mask_words, unpack_mask
from mcutrain.ops.mean import MEAN_S8, MeanS8Params, mean_multiplier
from support.backward_cases import refused
from support.ckernels import forms, run_everywhere
from support.examples import examples
from support.forward_cases import generators, random_codes, scales, zero_points
from support.tflite_builder import mean_model, reduced_model, run_litert


def outputs_of(channels: int) -> dict[str, Any]:
    return {"y": np.full(channels, 99, np.int8), "inside": np.full(mask_words(channels), 0xA5, np.uint32)}


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    return draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 40))


@given(
    shapes(),
    scales(),
    st.one_of(st.floats(0.05, 3.0), st.sampled_from([0.25, 0.5, 2.0])),
    st.booleans(),
    zero_points,
    zero_points,
    st.booleans(),
    generators,
)
@examples(120)
def test_mean_is_bit_exact_to_litert(
    shape: tuple[int, int, int],
    x_scale: float,
    ratio: float,
    same_scale: bool,
    x_zero: int,
    y_zero: int,
    keep_dims: bool,
    generator: np.random.Generator,
) -> None:
    y_scale = x_scale if same_scale else float(np.float32(x_scale / ratio))
    pixels = shape[0] * shape[1]
    multiplier, shift = mean_multiplier(x_scale / y_scale, pixels)
    params = MeanS8Params(pixels, shape[2], x_zero, y_zero, multiplier, shift, -128, 127)
    x = random_codes(generator, shape)
    model = mean_model(shape, input=(x_scale, x_zero), output=(y_scale, y_zero), keep_dims=keep_dims)
    got = run_everywhere(MEAN_S8, params, {"x": x}, outputs_of(shape[2]))
    np.testing.assert_array_equal(got["y"], run_litert(model, x).reshape(-1))


@given(
    st.lists(st.integers(1, 7), min_size=3, max_size=3),
    st.sets(st.integers(0, 2), min_size=1),
    scales(),
    st.sampled_from([0.5, 1.0, 2.0, 0.37, 1.9]),
    zero_points,
    zero_points,
    generators,
)
@examples(80)
def test_means_over_any_axes_are_those_of_litert(
    sides: list[int],
    over: set[int],
    x_scale: float,
    ratio: float,
    x_zero: int,
    y_zero: int,
    generator: np.random.Generator,
) -> None:
    shape, axes = tuple(sides), tuple(sorted(over))
    n = reduction(shape, axes)
    y_scale = float(np.float32(x_scale / ratio))
    multiplier, shift = mean_multiplier(x_scale / y_scale, n.pixels * n.run)
    params = MeanS8Params(n.pixels, n.channels, x_zero, y_zero, multiplier, shift, -128, 127, n.outer, n.run)
    x = random_codes(generator, shape)
    got = run_everywhere(MEAN_S8, params, {"x": x}, outputs_of(n.outer * n.channels))
    model = reduced_model("MEAN", shape, axes, input=(x_scale, x_zero), output=(y_scale, y_zero))
    np.testing.assert_array_equal(got["y"], run_litert(model, x).reshape(-1))


@given(shapes(), generators)
@examples(30)
def test_the_clip_mask_marks_what_the_clamp_did_not_change(
    shape: tuple[int, int, int], generator: np.random.Generator
) -> None:
    pixels = shape[0] * shape[1]
    wide = MeanS8Params(pixels, shape[2], 3, -1, *mean_multiplier(1.7, pixels), -128, 127)
    x = {"x": generator.integers(-60, 61, shape).astype(np.int8)}
    free = run_everywhere(MEAN_S8, wide, x, outputs_of(shape[2]))["y"]
    narrow = replace(wide, clamp_min=-9, clamp_max=4)
    got = run_everywhere(MEAN_S8, narrow, x, outputs_of(shape[2]))
    np.testing.assert_array_equal(got["y"], np.clip(free, -9, 4))
    np.testing.assert_array_equal(unpack_mask(got["inside"], (shape[2],)), (free >= -9) & (free <= 4))


@pytest.mark.parametrize(("x", "zero_point"), [(127, -128), (-128, 127)])
def test_extreme_codes_of_a_large_image_do_not_overflow(x: int, zero_point: int) -> None:
    pixels = 300 * 400
    params = MeanS8Params(pixels, 2, zero_point, 0, *mean_multiplier(0.5, pixels), -128, 127)
    got = run_everywhere(MEAN_S8, params, {"x": np.full((pixels, 2), x, np.int8)}, outputs_of(2))
    np.testing.assert_array_equal(got["y"], np.clip(np.round((x - zero_point) * 0.5), -128, 127))


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(
    "change",
    [
        {"pixels": 0},
        {"pixels": 1 << 23},
        {"channels": 0},
        {"input_zero_point": -129},
        {"shift": 31},
        {"clamp_max": -129},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(form: str, change: dict[str, int]) -> None:
    params = MeanS8Params(4, 2, 0, 0, *mean_multiplier(0.5, 4), -128, 127)
    views = {"x": np.zeros((4, 2), np.int8), **outputs_of(2)}
    assert refused(form, MEAN_S8, replace(params, **change), views)
