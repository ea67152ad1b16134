import numpy as np
import pytest

from mcutrain.datasets import Dataset, digits_held_out, digits_shifted, digits_training, load_dataset
from mcutrain.datasets import digits as digits_module
from mcutrain.errors import UsageError

HELD_OUT_DIGEST = "7f989126ff1adc673b720b3af498b7d8837d0ac3507a522443ed023124cb0541"
ADAPT_DIGEST = "5929b27b8ab42a903a4b100756403a0fb28969bbd8b0bba0bc19c261df6fb47d"
TEST_DIGEST = "f67d5fdc095ff326faa6a79456c491434529c5fad7322d36df1e75107d5849fe"


def images_of(data: Dataset) -> list[bytes]:
    return [sample.tobytes() for sample in data.samples]


def test_sixteen_grey_values_span_all_pixel_values() -> None:
    data = load_dataset("digits")
    expected = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert np.unique(data.samples).tolist() == expected
    assert data.samples.dtype == np.uint8
    assert data.pixel_scale == pytest.approx(1 / 255)
    assert data.classes == tuple("0123456789")


def test_training_and_held_out_images_are_all_images_once() -> None:
    training, held_out = digits_training(), digits_held_out()
    assert (len(training), len(held_out)) == (997, 800)
    assert sorted(images_of(training) + images_of(held_out)) == sorted(images_of(load_dataset("digits")))


def test_the_held_out_images_never_change_because_a_shipped_network_has_seen_the_others() -> None:
    assert digits_held_out().digest() == HELD_OUT_DIGEST


def test_the_deployed_domain_is_locked() -> None:
    data = digits_shifted()
    assert data.adapt.digest() == ADAPT_DIGEST
    assert data.test.digest() == TEST_DIGEST


def test_the_deployed_domain_has_every_class_equally_often() -> None:
    data = digits_shifted()
    assert np.bincount(data.adapt.labels).tolist() == [40] * 10
    assert np.bincount(data.test.labels).tolist() == [40] * 10
    assert data.adapt.samples.shape == data.test.samples.shape == (400, 8, 8, 1)


def test_another_seed_draws_and_corrupts_otherwise() -> None:
    assert digits_shifted(seed=0).adapt.digest() == digits_shifted(seed=0).adapt.digest()
    assert digits_shifted(seed=0).adapt.digest() != digits_shifted(seed=1).adapt.digest()


def test_another_seed_has_other_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits_module, "NOISE_SIGMA", 100.0)  # so loud that nothing else is left
    same_pixel = digits_shifted(seed=0).adapt.samples == digits_shifted(seed=1).adapt.samples
    assert same_pixel.mean() == pytest.approx(0.5, abs=0.05)


def test_a_weaker_severity_draws_the_same_digits_and_changes_them_less() -> None:
    weak, strong = digits_shifted(severity=1), digits_shifted(severity=5)
    assert np.array_equal(weak.test.labels, strong.test.labels)
    assert weak.test.samples.std() > strong.test.samples.std()  # contrast


def test_a_severity_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="severity 6: give a whole number"):
        digits_shifted(severity=6)
