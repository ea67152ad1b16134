from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.datasets import Dataset, EpisodeData
from mcutrain.datasets.base import balanced_split, random_stream
from mcutrain.errors import UsageError


def small_dataset(per_class: int = 6) -> Dataset:
    labels = np.repeat(np.arange(3, dtype=np.int64), per_class)
    samples = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 2, 2, 1)
    return Dataset("small", samples, labels, ("a", "b", "c"))


def test_a_split_is_disjoint_and_has_every_class_equally_often() -> None:
    data = small_dataset()
    adapt, test = balanced_split(data, (4, 2), random_stream(0, 0))
    assert np.bincount(data.labels[adapt]).tolist() == [4, 4, 4]
    assert np.bincount(data.labels[test]).tolist() == [2, 2, 2]
    assert not set(adapt) & set(test)


def test_a_split_is_shuffled_so_that_training_does_not_meet_one_class_after_the_other() -> None:
    data = small_dataset(per_class=50)
    adapt, test = balanced_split(data, (30, 20), random_stream(0, 0))
    for part in (adapt, test):
        changes_of_class = np.count_nonzero(np.diff(data.labels[part]))
        assert changes_of_class > len(part) / 3


def test_a_split_depends_on_the_seed_alone() -> None:
    data = small_dataset()
    first, again, other = (balanced_split(data, (4, 2), random_stream(seed, 0)) for seed in (1, 1, 2))
    assert np.array_equal(np.concatenate(first), np.concatenate(again))
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))


def test_streams_of_two_purposes_are_unrelated() -> None:
    assert random_stream(0, 0).randint(2**31) != random_stream(0, 1).randint(2**31)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed {seed}: give a whole number"):
        random_stream(seed, 0)


def test_too_small_a_class_is_refused_by_name() -> None:
    data = small_dataset()
    with pytest.raises(UsageError, match="class 'a' has 6 samples, 7 are asked for"):
        balanced_split(data, (5, 2), random_stream(0, 0))


def test_taken_samples_keep_their_labels_and_order() -> None:
    data = small_dataset()
    taken = data.take(np.array([7, 2]), "two")
    assert taken.name == "two"
    assert len(taken) == 2
    assert taken.labels.tolist() == [1, 0]
    assert np.array_equal(taken.samples, np.stack([data.samples[7], data.samples[2]]))


@pytest.mark.parametrize("change", ["a sample", "a label", "the shape", "the type"])
def test_the_digest_notices(change: str) -> None:
    data = small_dataset()
    labels = data.labels.copy()
    samples: NDArray[Any] = data.samples.copy()
    if change == "a sample":
        samples[3, 0, 0, 0] ^= 1
    elif change == "a label":
        labels[0] = 2
    elif change == "the shape":
        samples = samples.reshape(-1, 4, 1, 1)
    else:
        samples = samples.view(np.int8)
    assert replace(data, samples=samples, labels=labels).digest() != data.digest()
    assert small_dataset().digest() == data.digest()


def test_the_pixel_scale_of_an_episode_is_that_of_both_its_parts() -> None:
    data = small_dataset()
    episode = EpisodeData(data, data, "none").with_pixel_scale(0.5)
    assert (episode.adapt.pixel_scale, episode.test.pixel_scale) == (0.5, 0.5)
    assert data.pixel_scale == 1.0


def test_fields_that_do_not_belong_together_are_refused() -> None:
    data = small_dataset()
    with pytest.raises(UsageError, match="18 samples but 17 labels"):
        replace(data, labels=data.labels[1:])
    with pytest.raises(UsageError, match="label 2 is outside its 2 classes"):
        replace(data, classes=("a", "b"))
    with pytest.raises(UsageError, match="label -1 is outside"):
        replace(data, labels=data.labels - 1)
    with pytest.raises(UsageError, match=r"pixel_scale is 0\.0, it must be above 0"):
        data.with_pixel_scale(0.0)


def many(labels: list[int]) -> Dataset:
    """Samples that are their own number."""
    samples = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1)
    return Dataset("many", samples, np.array(labels, np.int64), ("a", "b", "c"))


def test_without_a_validate_part_a_quarter_of_each_class_is_held_back_from_the_adapt_samples() -> None:
    adapt = many([0] * 40 + [1] * 20 + [2] * 8)
    data = EpisodeData(adapt, many([0, 1]), "none").for_validation()
    assert np.bincount(data.test.labels).tolist() == [10, 5, 2]
    both = np.concatenate([data.adapt.samples, data.test.samples]).reshape(-1)
    assert sorted(both.tolist()) == list(range(68)), "each sample is in one part"
    assert np.all(np.diff(data.adapt.samples.reshape(-1).astype(int)) > 0), "what is trained on keeps its order"
    again = EpisodeData(adapt, many([0, 1]), "none").for_validation()
    assert again.test.digest() == data.test.digest()


def test_samples_that_lie_class_by_class_are_not_held_back_from_their_ends() -> None:
    held_back = EpisodeData(many([0] * 100), many([0]), "none").for_validation().test.samples.reshape(-1)
    assert held_back.min() < 25 and held_back.max() > 75 and len(set(np.diff(np.sort(held_back)).tolist())) > 2


def test_samples_of_values_are_held_back_too() -> None:
    values = Dataset(
        "values", np.zeros((8, 1), np.uint8), np.zeros(0, np.int64), (), targets=np.zeros((8, 2), np.float32)
    )
    data = EpisodeData(values, values, "none").for_validation()
    assert (len(data.adapt), len(data.test)) == (6, 2)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_samples_to_hold_some_back_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="too few to hold some back"):
        EpisodeData(many([0] * count), many([0]), "none").for_validation()


def test_the_test_samples_are_in_no_part_that_settings_are_chosen_on() -> None:
    adapt, test, validate = many([0] * 8), many([1] * 8), many([2] * 8)
    data = EpisodeData(adapt, test, "none", validate).for_validation()
    assert data.test is validate and data.adapt is adapt and data.validate is None


def test_more_parts_do_not_change_the_first_ones() -> None:
    data = many([0, 1, 2] * 20)
    two = balanced_split(data, (5, 5), random_stream(1, 0))
    three = balanced_split(data, (5, 5, 5), random_stream(1, 0))
    for one, other in zip(two, three, strict=False):
        np.testing.assert_array_equal(one, other)
    assert len(set(np.concatenate(three).tolist())) == 45
