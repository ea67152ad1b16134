"""Episode files: what they may say, and the one line for everything else; orders and learning rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from episode.conftest import digits
from mcutrain.boards import board_names
from mcutrain.episode.definition import RATE_TABLE_ENTRIES, episode_names, load_episode
from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from mcutrain.methods.sparse_update import sparse_update
from mcutrain.paths import find_model

GOOD = {
    "name": "mine",
    "description": "d",
    "model": "m.tflite",
    "data": {"set": "digits", "shift": "none"},
    "boards": ["m4-256k"],
    "learning_rate": 0.01,
}


def written(tmp_path: Path, document: object) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def test_the_smallest_episode_file_is_enough(tmp_path: Path) -> None:
    definition = load_episode(written(tmp_path, GOOD))
    assert (definition.name, definition.errors, definition.weights, definition.epochs) == ("mine", "b16", "master16", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"step_cap": float("nan")}, "step_cap"),
        ({"step_cap": float("inf")}, "step_cap"),
        ({"epochs": 0}, "epochs"),
        ({"seed": 0}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"boards": []}, "boards"),
        ({"boards": ["m5-1k"]}, "no board 'm5-1k'; there are m4-1m, m4-256k"),
        ({"errors": "b8"}, "errors"),
        ({"name": "../up"}, "name"),
        ({"model": None}, "model"),
        ({"speling": 1}, "speling"),
        ({"data": {"set": "digits"}}, "a 'set' needs a 'shift'"),
        ({"data": {"set": "digits", "shift": "none", "file": "x.npz"}}, "give either"),
        ({"data": {}}, "give either"),
        ({"data": {"set": "digits", "shift": "none", "severity": 6}}, "data.severity"),
    ],
)
def test_a_wrong_key_is_refused_with_its_name(change: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        load_episode(written(tmp_path, {**GOOD, **change}))
    assert "mine.yaml" in str(refusal.value) and said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "\x00", "just text", "[" * 5000])
def test_what_is_no_episode_file_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.yaml") as refusal:
        load_episode(written(tmp_path, content))
    assert "\n" not in str(refusal.value)


def test_unknown_names_and_missing_files_are_refused() -> None:
    with pytest.raises(UsageError, match="no episode 'nope'; there are digits-biases"):
        load_episode("nope")
    with pytest.raises(UsageError, match=r"no episode 'digits-biases/\.\./digits-biases'"):
        load_episode("digits-biases/../digits-biases")
    with pytest.raises(UsageError, match=r"no episode file 'nope\.yaml'"):
        load_episode("nope.yaml")


@pytest.mark.parametrize("name", episode_names())
def test_every_episode_of_the_project_names_what_there_is(name: str) -> None:
    definition = load_episode(name)
    assert definition.name == name
    assert set(definition.boards) <= set(board_names())
    if not definition.model.startswith("mlperf_tiny/"):
        assert sparse_update(load_model(find_model(definition.model)), definition.options()).steps


def test_each_epoch_is_its_own_permutation_from_the_seed() -> None:
    order = digits(epochs=3).order(40)
    epochs = order.reshape(3, 40)
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(order, digits(epochs=3).order(40))
    assert not np.array_equal(order, digits(epochs=3, seed=2).order(40))
    assert len(digits(epochs=3, steps=50).order(40)) == 50


def test_a_cosine_falls_from_the_rate_to_nearly_nothing_whatever_part_of_it_is_run() -> None:
    definition = digits(epochs=5, learning_rate=0.02)
    rates, per_rate = definition.learning_rates(1000)
    assert rates[0] == np.float32(0.02) and (np.diff(rates) < 0).all() and 0 < rates[-1] < 1e-5
    assert len(rates) == RATE_TABLE_ENTRIES and per_rate * len(rates) == 5000
    assert rates[len(rates) // 2] == pytest.approx(0.01)
    np.testing.assert_array_equal(definition.model_copy(update={"steps": 7}).learning_rates(1000)[0], rates)


def test_a_constant_rate_is_one_rate() -> None:
    rates, per_rate = digits(schedule="constant", learning_rate=0.5).learning_rates(10)
    assert rates.tolist() == [0.5] and per_rate >= 50
