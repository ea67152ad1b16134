"""conv2d_s8: golden, both C forms and LiteRT agree to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.arithmetic import quantise_multiplier, requantise, requantise_once
from mcutrain.ops.base import Window, unpack_mask
from mcutrain.ops.conv2d import CONV2D_S8, Conv2dS8Params
from support.ckernels import c_function, c_params, call, forms, run_everywhere
from support.examples import examples
from support.forward_cases import ConvCase, conv_cases, geometries, quad_geometries
from support.tflite_builder import conv2d_model, fully_connected_model, run_litert

ONE_PIXEL = Window(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)


@given(conv_cases())
@examples(60)
def test_convolution_is_bit_exact_to_litert(case: ConvCase) -> None:
    w = case.geometry.window
    model = conv2d_model(
        (w.in_height, w.in_width, w.in_channels),
        case.inputs["weights"],
        case.inputs["bias"],
        input=case.input,
        weight_scale=case.weight_scale,
        output=case.output,
        stride=(w.stride_height, w.stride_width),
        padding=case.geometry.padding,
        activation=case.activation,
    )
    got = run_everywhere(CONV2D_S8, case.params, case.inputs, case.outputs)
    np.testing.assert_array_equal(got["y"], run_litert(model, case.inputs["x"]))


@given(conv_cases(fully_connected=True))
@examples(100)
def test_fully_connected_is_bit_exact_to_litert(case: ConvCase) -> None:
    w = case.geometry.window
    model = fully_connected_model(
        case.inputs["weights"].reshape(w.out_channels, w.in_channels),
        case.inputs["bias"],
        input=case.input,
        weight_scale=case.weight_scale,
        output=case.output,
        activation=case.activation,
    )
    got = run_everywhere(CONV2D_S8, case.params, case.inputs, case.outputs)
    np.testing.assert_array_equal(got["y"].reshape(-1), run_litert(model, case.inputs["x"].reshape(-1)))


@given(conv_cases(windows=quad_geometries()), st.booleans())
@examples(60)
def test_quads_of_pixels_leave_the_bits_of_golden(case: ConvCase, mask: bool) -> None:
    outputs = case.outputs if mask else {"y": case.outputs["y"]}
    run_everywhere(CONV2D_S8, case.params, case.inputs, outputs)


@given(conv_cases(windows=quad_geometries()), st.integers(-128, 127), st.integers(0, 60))
@examples(60)
def test_any_clamp_of_quads_leaves_the_bits_of_golden(case: ConvCase, low: int, span: int) -> None:
    params = replace(case.params, clamp_min=low, clamp_max=min(low + span, 127))
    run_everywhere(CONV2D_S8, params, case.inputs, case.outputs)
    run_everywhere(CONV2D_S8, params, case.inputs, {"y": case.outputs["y"]})


@given(conv_cases(windows=quad_geometries()), st.data())
@examples(40)
def test_sums_too_large_for_the_short_rounding_leave_the_bits_of_golden(case: ConvCase, data: st.DataObject) -> None:
    channel = data.draw(st.integers(0, case.geometry.window.out_channels - 1))
    inputs = {name: value.copy() for name, value in case.inputs.items()}
    role, value = data.draw(
        st.sampled_from(
            [
                ("bias", 2**30),
                ("bias", -(2**30)),
                ("shift", -1),
                ("shift", 3),
                ("multiplier", 2**30 - 1),
                ("multiplier", 0),
            ]
        )
    )
    inputs[role][channel] = value
    run_everywhere(CONV2D_S8, case.params, inputs, case.outputs)


@given(conv_cases(windows=geometries()), st.booleans())
@examples(40)
def test_many_pixels_that_are_rounded_once_leave_the_bits_of_golden(case: ConvCase, mask: bool) -> None:
    """As the rows of a fully connected layer are."""
    outputs = case.outputs if mask else {"y": case.outputs["y"]}
    run_everywhere(CONV2D_S8, replace(case.params, single_rounding=1), case.inputs, outputs)


@given(conv_cases(fully_connected=True), st.booleans(), st.integers(0, 1))
@examples(60)
def test_single_pixels_leave_the_bits_of_golden(case: ConvCase, mask: bool, single_rounding: int) -> None:
    outputs = case.outputs if mask else {"y": case.outputs["y"]}
    run_everywhere(CONV2D_S8, replace(case.params, single_rounding=single_rounding), case.inputs, outputs)


def test_fully_connected_rounds_once_where_two_roundings_differ() -> None:
    # x.49...: the high half of the product rounds up to a tie that the product itself does not reach.
    multiplier, shift = 1294981355, -4
    sums = [s for s in range(1, 2000) if requantise(s, multiplier, shift) != requantise_once(s, multiplier, shift)]
    assert len(sums) > 10
    window = replace(ONE_PIXEL, out_channels=len(sums))
    inputs: dict[str, Any] = {
        "x": np.ones(1, np.int8),
        "weights": np.zeros(len(sums), np.int8),
        "bias": np.array(sums, np.int32),
        "multiplier": np.full(len(sums), multiplier, np.int32),
        "shift": np.full(len(sums), shift, np.int32),
    }
    outputs: dict[str, Any] = {"y": np.zeros(len(sums), np.int8)}
    got = run_everywhere(CONV2D_S8, Conv2dS8Params(window, 0, 0, -128, 127, single_rounding=1), inputs, outputs)
    exact = np.array(sums) * (multiplier * 2.0 ** (shift - 31))
    np.testing.assert_array_equal(got["y"], np.floor(exact + 0.5))


@given(conv_cases())
@examples(20)
def test_the_clip_mask_marks_what_a_wider_clamp_would_not_change(case: ConvCase) -> None:
    clamped = run_everywhere(CONV2D_S8, replace(case.params, clamp_min=-20, clamp_max=30), case.inputs, case.outputs)
    free = run_everywhere(CONV2D_S8, replace(case.params, clamp_min=-128, clamp_max=127), case.inputs, case.outputs)
    inside = unpack_mask(clamped["inside"], clamped["y"].shape)
    np.testing.assert_array_equal(inside, (free["y"] >= -20) & (free["y"] <= 30))


@given(conv_cases())
@examples(20)
def test_the_codes_do_not_depend_on_whether_the_mask_is_wanted(case: ConvCase) -> None:
    with_mask = run_everywhere(CONV2D_S8, case.params, case.inputs, case.outputs)
    without = run_everywhere(CONV2D_S8, case.params, case.inputs, {"y": case.outputs["y"]})
    np.testing.assert_array_equal(with_mask["y"], without["y"])


@pytest.mark.parametrize("single_rounding", [0, 1])
@given(data=st.data())
@examples(60)
def test_requantising_agrees_on_every_sum_multiplier_and_shift(single_rounding: int, data: st.DataObject) -> None:
    # Zero weights: the sum is the bias, so each channel is one call of requantise with any int32.
    sums = st.one_of(
        st.integers(-(2**31), 2**31 - 1),
        st.sampled_from([-(2**31), 1 - 2**31, 2**31 - 1, -1, 0, 1]),
        st.integers(-300, 300).map(lambda n: n * 2**22 + 2**21),  # ties
    )
    multipliers = st.one_of(st.integers(2**30, 2**31 - 1), st.sampled_from([0, 2**30, 2**31 - 1]))
    draws = data.draw(st.lists(st.tuples(sums, multipliers, st.integers(-31, 30)), min_size=40, max_size=40))
    bias, multiplier, shift = (np.array(column, np.int32) for column in zip(*draws, strict=True))
    window = replace(ONE_PIXEL, out_channels=40)
    params = Conv2dS8Params(window, 0, data.draw(st.integers(-128, 127)), -128, 127, single_rounding)
    inputs: dict[str, Any] = {
        "x": np.ones(1, np.int8),
        "weights": np.zeros(40, np.int8),
        "bias": bias,
        "multiplier": multiplier,
        "shift": shift,
    }
    run_everywhere(CONV2D_S8, params, inputs, {"y": np.zeros(40, np.int8), "inside": np.zeros(2, np.uint32)})


@pytest.mark.parametrize("z_x", [-128, 127])
@pytest.mark.parametrize("code", [-128, 127])
def test_the_largest_sums_neither_wrap_nor_saturate_early(z_x: int, code: int) -> None:
    window = Window(9, 9, 64, 7, 7, 3, 3, 3, 1, 1, 0, 0)
    inputs: dict[str, Any] = {
        "x": np.full((9, 9, 64), code, np.int8),
        "weights": np.stack([np.full((3, 3, 64), w, np.int8) for w in (-128, 127, 1)]),
        "bias": np.zeros(3, np.int32),
        "multiplier": np.full(3, 2**30, np.int32),
        "shift": np.full(3, -17, np.int32),
    }
    outputs: dict[str, Any] = {"y": np.zeros((7, 7, 3), np.int8), "inside": np.zeros(5, np.uint32)}
    got = run_everywhere(CONV2D_S8, Conv2dS8Params(window, z_x, 0, -128, 127), inputs, outputs)
    exact = [(code - z_x) * w * 576 / 2**18 for w in (-128, 127, 1)]
    np.testing.assert_allclose(got["y"][0, 0], exact, atol=0.51)


@pytest.mark.parametrize("form", forms)
@given(case=st.one_of(conv_cases(), conv_cases(windows=quad_geometries())))
@examples(40)
def test_the_scratch_size_is_what_the_kernel_object_says(form: str, case: ConvCase) -> None:
    size = c_function(form, "mct_conv2d_s8_scratch_bytes")(c_params(form, CONV2D_S8, case.params))
    assert size == CONV2D_S8.scratch_bytes(case.params)


def small_case() -> tuple[Conv2dS8Params, dict[str, Any]]:
    window = Window(2, 3, 2, 2, 3, 2, 1, 1, 1, 1, 0, 0)
    views = {
        "x": np.ones((2, 3, 2), np.int8),
        "weights": np.ones((2, 1, 1, 2), np.int8),
        "bias": np.zeros(2, np.int32),
        "multiplier": np.full(2, 2**30, np.int32),
        "shift": np.zeros(2, np.int32),
        "y": np.full((2, 3, 2), 99, np.int8),
        "inside": np.full(1, 99, np.uint32),
    }
    return Conv2dS8Params(window, 0, 0, -128, 127), views


WRONG_PARAMETERS: dict[str, dict[str, int]] = {
    "no_input_rows": {"in_height": 0},
    "no_output_columns": {"out_width": 0},
    "no_channels": {"in_channels": -1},
    "no_filters": {"out_channels": 0},
    "no_kernel": {"kernel_width": 0},
    "no_stride": {"stride_height": 0},
    "negative_padding": {"pad_top": -1},
    "padding_as_large_as_the_kernel": {"pad_left": 1},
    "windows_behind_the_image": {"out_height": 3},
}


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("change", WRONG_PARAMETERS.values(), ids=WRONG_PARAMETERS)
def test_a_wrong_window_is_refused_and_outputs_stay(form: str, change: dict[str, int]) -> None:
    params, views = small_case()
    scratch = {"scratch": np.zeros(64, np.uint8)}
    assert call(form, CONV2D_S8, params, views | scratch) == 0
    _, views = small_case()
    window = replace(params.window, **change)
    wrong = replace(params, window=window)
    assert call(form, CONV2D_S8, wrong, views | scratch) == 1
    assert (views["y"] == 99).all()
    assert views["inside"][0] == 99


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(
    "change",
    [
        {"input_zero_point": 128},
        {"output_zero_point": -129},
        {"clamp_min": 3, "clamp_max": 2},
        {"clamp_min": -129},
        {"clamp_max": 128},
        {"single_rounding": 2},
    ],
)
def test_parameters_outside_their_range_are_refused(form: str, change: dict[str, Any]) -> None:
    params, views = small_case()
    assert call(form, CONV2D_S8, replace(params, **change), views) == 1
    assert (views["y"] == 99).all()


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(("role", "value"), [("multiplier", -1), ("shift", 31), ("shift", -32)])
def test_a_multiplier_that_no_scale_gives_is_refused(form: str, role: str, value: int) -> None:
    params, views = small_case()
    views[role][1] = value
    assert call(form, CONV2D_S8, params, views) == 1
    assert (views["y"] == 99).all()


@pytest.mark.parametrize("single_rounding", [0, 1])
@pytest.mark.parametrize("exponent", [-1, 0, 1, 2, 5])
def test_ties_of_exact_scales_go_where_litert_rounds_them(exponent: int, single_rounding: int) -> None:
    # Sums of 0 taps and a bias are every integer; at an output scale of 2^n all multiples of half a code are ties.
    sums = np.arange(-600, 601, dtype=np.int32) << max(0, exponent - 2)
    zeros, output = np.zeros((len(sums), 1, 1, 1), np.int8), (2.0**exponent, 0)
    model = (
        fully_connected_model(zeros.reshape(-1, 1), sums, input=(1.0, 0), weight_scale=1.0, output=output)
        if single_rounding
        else conv2d_model((1, 1, 1), zeros, sums, input=(1.0, 0), weight_scale=1.0, output=output)
    )
    multiplier, shift = quantise_multiplier(2.0**-exponent)
    inputs: dict[str, Any] = {
        "x": np.zeros(1, np.int8),
        "weights": zeros,
        "bias": sums,
        "multiplier": np.full(len(sums), multiplier, np.int32),
        "shift": np.full(len(sums), shift, np.int32),
    }
    params = Conv2dS8Params(replace(ONE_PIXEL, out_channels=len(sums)), 0, 0, -128, 127, single_rounding)
    got = run_everywhere(CONV2D_S8, params, inputs, {"y": np.zeros(len(sums), np.int8)})
    expected = run_litert(model, np.zeros((1,) if single_rounding else (1, 1, 1), np.int8))
    np.testing.assert_array_equal(got["y"].reshape(-1), expected.reshape(-1))
