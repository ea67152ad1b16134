"""gather_channels_s8: the channels of an activation that a sub-tensor weight gradient reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.lists import listed_channels, packed


@dataclass(frozen=True)
class GatherChannelsS8Params(Params):
    """mct_gather_channels_s8_params. most_selected: the channels that ``index`` may list."""

    pixels: int
    in_channels: int
    most_selected: int


def _golden(params: GatherChannelsS8Params, views: Mapping[str, Any]) -> None:
    x = views["x"].reshape(params.pixels, params.in_channels)
    channels = listed_channels(views, "index", params.most_selected, params.in_channels)
    packed(views["y"], (params.pixels, channels.size))[...] = x[:, channels]


GATHER_CHANNELS_S8 = Kernel(
    name="gather_channels_s8",
    c_params="mct_gather_channels_s8_params",
    params=GatherChannelsS8Params,
    inputs=(Role("x", "int8"), Role("index", "index")),
    outputs=(Role("y", "int8"),),
    golden=_golden,
)

KERNELS = (GATHER_CHANNELS_S8,)
