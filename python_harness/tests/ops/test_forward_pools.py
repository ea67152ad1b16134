"""average_pool_s8, max_pool_s8, pad_s8 and gather_channels_s8: golden, both C forms and LiteRT agree to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.average_pool import (
    AVERAGE_POOL_RESCALE_S8,
    AVERAGE_POOL_S8,
    AveragePoolRescaleS8Params,
    PoolS8Params,
    average_multipliers,
    windows_inside,
)
from mcutrain.ops.base import Window
from mcutrain.ops.gather_channels import GATHER_CHANNELS_S8, GatherChannelsS8Params
from mcutrain.ops.max_pool import MAX_POOL_S8, MAX_POOL_WIDE_S8
from mcutrain.ops.pad import PAD_S8, PadS8Params
from support.ckernels import call, forms, index_list, run_everywhere
from support.examples import examples
from support.forward_cases import (
    Geometry,
    generators,
    geometries,
    mask_rubbish,
    random_codes,
    rubbish,
    scales,
    zero_points,
)
from support.tflite_builder import pad_model, pool_model, run_litert


def pool_in_litert(kind: str, geometry: Geometry, x: Any, zero_point: int) -> Any:
    w = geometry.window
    kernel, stride = (w.kernel_height, w.kernel_width), (w.stride_height, w.stride_width)
    quantization = (0.1, zero_point)
    model = pool_model(kind, x.shape, kernel=kernel, stride=stride, quantization=quantization, padding=geometry.padding)
    return run_litert(model, x)


def input_and_output(w: Window, generator: np.random.Generator) -> tuple[Any, Any]:
    x = random_codes(generator, (w.in_height, w.in_width, w.in_channels))
    return x, rubbish(generator, (w.out_height, w.out_width, w.out_channels), np.int8)


@given(geometries(pool=True), zero_points, generators)
@examples(60)
def test_average_pool_is_bit_exact_to_litert(
    geometry: Geometry, zero_point: int, generator: np.random.Generator
) -> None:
    x, y = input_and_output(geometry.window, generator)
    got = run_everywhere(AVERAGE_POOL_S8, PoolS8Params(geometry.window), {"x": x}, {"y": y})
    np.testing.assert_array_equal(got["y"], pool_in_litert("AVERAGE_POOL_2D", geometry, x, zero_point))


def test_average_pool_rounds_ties_away_from_zero() -> None:
    x = np.array([1, 2, -1, -2, 3, 4, -3, -4], np.int8)
    window = Window(1, 8, 1, 1, 4, 1, 1, 2, 1, 2, 0, 0)
    got = run_everywhere(AVERAGE_POOL_S8, PoolS8Params(window), {"x": x}, {"y": np.zeros(4, np.int8)})
    assert got["y"].tolist() == [2, -2, 4, -4]


@given(
    geometries(pool=True),
    scales(0.05, 8.0),
    zero_points,
    zero_points,
    st.tuples(st.integers(-128, 20), st.integers(20, 127)),
    generators,
)
@examples(80)
def test_an_average_at_a_scale_of_its_own_is_rounded_once(
    geometry: Geometry, ratio: float, x_zero: int, y_zero: int, clamp: tuple[int, int], generator: np.random.Generator
) -> None:
    w = geometry.window
    x, y = input_and_output(w, generator)
    counts, multiplier, shift = average_multipliers(w, ratio)
    params = AveragePoolRescaleS8Params(w, x_zero, y_zero, *clamp, len(counts))
    inputs = {"x": x, "count": counts, "multiplier": multiplier, "shift": shift}
    got = run_everywhere(AVERAGE_POOL_RESCALE_S8, params, inputs, {"y": y, "inside": mask_rubbish(generator, y.size)})
    for row, column, rows, columns in windows_inside(w):
        part = x[rows, columns].astype(np.int64) - x_zero
        exact = part.mean(axis=(0, 1)) * ratio
        codes = np.sign(exact) * np.floor(np.abs(exact) + 0.5) + y_zero
        # The multiplier has 31 bits: a mean closer to a tie than its own size by 2^-30 may fall to either side.
        tie = np.abs(np.abs(exact) % 1 - 0.5) <= np.abs(exact) * 2.0**-30
        expected = np.clip(codes, *clamp)
        assert np.array_equal(np.where(tie, 0, got["y"][row, column]), np.where(tie, 0, expected))
        assert np.abs(got["y"][row, column] - expected).max() <= 1


@given(geometries(pool=True), zero_points, generators)
@examples(60)
def test_max_pool_is_bit_exact_to_litert(geometry: Geometry, zero_point: int, generator: np.random.Generator) -> None:
    x, y = input_and_output(geometry.window, generator)
    outputs = {"y": y, "argmax": rubbish(generator, y.shape, np.uint8)}
    got = run_everywhere(MAX_POOL_S8, PoolS8Params(geometry.window), {"x": x}, outputs)
    np.testing.assert_array_equal(got["y"], pool_in_litert("MAX_POOL_2D", geometry, x, zero_point))
    alone = run_everywhere(MAX_POOL_S8, PoolS8Params(geometry.window), {"x": x}, {"y": y})
    np.testing.assert_array_equal(got["y"], alone["y"])


@given(st.integers(1, 3), st.integers(15, 30), st.integers(15, 30), st.integers(1, 3), generators)
@examples(30)
def test_a_word_names_the_first_maximum_of_a_window_of_any_size(
    stride: int, height: int, width: int, channels: int, generator: np.random.Generator
) -> None:
    w = Window(height + stride, width, channels, 2, 1, channels, height, width, stride, stride, 0, 0)
    x, y = input_and_output(w, generator)
    x //= 64  # few different codes: many ties
    outputs = {"y": y, "argmax": rubbish(generator, y.shape, np.int32)}
    got = run_everywhere(MAX_POOL_WIDE_S8, PoolS8Params(w), {"x": x}, outputs)
    for row in range(2):
        part = x[row * stride : row * stride + height].reshape(-1, channels)
        np.testing.assert_array_equal(got["argmax"][row, 0], part.argmax(axis=0))
        np.testing.assert_array_equal(got["y"][row, 0], part.max(axis=0))


@given(geometries(pool=True), generators)
@examples(30)
def test_argmax_points_at_the_first_maximum(geometry: Geometry, generator: np.random.Generator) -> None:
    w = geometry.window
    x, y = input_and_output(w, generator)
    x //= 64  # few different codes: many ties
    outputs = {"y": y, "argmax": rubbish(generator, y.shape, np.uint8)}
    got = run_everywhere(MAX_POOL_S8, PoolS8Params(w), {"x": x}, outputs)
    for row, column, rows, columns in windows_inside(w):
        for channel in range(w.in_channels):
            kernel_row, kernel_column = divmod(int(got["argmax"][row, column, channel]), w.kernel_width)
            at = (
                row * w.stride_height - w.pad_top + kernel_row,
                column * w.stride_width - w.pad_left + kernel_column,
            )
            part = x[rows, columns, channel]
            assert x[at[0], at[1], channel] == part.max()
            before = [
                x[i, j, channel]
                for i in range(rows.start, rows.stop)
                for j in range(columns.start, columns.stop)
                if (i, j) < at
            ]
            assert all(code < part.max() for code in before)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(*[st.integers(0, 3)] * 4),
    zero_points,
    generators,
)
@examples(60)
def test_pad_is_bit_exact_to_litert(
    shape: tuple[int, int, int], border: tuple[int, int, int, int], zero_point: int, generator: np.random.Generator
) -> None:
    top, bottom, left, right = border
    x = random_codes(generator, shape)
    y = rubbish(generator, (shape[0] + top + bottom, shape[1] + left + right, shape[2]), np.int8)
    got = run_everywhere(PAD_S8, PadS8Params(*shape, *border, zero_point), {"x": x}, {"y": y})
    paddings = [(0, 0), (top, bottom), (left, right), (0, 0)]
    model = pad_model(shape, paddings, quantization=(0.1, zero_point))
    np.testing.assert_array_equal(got["y"], run_litert(model, x))


@given(st.data())
@examples(30)
def test_gather_keeps_the_selected_channels(data: st.DataObject) -> None:
    pixels, channels = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    selected = sorted(data.draw(st.sets(st.integers(0, channels - 1), min_size=1)))
    generator = data.draw(generators)
    x = random_codes(generator, (pixels, channels))
    params = GatherChannelsS8Params(pixels, channels, len(selected))
    inputs: dict[str, Any] = {"x": x, "index": index_list(selected)}
    outputs = {"y": rubbish(generator, (pixels, len(selected)), np.int8)}
    got = run_everywhere(GATHER_CHANNELS_S8, params, inputs, outputs)
    np.testing.assert_array_equal(got["y"], [[pixel[c] for c in selected] for pixel in x.tolist()])


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("index", [[1, 0], [0, 0], [0, 4], [-1, 0]], ids=str)
def test_gather_refuses_channels_that_do_not_ascend_or_do_not_exist(form: str, index: list[int]) -> None:
    views: dict[str, Any] = {
        "x": np.zeros(12, np.int8),
        "index": index_list(index),
        "y": np.full(6, 99, np.int8),
    }
    assert call(form, GATHER_CHANNELS_S8, GatherChannelsS8Params(3, 4, 2), views) == 1
    assert (views["y"] == 99).all()


SQUARE = PoolS8Params(Window(2, 2, 1, 2, 2, 1, 1, 1, 1, 1, 0, 0))
PAD = PadS8Params(2, 2, 1, 0, 0, 0, 0, 0)


def with_window(**change: int) -> PoolS8Params:
    return PoolS8Params(replace(SQUARE.window, **change))


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(
    ("kernel", "params"),
    [
        (AVERAGE_POOL_S8, with_window(in_height=0)),
        (AVERAGE_POOL_S8, with_window(in_channels=2)),
        (AVERAGE_POOL_S8, with_window(pad_top=1)),
        (AVERAGE_POOL_S8, with_window(out_width=3)),
        (MAX_POOL_S8, with_window(stride_width=0)),
        (MAX_POOL_S8, with_window(out_channels=2)),
        (MAX_POOL_S8, with_window(out_height=3)),
        (PAD_S8, replace(PAD, in_width=0)),
        (PAD_S8, replace(PAD, left=-1)),
        (PAD_S8, replace(PAD, value=128)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_wrong_parameters_are_refused_and_outputs_stay(form: str, kernel: Any, params: Any) -> None:
    good = PAD if kernel is PAD_S8 else SQUARE
    views = {"x": np.zeros(4, np.int8), "y": np.full(4, 99, np.int8)}
    assert call(form, kernel, params, views) == 1
    assert (views["y"] == 99).all()
    assert call(form, kernel, good, views) == 0


@pytest.mark.parametrize("form", forms)
def test_a_window_of_more_than_256_taps_has_no_argmax_byte(form: str) -> None:
    params = PoolS8Params(Window(17, 17, 1, 1, 1, 1, 17, 16, 1, 1, 0, 0))
    views = {"x": np.arange(289, dtype=np.uint8).view(np.int8), "y": np.zeros(1, np.int8)}
    assert call(form, MAX_POOL_S8, params, views | {"argmax": np.zeros(1, np.uint8)}) == 1
    assert call(form, MAX_POOL_S8, params, views) == 0
    assert views["y"][0] == 127
