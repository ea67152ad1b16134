"""The int32 overflow proofs hold, and are tight: extreme operands reach them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.errors import UsageError
from mcutrain.ops.bounds import (
    ACCUMULATOR_BITS,
    INPUT_MAGNITUDE,
    INT32_LIMIT,
    LEAST_WINDOW_BITS,
    WEIGHT_MAGNITUDE,
    accumulator_window_bits,
    error_product_terms,
    forward_terms,
    largest_bias,
    largest_mantissa_bits,
    weight_gradient_terms,
)


def extreme_sum(terms: int, other_magnitude: int, bits: int) -> int:
    """The sum that a kernel makes when every operand is as large as it can be."""
    mantissas = np.full(terms, 2**bits - 1, dtype=np.int64)
    others = np.full(terms, other_magnitude, dtype=np.int64)
    return int(mantissas @ others)


@given(terms=st.integers(1, 20_000), other=st.integers(1, 255), most=st.integers(1, 15))
def test_extreme_operands_never_exceed_int32_and_one_more_bit_would(terms: int, other: int, most: int) -> None:
    bits = largest_mantissa_bits(terms=terms, other_magnitude=other, most_bits=most)
    assert 1 <= bits <= most
    assert extreme_sum(terms, other, bits) <= INT32_LIMIT
    assert bits == most or extreme_sum(terms, other, bits + 1) > INT32_LIMIT


def test_a_sum_that_reaches_the_limit_exactly_is_allowed_and_one_beyond_is_not() -> None:
    assert largest_mantissa_bits(terms=INT32_LIMIT, other_magnitude=1) == 1
    with pytest.raises(ValueError, match="even with mantissas of one bit"):
        largest_mantissa_bits(terms=INT32_LIMIT + 1, other_magnitude=1)
    # 2**31 - 1 = 1 * (2**31 - 1): the only factorisation with a mantissa of 31 bits.
    assert largest_mantissa_bits(terms=1, other_magnitude=1, most_bits=32) == 31


def test_resnet8_errors_keep_all_eleven_bits() -> None:
    """3x3 convolutions of 64 channels against int8 weights, and weight gradients over 32 x 32 pixels."""
    assert largest_mantissa_bits(terms=error_product_terms((3, 3), (1, 1), 64), other_magnitude=WEIGHT_MAGNITUDE) == 11
    assert largest_mantissa_bits(terms=weight_gradient_terms(32, 32), other_magnitude=INPUT_MAGNITUDE) == 11


def test_more_terms_cost_mantissa_bits() -> None:
    assert largest_mantissa_bits(terms=weight_gradient_terms(96, 96), other_magnitude=INPUT_MAGNITUDE) == 9


@pytest.mark.parametrize("arguments", [(0, 1, 11), (1, 0, 11), (1, 1, 0)])
def test_arguments_below_one_are_refused(arguments: tuple[int, int, int]) -> None:
    terms, other, most = arguments
    with pytest.raises(ValueError, match="must be at least 1"):
        largest_mantissa_bits(terms=terms, other_magnitude=other, most_bits=most)


@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dilation=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    channels=st.integers(1, 8),
)
def test_the_terms_of_an_input_gradient_are_the_outputs_that_read_the_busiest_pixel(
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], channels: int
) -> None:
    size = 120  # the pixels in the middle are seen by every tap that can see them
    reads = np.zeros((size, size), dtype=np.int64)
    span = [(taps - 1) * apart + 1 for taps, apart in zip(kernel, dilation, strict=True)]
    for row in range(0, size - span[0] + 1, stride[0]):
        for column in range(0, size - span[1] + 1, stride[1]):
            reads[row : row + span[0] : dilation[0], column : column + span[1] : dilation[1]] += 1
    assert error_product_terms(kernel, stride, channels, dilation) == reads.max() * channels


def test_a_weight_gradient_sums_one_product_for_each_output_pixel() -> None:
    image, error = np.ones((10, 9)), np.ones((8, 7))
    windows = np.lib.stride_tricks.sliding_window_view(image, (8, 7))
    assert (np.einsum("abhw,hw->ab", windows, error) == weight_gradient_terms(8, 7)).all()


@given(kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)), in_channels=st.integers(1, 1024))
def test_the_forward_bound_is_reached_by_extreme_codes_and_not_exceeded(
    kernel: tuple[int, int], in_channels: int
) -> None:
    terms = kernel[0] * kernel[1] * in_channels
    bias = largest_bias(terms)
    assert forward_terms("conv0", kernel, in_channels, np.array([0, -bias, bias], dtype=np.int32)) == terms
    x, zero_point, weight = np.int64(127), np.int64(-128), np.int64(-128)
    assert terms * (x - zero_point) * weight - bias == -INT32_LIMIT
    for sign in (1, -1):
        with pytest.raises(UsageError, match=r"^conv0: .*could overflow"):
            forward_terms("conv0", kernel, in_channels, np.array([0, sign * (bias + 1)], dtype=np.int32))


def test_the_most_negative_bias_is_seen_as_too_large() -> None:
    with pytest.raises(UsageError, match=r"^conv3: .*2147483648"):
        forward_terms("conv3", (1, 1), 1, np.array([-(2**31)], dtype=np.int32))


def test_a_layer_of_too_many_products_is_refused_whatever_its_bias() -> None:
    fits = INT32_LIMIT // (INPUT_MAGNITUDE * WEIGHT_MAGNITUDE)
    assert forward_terms("fc", (1, 1), fits, np.zeros(1, dtype=np.int32)) == fits
    with pytest.raises(UsageError, match=r"^fc: "):
        forward_terms("fc", (1, 1), fits + 1, np.zeros(1, dtype=np.int32))


@given(terms=st.integers(1, 20_000), most=st.integers(1, 15), batch=st.integers(1, 2**15))
def test_the_largest_gradients_of_a_batch_fit_its_window_and_the_next_power_of_two_would_not(
    terms: int, most: int, batch: int
) -> None:
    bits = largest_mantissa_bits(terms=terms, other_magnitude=INPUT_MAGNITUDE, most_bits=most)
    window = accumulator_window_bits("conv0", terms, bits, batch)
    largest = extreme_sum(terms, INPUT_MAGNITUDE, bits)
    assert batch * largest * 2**window < 2**ACCUMULATOR_BITS
    # The rule counts whole bits of the gradient and of the batch: with both full, one bit more would be too many.
    full = 2 ** (batch - 1).bit_length() * 2 ** largest.bit_length() * 2**window
    assert full == 2**ACCUMULATOR_BITS


def test_a_batch_halves_the_room_of_each_sample() -> None:
    assert [accumulator_window_bits("c", 1, 1, batch) for batch in (1, 2, 3, 4, 5, 8, 9)] == [
        54,
        53,
        52,
        52,
        51,
        51,
        50,
    ]


@pytest.mark.parametrize(("terms", "mantissa_bits", "largest"), [(96 * 96, 9, 2**15), (8 * 8, 11, 2**21)])
def test_a_batch_without_a_window_is_refused_with_the_largest_that_has_one(
    terms: int, mantissa_bits: int, largest: int
) -> None:
    """Gradients of 31 and of 25 bits: 46 bits are left for them and the batch."""
    assert accumulator_window_bits("conv7", terms, mantissa_bits, largest) == LEAST_WINDOW_BITS
    with pytest.raises(UsageError, match=rf"^conv7: a batch of {largest + 1} .* the largest is {largest}$"):
        accumulator_window_bits("conv7", terms, mantissa_bits, largest + 1)


@pytest.mark.parametrize("arguments", [(0, 11, 4), (9, 0, 4), (9, 11, 0)])
def test_a_window_of_nothing_is_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        accumulator_window_bits("conv0", *arguments)


def test_a_window_of_gradients_that_overflow_int32_is_refused() -> None:
    with pytest.raises(ValueError, match="overflow int32"):
        accumulator_window_bits("conv0", 96 * 96, 10, 4)
