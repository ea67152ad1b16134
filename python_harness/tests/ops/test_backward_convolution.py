"""conv2d_error, conv2d_weight_gradient and bias_gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Block, Kernel, Window
from mcutrain.ops.bias_gradient import BIAS_GRADIENT_B16, BIAS_GRADIENT_F32, BiasGradientParams
from mcutrain.ops.conv2d_gradient import (
    CONV2D_ERROR_B16,
    CONV2D_ERROR_F32,
    CONV2D_WEIGHT_GRADIENT_B16,
    CONV2D_WEIGHT_GRADIENT_F32,
    Conv2dGradientParams,
    input_shape,
    output_shape,
    weight_shape,
)
from support.backward_cases import (
    golden_and_c_agree,
    random_block16,
    random_codes,
    random_floats,
    refused,
    seeds,
    windows,
)
from support.ckernels import block16, block32, c_function, c_params, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
zero_points = st.sampled_from([-128, -1, 0, 5, 127])

# Rows longer than a chunk of the DSP form, of 64 pixels.
WIDE = Window(2, 150, 5, 2, 149, 66, 2, 2, 1, 1, 0, 0)
FULLY_CONNECTED = Window(1, 1, 33, 1, 1, 10, 1, 1, 1, 1, 0, 0)
# Chunks of the DSP form along every axis, and the last of each not whole: of output channels 96 are a chunk, of pixels 64, and of input
# channels 36 or 52 beside them.
CHUNKS = Window(9, 15, 67, 9, 15, 131, 1, 1, 1, 1, 0, 0)
# Fewer input channels than a group of the DSP form: dW takes the taps together, here with pixels in many chunks.
FEW_CHANNELS = Window(9, 12, 3, 9, 12, 5, 7, 8, 1, 1, 3, 3)
# 3x3 SAME on 8x8x64: what most of a residual network is.
RESIDUAL = Window(8, 8, 64, 8, 8, 64, 3, 3, 1, 1, 1, 1)
RESIDUAL_STRIDED = Window(16, 16, 32, 8, 8, 64, 3, 3, 2, 2, 0, 0)


@st.composite
def pointwise_windows(draw: st.DrawFn) -> Window:
    """Every length of the sums, up to several chunks of the DSP form."""
    sides = draw(st.sampled_from([(1, 1), (1, 2), (3, 3), (5, 13), (8, 8), (6, 22)]))
    return Window(*sides, draw(st.integers(1, 70)), *sides, draw(st.integers(1, 140)), 1, 1, 1, 1, 0, 0)


def taps_of(w: Window) -> list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """(output pixel, tap, input pixel) of every product inside the image, by the definition."""
    return [
        ((oh, ow), (kh, kw), (ih, iw))
        for oh in range(w.out_height)
        for ow in range(w.out_width)
        for kh in range(w.kernel_height)
        for kw in range(w.kernel_width)
        if 0 <= (ih := oh * w.stride_height + kh - w.pad_top) < w.in_height
        and 0 <= (iw := ow * w.stride_width + kw - w.pad_left) < w.in_width
    ]


def exact_error(w: Window, g: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.int64]:
    """Integer dX by the definition."""
    sums = np.zeros(input_shape(w), np.int64)
    for output, (kh, kw), pixel in taps_of(w):
        sums[pixel] += g[output].astype(np.int64) @ weights[:, kh, kw].astype(np.int64)
    return sums


def exact_weight_gradient(w: Window, g: NDArray[Any], centred: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integer dW by the definition, of inputs with the zero point taken off."""
    gradient = np.zeros(weight_shape(w), np.int64)
    for output, (kh, kw), pixel in taps_of(w):
        gradient[:, kh, kw] += np.multiply.outer(g[output].astype(np.int64), centred[pixel])
    return gradient


def error_views(rng: np.random.Generator, w: Window, bits: int = 11) -> dict[str, Any]:
    return {
        "g": random_block16(rng, output_shape(w), bits),
        "weights": random_codes(rng, weight_shape(w)),
        "sums": block32(input_shape(w)),
    }


