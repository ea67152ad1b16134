"""From a data set's samples to the int8 codes a network's input takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets.base import Samples
from mcutrain.errors import UsageError

PIXEL_MINUS_128 = "uint8 - 128"
"""The input domain of networks whose codes are the pixels themselves, shifted, whatever their input scale says."""


@dataclass(frozen=True, eq=False)
class Codes:
    """codes: int8, in the shape of the samples. clipped: how many values lay outside what they hold, and got the nearest."""

    codes: NDArray[np.int8]
    clipped: int = 0


def to_codes(
    samples: Samples,
    pixel_scale: float,
    input_scale: float,
    input_zero_point: int,
    input_domain: str,
) -> NDArray[np.int8]:
    """The codes of ``quantize``."""
    return quantize(samples, pixel_scale, input_scale, input_zero_point, input_domain).codes


def quantize(
    samples: Samples,
    pixel_scale: float,
    input_scale: float,
    input_zero_point: int,
    input_domain: str,
) -> Codes:
    """Input codes of ``samples``, int8, same shape.

    ``code = saturate(round_half_even(sample * pixel_scale / input_scale) + input_zero_point)`` in float32, which is
    ONNX's QuantizeLinear. pixel_scale is the data set's (``Dataset.pixel_scale``), the other three the graph's. Under
    the input domain "uint8 - 128", uint8 samples become ``pixel - 128`` directly and the scales are not used.
    int8 samples are codes already.

    Examples: pixels 0..255 into scale 1.0, zero point -128 (pixel_scale 1.0), and pixels into scale 1/255, zero point
    -128 of a network trained on 0..1 (pixel_scale 1/255), are both ``pixel - 128``.

    Raises UsageError when samples are of another type or not finite, and when the pixel range 0..255 would not fit
    the code range at all, which is what a wrong pixel_scale looks like.
    """
    if samples.dtype not in (np.uint8, np.float32, np.int8):
        raise UsageError(f"samples are {samples.dtype}: give uint8 pixels, float32 values or int8 input codes")
    if not input_scale > 0.0:
        raise UsageError(f"input scale {input_scale}: it must be above 0")
    if samples.dtype == np.int8:
        return Codes(samples.astype(np.int8))
    if samples.dtype == np.uint8:
        if input_domain == PIXEL_MINUS_128:
            return Codes((samples.astype(np.int16) - 128).astype(np.int8))
        _check_pixel_range(pixel_scale, input_scale)
    elif not np.isfinite(samples).all():
        raise UsageError("samples hold a value that is not finite: clean the data before it is quantised")
    real = samples.astype(np.float32) * np.float32(pixel_scale)
    codes: NDArray[np.float32] = np.rint(real / np.float32(input_scale)) + np.float32(input_zero_point)
    inside = np.clip(codes, -128, 127)
    return Codes(inside.astype(np.int8), int(np.count_nonzero(inside != codes)))


def _check_pixel_range(pixel_scale: float, input_scale: float) -> None:
    """A right pixel_scale spreads 256 pixel values over about 256 codes; a wrong one is off by a factor of 255."""
    span = 255.0 * pixel_scale / input_scale
    if not 16.0 <= span <= 4096.0:
        raise UsageError(
            f"pixels 0..255 at pixel_scale {pixel_scale:.6g} would span {span:.3g} of the input's 256 codes (scale "
            f"{input_scale:.6g}): set pixel_scale to 1 for a network trained on 0..255, to 1/255 for one on 0..1"
        )
