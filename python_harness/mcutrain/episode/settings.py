"""The settings of a run: what a record keeps of them, how they become an episode again, and what differs between two."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mcutrain import __version__, leftovers
from mcutrain.datasets.locate import DATA_VARIABLE
from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.record import RunSettings
from mcutrain.errors import UsageError
from mcutrain.paths import MODELS_VARIABLE, PROJECT, find_portable, portable
from mcutrain.strict import one_line

if TYPE_CHECKING:
    from mcutrain.episode.run import RunOptions

_GIT_SECONDS = 20
_NOT_STATED = "not stated"


def settings_of(prepared: PreparedEpisode, options: RunOptions) -> RunSettings | None:
    """The settings of a run that ends now; None where model or data come from no file or set, so that nobody could load them again."""
    definition, model = prepared.definition, prepared.model
    if model is None or not prepared.data.sha256:
        return None
    read = prepared.graph.tensors[prepared.graph.input]
    return RunSettings(
        definition=portable_document(definition, model.path),
        steps=options.steps,
        test=options.test,
        golden_steps=options.golden_steps,
        profile=options.profile,
        model_sha256=model.sha256,
        data_sha256=prepared.data.sha256,
        input_scale=float(read.scale),
        input_zero_point=int(read.zero_point),
        tool_version=__version__,
        git_revision=git_revision(),
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def portable_document(definition: EpisodeDefinition, model: Path) -> dict[str, Any]:
    """The definition by the keys of its YAML file, with its paths as a record keeps them. model: where its model file was found."""
    document = definition.model_dump(mode="json")
    document["model"] = portable(model, MODELS_VARIABLE)
    if definition.data.file is not None:
        document["data"]["file"] = portable(Path(definition.data.file), DATA_VARIABLE)
    return document


def definition_of(settings: RunSettings, where: str) -> EpisodeDefinition:
    """The episode that the settings of a record describe. where: names the record. Raises UsageError for what its models refuse."""
    try:
        definition = EpisodeDefinition.model_validate(settings.definition)
    except ValidationError as error:
        raise UsageError(
            f"{where}, settings.definition: {one_line(error)}; it is damaged, or of another mcutrain"
        ) from None
    changes: dict[str, object] = {"model": str(find_portable(definition.model, MODELS_VARIABLE))}
    if definition.data.file is not None:
        file = str(find_portable(definition.data.file, DATA_VARIABLE))
        changes["data"] = definition.data.model_copy(update={"file": file})
    return definition.model_copy(update=changes)


def settings_differences(was: RunSettings, now: RunSettings) -> list[str]:
    """What differs but for the date, one phrase each, ``learning_rate: 0.01 -> 0.02``; keys of the definition by their own names."""
    return _differences(_flat(was), _flat(now))


def definition_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The same of two definitions, by the keys of their YAML files."""
    return _differences(dict(leaves(was)), dict(leaves(now)))


def _flat(settings: RunSettings) -> dict[str, Any]:
    document = settings.model_dump(exclude={"definition", "date"})
    # The episode may stop after some steps by itself; what the run was cut to stands apart.
    document = {f"run.{key}" if key in settings.definition else key: value for key, value in document.items()}
    return {**dict(leaves(settings.definition)), **document}


def leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested mappings with their values, ``data.shift``; of a mapping only its leaves."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = list(dict.fromkeys([*was, *now]))
    pairs = [(key, was.get(key, _NOT_STATED), now.get(key, _NOT_STATED)) for key in keys]
    return [f"{key}: {_word(before)} -> {_word(after)}" for key, before, after in pairs if before != after]


def _word(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)


@cache
def git_revision() -> str:
    """The commit of the project's checkout, with ``-dirty`` where a file of it was changed; empty where it is none, or git is missing."""
    if not (PROJECT / ".git").exists():
        return ""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ("git", "describe", "--always", "--dirty", "--abbrev=64", "--exclude=*")
    try:
        done = leftovers.run(
            command, seconds=_GIT_SECONDS, folder=PROJECT, environment={**environment, "GIT_OPTIONAL_LOCKS": "0"}
        )
    except (OSError, TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
