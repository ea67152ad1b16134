"""error_quantize: the float32 error that leaves the head becomes block floating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.arithmetic import half_even_f32
from mcutrain.ops.base import Kernel, NotFiniteError, Params, Role
from mcutrain.ops.block_float import FULL_BITS, power_of_two_f32, write_block

_SMALLEST = np.float32(2.0**-100)
_LARGEST_MANTISSA = 2**FULL_BITS - 1


@dataclass(frozen=True)
class ElementsParams(Params):
    """mct_elements_params."""

    elements: int


def _golden(params: ElementsParams, views: Mapping[str, Any]) -> None:
    error = views["error"]
    largest = np.abs(error).max()
    if not np.isfinite(largest):
        raise NotFiniteError("error_quantize: an error is NaN or infinite: training diverged; lower the learning rate")
    if largest < _SMALLEST:
        write_block(views["out"], 0, np.zeros(error.shape, np.int16))
        return
    exponent = int(np.frexp(largest)[1]) - FULL_BITS
    rounded = half_even_f32(error * power_of_two_f32(-exponent)).astype(np.int32)
    write_block(views["out"], exponent, np.clip(rounded, -_LARGEST_MANTISSA, _LARGEST_MANTISSA))


ERROR_QUANTIZE_B16 = Kernel(
    name="error_quantize_b16",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(Role("error", "float32"),),
    outputs=(Role("out", "b16"),),
    golden=_golden,
)

KERNELS = (ERROR_QUANTIZE_B16,)
