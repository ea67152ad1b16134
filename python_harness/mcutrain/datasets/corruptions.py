"""Image corruptions that shift a deployed domain away from the one a network was trained in.

The definitions and strengths are those of CIFAR-10-C, for 32x32 images (Hendrycks and Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR 2019, and its released generator). ``gaussian_blur``
is the extra one of that set; it is what the project's protocol calls blur. One difference: results are rounded
half-even where the release truncates, so that an error in a last place cannot move a flat area by a level.

Images are uint8, shape (n, height, width, channels), and so are results. Everything here is NumPy and SciPy arithmetic
that gives the same bits every time, but for JPEG, whose bits depend on Pillow's codec (``jpeg_codec`` names it for the
record).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from mcutrain.datasets.base import random_stream
from mcutrain.errors import UsageError

Images = NDArray[np.uint8]

# One strength for each severity 1..5, from the generator of CIFAR-10-C.
NOISE_SIGMA = (0.04, 0.06, 0.08, 0.09, 0.10)  # of the full range
BLUR_SIGMA = (0.4, 0.6, 0.7, 0.8, 1.0)  # pixels
CONTRAST_FACTOR = (0.75, 0.5, 0.4, 0.3, 0.15)
BRIGHTNESS_OFFSET = (0.05, 0.1, 0.15, 0.2, 0.3)  # of the full range
PIXELATE_FACTOR = (0.95, 0.9, 0.85, 0.75, 0.65)  # of the side
JPEG_QUALITY = (80, 65, 58, 50, 40)

_NOISE_PURPOSE = 1


def add_gaussian_noise(images: Images, sigma: float, seed: int) -> Images:
    """Add normal noise of standard deviation ``sigma`` (1.0 is the full range) to every value."""
    noise = random_stream(seed, _NOISE_PURPOSE).normal(size=images.shape)
    return _to_pixels(images + 255.0 * sigma * noise)


def gaussian_blur(images: Images, sigma: float) -> Images:
    """Convolve with a Gaussian of ``sigma`` pixels, cut at four sigma; the edge repeats outwards."""
    from scipy import ndimage  # imported here: slow, and mostly not needed

    blurred = ndimage.gaussian_filter(images.astype(np.float64), (0, sigma, sigma, 0), mode="nearest", truncate=4.0)
    return _to_pixels(blurred)


def scale_contrast(images: Images, factor: float) -> Images:
    """Shrink each channel's distance from its mean over the image to ``factor`` of it."""
    means = images.mean(axis=(1, 2), keepdims=True)
    return _to_pixels((images - means) * factor + means)


def raise_brightness(images: Images, offset: float) -> Images:
    """Add ``offset`` (1.0 is the full range) to the value of HSV and keep hue and saturation.

    At fixed hue and saturation every channel is proportional to the value, which is the largest channel; so scaling
    the pixel does what a conversion there and back would. Black has neither hue nor saturation and becomes grey.
    """
    value = images.max(axis=3, keepdims=True).astype(np.float64)
    raised = np.minimum(value + 255.0 * offset, 255.0)
    black = value == 0.0
    share_of_value = np.where(black, 1.0, images / np.where(black, 1.0, value))
    return _to_pixels(share_of_value * raised)


def pixelate(images: Images, factor: float) -> Images:
    """Shrink to ``factor`` of the side with a box filter and enlarge again: each pixel takes the mean of its cell."""
    height, width = images.shape[1:3]
    rows, columns = _cell_means(height, int(height * factor)), _cell_means(width, int(width * factor))
    row_means = np.einsum("ij,njwc->niwc", rows, images.astype(np.float64))
    return _to_pixels(np.einsum("ij,nhjc->nhic", columns, row_means))


def compress_jpeg(images: Images, quality: int) -> Images:
    """Encode each image as JPEG at ``quality`` and decode it again.

    Raises UsageError unless images have 1 channel (grey) or 3 (RGB).
    """
    if images.shape[3] not in (1, 3):
        raise UsageError(f"jpeg_compression takes images of 1 or 3 channels, not {images.shape[3]}")
    return np.stack([_through_jpeg(image, quality) for image in images])


def rotate(images: Images, degrees: float) -> Images:
    """Turn counter-clockwise about the centre, interpolating linearly; what comes in from outside is black."""
    from scipy import ndimage

    turned = ndimage.rotate(images.astype(np.float64), degrees, axes=(1, 2), reshape=False, order=1, mode="constant")
    return _to_pixels(turned)


# Each takes the images, a severity 1..5 and a seed; only the noise is random.
_CORRUPTIONS: Mapping[str, Callable[[Images, int, int], Images]] = {
    "gaussian_noise": lambda images, severity, seed: add_gaussian_noise(images, NOISE_SIGMA[severity - 1], seed),
    "gaussian_blur": lambda images, severity, seed: gaussian_blur(images, BLUR_SIGMA[severity - 1]),
    "contrast": lambda images, severity, seed: scale_contrast(images, CONTRAST_FACTOR[severity - 1]),
    "brightness": lambda images, severity, seed: raise_brightness(images, BRIGHTNESS_OFFSET[severity - 1]),
    "pixelate": lambda images, severity, seed: pixelate(images, PIXELATE_FACTOR[severity - 1]),
    "jpeg_compression": lambda images, severity, seed: compress_jpeg(images, JPEG_QUALITY[severity - 1]),
}

CORRUPTION_NAMES = tuple(_CORRUPTIONS)


def corrupt(images: Images, corruption: str, severity: int = 5, seed: int = 0) -> Images:
    """Apply a corruption by name (one of CORRUPTION_NAMES).

    images: uint8, (n, height, width, channels). severity: 1..5. Returns a new array of the same shape and type.
    Raises UsageError for an unknown name, a severity outside 1..5, or images of another shape or type.
    """
    if corruption not in _CORRUPTIONS:
        raise UsageError(f"unknown corruption {corruption!r}: give one of {', '.join(CORRUPTION_NAMES)}")
    check_severity(severity)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UsageError(
            f"{corruption} takes uint8 images (n, height, width, channels), not {images.dtype} {images.shape}"
        )
    return _CORRUPTIONS[corruption](images, severity, seed)


def check_severity(severity: int) -> None:
    """Raises UsageError for a severity outside 1..5."""
    if severity not in (1, 2, 3, 4, 5):
        raise UsageError(f"severity {severity}: give a whole number from 1 (weak) to 5 (strong)")


def jpeg_codec() -> str:
    """The JPEG codec in use, for the record: its version decides the bits of ``jpeg_compression``."""
    turbo = features.version_feature("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
    return f"Pillow {PIL.__version__} with {library}"


def _to_pixels(values: NDArray[np.float64]) -> Images:
    """Saturate to 0..255 and round half-even."""
    return np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)


def _cell_means(pixels: int, cells: int) -> NDArray[np.float64]:
    """The (pixels, pixels) matrix that replaces each of a row's pixels by the mean of those in its cell.

    A box filter takes the pixels whose centre is inside the cell, and enlarging reads the cell a centre is in: the
    same assignment of pixels to cells both ways.
    """
    cell = np.floor((np.arange(pixels) + 0.5) * cells / pixels)
    same_cell = (cell[:, np.newaxis] == cell).astype(np.float64)
    means: NDArray[np.float64] = same_cell / same_cell.sum(axis=1, keepdims=True)
    return means


def _through_jpeg(image: Images, quality: int) -> Images:
    encoded = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(encoded, "JPEG", quality=quality)
    return np.asarray(Image.open(encoded)).reshape(image.shape)