def gradient_views(rng: np.random.Generator, w: Window, bits: int = 11) -> dict[str, Any]:
    return {
        "x": random_codes(rng, input_shape(w)),
        "g": random_block16(rng, output_shape(w), bits),
        "gradient": block32(weight_shape(w)),
    }


@both_forms
@examples(60)
@given(w=windows(), seed=seeds)
@example(w=WIDE, seed=0)
@example(w=CHUNKS, seed=0)
@example(w=FULLY_CONNECTED, seed=0)
@example(w=RESIDUAL, seed=0)
@example(w=RESIDUAL_STRIDED, seed=0)
def test_block_error_of_a_convolution_has_goldens_bits(form: str, w: Window, seed: int) -> None:
    views = error_views(np.random.default_rng(seed), w)
    golden_and_c_agree(form, CONV2D_ERROR_B16, Conv2dGradientParams(w, 0), views)


@both_forms
@examples(60)
@given(w=windows(), seed=seeds, zero_point=zero_points)
@example(w=WIDE, seed=0, zero_point=-128)
@example(w=CHUNKS, seed=0, zero_point=127)
@example(w=FEW_CHANNELS, seed=0, zero_point=127)
@example(w=FULLY_CONNECTED, seed=0, zero_point=127)
@example(w=RESIDUAL, seed=0, zero_point=-128)
@example(w=RESIDUAL_STRIDED, seed=0, zero_point=-128)
def test_block_weight_gradient_has_goldens_bits(form: str, w: Window, seed: int, zero_point: int) -> None:
    views = gradient_views(np.random.default_rng(seed), w)
    golden_and_c_agree(form, CONV2D_WEIGHT_GRADIENT_B16, Conv2dGradientParams(w, zero_point), views)


@both_forms
@examples(60)
@given(w=pointwise_windows(), seed=seeds, zero_point=zero_points)
def test_block_gradients_of_a_pointwise_convolution_have_goldens_bits(
    form: str, w: Window, seed: int, zero_point: int
) -> None:
    rng = np.random.default_rng(seed)
    golden_and_c_agree(form, CONV2D_ERROR_B16, Conv2dGradientParams(w, 0), error_views(rng, w))
    golden_and_c_agree(form, CONV2D_WEIGHT_GRADIENT_B16, Conv2dGradientParams(w, zero_point), gradient_views(rng, w))


@examples(100)
@given(w=windows() | pointwise_windows())
@example(w=FEW_CHANNELS)
def test_scratch_sizes_are_the_same_in_c_and_at_most_5_5_kib(w: Window) -> None:
    for kernel in (CONV2D_ERROR_B16, CONV2D_WEIGHT_GRADIENT_B16):
        params = Conv2dGradientParams(w, 0)
        size = c_function("portable", f"mct_{kernel.name}_scratch_bytes")(c_params("portable", kernel, params))
        assert size == kernel.scratch_bytes(params) <= 5632


@both_forms
@examples(40)
@given(w=windows(channels=(1, 3, 4, 5, 16, 19)), seed=seeds)
@example(w=RESIDUAL_STRIDED, seed=0)
def test_float_error_of_a_convolution_has_goldens_bits(form: str, w: Window, seed: int) -> None:
    rng = np.random.default_rng(seed)
    views: dict[str, Any] = {
        "g": random_floats(rng, output_shape(w)),
        "weights": random_codes(rng, weight_shape(w)),
        "error": np.zeros(input_shape(w), np.float32),
    }
    golden_and_c_agree(form, CONV2D_ERROR_F32, Conv2dGradientParams(w, 0), views)


@both_forms
@examples(40)
@given(w=windows(channels=(1, 3, 4, 5, 16, 19)), seed=seeds, zero_point=zero_points)
@example(w=RESIDUAL_STRIDED, seed=0, zero_point=-128)
def test_float_weight_gradient_has_goldens_bits(form: str, w: Window, seed: int, zero_point: int) -> None:
    rng = np.random.default_rng(seed)
    views: dict[str, Any] = {
        "x": random_codes(rng, input_shape(w)),
        "g": random_floats(rng, output_shape(w)),
        "gradient": np.zeros(weight_shape(w), np.float32),
    }
    golden_and_c_agree(form, CONV2D_WEIGHT_GRADIENT_F32, Conv2dGradientParams(w, zero_point), views)


