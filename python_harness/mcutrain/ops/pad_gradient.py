"""pad_error: the error of a padded image without its border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, Role
from mcutrain.ops.block_float import write_block


@dataclass(frozen=True)
class PadErrorParams(Params):
    """mct_pad_error_params. in_height, in_width, channels: of the unpadded image."""

    in_height: int
    in_width: int
    channels: int
    top: int
    bottom: int
    left: int
    right: int


def _crop(params: PadErrorParams, padded: NDArray[Any]) -> NDArray[Any]:
    height = params.top + params.in_height + params.bottom
    width = params.left + params.in_width + params.right
    image = padded.reshape(height, width, params.channels)
    return image[params.top : params.top + params.in_height, params.left : params.left + params.in_width]


def _golden_b16(params: PadErrorParams, views: Mapping[str, Any]) -> None:
    error = views["error"]
    write_block(views["out"], int(error.exponent[0]), _crop(params, error.mantissa))


def _golden_f32(params: PadErrorParams, views: Mapping[str, Any]) -> None:
    views["out"][...] = _crop(params, views["error"]).reshape(views["out"].shape)


PAD_ERROR_B16 = Kernel(
    name="pad_error_b16",
    c_params="mct_pad_error_params",
    params=PadErrorParams,
    inputs=(Role("error", "b16"),),
    outputs=(Role("out", "b16"),),
    golden=_golden_b16,
)

PAD_ERROR_F32 = Kernel(
    name="pad_error_f32",
    c_params="mct_pad_error_params",
    params=PadErrorParams,
    inputs=(Role("error", "float32"),),
    outputs=(Role("out", "float32"),),
    golden=_golden_f32,
)

KERNELS = (PAD_ERROR_B16, PAD_ERROR_F32)
