import colorsys
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mcutrain.datasets import corruptions
from mcutrain.datasets.corruptions import CORRUPTION_NAMES, corrupt
from mcutrain.errors import UsageError

Images = NDArray[np.uint8]

WITHOUT_SEED = tuple(name for name in CORRUPTION_NAMES if name != "gaussian_noise")

# Locked: a new NumPy or SciPy that changes a corruption also changes every baseline on corrupted data.
DIGESTS = {
    "gaussian_noise": "43377507b389e42f11649e6e497b056ec303de3f19f337fe36022dca57eb11d5",
    "gaussian_blur": "04ab1261f9264bfe39d56c6df0efcf5d9972231cf22d02d4409602e5509c3ab3",
    "contrast": "a6bc14c07c6e83f6a0ce7464f13deb28801bf1e999c579f4230d7520b5838b89",
    "brightness": "76cbd6c1e7afe2ec44f4a0b6d997373d0277db9cda71932f5ae36edb4cf5bfba",
    "pixelate": "1bee68ffd297ed74a6d0c5aa7444cad88d586f3c9a8d084b72e38e3c3fe2b903",
}
ROTATION_DIGEST = "95323c6ddf7c8b2c17e30d24eea25721b3cf683962d8870dc22d94cb3c94fe17"


def patterned_images(count: int = 2, height: int = 12, width: int = 10, channels: int = 3) -> Images:
    """Smooth and busy areas, pure black and pure white, from integers only."""
    n, y, x, c = np.indices((count, height, width, channels))
    images: Images = ((x * y * 5 + 40 * c + 13 * x + 71 * n) % 256).astype(np.uint8)
    images[:, :3, :3] = 0
    images[:, -3:, -3:] = 255
    return images


def sha256(images: Images) -> str:
    return hashlib.sha256(images.tobytes()).hexdigest()


@pytest.mark.parametrize("name", DIGESTS)
def test_the_bits_of_a_corruption_are_locked(name: str) -> None:
    assert sha256(corrupt(patterned_images(), name, severity=5, seed=0)) == DIGESTS[name]


def test_the_bits_of_a_rotation_are_locked() -> None:
    assert sha256(corruptions.rotate(patterned_images(), 20.0)) == ROTATION_DIGEST


def test_every_corruption_but_jpeg_has_locked_bits() -> None:
    assert set(CORRUPTION_NAMES) - set(DIGESTS) == {"jpeg_compression"}


@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_the_same_call_gives_the_same_images_and_leaves_its_input_alone(name: str) -> None:
    images = patterned_images()
    first, again = corrupt(images, name), corrupt(images, name)
    assert np.array_equal(first, again)
    assert np.array_equal(images, patterned_images())
    assert first.dtype == np.uint8
    assert first.shape == images.shape
    assert not np.array_equal(first, images)


@pytest.mark.parametrize("name", WITHOUT_SEED)
def test_an_image_is_corrupted_the_same_in_any_batch(name: str) -> None:
    images = patterned_images(count=3)
    one_by_one = np.concatenate([corrupt(images[i : i + 1], name) for i in range(3)])
    assert np.array_equal(corrupt(images, name), one_by_one)


@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_each_severity_is_further_from_the_clean_image(name: str) -> None:
    # A photograph has most of its energy at low frequencies; so has this pattern.
    y, x = np.indices((32, 32))
    photo = (127 + 60 * np.sin(x / 4.0) + 50 * np.cos(y / 3.0))[np.newaxis, ..., np.newaxis]
    images = np.repeat(photo, 3, axis=3).astype(np.uint8)
    images[:, 8:20, 10:22, 0] = 250
    distances = [np.abs(corrupt(images, name, severity).astype(int) - images).mean() for severity in range(1, 6)]
    assert distances == sorted(distances)
    assert len(set(distances)) == 5


def test_noise_has_the_stated_deviation_and_no_mean() -> None:
    grey = np.full((20, 32, 32, 3), 128, dtype=np.uint8)
    noise = (corrupt(grey, "gaussian_noise", severity=5).astype(np.float64) - 128.0) / 255.0
    assert noise.std() == pytest.approx(0.10, rel=0.02)
    assert abs(noise.mean()) < 0.002


