"""grouped_conv2d_s8 and its gradients: golden and both C forms agree to the bit, with LiteRT and with the definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcutrain.ops.base import Kernel, Window
from mcutrain.ops.bounds import INT32_LIMIT
from mcutrain.ops.conv2d_gradient import input_shape, output_shape
from mcutrain.ops.errors import conv_mantissa_bits
from mcutrain.ops.grouped_conv2d import GROUPED_CONV2D_S8, GroupedConv2dS8Params
from mcutrain.ops.grouped_conv2d_gradient import (
    GROUPED_CONV2D_ERROR_B16,
    GROUPED_CONV2D_ERROR_F32,
    GROUPED_CONV2D_WEIGHT_GRADIENT_B16,
    GROUPED_CONV2D_WEIGHT_GRADIENT_F32,
)
from support.backward_cases import (
    golden_and_c_agree,
    hostile_lists,
    random_block16,
    random_codes,
    random_floats,
    random_list,
    refused,
    seeds,
)
from support.ckernels import block16, block32, c_function, c_params, call, forms, index_list, run_everywhere
from support.examples import examples
from support.grouped_cases import Grouped, GroupedCase, grouped, grouped_cases
from support.tflite_builder import conv2d_model, depthwise_conv2d_model, run_litert

both_forms = pytest.mark.parametrize("form", forms)
both_gradients = pytest.mark.parametrize(
    "kernel",
    [GROUPED_CONV2D_WEIGHT_GRADIENT_B16, GROUPED_CONV2D_WEIGHT_GRADIENT_F32],
    ids=lambda kernel: kernel.name,
)
zero_points = st.sampled_from([-128, -1, 0, 5, 127])

DENSE = Grouped(Window(9, 8, 6, 9, 8, 5, 3, 3, 1, 1, 2, 2), (2, 2), 1)
GROUPS = Grouped(Window(7, 6, 12, 4, 3, 9, 3, 2, 2, 2, 1, 0), (1, 1), 3)
DEPTHWISE = Grouped(Window(9, 9, 4, 5, 9, 8, 3, 3, 2, 1, 3, 2), (3, 2), 4)
ATROUS_1D = Grouped(Window(1, 20, 8, 1, 20, 8, 1, 3, 1, 1, 0, 4), (1, 4), 2)


def taps_of(c: Grouped) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(oh, ow, kh, kw, ih, iw) of every tap inside the image, by the definition."""
    w = c.window
    for oh, ow, kh, kw in np.ndindex(w.out_height, w.out_width, w.kernel_height, w.kernel_width):
        ih = oh * w.stride_height + kh * c.dilation[0] - w.pad_top
        iw = ow * w.stride_width + kw * c.dilation[1] - w.pad_left
        if 0 <= ih < w.in_height and 0 <= iw < w.in_width:
            yield oh, ow, kh, kw, ih, iw


def group_slices(c: Grouped) -> list[tuple[slice, slice]]:
    """(input channels, output channels) of each group."""
    inputs, outputs = c.window.in_channels // c.groups, c.window.out_channels // c.groups
    return [(slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)) for g in range(c.groups)]


def gradient_views(kernel: Kernel, c: Grouped, rng: np.random.Generator, bits: int = 11) -> dict[str, Any]:
    floats = kernel.name.endswith("f32")
    g = random_floats(rng, output_shape(c.window)) if floats else random_block16(rng, output_shape(c.window), bits)
    if "weight_gradient" in kernel.name:
        return {"x": random_codes(rng, input_shape(c.window)), "g": g, "gradient": empty(kernel, c.weight_shape)}
    sums = {"error" if floats else "sums": empty(kernel, input_shape(c.window))}
    return {"g": g, "weights": random_codes(rng, c.weight_shape), **sums}


def empty(kernel: Kernel, shape: tuple[int, ...]) -> Any:
    return np.zeros(shape, np.float32) if kernel.name.endswith("f32") else block32(shape)


def values(gradient: Any) -> Any:
    return gradient if isinstance(gradient, np.ndarray) else gradient.mantissa


@given(grouped_cases())
@examples(80)
def test_a_convolution_of_any_dilation_and_groups_is_bit_exact_to_litert(case: GroupedCase) -> None:
    c = case.geometry
    model = conv2d_model(
        input_shape(c.window),
        case.inputs["weights"],
        case.inputs["bias"],
        input=case.input,
        weight_scale=case.weight_scale,
        output=case.output,
        stride=(c.window.stride_height, c.window.stride_width),
        padding=case.padding,
        activation=case.activation,
        dilation=c.dilation,
    )
    got = run_everywhere(GROUPED_CONV2D_S8, case.params, case.inputs, case.outputs)
    np.testing.assert_array_equal(got["y"], run_litert(model, case.inputs["x"]))


