"""The error kernels around the gradients on sizes that their pairs and fours do not divide, in place and not: C gives golden's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Block, View, Window, mask_words
from mcutrain.ops.bias_gradient import BIAS_GRADIENT_B16, BiasGradientParams
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams, input_shape, output_shape
from mcutrain.ops.depthwise_conv2d_gradient import (
    DEPTHWISE_CONV2D_ERROR_B16,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
    DepthwiseWeightGradientParams,
    depthwise_weight_shape,
)
from mcutrain.ops.error_normalize import ERROR_NORMALIZE_B16
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ERROR_SCALE_B16, ErrorScaleParams
from mcutrain.ops.error_sum import ERROR_SUM_B16
from support.backward_cases import golden_and_c_agree, random_block16, random_codes, same_bits, seeds, with_extremes
from support.ckernels import block16, block32, call, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
widths = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 16, 33])
INT32_MAX = 2**31 - 1


def mask_of(rng: np.random.Generator, elements: int) -> NDArray[np.uint32]:
    """Words of every kind, the last with rubbish behind its last element."""
    words = rng.integers(0, 2**32, mask_words(elements), np.uint32)
    kind = rng.integers(0, 4, words.size)
    return np.where(kind == 0, np.uint32(0), np.where(kind == 1, np.uint32(0xFFFFFFFF), words)).astype(np.uint32)


def scales_of(rng: np.random.Generator, channels: int) -> NDArray[np.int32]:
    """Scales of either sign and every size, the largest at least 2^30."""
    scale = rng.integers(-INT32_MAX, INT32_MAX, channels, endpoint=True) >> rng.integers(0, 31, channels)
    scale[rng.integers(channels)] = rng.choice(np.array([2**30, -(2**30), INT32_MAX, -INT32_MAX]))
    return scale.astype(np.int32)


def over(block: Block) -> Block:
    """A mct_b16 in the memory of another."""
    memory = block.exponent.base
    assert isinstance(memory, np.ndarray)
    return block16(block.mantissa.shape, memory)


@both_forms
@examples(100)
@given(
    pixels=st.integers(1, 70),
    channels=widths,
    bits=st.integers(1, 15),
    error_bits=st.integers(1, 15),
    masked=st.booleans(),
    seed=seeds,
)
def test_errors_scaled_by_channel_have_goldens_bits_in_place_and_not(
    form: str, pixels: int, channels: int, bits: int, error_bits: int, masked: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    elements = pixels * channels
    params = ErrorScaleParams(elements, channels, int(rng.integers(-40, 1)), bits)
    error = random_block16(rng, (elements,), error_bits)
    if rng.random() < 0.1:
        error.mantissa[...] = 0
    views: dict[str, Any] = {"error": error, "scale": scales_of(rng, channels), "out": block16((elements,))}
    if masked:
        views["inside"] = mask_of(rng, elements)
    apart = golden_and_c_agree(form, ERROR_SCALE_B16, params, views)["out"]
    assert call(form, ERROR_SCALE_B16, params, {**views, "out": over(error)}) == 0
    assert same_bits(over(error), apart)


@both_forms
@examples(100)
@given(
    elements=st.integers(1, 90),
    apart=st.integers(-20, 20),
    bits=st.integers(13, 15),
    where=st.integers(0, 3),
    seed=seeds,
)
def test_summed_errors_have_goldens_bits_wherever_they_are_written(
    form: str, elements: int, apart: int, bits: int, where: int, seed: int
) -> None:
    """where: 0 apart, 1 over a, 2 over b, 3 over both, which are one."""
    rng = np.random.default_rng(seed)
    a = random_block16(rng, (elements,), bits)
    b = over(a) if where == 3 else random_block16(rng, (elements,), bits)
    if where != 3:
        b.exponent[0] = a.exponent[0] + apart
    if rng.random() < 0.3:  # sums of exactly what still fits, or just does not
        b.mantissa[...] = np.clip(rng.choice([32767, 32768, -32767, -32768], elements) - a.mantissa, -32767, 32767)
    params, views = ElementsParams(elements), {"a": a, "b": b, "out": block16((elements,))}
    expected = golden_and_c_agree(form, ERROR_SUM_B16, params, views)["out"]
    out = (views["out"], over(a), over(b), over(a))[where]
    assert call(form, ERROR_SUM_B16, params, {"a": a, "b": b, "out": out}) == 0
    assert same_bits(out, expected)


@both_forms
@examples(100)
@given(elements=st.integers(1, 90), power=st.integers(0, 31), offset=st.integers(-3, 3), seed=seeds)
def test_sums_at_the_ends_of_a_shift_are_normalised_to_goldens_bits(
    form: str, elements: int, power: int, offset: int, seed: int
) -> None:
    """The largest is about where the rounding carries into one more bit."""
    rng = np.random.default_rng(seed)
    sums = block32((elements,))
    carries = 2**power - (2 ** max(power - 16, 0)) * int(rng.integers(0, 2))
    limit = min(max(carries + offset, 0), INT32_MAX)
    sums.mantissa[...] = with_extremes(rng, rng.integers(-limit, limit, elements, endpoint=True), (-limit, limit))
    golden_and_c_agree(form, ERROR_NORMALIZE_B16, ElementsParams(elements), {"sums": sums, "out": block16((elements,))})


@both_forms
@examples(100)
@given(pixels=st.integers(1, 70), channels=widths, seed=seeds)
def test_bias_gradients_of_any_width_have_goldens_bits(form: str, pixels: int, channels: int, seed: int) -> None:
    views = {
        "g": random_block16(np.random.default_rng(seed), (pixels, channels)),
        "gradient": block32((channels,)),
    }
    golden_and_c_agree(form, BIAS_GRADIENT_B16, BiasGradientParams(pixels, channels), views)


@st.composite
def depthwise_windows(draw: st.DrawFn) -> Window:
    """Kernels of up to 11 taps a side: one, several and no whole groups of neighbouring sums."""

    def axis() -> tuple[int, int, int, int, int]:
        kernel, stride, out = draw(st.integers(1, 11)), draw(st.integers(1, 3)), draw(st.integers(1, 9))
        pad = draw(st.integers(0, kernel - 1))
        return max(1, (out - 1) * stride - pad + 1) + draw(st.integers(0, kernel + stride)), out, kernel, stride, pad

    rows, columns = axis(), axis()
    channels, outputs = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
    return Window(
        *(rows[0], columns[0], channels),
        *(rows[1], columns[1], channels * outputs),
        *(rows[2], columns[2]),
        *(rows[3], columns[3]),
        *(rows[4], columns[4]),
    )


@both_forms
@examples(100)
@given(window=depthwise_windows(), zero_point=st.integers(-128, 127), seed=seeds)
def test_depthwise_gradients_of_wide_kernels_have_goldens_bits(
    form: str, window: Window, zero_point: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    params = Conv2dGradientParams(window, zero_point)
    g = random_block16(rng, output_shape(window), 11)
    shape = depthwise_weight_shape(window)
    error: dict[str, View] = {"g": g, "weights": random_codes(rng, shape), "sums": block32(input_shape(window))}
    golden_and_c_agree(form, DEPTHWISE_CONV2D_ERROR_B16, params, error)
    gradient: dict[str, View] = {"x": random_codes(rng, input_shape(window)), "g": g, "gradient": block32(shape)}
    whole = DepthwiseWeightGradientParams(window, zero_point, window.out_channels)
    golden_and_c_agree(form, DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, whole, gradient)
