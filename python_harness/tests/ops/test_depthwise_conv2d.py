"""depthwise_conv2d_s8 and its gradients: golden, both C forms and LiteRT agree to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.base import Kernel, Params, Window, unpack_mask
from mcutrain.ops.bounds import INT32_LIMIT
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams, input_shape, output_shape
from mcutrain.ops.depthwise_conv2d import DEPTHWISE_CONV2D_S8, DepthwiseConv2dS8Params, outputs_per_input
from mcutrain.ops.depthwise_conv2d_gradient import (
    DEPTHWISE_CONV2D_ERROR_B16,
    DEPTHWISE_CONV2D_ERROR_F32,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32,
    depthwise_weight_shape,
)
from support.backward_cases import (
    golden_and_c_agree,
    random_block16,
    random_codes,
    random_floats,
    refused,
    seeds,
)
from support.ckernels import block16, block32, c_function, c_params, call, forms, run_everywhere
from support.depthwise_cases import DepthwiseCase, depthwise_cases, depthwise_windows, gradient_params
from support.examples import examples
from support.tflite_builder import depthwise_conv2d_model, run_litert

both_forms = pytest.mark.parametrize("form", forms)
zero_points = st.sampled_from([-128, -1, 0, 5, 127])

# What the published networks have: 3x3, 5x5 and 7x7 SAME, stride 1 and 2.
MCUNET = (
    Window(16, 16, 5, 16, 16, 5, 3, 3, 1, 1, 1, 1),
    Window(8, 8, 3, 8, 8, 3, 5, 5, 1, 1, 2, 2),
    Window(8, 8, 4, 8, 8, 4, 7, 7, 1, 1, 3, 3),
    Window(32, 32, 2, 16, 16, 2, 7, 7, 2, 2, 3, 3),
    Window(9, 9, 3, 5, 5, 3, 3, 3, 2, 2, 1, 1),
)
MULTIPLIED = Window(10, 5, 2, 5, 3, 6, 4, 3, 2, 2, 1, 1)
SMALL = Window(3, 3, 2, 3, 3, 2, 3, 3, 1, 1, 1, 1)


def gradient_views(kernel: Kernel, w: Window, seed: int, bits: int = 11) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    floats = kernel.name.endswith("f32")
    g = random_floats(rng, output_shape(w)) if floats else random_block16(rng, output_shape(w), bits)
    if "weight_gradient" in kernel.name:
        shape = depthwise_weight_shape(w)
        gradient = np.zeros(shape, np.float32) if floats else block32(shape)
        return {"x": random_codes(rng, input_shape(w)), "g": g, "gradient": gradient}
    weights = random_codes(rng, depthwise_weight_shape(w))
    if floats:
        return {"g": g, "weights": weights, "error": np.zeros(input_shape(w), np.float32)}
    return {"g": g, "weights": weights, "sums": block32(input_shape(w))}


def taps_of(w: Window) -> list[tuple[int, ...]]:
    """(oh, ow, kh, kw, ih, iw) of every tap inside the image, by the definition."""
    return [
        (oh, ow, kh, kw, ih, iw)
        for oh, ow, kh, kw in np.ndindex(w.out_height, w.out_width, w.kernel_height, w.kernel_width)
        if 0 <= (ih := oh * w.stride_height + kh - w.pad_top) < w.in_height
        and 0 <= (iw := ow * w.stride_width + kw - w.pad_left) < w.in_width
    ]


@given(depthwise_cases())
@examples(80)
def test_depthwise_convolution_is_bit_exact_to_litert(case: DepthwiseCase) -> None:
    w = case.geometry.window
    model = depthwise_conv2d_model(
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
    got = run_everywhere(DEPTHWISE_CONV2D_S8, case.params, case.inputs, case.outputs)
    np.testing.assert_array_equal(got["y"], run_litert(model, case.inputs["x"]))


def forward_operands(w: Window, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    pairs = [quantise_multiplier(float(m)) for m in np.exp(rng.uniform(-9, -4, w.out_channels))]
    inputs = {
        "x": random_codes(rng, input_shape(w)),
        "weights": random_codes(rng, depthwise_weight_shape(w)),
        "bias": rng.integers(-5000, 5001, w.out_channels).astype(np.int32),
        "multiplier": np.array([m for m, _ in pairs], np.int32),
        "shift": np.array([s for _, s in pairs], np.int32),
    }
    elements = w.out_height * w.out_width * w.out_channels
    return inputs, {"y": np.full(output_shape(w), 77, np.int8), "inside": np.full(-(-elements // 32), 0xA5, np.uint32)}


@given(w=depthwise_windows(), seed=seeds, zero_point=zero_points)
@examples(80)
@example(w=MCUNET[0], seed=1, zero_point=-128)
@example(w=MCUNET[1], seed=1, zero_point=127)
@example(w=MCUNET[2], seed=1, zero_point=3)
@example(w=MCUNET[3], seed=1, zero_point=-128)
@example(w=MULTIPLIED, seed=1, zero_point=-128)
def test_the_forward_of_any_window_has_goldens_bits(w: Window, seed: int, zero_point: int) -> None:
    inputs, outputs = forward_operands(w, seed)
    params = DepthwiseConv2dS8Params(w, zero_point, -7, -100, 90)
    got = run_everywhere(DEPTHWISE_CONV2D_S8, params, inputs, outputs)
    wide = run_everywhere(DEPTHWISE_CONV2D_S8, replace(params, clamp_min=-128, clamp_max=127), inputs, outputs)
    inside = unpack_mask(got["inside"], got["y"].shape)
    np.testing.assert_array_equal(inside, (wide["y"] >= -100) & (wide["y"] <= 90))


@both_forms
@pytest.mark.parametrize("clamp", [(-128, 127), (-128, 60), (-90, 127)], ids=str)
@given(w=depthwise_windows(), seed=seeds, zero_point=zero_points)
@examples(60)
@example(w=MCUNET[0], seed=1, zero_point=-128)
@example(w=MCUNET[1], seed=1, zero_point=127)
@example(w=MCUNET[2], seed=1, zero_point=3)
@example(w=MCUNET[3], seed=1, zero_point=-128)
@example(w=replace(MCUNET[0], in_width=19, out_width=19), seed=1, zero_point=-128)
@example(w=replace(MCUNET[0], in_width=18, out_width=18), seed=1, zero_point=-128)
@example(w=replace(MCUNET[0], in_width=17, out_width=17), seed=1, zero_point=-128)
def test_without_a_mask_the_codes_are_the_same(
    form: str, clamp: tuple[int, int], w: Window, seed: int, zero_point: int
) -> None:
    inputs, outputs = forward_operands(w, seed)
    params = DepthwiseConv2dS8Params(w, zero_point, -7, *clamp)
    # Every other channel has a multiplier or a bias beyond those that finish in few instructions.
    multiplied = seed % 2
    inputs["shift"][multiplied::2] = 0
    inputs["multiplier"][multiplied::2] = 1 << 24
    inputs["bias"][1 - multiplied :: 4] = 1 << 30
    DEPTHWISE_CONV2D_S8.golden(params, {**inputs, **outputs})
    y = np.full(output_shape(w), 77, np.int8)
    scratch = np.zeros(DEPTHWISE_CONV2D_S8.scratch_bytes(params), np.uint8)
    assert call(form, DEPTHWISE_CONV2D_S8, params, {**inputs, "y": y, "scratch": scratch}) == 0
    np.testing.assert_array_equal(y, outputs["y"])


@pytest.mark.parametrize("window", [SMALL, MCUNET[0], MCUNET[1], MCUNET[4]], ids=str)
@pytest.mark.parametrize("zero_point", [-128, 127])
@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("code", [-128, 127])
@pytest.mark.parametrize(("limit", "product"), [(INT32_LIMIT, 255 * 128), (2**30 - 1, 256 * 128), (2**30 - 1, 128)])
def test_sums_at_the_limits_have_goldens_bits(
    window: Window, zero_point: int, weight: int, code: int, limit: int, product: int
) -> None:
    """Of int32, where parts of a sum are beyond what the whole may be, and of the sums that finish in few instructions."""
    inputs, outputs = forward_operands(window, 1)
    room = limit - product * window.kernel_height * window.kernel_width
    inputs["x"][...], inputs["weights"][...] = code, weight
    inputs["bias"][...] = np.resize([room, -room, room - 1, 1 - room], window.out_channels)
    inputs["multiplier"][...], inputs["shift"][...] = 2**30 + 12345, -23
    got = run_everywhere(
        DEPTHWISE_CONV2D_S8, DepthwiseConv2dS8Params(window, zero_point, 5, -128, 127), inputs, outputs
    )
    assert (np.abs(got["y"].astype(int) - 5) > 50).all()


@given(w=depthwise_windows(), seed=seeds)
@examples(25)
def test_golden_sums_are_those_of_the_definition(w: Window, seed: int) -> None:
    inputs, outputs = forward_operands(w, seed)
    # A multiplier of 1/2 and a wide clamp would still saturate: compare small sums.
    inputs["x"] //= 32
    inputs["weights"] //= 32
    inputs["bias"] //= 500
    half = quantise_multiplier(0.5)
    inputs["multiplier"][:], inputs["shift"][:] = half
    DEPTHWISE_CONV2D_S8.golden(DepthwiseConv2dS8Params(w, 1, 0, -128, 127), {**inputs, **outputs})
    sums = np.tile(inputs["bias"].astype(np.int64), (w.out_height, w.out_width, 1))
    for oh, ow, kh, kw, ih, iw in taps_of(w):
        for o in range(w.out_channels):
            x = int(inputs["x"][ih, iw, o // outputs_per_input(w)]) - 1
            sums[oh, ow, o] += x * int(inputs["weights"][o, kh, kw])
    # Two roundings of an exact half: up in the high product (towards positive), nothing left for the shift.
    np.testing.assert_array_equal(outputs["y"], np.clip((sums + 1) >> 1, -128, 127))


@both_forms
@pytest.mark.parametrize("w", MCUNET, ids=lambda w: f"{w.kernel_height}x{w.kernel_width} stride {w.stride_height}")
def test_the_output_may_be_the_input_where_each_channel_has_one_output(form: str, w: Window) -> None:
    inputs, outputs = forward_operands(w, 5)
    params = DepthwiseConv2dS8Params(w, -5, 3, -128, 127)
    DEPTHWISE_CONV2D_S8.golden(params, {**inputs, **outputs})
    memory = inputs["x"].copy().reshape(-1)
    shared = {**inputs, "x": memory, "y": memory[: outputs["y"].size]}
    assert call(form, DEPTHWISE_CONV2D_S8, params, shared) == 0
    np.testing.assert_array_equal(shared["y"], outputs["y"].reshape(-1))
    assert DEPTHWISE_CONV2D_S8.in_place_where(params)
    assert not DEPTHWISE_CONV2D_S8.in_place_where(replace(params, window=MULTIPLIED))


@both_forms
@pytest.mark.parametrize(
    "kernel",
    [
        DEPTHWISE_CONV2D_ERROR_B16,
        DEPTHWISE_CONV2D_ERROR_F32,
        DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
        DEPTHWISE_CONV2D_WEIGHT_GRADIENT_F32,
    ],
    ids=lambda kernel: kernel.name,
)
@given(w=depthwise_windows(), seed=seeds, zero_point=zero_points)
@examples(60)
@example(w=MCUNET[0], seed=0, zero_point=-128)
@example(w=MCUNET[1], seed=0, zero_point=127)
@example(w=MCUNET[2], seed=0, zero_point=-128)
@example(w=MCUNET[3], seed=0, zero_point=-128)
@example(w=MCUNET[4], seed=0, zero_point=-128)
@example(w=MULTIPLIED, seed=0, zero_point=-128)
def test_gradients_have_goldens_bits(form: str, kernel: Kernel, w: Window, seed: int, zero_point: int) -> None:
    golden_and_c_agree(form, kernel, gradient_params(kernel, w, zero_point), gradient_views(kernel, w, seed))


@given(w=depthwise_windows(), seed=seeds, zero_point=zero_points)
@examples(25)
def test_block_gradients_are_the_exact_integer_sums(w: Window, seed: int, zero_point: int) -> None:
    error = gradient_views(DEPTHWISE_CONV2D_ERROR_B16, w, seed)
    gradient = gradient_views(DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, w, seed)
    DEPTHWISE_CONV2D_ERROR_B16.golden(Conv2dGradientParams(w, 0), error)
    whole = gradient_params(DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, w, zero_point)
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16.golden(whole, gradient)
    dx = np.zeros(input_shape(w), np.int64)
    dw = np.zeros(depthwise_weight_shape(w), np.int64)
    for oh, ow, kh, kw, ih, iw in taps_of(w):
        for o in range(w.out_channels):
            c = o // outputs_per_input(w)
            dx[ih, iw, c] += int(error["g"].mantissa[oh, ow, o]) * int(error["weights"][o, kh, kw])
            dw[o, kh, kw] += int(gradient["g"].mantissa[oh, ow, o]) * (int(gradient["x"][ih, iw, c]) - zero_point)
    assert np.array_equal(error["sums"].mantissa, dx)
    assert np.array_equal(gradient["gradient"].mantissa, dw)
    assert error["sums"].exponent == error["g"].exponent
    assert gradient["gradient"].exponent == gradient["g"].exponent


def test_a_float_sum_runs_over_taps_then_outputs_ascending() -> None:
    """1 + 2^-24 + 2^-24 is 1 in that order and not in any other."""
    w = Window(1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 0, 0)
    values = np.array([1.0, 2.0**-24, 2.0**-24], np.float32)
    views: dict[str, Any] = {"g": values, "weights": np.ones(3, np.int8), "error": np.zeros((1, 1, 1), np.float32)}
    for order, total in ((values, 1.0), (values[::-1].copy(), 1.0 + 2.0**-23)):
        views["g"] = order
        for form in forms:
            result = golden_and_c_agree(form, DEPTHWISE_CONV2D_ERROR_F32, Conv2dGradientParams(w, 0), views)
            assert result["error"].item() == total


@both_forms
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_operands_at_the_planning_limit_do_not_overflow(form: str, sign: int) -> None:
    # dX: 7 x 7 taps of 3 outputs are far from the limit even with full mantissas; dW: 4,080 pixels are just below it.
    w = Window(9, 9, 2, 9, 9, 6, 7, 7, 1, 1, 3, 3)
    g = block16(output_shape(w))
    g.mantissa[...] = sign * 32767
    weights = np.full(depthwise_weight_shape(w), -128, np.int8)
    views: dict[str, Any] = {"g": g, "weights": weights, "sums": block32(input_shape(w))}
    result = golden_and_c_agree(form, DEPTHWISE_CONV2D_ERROR_B16, Conv2dGradientParams(w, 0), views)
    assert np.all(result["sums"].mantissa[4, 4] == -sign * 49 * 3 * 128 * 32767)

    w = Window(51, 80, 2, 51, 80, 2, 1, 1, 1, 1, 0, 0)
    g = block16(output_shape(w))
    g.mantissa[...] = sign * 2047
    x = np.full(input_shape(w), 127, np.int8)
    views = {"x": x, "g": g, "gradient": block32(depthwise_weight_shape(w))}
    params = gradient_params(DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, w, -128)
    result = golden_and_c_agree(form, DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, params, views)
    largest = np.abs(result["gradient"].mantissa.astype(np.int64)).max()
    assert 0.99 * INT32_LIMIT < largest == 51 * 80 * 255 * 2047 <= INT32_LIMIT


@given(w=depthwise_windows())
@examples(60)
def test_scratch_sizes_are_the_same_in_c(w: Window) -> None:
    cases: list[tuple[Kernel, Params]] = [
        (DEPTHWISE_CONV2D_S8, DepthwiseConv2dS8Params(w, 0, 0, -128, 127)),
        (DEPTHWISE_CONV2D_ERROR_B16, Conv2dGradientParams(w, 0)),
        (DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, gradient_params(DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, w, 0)),
    ]
    for kernel, params in cases:
        size = c_function("portable", f"mct_{kernel.name}_scratch_bytes")(c_params("portable", kernel, params))
        assert size == kernel.scratch_bytes(params)


@both_forms
@pytest.mark.parametrize(
    "change",
    [{"in_height": 0}, {"out_channels": 3}, {"stride_width": 0}, {"pad_top": 3}, {"kernel_width": 0}],
    ids=str,
)
@pytest.mark.parametrize(
    "kernel",
    [DEPTHWISE_CONV2D_ERROR_B16, DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, DEPTHWISE_CONV2D_ERROR_F32],
    ids=lambda kernel: kernel.name,
)
def test_a_wrong_geometry_is_refused(form: str, change: dict[str, int], kernel: Kernel) -> None:
    views = gradient_views(kernel, SMALL, 0)
    if kernel.name.endswith("b16"):
        views["scratch"] = np.zeros(kernel.scratch_bytes(gradient_params(kernel, SMALL, 0)), np.uint8)
    assert refused(form, kernel, gradient_params(kernel, replace(SMALL, **change), 0), views)


@both_forms
@pytest.mark.parametrize(
    "change",
    [
        {"window": replace(SMALL, out_channels=3)},
        {"window": replace(SMALL, out_height=9)},
        {"input_zero_point": 128},
        {"output_zero_point": -129},
        {"clamp_min": 5, "clamp_max": 4},
    ],
    ids=str,
)
def test_wrong_forward_parameters_are_refused(form: str, change: dict[str, Any]) -> None:
    inputs, outputs = forward_operands(SMALL, 0)
    params = DepthwiseConv2dS8Params(SMALL, 0, 0, -128, 127)
    views = {**inputs, **outputs, "scratch": np.zeros(DEPTHWISE_CONV2D_S8.scratch_bytes(params), np.uint8)}
    assert call(form, DEPTHWISE_CONV2D_S8, params, views) == 0
    assert refused(form, DEPTHWISE_CONV2D_S8, replace(params, **change), views)
