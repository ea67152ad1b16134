"""A layer's backward pass in block floating point, from the float error to the error of its input, against real arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.base import Window
from mcutrain.ops.block_float import block_values
from mcutrain.ops.conv2d_gradient import CONV2D_ERROR_B16, Conv2dGradientParams, input_shape, output_shape, weight_shape
from mcutrain.ops.error_normalize import ERROR_NORMALIZE_B16
from mcutrain.ops.error_quantize import ERROR_QUANTIZE_B16, ElementsParams
from mcutrain.ops.error_scale import ERROR_SCALE_B16, ErrorScaleParams
from support.backward_cases import random_codes, random_mask, seeds, windows
from support.ckernels import block16, block32
from support.examples import examples


@examples(60)
@given(w=windows(channels=(1, 2, 5)), bits=st.integers(6, 11), seed=seeds)
def test_the_error_of_an_input_is_within_the_sum_of_its_roundings(w: Window, bits: int, seed: int) -> None:
    """Units of the three blocks on the way: q of the quantised error, g of the scaled one, p of the product before its shift, d of dX.

    |quantised - e| <= q (a whole unit only at the largest mantissa); |scaled - quantised * factor| <= p + g / 2; each sum of dX
    takes both times the magnitudes of its weights, and the last rounding adds d / 2.
    """
    rng = np.random.default_rng(seed)
    error = rng.standard_normal(output_shape(w)).astype(np.float32)
    weights = random_codes(rng, weight_shape(w))
    inside, words = random_mask(rng, output_shape(w))
    scale = rng.integers(2**28, 2**30, w.out_channels).astype(np.int32)
    scale[0] = 2**31 - 1
    scale_exponent = -38
    quantised, g, sums, d = (
        block16(error.shape),
        block16(error.shape),
        block32(input_shape(w)),
        block16(input_shape(w)),
    )

    ERROR_QUANTIZE_B16.golden(ElementsParams(error.size), {"error": error, "out": quantised})
    scaling = ErrorScaleParams(error.size, w.out_channels, scale_exponent, bits)
    ERROR_SCALE_B16.golden(scaling, {"error": quantised, "inside": words, "scale": scale, "out": g})
    CONV2D_ERROR_B16.golden(Conv2dGradientParams(w, 0), {"g": g, "weights": weights, "sums": sums})
    ERROR_NORMALIZE_B16.golden(ElementsParams(d.mantissa.size), {"sums": sums, "out": d})

    factor = np.ldexp(scale.astype(np.float64), scale_exponent)
    real = np.where(inside, error.astype(np.float64) * factor, 0.0)
    unit_q, unit_g, unit_d = (2.0 ** int(block.exponent[0]) for block in (quantised, g, d))
    unit_p = 2.0 ** (int(quantised.exponent[0]) + scale_exponent + 16)
    bound = np.where(inside, unit_q * factor + unit_p + unit_g / 2, 0.0)

    distance = np.abs(block_values(d) - spread(w, real, weights.astype(np.float64)))
    assert np.all(distance <= spread(w, bound, np.abs(weights.astype(np.float64))) + unit_d / 2 + 1e-9 * unit_d)


def spread(w: Window, values: Any, weights: Any) -> Any:
    """dX of a convolution by the definition, in double precision."""
    result = np.zeros(input_shape(w))
    for oh, ow, kh, kw in np.ndindex(w.out_height, w.out_width, w.kernel_height, w.kernel_width):
        ih, iw = oh * w.stride_height + kh - w.pad_top, ow * w.stride_width + kw - w.pad_left
        if 0 <= ih < w.in_height and 0 <= iw < w.in_width:
            result[ih, iw] += values[oh, ow] @ weights[:, kh, kw]
    return result