@both_forms
@examples(40)
@given(pixels=st.integers(1, 70), channels=st.integers(1, 19), seed=seeds)
def test_bias_gradients_have_goldens_bits(form: str, pixels: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = BiasGradientParams(pixels, channels)
    blocks: dict[str, Any] = {"g": random_block16(rng, (pixels, channels)), "gradient": block32((channels,))}
    golden_and_c_agree(form, BIAS_GRADIENT_B16, params, blocks)
    floats: dict[str, Any] = {"g": random_floats(rng, (pixels, channels)), "gradient": np.zeros(channels, np.float32)}
    golden_and_c_agree(form, BIAS_GRADIENT_F32, params, floats)


@examples(25)
@given(w=windows(channels=(1, 3, 5)), seed=seeds, zero_point=zero_points)
def test_block_gradients_are_the_exact_integer_sums(w: Window, seed: int, zero_point: int) -> None:
    rng = np.random.default_rng(seed)
    error, gradient = error_views(rng, w), gradient_views(rng, w)
    CONV2D_ERROR_B16.golden(Conv2dGradientParams(w, 0), error)
    assert np.array_equal(error["sums"].mantissa, exact_error(w, error["g"].mantissa, error["weights"]))
    assert error["sums"].exponent == error["g"].exponent

    CONV2D_WEIGHT_GRADIENT_B16.golden(Conv2dGradientParams(w, zero_point), gradient)
    centred = gradient["x"].astype(np.int64) - zero_point
    assert np.array_equal(gradient["gradient"].mantissa, exact_weight_gradient(w, gradient["g"].mantissa, centred))
    assert gradient["gradient"].exponent == gradient["g"].exponent


def test_a_float_sum_runs_over_taps_then_output_channels_ascending() -> None:
    """1 + 2^-24 + 2^-24 is 1 in that order and not in any other."""
    w = Window(1, 2, 1, 1, 1, 3, 1, 2, 1, 1, 0, 0)
    g = np.array([[[1.0, 2.0**-24, 2.0**-24]]], np.float32)
    views: dict[str, Any] = {
        "g": g,
        "weights": np.ones(weight_shape(w), np.int8),
        "error": np.zeros(input_shape(w), np.float32),
    }
    CONV2D_ERROR_F32.golden(Conv2dGradientParams(w, 0), views)
    assert views["error"].tolist() == [[[1.0], [1.0]]]
    views["g"] = g[..., ::-1].copy()
    CONV2D_ERROR_F32.golden(Conv2dGradientParams(w, 0), views)
    assert views["error"].tolist() == [[[1.0 + 2.0**-23], [1.0 + 2.0**-23]]]


def mantissa_bits(terms: int, other: int) -> int:
    """The most magnitude bits b, at most 11, for which terms * other * (2^b - 1) stays within int32."""
    return max(b for b in range(1, 12) if terms * other * (2**b - 1) <= 2**31 - 1)


def saturated_block(shape: tuple[int, ...], bits: int, sign: int) -> Block:
    block = block16(shape)
    block.mantissa[...] = sign * (2**bits - 1)
    return block


@both_forms
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_operands_at_the_planning_limit_do_not_overflow_dx(form: str, sign: int) -> None:
    # 3 x 3 x 910 products of 11 bits with -128 reach 2,146,779,... of 2,147,483,647.
    w = Window(3, 3, 5, 3, 3, 910, 3, 3, 1, 1, 1, 1)
    bits = mantissa_bits(9 * 910, 128)
    views: dict[str, Any] = {
        "g": saturated_block(output_shape(w), bits, sign),
        "weights": np.full(weight_shape(w), -128, np.int8),
        "sums": block32(input_shape(w)),
    }
    result = golden_and_c_agree(form, CONV2D_ERROR_B16, Conv2dGradientParams(w, 0), views)
    assert bits == 11
    assert np.all(result["sums"].mantissa[1, 1] == -sign * 9 * 910 * 128 * (2**bits - 1))
    assert 0.99 * 2**31 < np.abs(result["sums"].mantissa[1, 1].astype(np.int64)).max() < 2**31


@both_forms
@pytest.mark.parametrize(
    ("sign", "x", "zero_point"), [(1, 127, -128), (-1, 127, -128), (1, -128, 127), (-1, -128, 127)]
)
def test_extreme_operands_at_the_planning_limit_do_not_overflow_dw(
    form: str, sign: int, x: int, zero_point: int
) -> None:
    w = Window(51, 80, 5, 51, 80, 3, 1, 1, 1, 1, 0, 0)  # 4,080 pixels; 11 bits allow 4,114
    bits = mantissa_bits(51 * 80, 255)
    views: dict[str, Any] = {
        "x": np.full(input_shape(w), x, np.int8),
        "g": saturated_block(output_shape(w), bits, sign),
        "gradient": block32(weight_shape(w)),
    }
    result = golden_and_c_agree(form, CONV2D_WEIGHT_GRADIENT_B16, Conv2dGradientParams(w, zero_point), views)
    assert bits == 11
    assert np.all(result["gradient"].mantissa == sign * (x - zero_point) * 51 * 80 * (2**bits - 1))
    assert 0.99 * 2**31 < np.abs(result["gradient"].mantissa.astype(np.int64)).max() < 2**31


def test_golden_refuses_sums_beyond_int32() -> None:
    w = Window(1, 1, 1, 1, 1, 20000, 1, 1, 1, 1, 0, 0)
    views: dict[str, Any] = {
        "g": saturated_block(output_shape(w), 15, 1),
        "weights": np.full(weight_shape(w), -128, np.int8),
        "sums": block32(input_shape(w)),
    }
    with pytest.raises(OverflowError, match="too many bits"):
        CONV2D_ERROR_B16.golden(Conv2dGradientParams(w, 0), views)


@examples(30)
@given(w=windows(channels=(4, 7, 9)), seed=seeds)
def test_the_gradient_of_gathered_channels_is_that_part_of_the_whole(w: Window, seed: int) -> None:
    rng = np.random.default_rng(seed)
    views = gradient_views(rng, w)
    CONV2D_WEIGHT_GRADIENT_B16.golden(Conv2dGradientParams(w, -3), views)
    index = np.sort(rng.choice(w.in_channels, 3, replace=False))
    part = replace(w, in_channels=3)
    gathered: dict[str, Any] = {
        "x": np.ascontiguousarray(views["x"][..., index]),
        "g": views["g"],
        "gradient": block32(weight_shape(part)),
    }
    CONV2D_WEIGHT_GRADIENT_B16.golden(Conv2dGradientParams(part, -3), gathered)
    assert np.array_equal(gathered["gradient"].mantissa, views["gradient"].mantissa[..., index])


@both_forms
@pytest.mark.parametrize(
    "change",
    [
        {"in_height": 0},
        {"out_channels": -1},
        {"stride_width": 0},
        {"pad_top": -1},
        {"kernel_width": 0},
        {"in_channels": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [CONV2D_ERROR_B16, CONV2D_WEIGHT_GRADIENT_B16], ids=lambda kernel: kernel.name)
def test_a_wrong_geometry_is_refused(form: str, change: dict[str, int], kernel: Kernel) -> None:
    w = Window(3, 3, 2, 3, 3, 2, 3, 3, 1, 1, 1, 1)
    rng = np.random.default_rng(0)
    views = error_views(rng, w) if kernel is CONV2D_ERROR_B16 else gradient_views(rng, w)
    views["scratch"] = np.zeros(kernel.scratch_bytes(Conv2dGradientParams(w, 0)), np.uint8)
    assert refused(form, kernel, Conv2dGradientParams(replace(w, **change), 0), views)


@both_forms
def test_a_zero_point_outside_int8_is_refused(form: str) -> None:
    w = Window(3, 3, 2, 3, 3, 2, 3, 3, 1, 1, 1, 1)
    views = gradient_views(np.random.default_rng(0), w)
    assert refused(form, CONV2D_WEIGHT_GRADIENT_B16, Conv2dGradientParams(w, 128), views)
