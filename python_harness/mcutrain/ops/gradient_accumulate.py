"""gradient_accumulate: the gradient of one sample is added to those of its minibatch, exactly where planning proves it.

An accumulator is block floating point with int64 mantissas, at most 62 bits wide between two samples; where all of them are 0 it takes the
exponent of the next sample. ``ops.bounds.accumulator_window_bits`` says how far the exponents of a minibatch may lie apart so that none
is ever rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Role
from mcutrain.ops.block_float import write_block
from mcutrain.ops.bounds import ACCUMULATOR_BITS
from mcutrain.ops.error_quantize import ElementsParams

Int64s = NDArray[np.int64]


def width(mantissa: NDArray[Any]) -> int:
    """The smallest b >= 0 with -2**b <= v < 2**b for every mantissa v."""
    return max(int(mantissa.max(initial=0)), ~int(mantissa.min(initial=0))).bit_length()


def _scaled(mantissa: NDArray[Any], shift: int) -> Int64s:
    """``mantissa * 2**shift`` rounded half away from zero, for results that fit 62 bits."""
    if shift >= 0:
        return mantissa.astype(np.int64) << np.int64(shift)
    # Python's integers: neither the half nor what it is added to has a limit. This way is taken beyond the window only.
    exact = mantissa.astype(object)
    rounded: Int64s = (np.sign(exact) * ((2 * abs(exact) + 2**-shift) // 2 ** (1 - shift))).astype(np.int64)
    return rounded


def _golden_b16(params: ElementsParams, views: Mapping[str, Any]) -> None:
    accumulator, gradient = views["accumulator"], views["gradient"]
    if not gradient.mantissa.any():
        return
    exponent, added = int(accumulator.exponent[0]), int(gradient.exponent[0])
    if not accumulator.mantissa.any():
        exponent = added
    common = max(
        min(exponent, added),
        exponent + width(accumulator.mantissa) - ACCUMULATOR_BITS,
        added + width(gradient.mantissa) - ACCUMULATOR_BITS,
    )
    sums = _scaled(accumulator.mantissa, exponent - common)
    sums += _scaled(gradient.mantissa.reshape(sums.shape), added - common)
    if width(sums) > ACCUMULATOR_BITS:
        sums, common = _scaled(sums, -1), common + 1
    write_block(accumulator, common, sums)


def _golden_f32(params: ElementsParams, views: Mapping[str, Any]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        views["accumulator"].reshape(-1)[...] += views["gradient"].reshape(-1)


GRADIENT_ACCUMULATE_B16 = Kernel(
    name="gradient_accumulate_b16",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(Role("gradient", "b32"),),
    outputs=(Role("accumulator", "b64"),),
    golden=_golden_b16,
    updates=("accumulator",),
)

GRADIENT_ACCUMULATE_F32 = Kernel(
    name="gradient_accumulate_f32",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(Role("gradient", "float32"),),
    outputs=(Role("accumulator", "float32"),),
    golden=_golden_f32,
    updates=("accumulator",),
)

KERNELS = (GRADIENT_ACCUMULATE_B16, GRADIENT_ACCUMULATE_F32)
