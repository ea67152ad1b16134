import pytest

from mcutrain.datasets import dataset_names, load_dataset, load_episode_data, shift_names
from mcutrain.errors import UsageError


def test_an_unknown_data_set_is_refused_with_the_names_there_are() -> None:
    for call in (lambda: load_dataset("mnist"), lambda: load_episode_data("mnist", "contrast")):
        with pytest.raises(UsageError, match="unknown data set 'mnist': give one of cifar10, digits"):
            call()


@pytest.mark.parametrize("name", dataset_names())
def test_an_unknown_shift_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown shift 'fog' of data set {name}: give one of {shift_names(name)[0]}"):
        load_episode_data(name, "fog")


def test_a_data_set_is_loaded_by_name() -> None:
    assert load_dataset("digits").samples.shape == (1797, 8, 8, 1)


def test_the_episode_data_of_digits_is_its_shift() -> None:
    data = load_episode_data("digits", "rotation_contrast_noise", severity=3, seed=7)
    assert data.shift == "rotation_contrast_noise severity 3 seed 7"
    assert (len(data.adapt), len(data.test)) == (400, 400)


def test_without_a_shift_the_whole_set_is_tested_and_nothing_trains() -> None:
    data = load_episode_data("digits", "none")
    assert (len(data.adapt), data.shift) == (0, "none")
    assert data.test.digest() == load_dataset("digits").digest()
