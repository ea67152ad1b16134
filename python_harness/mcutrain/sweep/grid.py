"""The points of a sweep: every episode with every combination of its axes' values, and every seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from mcutrain.episode.definition import DataSource, EpisodeDefinition
from mcutrain.errors import UsageError
from mcutrain.methods.registry import METHODS
from mcutrain.strict import did_you_mean
from mcutrain.yaml_file import parse_yaml

MOST_POINTS = 100_000
_SEED = "seed"
_RANGE = re.compile(r"(\d{1,10})\.\.(\d{1,10})")
# What names a run or says where it goes is no axis; options and data have axes of their own keys.
_OWN = tuple(
    key
    for key in EpisodeDefinition.model_fields
    if key not in ("name", "description", "boards", "options", "data", "golden_steps")
)
_DATA = tuple(f"data.{key}" for key in DataSource.model_fields if key != "evaluate")


@dataclass(frozen=True)
class Axis:
    """A key of an episode, of its data (``data.severity``) or of its method, and the values that it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Point:
    """One run: an episode with the values of the axes in it. values: of every axis, the seed last."""

    definition: EpisodeDefinition
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``resnet8-noise scheme=head seed=2``."""
        return " ".join([self.definition.name, *(f"{key}={word(value)}" for key, value in self.values.items())])

    def without(self, *keys: str) -> dict[str, Any]:
        """The values of the other axes."""
        return {key: value for key, value in self.values.items() if key not in keys}

    def changed(self, values: Mapping[str, Any]) -> Point:
        """The point with other values of some axes. Raises UsageError for what the episode's models refuse."""
        return Point(changed_definition(self.definition, values), {**self.values, **values})


def word(value: Any) -> str:
    """A value as it is printed: quoted where it has spaces."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"'{text}'" if " " in text else text


def parse_axis(text: str) -> Axis:
    """``KEY=VALUE,VALUE``: YAML values; those with commas or brackets in quotes.

    Raises UsageError for a key that no episode or method has, for what is no value, and for a value that is given twice.
    """
    key, equals, listed = text.partition("=")
    key = key.strip()
    if not (equals and key):
        raise UsageError(f"--grid {text!r}: write KEY=VALUE,VALUE, e.g. learning_rate=1e-3,3e-3")
    options = {name for method in METHODS.values() for name in method.options.model_fields}
    known = [*_OWN, *_DATA, *sorted(options)]
    if key not in known:
        raise UsageError(f"--grid {text!r}: no episode, data or method has a key {key!r}{did_you_mean(key, known)}")
    try:
        values = parse_yaml(f"[{listed}]")
    except (UsageError, yaml.YAMLError):
        raise UsageError(f"--grid {text!r}: {listed!r} are no YAML values; put each into quotes") from None
    if not isinstance(values, list) or not values or any(isinstance(value, dict | list) for value in values):
        raise UsageError(f"--grid {text!r}: give values, separated by commas")
    words = [word(value) for value in values]
    for said in words:
        if words.count(said) > 1:
            raise UsageError(f"--grid {text!r}: {said} is given twice")
    return Axis(key, tuple(values))


def parse_seeds(text: str) -> tuple[int, ...]:
    """``1..5`` or ``1,2,7``. Raises UsageError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match:
            first, last = int(match[1]), int(match[2])
            if not first <= last < first + MOST_POINTS:
                raise UsageError(f"--seeds {text!r}: {part.strip()} counts from low to high, at most {MOST_POINTS:,}")
            found += range(first, last + 1)
        elif part.strip().isascii() and part.strip().isdigit() and len(part.strip()) < 11:
            found.append(int(part))
        else:
            raise UsageError(f"--seeds {text!r}: write 1..5, or numbers with commas")
    if len(set(found)) < len(found):
        raise UsageError(f"--seeds {text!r}: a seed is given twice")
    return tuple(found)


def points_of(episodes: Sequence[EpisodeDefinition], axes: Sequence[Axis], seeds: Sequence[int]) -> list[Point]:
    """All points, in the order of the episodes, the axes and the seeds.

    Raises UsageError for an axis that is given twice, values that an episode's models refuse, and more than MOST_POINTS.
    """
    keys = [axis.key for axis in axes] + [_SEED] * bool(seeds)
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{key} is given twice: leave out one --grid{' or --seeds' if key == _SEED else ''}")
    every = [*axes, *([Axis(_SEED, tuple(seeds))] if seeds else [])]
    count = len(episodes)
    for axis in every:
        count *= len(axis.values)
    if count > MOST_POINTS:
        raise UsageError(f"{count:,} runs: a sweep has at most {MOST_POINTS:,}; give fewer values")
    return [
        Point(changed_definition(episode, values), values)
        for episode in episodes
        for values in (
            dict(zip((axis.key for axis in every), chosen, strict=True))
            for chosen in itertools.product(*(axis.values for axis in every))
        )
    ]


def changed_definition(definition: EpisodeDefinition, values: Mapping[str, Any]) -> EpisodeDefinition:
    """The episode with values of axes in it. Raises UsageError for what its models refuse, naming the episode."""
    own = {key: value for key, value in values.items() if key in _OWN}
    data = {key.removeprefix("data."): value for key, value in values.items() if key in _DATA}
    options = {key: value for key, value in values.items() if key not in own and key not in _DATA}
    if data:
        own["data"] = {**definition.data.model_dump(), **data}
    try:
        return definition.changed(own, options)
    except UsageError as error:
        raise UsageError(f"{definition.name}: {error}") from None
