"""The settings that made a locked run, and in words what of them is another now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mcutrain.episode.definition import WORDS, EpisodeDefinition
from mcutrain.episode.record import Amount, RunSettings, Sha256
from mcutrain.episode.settings import definition_differences

_SHOWN_DIGITS = 12


class LockedSettings(BaseModel):
    """What of `RunSettings` decides what a run computes, but for how much of the episode was run, which stands with the figures.

    definition: by the keys of the episode's file, without those that are words. Files that lie outside the project, $MCUTRAIN_MODELS and
    $MCUTRAIN_DATA are in it by their names alone, so that a baseline is the same in every checkout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: dict[str, Any]
    model_sha256: Sha256
    data_sha256: Sha256
    input_scale: Amount
    input_zero_point: int


def locked_settings(settings: RunSettings) -> LockedSettings:
    """What a baseline keeps of a run's settings."""
    definition = {key: value for key, value in settings.definition.items() if key not in WORDS}
    definition["model"] = _anywhere(definition["model"])
    if definition["data"].get("file") is not None:
        definition["data"] = {**definition["data"], "file": _anywhere(definition["data"]["file"])}
    return LockedSettings(
        definition=definition,
        model_sha256=settings.model_sha256,
        data_sha256=settings.data_sha256,
        input_scale=settings.input_scale,
        input_zero_point=settings.input_zero_point,
    )


def locked_differences(was: LockedSettings, now: LockedSettings) -> list[str]:
    """What differs, one phrase each, ``learning_rate: 0.01 -> 0.02``. A file that was renamed but has the same content does not."""
    before, after = _with_defaults(was.definition, now.definition), dict(now.definition)
    if was.model_sha256 == now.model_sha256:
        before["model"] = after["model"]
    data = before.get("data")
    if was.data_sha256 == now.data_sha256 and isinstance(data, dict):
        before["data"] = {**data, "file": after["data"].get("file")}
    found = definition_differences(before, after)
    if was.model_sha256 != now.model_sha256:
        found.append(_content("model_sha256", was, now, "model", f"the model file {after['model']} has changed", found))
    if was.data_sha256 != now.data_sha256:
        found.append(_content("data_sha256", was, now, "data.", f"{_data_words(after['data'])} have changed", found))
    scale = ("input_scale", "input_zero_point")
    found += [f"{key}: {getattr(was, key)} -> {getattr(now, key)}" for key in scale if _differ(key, was, now)]
    return found


def changed_model(was: LockedSettings, sha256: str, model: str) -> str:
    """What to say of a model that is not the locked one; empty where it is."""
    if sha256 == was.model_sha256:
        return ""
    return (
        f"model_sha256: {_short(was.model_sha256)} -> {_short(sha256)}: the model file {_anywhere(model)} has changed"
    )


def _content(key: str, was: LockedSettings, now: LockedSettings, of: str, words: str, found: list[str]) -> str:
    """The phrase for a hash; that the content has changed is known only where the definition names no other."""
    named = any(phrase.startswith(of) for phrase in found)
    return f"{key}: {_short(getattr(was, key))} -> {_short(getattr(now, key))}{'' if named else f': {words}'}"


def _differ(key: str, was: LockedSettings, now: LockedSettings) -> bool:
    return bool(getattr(was, key) != getattr(now, key))


def _data_words(data: dict[str, Any]) -> str:
    if data.get("file") is not None:
        return f"the samples in {data['file']}"
    return f"the samples of the set {data['set']} under the shift {data['shift']}"


def _with_defaults(was: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The definition with the keys that a newer mcutrain has by their defaults, which is how the run was made."""
    try:
        full = EpisodeDefinition.model_validate({"name": "x", "description": "", "boards": ("m4-256k",), **was})
    except ValidationError:  # of keys that are no more: told as they are
        return dict(was)
    dumped = full.model_dump(mode="json")
    return {key: dumped[key] for key in dumped if key in was or key in now}


def _anywhere(path: str) -> str:
    return Path(path).name if Path(path).is_absolute() else path


def _short(sha256: str) -> str:
    return sha256[:_SHOWN_DIGITS]