@given(grouped_cases(depthwise=True))
@examples(40)
def test_a_dilated_depthwise_convolution_is_bit_exact_to_litert(case: GroupedCase) -> None:
    c = case.geometry
    model = depthwise_conv2d_model(
        input_shape(c.window),
        case.inputs["weights"][..., 0],
        case.inputs["bias"],
        input=case.input,
        weight_scale=case.weight_scale,
        output=case.output,
        stride=(c.window.stride_height, c.window.stride_width),
        padding=case.padding,
        activation=case.activation,
        dilation=c.dilation,
    )
    got = run_everywhere(GROUPED_CONV2D_S8, case.params, case.inputs, case.outputs)
    np.testing.assert_array_equal(got["y"], run_litert(model, case.inputs["x"]))


def forward_operands(c: Grouped, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    rng, w = np.random.default_rng(seed), c.window
    inputs = {
        "x": random_codes(rng, input_shape(w)),
        "weights": random_codes(rng, c.weight_shape),
        "bias": rng.integers(-5000, 5001, w.out_channels).astype(np.int32),
        "multiplier": rng.integers(2**30, 2**31, w.out_channels).astype(np.int32),
        "shift": rng.integers(-9, -3, w.out_channels).astype(np.int32),
    }
    mask = np.full(-(-w.out_height * w.out_width * w.out_channels // 32), 0xA5, np.uint32)
    return inputs, {"y": np.full(output_shape(w), 77, np.int8), "inside": mask}


@given(c=grouped(), seed=seeds, zero_point=zero_points, half_even=st.integers(0, 1))
@examples(80)
def test_the_forward_of_any_window_has_goldens_bits_with_and_without_a_mask(
    c: Grouped, seed: int, zero_point: int, half_even: int
) -> None:
    inputs, outputs = forward_operands(c, seed)
    if half_even:  # ties
        inputs["multiplier"][...] = 2**30
    params = GroupedConv2dS8Params(c.window, *c.dilation, c.groups, zero_point, -7, -100, 90, half_even)
    got = run_everywhere(GROUPED_CONV2D_S8, params, inputs, outputs)
    plain = run_everywhere(GROUPED_CONV2D_S8, params, inputs, {"y": outputs["y"]})
    np.testing.assert_array_equal(got["y"], plain["y"])


@both_forms
@pytest.mark.parametrize("half_even", [0, 1])
@pytest.mark.parametrize("zero_point", [-128, 127])
@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("code", [-128, 127])
@pytest.mark.parametrize("c", [DENSE, GROUPS, DEPTHWISE], ids=["dense", "groups", "depthwise"])
def test_sums_at_the_limits_of_int32_have_goldens_bits(
    form: str, c: Grouped, zero_point: int, weight: int, code: int, half_even: int
) -> None:
    inputs, outputs = forward_operands(c, 1)
    room = INT32_LIMIT - 255 * 128 * int(np.prod(c.weight_shape[1:]))
    inputs["x"][...], inputs["weights"][...] = code, weight
    inputs["bias"][...] = np.resize([room, -room], c.window.out_channels)
    inputs["multiplier"][...], inputs["shift"][...] = 2**30 + 12345, -23
    params = GroupedConv2dS8Params(c.window, *c.dilation, c.groups, zero_point, 5, -128, 127, half_even)
    GROUPED_CONV2D_S8.golden(params, {**inputs, **outputs})
    got = {"y": np.zeros_like(outputs["y"])}
    assert call(form, GROUPED_CONV2D_S8, params, {**inputs, **got}) == 0
    np.testing.assert_array_equal(got["y"], outputs["y"])
    assert (np.abs(got["y"].astype(int) - 5) > 50).all()


@both_forms
@pytest.mark.parametrize(
    "kernel",
    [
        GROUPED_CONV2D_ERROR_B16,
        GROUPED_CONV2D_ERROR_F32,
        GROUPED_CONV2D_WEIGHT_GRADIENT_B16,
        GROUPED_CONV2D_WEIGHT_GRADIENT_F32,
    ],
    ids=lambda kernel: kernel.name,
)
@given(c=grouped(), seed=seeds, zero_point=zero_points)
@examples(60)
@example(c=DENSE, seed=0, zero_point=-128)
@example(c=GROUPS, seed=0, zero_point=127)
@example(c=DEPTHWISE, seed=0, zero_point=-128)
@example(c=ATROUS_1D, seed=0, zero_point=-128)
def test_gradients_have_goldens_bits(form: str, kernel: Kernel, c: Grouped, seed: int, zero_point: int) -> None:
    views = gradient_views(kernel, c, np.random.default_rng(seed))
    golden_and_c_agree(form, kernel, c.gradient_params(zero_point), views)


@given(c=grouped(), seed=seeds, zero_point=zero_points)
@examples(25)
def test_block_gradients_are_the_exact_integer_sums(c: Grouped, seed: int, zero_point: int) -> None:
    rng = np.random.default_rng(seed)
    error = gradient_views(GROUPED_CONV2D_ERROR_B16, c, rng)
    gradient = gradient_views(GROUPED_CONV2D_WEIGHT_GRADIENT_B16, c, rng)
    GROUPED_CONV2D_ERROR_B16.golden(c.gradient_params(zero_point), error)
    GROUPED_CONV2D_WEIGHT_GRADIENT_B16.golden(c.gradient_params(zero_point), gradient)
    dx, dw = np.zeros(input_shape(c.window), np.int64), np.zeros(c.weight_shape, np.int64)
    weights, x = error["weights"].astype(np.int64), gradient["x"].astype(np.int64) - zero_point
    for oh, ow, kh, kw, ih, iw in taps_of(c):
        for inputs, outputs in group_slices(c):
            dx[ih, iw, inputs] += error["g"].mantissa[oh, ow, outputs].astype(np.int64) @ weights[outputs, kh, kw]
            dw[outputs, kh, kw] += np.outer(gradient["g"].mantissa[oh, ow, outputs], x[ih, iw, inputs])
    assert np.array_equal(error["sums"].mantissa, dx)
    assert np.array_equal(gradient["gradient"].mantissa, dw)
    assert error["sums"].exponent == error["g"].exponent
    assert gradient["gradient"].exponent == gradient["g"].exponent


@both_forms
@both_gradients
@given(c=grouped(), seed=seeds, zero_point=zero_points)
@examples(60)
@example(c=DENSE, seed=3, zero_point=-128)
@example(c=GROUPS, seed=3, zero_point=-128)
@example(c=DEPTHWISE, seed=3, zero_point=-128)
def test_the_gradient_of_listed_channels_has_goldens_bits_and_is_that_part_of_the_whole(
    form: str, kernel: Kernel, c: Grouped, seed: int, zero_point: int
) -> None:
    rng = np.random.default_rng(seed)
    most = int(rng.integers(1, c.selectable + 1))
    listed = random_list(rng, c.selectable, most)
    whole = gradient_views(kernel, c, rng)
    if c.is_depthwise:
        read, part = np.unique(listed // (c.window.out_channels // c.groups)), (listed,)
        shape: tuple[int, ...] = (most, *c.weight_shape[1:])
    else:
        read = np.add.outer(np.arange(c.groups) * c.selectable, listed).reshape(-1)
        part = (slice(None), slice(None), slice(None), listed)  # type: ignore[assignment]
        shape = (*c.weight_shape[:3], most)
    views = {**whole, "x": whole["x"][..., read].copy(), "index": index_list(listed), "gradient": empty(kernel, shape)}
    found = golden_and_c_agree(form, kernel, c.gradient_params(zero_point, most), views)
    kernel.golden(c.gradient_params(zero_point), whole)
    expected = values(whole["gradient"])[part]
    assert np.array_equal(values(found["gradient"]).reshape(-1)[: expected.size], expected.reshape(-1))


@both_forms
@both_gradients
@pytest.mark.parametrize("c", [DENSE, GROUPS, DEPTHWISE], ids=["dense", "groups", "depthwise"])
def test_a_list_that_is_none_is_refused(form: str, kernel: Kernel, c: Grouped) -> None:
    views = gradient_views(kernel, c, np.random.default_rng(0))
    for listed in hostile_lists(c.selectable, 2):
        assert refused(form, kernel, c.gradient_params(0, 2), {**views, "index": listed})


def test_a_float_sum_runs_over_taps_then_the_outputs_of_the_group_ascending() -> None:
    """1 + 2^-24 + 2^-24 is 1 in that order and not in any other; the second group has its own."""
    c = Grouped(Window(1, 1, 2, 1, 1, 6, 1, 1, 1, 1, 0, 0), (1, 1), 2)
    ascending = np.array([1.0, 2.0**-24, 2.0**-24], np.float32)
    g = np.concatenate([ascending, ascending[::-1]])
    views = {"g": g, "weights": np.ones(6, np.int8), "error": np.zeros((1, 1, 2), np.float32)}
    for form in forms:
        result = golden_and_c_agree(form, GROUPED_CONV2D_ERROR_F32, c.gradient_params(0), views)
        assert result["error"].reshape(-1).tolist() == [1.0, 1.0 + 2.0**-23]


@both_forms
@pytest.mark.parametrize("sign", [-1, 1])
def test_saturated_operands_at_the_planned_bits_do_not_overflow(form: str, sign: int) -> None:
    # dX: 5 x 5 taps of 700 outputs, and dilation 2 against stride 2 makes all taps meet the same pixel; dW: 4,080 pixels.
    c = Grouped(Window(17, 17, 2, 5, 5, 1400, 5, 5, 2, 2, 0, 0), (2, 2), 2)
    bits = conv_mantissa_bits(c.window, c.dilation, c.groups)
    assert 25 * 700 * 128 * (2**bits - 1) <= INT32_LIMIT < 25 * 700 * 128 * (2 ** (bits + 1) - 1)
    g = block16(output_shape(c.window))
    g.mantissa[...] = sign * (2**bits - 1)
    weights = np.full(c.weight_shape, -128, np.int8)
    views: dict[str, Any] = {"g": g, "weights": weights, "sums": block32(input_shape(c.window))}
    result = golden_and_c_agree(form, GROUPED_CONV2D_ERROR_B16, c.gradient_params(0), views)
    assert result["sums"].mantissa[8, 8].tolist() == 2 * [-sign * 25 * 700 * 128 * (2**bits - 1)]

    c = Grouped(Window(51, 80, 8, 51, 80, 4, 1, 1, 1, 1, 0, 0), (1, 1), 2)
    g = block16(output_shape(c.window))
    g.mantissa[...] = sign * 2047
    x = np.full(input_shape(c.window), 127, np.int8)
    views = {"x": x, "g": g, "gradient": block32(c.weight_shape)}
    result = golden_and_c_agree(form, GROUPED_CONV2D_WEIGHT_GRADIENT_B16, c.gradient_params(-128), views)
    assert np.abs(result["gradient"].mantissa.astype(np.int64)).max() == 51 * 80 * 255 * 2047 <= INT32_LIMIT


@given(c=grouped())
@examples(40)
def test_the_scratch_size_is_the_same_in_c(c: Grouped) -> None:
    params = GroupedConv2dS8Params(c.window, *c.dilation, c.groups, 0, 0, -128, 127)
    size = c_function("portable", "mct_grouped_conv2d_s8_scratch_bytes")(
        c_params("portable", GROUPED_CONV2D_S8, params)
    )
    assert size == GROUPED_CONV2D_S8.scratch_bytes(params)


def test_the_multiply_accumulates_are_those_of_the_group_and_of_the_part_that_trains() -> None:
    pixels = 4 * 3 * 9 * 3 * 2
    assert GROUPED_CONV2D_S8.macs(GroupedConv2dS8Params(GROUPS.window, 1, 1, 3, 0, 0, -128, 127)) == pixels * 4
    assert GROUPED_CONV2D_ERROR_B16.macs(GROUPS.gradient_params(0)) == pixels * 4
    assert GROUPED_CONV2D_WEIGHT_GRADIENT_B16.macs(GROUPS.gradient_params(0, 3)) == pixels * 3
    assert GROUPED_CONV2D_WEIGHT_GRADIENT_B16.macs(DEPTHWISE.gradient_params(0, 5)) == 5 * 9 * 9 * 5


WRONG = [
    {"window": replace(GROUPS.window, in_height=0)},
    {"window": replace(GROUPS.window, out_channels=10)},
    {"window": replace(GROUPS.window, stride_width=0)},
    {"window": replace(GROUPS.window, kernel_width=0)},
    {"window": replace(GROUPS.window, pad_top=-1)},
    {"dilation_height": 0},
    {"dilation_width": 1 << 15},
    {"groups": 0},
    {"groups": 5},
]


@both_forms
@pytest.mark.parametrize("change", WRONG, ids=str)
@pytest.mark.parametrize(
    "kernel",
    [
        GROUPED_CONV2D_ERROR_B16,
        GROUPED_CONV2D_ERROR_F32,
        GROUPED_CONV2D_WEIGHT_GRADIENT_B16,
        GROUPED_CONV2D_WEIGHT_GRADIENT_F32,
    ],
    ids=lambda kernel: kernel.name,
)
def test_a_wrong_geometry_is_refused(form: str, change: dict[str, Any], kernel: Kernel) -> None:
    views = gradient_views(kernel, GROUPS, np.random.default_rng(0))
    assert refused(form, kernel, replace(GROUPS.gradient_params(0), **change), views)


@both_forms
@pytest.mark.parametrize(
    "change",
    [*WRONG, {"input_zero_point": 128}, {"output_zero_point": -129}, {"clamp_min": 5, "clamp_max": 4}],
    ids=str,
)
def test_wrong_forward_parameters_are_refused(form: str, change: dict[str, Any]) -> None:
    inputs, outputs = forward_operands(GROUPS, 0)
    params = GroupedConv2dS8Params(GROUPS.window, 1, 1, 3, 0, 0, -128, 127)
    views = {**inputs, **outputs, "scratch": np.zeros(GROUPED_CONV2D_S8.scratch_bytes(params), np.uint8)}
    assert call(form, GROUPED_CONV2D_S8, params, views) == 0
    assert refused(form, GROUPED_CONV2D_S8, replace(params, **change), views)
