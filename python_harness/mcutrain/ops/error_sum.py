"""error_sum: where a tensor feeds two branches, its error is the sum of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcutrain.ops.arithmetic import halfaway
from mcutrain.ops.base import Kernel, Role
from mcutrain.ops.block_float import write_fitted
from mcutrain.ops.error_quantize import ElementsParams

_LARGEST_SHIFT = 31


def _golden_b16(params: ElementsParams, views: Mapping[str, Any]) -> None:
    branches = [views["a"], views["b"]]
    exponents = [int(branch.exponent[0]) for branch in branches]
    exponent = max(exponents)
    a, b = (
        halfaway(branch.mantissa, min(exponent - own, _LARGEST_SHIFT))
        for branch, own in zip(branches, exponents, strict=True)
    )
    write_fitted(views["out"], exponent, a + b)


def _golden_f32(params: ElementsParams, views: Mapping[str, Any]) -> None:
    views["out"][...] = views["a"] + views["b"]


ERROR_SUM_B16 = Kernel(
    name="error_sum_b16",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(Role("a", "b16"), Role("b", "b16")),
    outputs=(Role("out", "b16"),),
    golden=_golden_b16,
    in_place=(("a", "out"), ("b", "out")),
)

ERROR_SUM_F32 = Kernel(
    name="error_sum_f32",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(Role("a", "float32"), Role("b", "float32")),
    outputs=(Role("out", "float32"),),
    golden=_golden_f32,
    in_place=(("a", "out"), ("b", "out")),
)

KERNELS = (ERROR_SUM_B16, ERROR_SUM_F32)
