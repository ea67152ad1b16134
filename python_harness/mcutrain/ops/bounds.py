"""Proofs at planning time that no int32 sum of a training step can overflow.

Every product sum of the integer path runs in an int32 accumulator. A sum of n products, each at most p in magnitude,
stays at or below n * p whatever the order of its terms, so it suffices to count the terms of the longest sum. Errors
are block floating point: their mantissas are given as many bits as this count leaves room for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError

INT32_LIMIT = 2**31 - 1
"""Largest magnitude that an int32 sum may reach, on either side of zero."""

INPUT_MAGNITUDE = 255
"""Largest |x - zero_point| of int8 codes."""

WEIGHT_MAGNITUDE = 128
"""Largest |w| of int8 codes."""

ACCUMULATOR_BITS = 62
"""Width of a minibatch's int64 sums: two of them, added, still fit."""

LEAST_WINDOW_BITS = 16
"""What the exponents of a minibatch's samples may at least lie apart: a factor of 65536 between the largest gradients of two samples."""


def largest_mantissa_bits(*, terms: int, other_magnitude: int, most_bits: int = 11) -> int:
    """Magnitude bits b (the sign not counted) that error mantissas of a layer may have.

    The largest b <= most_bits with ``terms * other_magnitude * (2**b - 1) <= INT32_LIMIT``. terms: products in one sum.
    other_magnitude: largest magnitude of the factor that is not an error (WEIGHT_MAGNITUDE for dX, INPUT_MAGNITUDE for
    dW). Raises ValueError for arguments below 1, and where even one bit overflows.
    """
    if terms < 1 or other_magnitude < 1 or most_bits < 1:
        raise ValueError(
            f"terms {terms}, other_magnitude {other_magnitude} and most_bits {most_bits} must be at least 1"
        )
    largest_mantissa = INT32_LIMIT // (terms * other_magnitude)
    if largest_mantissa < 1:
        raise ValueError(f"{terms} products of up to {other_magnitude} overflow int32 even with mantissas of one bit")
    # 2**b - 1 <= m  <=>  2**b <= m + 1  <=>  b <= floor(log2(m + 1))
    return min(most_bits, (largest_mantissa + 1).bit_length() - 1)


def error_product_terms(
    kernel: tuple[int, int], stride: tuple[int, int], out_channels: int, dilation: tuple[int, int] = (1, 1)
) -> int:
    """Most products in one sum of dX, the transposed convolution of the output error with the weights.

    Along one axis tap t of output o reads input ``o * stride + t * dilation - pad``. The taps that see one input pixel agree in
    ``t * dilation`` modulo the stride, so they are ``stride / gcd(stride, dilation)`` apart: ceil(kernel / that) of them, each of one
    output pixel. Each contributes one product per output channel, of a grouped convolution per output channel of its group:
    out_channels counts these. For a fully connected layer kernel and stride are (1, 1).
    """
    rows, columns = (
        -(-taps // (step // math.gcd(step, apart))) for taps, step, apart in zip(kernel, stride, dilation, strict=True)
    )
    return rows * columns * out_channels


def weight_gradient_terms(out_height: int, out_width: int) -> int:
    """Most products in one sum of dW: one per output pixel."""
    return out_height * out_width


def accumulator_window_bits(layer: str, terms: int, mantissa_bits: int, batch: int) -> int:
    """How far the exponents of a minibatch's samples may lie apart so that the sum of their gradients is exact.

    terms and mantissa_bits: of the layer's weight gradient, whose sums are the largest; a bias gradient has the same terms without
    INPUT_MAGNITUDE. A gradient is at most ``G = terms * INPUT_MAGNITUDE * (2**mantissa_bits - 1) < 2**s`` in units of its own exponent, s
    being the bits of G. So a gradient, and a sum of any of them, is at most ``batch * G * 2**window`` in units of the smallest exponent.
    With ``window = ACCUMULATOR_BITS - s - ceil(log2(batch))`` this is below ``2**ACCUMULATOR_BITS``: the accumulator keeps the smallest
    exponent, and nothing is rounded.

    Raises UsageError naming the layer and the largest batch it can have where the window is below LEAST_WINDOW_BITS, and ValueError for
    arguments below 1 or a gradient that does not fit int32.
    """
    if terms < 1 or mantissa_bits < 1 or batch < 1:
        raise ValueError(f"terms {terms}, mantissa_bits {mantissa_bits} and batch {batch} must be at least 1")
    gradient = terms * INPUT_MAGNITUDE * ((1 << mantissa_bits) - 1)
    if gradient > INT32_LIMIT:
        raise ValueError(f"{terms} products with mantissas of {mantissa_bits} bits overflow int32")
    room = ACCUMULATOR_BITS - gradient.bit_length()
    window = room - (batch - 1).bit_length()  # ceil(log2(batch))
    if window < LEAST_WINDOW_BITS:
        raise UsageError(
            f"{layer}: a batch of {batch} is more than its int64 sums of gradients have room for; "
            f"the largest is {1 << (room - LEAST_WINDOW_BITS)}"
        )
    return window


def forward_terms(layer: str, kernel: tuple[int, int], in_channels: int, bias: NDArray[np.int32]) -> int:
    """Products in one sum of the forward of a layer, ``sum (x - zero_point) * w + bias``, proven to fit int32.

    kernel: (1, 1) for a fully connected layer. in_channels: that one output channel reads. bias: int32, shape
    (out_channels,). Raises UsageError naming the layer if the forward could overflow.
    """
    terms = kernel[0] * kernel[1] * in_channels
    magnitude = int(np.abs(bias.astype(np.int64)).max(initial=0))  # int64: |-2**31| does not exist in int32
    if magnitude > largest_bias(terms):
        raise UsageError(
            f"{layer}: the int32 sum of its forward could overflow: {terms} products of up to "
            f"{INPUT_MAGNITUDE * WEIGHT_MAGNITUDE} and a bias of up to {magnitude} exceed {INT32_LIMIT}; "
            "quantise the model again with smaller biases, or use a smaller kernel or fewer input channels"
        )
    return terms


def largest_bias(terms: int) -> int:
    """Largest bias magnitude beside which a forward sum of ``terms`` products fits int32; negative if none does.

    A bias that trains must be saturated to it: the proof for the imported bias says nothing of a later one.
    """
    return INT32_LIMIT - terms * INPUT_MAGNITUDE * WEIGHT_MAGNITUDE
