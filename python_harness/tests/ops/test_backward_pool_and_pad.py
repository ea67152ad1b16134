"""average_pool_error, max_pool_error and pad_error."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Window
from mcutrain.ops.block_float import block_values
from mcutrain.ops.conv2d_gradient import input_shape, output_shape
from mcutrain.ops.pad_gradient import PAD_ERROR_B16, PAD_ERROR_F32, PadErrorParams
from mcutrain.ops.pool_gradient import (
    AVERAGE_POOL_ERROR_B16,
    AVERAGE_POOL_ERROR_F32,
    MAX_POOL_ERROR_B16,
    MAX_POOL_ERROR_F32,
    MAX_POOL_WIDE_ERROR_B16,
    MAX_POOL_WIDE_ERROR_F32,
    AveragePoolErrorParams,
    MaxPoolErrorParams,
)
from support.backward_cases import golden_and_c_agree, random_block16, random_floats, refused, seeds, windows
from support.ckernels import block16, block32, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
pool_windows = windows(pool=True, channels=(1, 2, 3, 5, 16))

GLOBAL = Window(8, 8, 64, 1, 1, 64, 8, 8, 8, 8, 0, 0)
# Sixteen windows meet in a pixel, and the corners' windows hold one pixel.
OVERLAPPING = Window(4, 4, 2, 7, 7, 2, 4, 4, 1, 1, 3, 3)
OVERLAP_HEADROOM = 4


def positions(w: Window, oh: int, ow: int) -> list[tuple[int, int, int]]:
    """(tap, input row, input column) of a window's taps inside the image."""
    return [
        (kh * w.kernel_width + kw, ih, iw)
        for kh in range(w.kernel_height)
        for kw in range(w.kernel_width)
        if 0 <= (ih := oh * w.stride_height + kh - w.pad_top) < w.in_height
        and 0 <= (iw := ow * w.stride_width + kw - w.pad_left) < w.in_width
    ]


def random_argmax(rng: np.random.Generator, w: Window) -> NDArray[np.uint8]:
    """A tap inside the image for each output element."""
    argmax = np.zeros(output_shape(w), np.uint8)
    for oh, ow, channel in np.ndindex(argmax.shape):
        inside = positions(w, oh, ow)
        argmax[oh, ow, channel] = inside[rng.integers(len(inside))][0]
    return argmax


@both_forms
@examples(60)
@given(w=pool_windows, headroom=st.integers(OVERLAP_HEADROOM, 6), seed=seeds)
@example(w=GLOBAL, headroom=0, seed=0)
@example(w=OVERLAPPING, headroom=OVERLAP_HEADROOM, seed=0)
def test_block_errors_of_an_average_pool_have_goldens_bits(form: str, w: Window, headroom: int, seed: int) -> None:
    views: dict[str, Any] = {
        "error": random_block16(np.random.default_rng(seed), output_shape(w)),
        "sums": block32(input_shape(w)),
    }
    golden_and_c_agree(form, AVERAGE_POOL_ERROR_B16, AveragePoolErrorParams(w, headroom), views)


@both_forms
@examples(40)
@given(w=pool_windows, seed=seeds)
@example(w=OVERLAPPING, seed=0)
def test_float_errors_of_an_average_pool_have_goldens_bits(form: str, w: Window, seed: int) -> None:
    error = random_floats(np.random.default_rng(seed), output_shape(w))
    views: dict[str, Any] = {"error": error, "out": np.zeros(input_shape(w), np.float32)}
    golden_and_c_agree(form, AVERAGE_POOL_ERROR_F32, AveragePoolErrorParams(w, 0), views)


@both_forms
@examples(40)
@given(w=pool_windows, seed=seeds)
def test_errors_of_a_max_pool_have_goldens_bits(form: str, w: Window, seed: int) -> None:
    rng = np.random.default_rng(seed)
    argmax = random_argmax(rng, w)
    blocks: dict[str, Any] = {
        "error": random_block16(rng, output_shape(w)),
        "argmax": argmax,
        "sums": block32(input_shape(w)),
    }
    golden_and_c_agree(form, MAX_POOL_ERROR_B16, MaxPoolErrorParams(w), blocks)
    out = np.zeros(input_shape(w), np.float32)
    floats: dict[str, Any] = {"error": random_floats(rng, output_shape(w)), "argmax": argmax, "out": out}
    golden_and_c_agree(form, MAX_POOL_ERROR_F32, MaxPoolErrorParams(w), floats)
    words = {"argmax": argmax.astype(np.int32)}
    golden_and_c_agree(form, MAX_POOL_WIDE_ERROR_B16, MaxPoolErrorParams(w), blocks | words)
    golden_and_c_agree(form, MAX_POOL_WIDE_ERROR_F32, MaxPoolErrorParams(w), floats | words)


