from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.helpers import perceptron_image
from mcutrain.emulators.image import EpisodeImage
from mcutrain.errors import UsageError


def test_an_image_read_back_is_the_image_that_was_written() -> None:
    image = perceptron_image(7, predictions=True, trace_step=3, dump_op=2, digest_every=4)
    again = EpisodeImage.from_bytes(image.to_bytes())
    for field in dataclasses.fields(EpisodeImage):
        written, read = getattr(image, field.name), getattr(again, field.name)
        assert np.array_equal(written, read) if isinstance(written, np.ndarray) else written == read, field.name
    assert again.to_bytes() == image.to_bytes()


def test_samples_of_an_odd_size_keep_their_bytes() -> None:
    image = perceptron_image()
    odd = dataclasses.replace(image, adapt_samples=image.adapt_samples[:, :3], test_samples=image.test_samples[:, :3])
    again = EpisodeImage.from_bytes(odd.to_bytes())
    assert again.sample_bytes == 3
    assert np.array_equal(again.adapt_samples, odd.adapt_samples)


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 96 * 8 - 1))
def test_a_flipped_bit_anywhere_in_the_header_is_one_clear_error(position: int) -> None:
    data = bytearray(perceptron_image(5).to_bytes())
    data[position // 8] ^= 1 << (position % 8)
    with pytest.raises(UsageError, match="episode image"):
        EpisodeImage.from_bytes(bytes(data))


@pytest.mark.parametrize("kept", [0, 95, 96, 200])
def test_a_truncated_image_is_refused(kept: int) -> None:
    with pytest.raises(UsageError, match="episode image"):
        EpisodeImage.from_bytes(perceptron_image(5).to_bytes()[:kept])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": np.array([30], np.uint16)}, "names sample 30"),
        ({"adapt_labels": np.zeros(3, np.uint16)}, "30 adapt samples, but 3"),
        ({"learning_rates": np.array([np.nan], np.float32)}, "not finite"),
        ({"learning_rates": np.zeros(0, np.float32)}, "no learning rate"),
        ({"seed": 0}, "seed is 0"),
        ({"dump_op": 3}, "no step is traced"),
        ({"test_labels": np.zeros(40, np.int64)}, "test_labels must be uint32"),
        ({"digest_every": 0}, "1 or more"),
    ],
)
def test_what_the_device_would_refuse_is_refused_in_words(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(perceptron_image(), **change)  # type: ignore[arg-type]


def test_the_learning_rate_stays_at_the_last_one() -> None:
    image = perceptron_image(60)
    rates = [float(image.learning_rate(step)) for step in (0, 2, 3, 5, 6, 8, 9, 59)]
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