def test_noise_depends_on_the_seed_and_differs_between_images() -> None:
    grey = np.full((2, 8, 8, 1), 128, dtype=np.uint8)
    first, other = corrupt(grey, "gaussian_noise", seed=0), corrupt(grey, "gaussian_noise", seed=1)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_blur_of_a_point_is_a_gaussian_of_the_stated_sigma() -> None:
    point = np.zeros((1, 15, 15, 1), dtype=np.uint8)
    point[0, 7, 7, 0] = 255
    y, x = np.indices((15, 15)) - 7
    density = np.exp(-(x**2 + y**2) / 2.0)
    expected = np.rint(255.0 * density / density.sum())
    assert np.array_equal(corrupt(point, "gaussian_blur", severity=5)[0, ..., 0], expected)


@pytest.mark.parametrize("level", [0, 1, 127, 200, 255])
@pytest.mark.parametrize("name", ["gaussian_blur", "contrast", "pixelate"])
def test_a_flat_image_stays_as_it_is(name: str, level: int) -> None:
    flat = np.full((1, 32, 32, 3), level, dtype=np.uint8)
    assert np.array_equal(corrupt(flat, name, severity=5), flat)


def test_contrast_keeps_the_mean_of_each_channel_and_shrinks_the_rest() -> None:
    images = patterned_images(height=32, width=32)
    paler = corrupt(images, "contrast", severity=5)
    assert paler.mean(axis=(1, 2)) == pytest.approx(images.mean(axis=(1, 2)), abs=0.1)
    assert paler.std(axis=(1, 2)) == pytest.approx(0.15 * images.std(axis=(1, 2)), rel=0.02)


def test_brightness_raises_the_value_of_hsv() -> None:
    images = patterned_images(count=1)
    expected = np.empty(images.shape)
    for index in np.ndindex(*images.shape[:3]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(images[index] / 255.0))
        expected[index] = 255.0 * np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1.0)))
    # Half a level is what rounding may take.
    assert np.abs(corrupt(images, "brightness", severity=5) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("severity", "small"), [(1, 30), (2, 28), (3, 27), (4, 24), (5, 20)])
def test_pixelate_is_a_box_filter_down_and_up_again(severity: int, small: int) -> None:
    images = patterned_images(count=1, height=32, width=32)
    shrunk = Image.fromarray(images[0]).resize((small, small), Image.Resampling.BOX)
    expected = np.asarray(shrunk.resize((32, 32), Image.Resampling.BOX)).astype(int)
    # Pillow rounds after each axis, we once at the end.
    assert np.abs(corrupt(images, "pixelate", severity)[0] - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillow_at_the_stated_quality(channels: int) -> None:
    images = patterned_images(count=1, height=16, width=24, channels=channels)
    better, worse = (np.abs(corruptions.compress_jpeg(images, q).astype(int) - images).mean() for q in (95, 40))
    assert better < worse
    assert np.array_equal(corrupt(images, "jpeg_compression", severity=5), corruptions.compress_jpeg(images, 40))


def test_the_jpeg_codec_is_named_with_its_versions() -> None:
    assert Image.__version__ in corruptions.jpeg_codec()  # type: ignore[attr-defined]
    assert "libjpeg" in corruptions.jpeg_codec()


def test_a_quarter_turn_moves_pixels_and_changes_none() -> None:
    images = patterned_images(height=10, width=10)
    assert np.array_equal(corruptions.rotate(images, 90.0), np.rot90(images, axes=(1, 2)))


def test_a_turn_brings_black_in_at_the_corners() -> None:
    white = np.full((1, 8, 8, 1), 255, dtype=np.uint8)
    turned = corruptions.rotate(white, 45.0)[0, ..., 0]
    assert turned[0, 0] == turned[7, 7] == 0
    assert turned[4, 4] == 255


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda images: corrupt(images, "fog"), "unknown corruption 'fog': give one of gaussian_noise, gaussian_blur"),
        (lambda images: corrupt(images, "contrast", severity=0), "severity 0: give a whole number from 1"),
        (lambda images: corrupt(images, "contrast", severity=6), "severity 6: give a whole number from 1"),
        (lambda images: corrupt(images[0], "contrast"), r"takes uint8 images .* not uint8 \(12, 10, 3\)"),
        (lambda images: corrupt(images.astype(np.float32), "contrast"), r"takes uint8 images .* not float32"),
        (lambda images: corrupt(images[..., :2], "jpeg_compression"), "1 or 3 channels, not 2"),
    ],
)
def test_bad_input_is_refused_in_one_line(call: Callable[[Images], Images], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        call(patterned_images())
    assert "\n" not in str(refusal.value)
