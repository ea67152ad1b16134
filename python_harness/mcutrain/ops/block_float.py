"""Block floating point for the golden kernels: one exponent and integer mantissas, value = mantissa * 2**exponent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.arithmetic import fit, halfaway
from mcutrain.ops.base import Block

FULL_BITS = 15


def write_block(block: Block, exponent: int, mantissa: NDArray[Any]) -> None:
    """Write an exponent and mantissas (any shape of the block's size, which may be 0; any integer type that holds the values)."""
    low, high = int(mantissa.min(initial=0)), int(mantissa.max(initial=0))
    limits = np.iinfo(block.mantissa.dtype)
    if low < limits.min or high > limits.max:
        raise OverflowError(
            f"mantissas from {low} to {high} do not fit {block.mantissa.dtype}: planning allowed too many bits"
        )
    block.mantissa[...] = mantissa.reshape(block.mantissa.shape)
    block.exponent[0] = exponent


def write_fitted(block: Block, exponent: int, mantissa: NDArray[np.int64], bits: int = FULL_BITS) -> None:
    """Write mantissas of ``exponent`` shifted right, half-away, just so far that all fit ``bits`` magnitude bits."""
    r = fit(int(np.abs(mantissa).max()), bits)
    write_block(block, exponent + r, halfaway(mantissa, r))


def power_of_two_f32(exponent: int) -> np.float32:
    """2**exponent as a normal float32; the exponent is clamped to [-126, 127]."""
    return np.float32(2.0 ** max(-126, min(127, exponent)))


def block_values(block: Block) -> NDArray[np.float64]:
    """The real values of a block, in double precision (exact while the exponent is moderate)."""
    return np.ldexp(block.mantissa.astype(np.float64), int(block.exponent[0]))
