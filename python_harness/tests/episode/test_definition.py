"""Episode files: what they may say, and the one line for everything else; orders and learning rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from episode.conftest import digits
from mcutrain.boards import board_names
from mcutrain.episode.definition import RATE_TABLE_ENTRIES, EpisodeDefinition, episode_names, load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from mcutrain.methods.registry import METHODS, find_method
from mcutrain.methods.sparse_update import SparseUpdateOptions
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
    assert (definition.name, definition.method, definition.epochs) == ("mine", "sparse_update", 1)
    assert definition.options == SparseUpdateOptions()
    assert definition.options.model_dump().items() >= {"scheme": "biases", "errors": "b16", "batch": 1}.items()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"step_cap": float("nan")}, "step_cap"),
        ({"step_cap": float("inf")}, "step_cap"),
        ({"step_cap": 1e39}, "step_cap: Input should be less than or equal to 2147483647"),
        ({"learning_rate": 1e39}, "learning_rate"),
        ({"learning_rate": 1e-60}, "learning_rate"),
        ({"epochs": "1e10"}, "epochs"),
        ({"epochs": 10**18}, "epochs: Input should be less than or equal to 2147483647"),
        ({"steps": 2**31}, "steps: "),
        ({"golden_steps": 2**40}, "golden_steps: "),
        ({"batch": 2**31}, "batch: "),
        ({"new_head": 10**9}, "new_head: "),
        ({"scheme": "b1;" * 2000}, "scheme: String should have at most 4096 characters"),
        ({"name": "a" * 101}, "name: "),
        ({"k" * 5000: 1}, "kkk..."),
        ({"a\nb": 1}, "a?b: there is no such key"),
        ({"data": {"set": "digits", "shift": "none", "seed": 2**32}}, "data.seed"),
        ({"data": {"file": "x.npz", "test": 2**40}}, "data.test"),
        ({"data": {"file": "x.npz", "pixel_scale": 1e60}}, "data.pixel_scale"),
        ({"epochs": 0}, "epochs"),
        ({"seed": 0}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"boards": []}, "boards"),
        ({"boards": ["m5-1k"]}, "no board 'm5-1k'; there are m4-1m, m4-256k"),
        ({"errors": "b8"}, "errors"),
        ({"name": "../up"}, "name"),
        ({"model": None}, "model"),
        ({"speling": 1}, "speling: there is no such key"),
        ({"shceme": "head"}, "shceme: there is no such key; did you mean scheme?"),
        ({"step": 3}, "step: there is no such key; did you mean steps?"),
        ({"options": {"shceme": "head"}}, "options.shceme: there is no such key; did you mean scheme?"),
        ({"options": {"errors": "b8"}}, "options.errors: Input should be 'b16' or 'f32'"),
        ({"options": {"epochs": 3}}, "options.epochs: there is no such key"),
        ({"options": "head"}, "options: give the options of method sparse_update as keys with values"),
        ({"options": None}, "options: give the options of method sparse_update as keys with values"),
        ({"options": {"scheme": "head"}, "scheme": "head"}, "scheme: given twice, in 'options' and beside it"),
        ({"batch": 0}, "batch: Input should be greater than or equal to 1"),
        ({"batch": 1.5}, "batch: "),
        ({"method": "sparse"}, "method: there is no method 'sparse': give one of sparse_update, inference"),
        ({"method": ["a"]}, "method: there is no method ['a']"),
        ({"method": "inference", "scheme": "head"}, "scheme: an option of method sparse_update, not of inference"),
        ({"method": "inference", "options": {"scheme": "head"}}, "options.scheme: there is no such key"),
        ({1: "one"}, "1: there is no such key"),
        ({"data": {"set": "digits", "shfit": "none"}}, "data.shfit: there is no such key; did you mean shift?"),
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


def test_a_million_epochs_are_read_as_a_number_and_cost_nothing(tmp_path: Path) -> None:
    definition = load_episode(written(tmp_path, yaml.safe_dump(GOOD) + "epochs: 1e6\n"))
    assert definition.epochs == 10**6 and type(definition.epochs) is int
    with pytest.raises(UsageError, match="40,000,000 steps, a run takes at most 16,777,216; lower epochs"):
        definition.order(40)


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.yaml: .*line 10: 'learning_rate' is given twice, first in line 7"):
        load_episode(written(tmp_path, yaml.safe_dump(GOOD) + "learning_rate: 3\n"))


def test_a_model_with_a_name_that_no_file_can_have_is_not_found(tmp_path: Path) -> None:
    definition = load_episode(written(tmp_path, {**GOOD, "model": "m" * 5000}))
    with pytest.raises(UsageError, match="no model file 'mmm"):
        find_model(definition.model)


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
        assert find_method(definition.method).build(load_model(find_model(definition.model)), definition.options).steps


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


# Options of the method


def test_options_may_stand_beside_the_episodes_keys_or_in_their_own_place(tmp_path: Path) -> None:
    options = {"scheme": "b1; 0@1/2", "errors": "f32", "step_cap": 0.25}
    beside = load_episode(written(tmp_path, {**GOOD, **options}))
    within = load_episode(written(tmp_path, {**GOOD, "options": options}))
    mixed = load_episode(
        written(tmp_path, {**GOOD, "scheme": "b1; 0@1/2", "options": {"errors": "f32", "step_cap": 0.25}})
    )
    assert beside == within == mixed
    assert beside.options == SparseUpdateOptions(scheme="b1; 0@1/2", errors="f32", step_cap=0.25)


def test_a_definition_survives_being_written_out_with_its_options(tmp_path: Path) -> None:
    definition = load_episode(written(tmp_path, {**GOOD, "scheme": "head", "weights": "nearest8"}))
    document = definition.model_dump(mode="json")
    assert document["options"].items() >= {"scheme": "head", "weights": "nearest8"}.items()
    assert load_episode(written(tmp_path, document)) == definition


def test_a_method_takes_its_own_options_alone(tmp_path: Path) -> None:
    definition = load_episode(written(tmp_path, {**GOOD, "method": "inference"}))
    assert definition.options.model_dump() == {"loss": "auto"}


def test_changes_reach_the_keys_and_the_options_they_name_and_no_other() -> None:
    definition = digits()
    changed = definition.changed({"epochs": 9}, {"scheme": "head"})
    assert (changed.epochs, changed.options.model_dump()["scheme"]) == (9, "head")
    assert changed.changed({"epochs": definition.epochs}, definition.options.model_dump()) == definition


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "int4"}, "weights: Input should be 'master16', 'stochastic8' or 'nearest8'"),
        ({"wieghts": "master16"}, "wieghts: there is no such key; did you mean weights?"),
        ({"epochs": 3}, "epochs: there is no such key"),
        ({"step_cap": -1}, "step_cap: "),
    ],
)
def test_a_wrong_option_of_the_command_line_is_refused_with_its_name(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        digits().changed(options=options)
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize("name", METHODS)
def test_no_option_of_a_method_has_the_name_of_a_key_of_the_episode(name: str) -> None:
    assert not METHODS[name].options.model_fields.keys() & EpisodeDefinition.model_fields.keys()


def test_an_episode_of_a_method_that_trains_nothing_has_no_step() -> None:
    episode = prepare(digits().changed({"method": "inference"}))
    assert not episode.trains and episode.image().steps == 0
