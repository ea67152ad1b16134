"""pad_s8: a border of one code round an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcutrain.ops.base import Kernel, Params, Role


@dataclass(frozen=True)
class PadS8Params(Params):
    """mct_pad_s8_params. value is the code of the border."""

    in_height: int
    in_width: int
    channels: int
    top: int
    bottom: int
    left: int
    right: int
    value: int


def _golden(params: PadS8Params, views: Mapping[str, Any]) -> None:
    p = params
    x = views["x"].reshape(p.in_height, p.in_width, p.channels)
    y = np.pad(x, ((p.top, p.bottom), (p.left, p.right), (0, 0)), constant_values=p.value)
    views["y"][...] = y.reshape(views["y"].shape)


PAD_S8 = Kernel(
    name="pad_s8",
    c_params="mct_pad_s8_params",
    params=PadS8Params,
    inputs=(Role("x", "int8"),),
    outputs=(Role("y", "int8"),),
    golden=_golden,
)

KERNELS = (PAD_S8,)
