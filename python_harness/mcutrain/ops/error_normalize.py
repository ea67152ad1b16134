"""error_normalize: int32 sums become int16 mantissas with a new exponent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcutrain.ops.base import Kernel, Role
from mcutrain.ops.block_float import write_fitted
from mcutrain.ops.error_quantize import ElementsParams


def _golden(params: ElementsParams, views: Mapping[str, Any]) -> None:
    # astype copies, so everything is computed before the first mantissa is written: out may overlap the sums in any way.
    sums = views["sums"]
    write_fitted(views["out"], int(sums.exponent[0]), sums.mantissa.astype(np.int64))


def _behind(params: ElementsParams, distance_bytes: int) -> bool:
    """The kernel then runs from the last element down; see error_normalize.c for why this distance is enough."""
    return distance_bytes >= 2 * (params.elements - 1)


ERROR_NORMALIZE_B16 = Kernel(
    name="error_normalize_b16",
    c_params="mct_elements_params",
    params=ElementsParams,
    inputs=(Role("sums", "b32"),),
    outputs=(Role("out", "b16"),),
    golden=_golden,
    in_place=(("sums", "out"),),
    in_place_behind=_behind,
)

KERNELS = (ERROR_NORMALIZE_B16,)
