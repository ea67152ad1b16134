"""gradient_drain: the sums of a minibatch become one gradient, and their accumulator is empty again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcutrain.ops.base import Kernel, Role
from mcutrain.ops.block_float import write_fitted
from mcutrain.ops.error_quantize import ElementsParams

_GRADIENT_BITS = 31


def _golden_b16(params: ElementsParams, views: Mapping[str, Any]) -> None:
    accumulator = views["accumulator"]
    write_fitted(views["gradient"], int(accumulator.exponent[0]), accumulator.mantissa, _GRADIENT_BITS)
    accumulator.exponent[...] = 0
    accumulator.mantissa[...] = 0


def _golden_f32(params: ElementsParams, views: Mapping[str, Any]) -> None:
    views["gradient"].reshape(-1)[...] = views["accumulator"].reshape(-1)
    views["accumulator"][...] = 0


GRADIENT_DRAIN_B16 = Kernel(
    name="gradient_drain_b16",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(),
    outputs=(Role("gradient", "b32"), Role("accumulator", "b64")),
    golden=_golden_b16,
    updates=("accumulator",),
)

GRADIENT_DRAIN_F32 = Kernel(
    name="gradient_drain_f32",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(),
    outputs=(Role("gradient", "float32"), Role("accumulator", "float32")),
    golden=_golden_f32,
    updates=("accumulator",),
)

KERNELS = (GRADIENT_DRAIN_B16, GRADIENT_DRAIN_F32)
