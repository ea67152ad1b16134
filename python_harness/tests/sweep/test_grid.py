"""Axes, seeds and the points that they make."""

from __future__ import annotations

import pytest

from mcutrain.episode.definition import load_episode
from mcutrain.errors import UsageError
from mcutrain.sweep.grid import Axis, parse_axis, parse_seeds, points_of


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("learning_rate=1e-3, 3e-3,1", "learning_rate", (1e-3, 3e-3, 1)),
        ("scheme=head, 'b all; conv0,conv1', full", "scheme", ("head", "b all; conv0,conv1", "full")),
        ("scheme=b all; conv0 conv3@1/2", "scheme", ("b all; conv0 conv3@1/2",)),
        ("data.severity=1,5", "data.severity", (1, 5)),
        ("batch=1,8", "batch", (1, 8)),
        ("output=null,logits", "output", (None, "logits")),
    ],
)
def test_an_axis_is_a_key_and_yaml_values(text: str, key: str, values: tuple[object, ...]) -> None:
    assert parse_axis(text) == Axis(key, values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate", "write KEY=VALUE"),
        ("=1", "write KEY=VALUE"),
        ("learning_rat=1", "no key|has a key 'learning_rat'; did you mean learning_rate"),
        ("boards=m4-256k", "has a key 'boards'"),
        ("data.evaluate=validate", "has a key 'data.evaluate'"),
        ("seed=", "give values"),
        ("seed=[1],2", "give values"),
        ("seed={a: 1}", "give values"),
        ("seed=1,1", "1 is given twice"),
        ("scheme='head", "no YAML values"),
        ("scheme=head]", "no YAML values"),
    ],
)
def test_what_is_no_axis_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_axis(text)


def test_seeds_are_ranges_and_numbers() -> None:
    assert parse_seeds("1..3, 7") == (1, 2, 3, 7)


@pytest.mark.parametrize("text", ["", "a", "3..1", "1..", "-1", "1.5", "1,1", "1..3,2", "1..99999999", "99999999999"])
def test_what_is_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)


def test_points_are_every_combination_in_order() -> None:
    axes = [Axis("scheme", ("head", "full")), Axis("data.severity", (1, 5))]
    points = points_of([load_episode("digits-sparse"), load_episode("digits-biases")], axes, (1, 2))
    assert len(points) == 2 * 2 * 2 * 2
    assert [point.name for point in points[:3]] == [
        "digits-sparse scheme=head data.severity=1 seed=1",
        "digits-sparse scheme=head data.severity=1 seed=2",
        "digits-sparse scheme=head data.severity=5 seed=1",
    ]
    last = points[-1].definition
    assert (last.name, last.options.model_dump()["scheme"], last.data.severity, last.seed) == (
        "digits-biases",
        "full",
        5,
        2,
    )


def test_a_value_that_an_episode_cannot_have_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match=r"digits-sparse: learning_rate: .*greater"):
        points_of([load_episode("digits-sparse")], [Axis("learning_rate", (1e-3, -1.0))], ())


def test_an_axis_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="seed is given twice"):
        points_of([load_episode("digits-sparse")], [Axis("seed", (1, 2))], (1, 2))


def test_too_many_points_are_refused() -> None:
    axes = [Axis("seed", tuple(range(1, 400))), Axis("epochs", tuple(range(1, 400)))]
    with pytest.raises(UsageError, match="159,201 runs"):
        points_of([load_episode("digits-sparse")], axes, ())