@both_forms
@examples(40)
@given(
    image=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5)),
    border=st.tuples(*[st.integers(0, 3)] * 4),
    seed=seeds,
)
def test_errors_of_a_pad_are_the_middle_of_the_padded(
    form: str, image: tuple[int, int, int], border: tuple[int, int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    top, bottom, left, right = border
    height, width, channels = image
    padded = (top + height + bottom, left + width + right, channels)
    params = PadErrorParams(*image, *border)
    blocks: dict[str, Any] = {"error": random_block16(rng, padded), "out": block16(image)}
    floats: dict[str, Any] = {"error": random_floats(rng, padded), "out": np.zeros(image, np.float32)}
    cropped = golden_and_c_agree(form, PAD_ERROR_B16, params, blocks)["out"]
    golden_and_c_agree(form, PAD_ERROR_F32, params, floats)
    assert np.array_equal(cropped.mantissa, blocks["error"].mantissa[top : top + height, left : left + width])


@examples(40)
@given(w=pool_windows, headroom=st.integers(OVERLAP_HEADROOM, 6), seed=seeds)
@example(w=GLOBAL, headroom=0, seed=0)
def test_a_block_average_is_within_one_and_a_quarter_units_a_window_of_the_exact(
    w: Window, headroom: int, seed: int
) -> None:
    """Each window adds less than 1 unit of 2^(exponent - 14 + headroom) for the floor, and for the rounding of 2^30 / count at most
    2^15 / 2 / 2^16 = 1/4 unit."""
    views: dict[str, Any] = {
        "error": random_block16(np.random.default_rng(seed), output_shape(w)),
        "sums": block32(input_shape(w)),
    }
    AVERAGE_POOL_ERROR_B16.golden(AveragePoolErrorParams(w, headroom), views)
    real = np.zeros(input_shape(w))
    met = np.zeros((w.in_height, w.in_width, 1))
    error = block_values(views["error"])
    for oh, ow in np.ndindex(w.out_height, w.out_width):
        inside = positions(w, oh, ow)
        for _, ih, iw in inside:
            real[ih, iw] += error[oh, ow] / len(inside)
            met[ih, iw] += 1
    unit = 2.0 ** (int(views["error"].exponent[0]) - 14 + headroom)
    assert np.all(np.abs(block_values(views["sums"]) - real) <= 1.25 * met * unit)


@both_forms
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 9, 12, 49, 64])
def test_the_reciprocal_of_a_count_is_rounded_to_nearest(form: str, count: int) -> None:
    w = Window(count, 1, 1, 1, 1, 1, count, 1, 1, 1, 0, 0)
    error = block16(output_shape(w))
    error.mantissa[...] = 2**15 - 1
    result = golden_and_c_agree(
        form, AVERAGE_POOL_ERROR_B16, AveragePoolErrorParams(w, 0), {"error": error, "sums": block32(input_shape(w))}
    )
    assert np.all(result["sums"].mantissa == ((2**15 - 1) * round(Fraction(2**30, count))) >> 16)


@both_forms
@pytest.mark.parametrize("sign", [-1, 1])
def test_headroom_keeps_overlapping_windows_within_int32(form: str, sign: int) -> None:
    """The corner pixel of OVERLAPPING is met by 16 windows of 1 to 16 pixels; their shares of a full mantissa sum up to 1.09 * 2^31, which
    needs one bit of headroom."""
    error = block16(output_shape(OVERLAPPING))
    error.mantissa[...] = sign * (2**15 - 1)
    views: dict[str, Any] = {"error": error, "sums": block32(input_shape(OVERLAPPING))}
    sums = golden_and_c_agree(form, AVERAGE_POOL_ERROR_B16, AveragePoolErrorParams(OVERLAPPING, 1), views)["sums"]
    assert np.all(np.sign(sums.mantissa) == sign)
    corner = sum(Fraction(1, i * j) for i in range(1, 5) for j in range(1, 5))
    assert abs(float(sums.mantissa[0, 0, 0] / 2.0**28 / sign) - float(corner) * (1 - 2.0**-15)) < 1e-6


@both_forms
def test_wrong_pools_are_refused(form: str) -> None:
    rng = np.random.default_rng(0)
    w = Window(4, 4, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0)
    average: dict[str, Any] = {"error": random_block16(rng, output_shape(w)), "sums": block32(input_shape(w))}
    largest: dict[str, Any] = {**average, "argmax": random_argmax(rng, w)}
    for wrong in (replace(w, out_channels=1), replace(w, in_width=0), replace(w, stride_height=0)):
        assert refused(form, AVERAGE_POOL_ERROR_B16, AveragePoolErrorParams(wrong, 0), average)
        assert refused(form, MAX_POOL_ERROR_B16, MaxPoolErrorParams(wrong), largest)
    assert refused(form, AVERAGE_POOL_ERROR_B16, AveragePoolErrorParams(w, -1), average)
    beyond_a_byte = replace(w, kernel_height=17, kernel_width=16)
    assert refused(form, MAX_POOL_ERROR_B16, MaxPoolErrorParams(beyond_a_byte), largest)
    words = largest | {"argmax": np.zeros(output_shape(w), np.int32)}
    overlapping = replace(w, kernel_height=257, kernel_width=256, stride_height=1, stride_width=1)
    assert refused(form, MAX_POOL_WIDE_ERROR_B16, MaxPoolErrorParams(overlapping), words)


@both_forms
def test_a_wrong_pad_is_refused(form: str) -> None:
    views: dict[str, Any] = {"error": random_block16(np.random.default_rng(0), (2, 2, 1)), "out": block16((2, 2, 1))}
    assert refused(form, PAD_ERROR_B16, PadErrorParams(2, 2, 1, 0, 0, 0, -1), views)
    assert refused(form, PAD_ERROR_B16, PadErrorParams(0, 2, 1, 0, 0, 0, 0), views)
