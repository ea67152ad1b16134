"""Repeat the run of a record: what of its settings cannot be met any more, and which of its results are others now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcutrain.episode.baseline import differences, lock, unlocked_figures
from mcutrain.episode.definition import WORDS, EpisodeDefinition, episode_names, load_episode
from mcutrain.episode.prepare import PreparedEpisode, file_sha256, prepare
from mcutrain.episode.record import EpisodeRecord, RunSettings
from mcutrain.episode.run import RunOptions
from mcutrain.episode.runners import Target, find_runner, key_of
from mcutrain.episode.settings import definition_differences, definition_of, settings_differences, settings_of
from mcutrain.errors import McutrainError, UsageError
from mcutrain.paths import is_file


@dataclass(frozen=True, eq=False)
class Repetition:
    """A record, and its episode made ready to be run again. where: names the record."""

    record: EpisodeRecord
    settings: RunSettings
    definition: EpisodeDefinition
    prepared: PreparedEpisode

    @property
    def options(self) -> RunOptions:
        """How much of the episode the record's run was."""
        was = self.settings
        return RunOptions(was.steps, was.test, was.golden_steps, was.profile)

    def unmet(self, target: Target) -> list[str]:
        """What is not as it was when the record was made, one phrase each; the compiler only where the runner is the same."""
        now = settings_of(self.prepared, self.options)
        assert now is not None
        found = settings_differences(self.settings, now)
        if not self.is_same_runner(target.name):
            return found
        site = (("compiler", target.site.compiler), ("compiler_flags", target.site.flags))
        return found + [
            f"{key}: {getattr(self.record, key)} -> {value}"
            for key, value in site
            if getattr(self.record, key) != value
        ]

    def is_same_runner(self, name: str) -> bool:
        """Whether this is what made the record, with all its counts."""
        if self.record.counts_source is not None:
            return False
        return find_runner(name).key == key_of(self.record.board, self.record.runner)


def repetition_of(record: EpisodeRecord, where: str) -> Repetition:
    """Make the record's episode ready. where: names the record.

    Raises UsageError where the record does not say how, or what it names does not fit any more; NotAvailableError where it is not here.
    """
    settings = record.settings
    if settings is None:
        raise UsageError(f"{where} holds no settings: an older mcutrain wrote it; run its episode by name instead")
    definition = definition_of(settings, where)
    try:
        prepared = prepare(definition)
    except McutrainError as error:
        changed = _changed_model(definition, settings)
        raise type(error)(f"{where}: {error}{changed}") from error
    return Repetition(record, settings, definition, prepared)


def _changed_model(definition: EpisodeDefinition, settings: RunSettings) -> str:
    """What to add to an error that a model may have caused which is not the record's."""
    path = Path(definition.model)
    now = file_sha256(path) if is_file(path) else settings.model_sha256
    return "" if now == settings.model_sha256 else f" (model_sha256: {settings.model_sha256} -> {now})"


def as_shipped(settings: RunSettings) -> list[str]:
    """What the settings have otherwise than the project's own episode of that name has now, as command lines and edits leave it."""
    name = settings.definition.get("name")
    if not isinstance(name, str) or name not in episode_names():
        return []
    shipped = load_episode(name).model_dump(mode="json", exclude=set(WORDS))
    used = {key: value for key, value in settings.definition.items() if key not in WORDS}
    return definition_differences(shipped, used)


def result_differences(was: EpisodeRecord, now: EpisodeRecord, *, same_runner: bool) -> tuple[list[str], list[str]]:
    """(what has to be equal and is not, what may differ and does), one phrase each.

    Digest, accuracies or errors, and planned memory are equal everywhere; instructions, flash and stack on the same runner, under the
    same compiler.
    """
    locked, locked_now = lock(was), lock(now)
    if not same_runner:
        locked, locked_now = (figures.model_copy(update={"compilers": {}}) for figures in (locked, locked_now))
    found = differences(locked, locked_now)
    found += [f"{key}: {a} -> {b}" for key, a, b in _pairs(was, now, "plan_crc32", "steps", "samples_test")]
    if not same_runner:
        return found, []
    told = [*unlocked_figures(locked, locked_now)]
    told += [
        f"{key}: {a} -> {b}"
        for key, a, b in _pairs(
            was, now, "emulator_version", "elf_sha256", "instructions", "estimated_cycles_low", "estimated_cycles_high"
        )
    ]
    return found, told


def _pairs(was: EpisodeRecord, now: EpisodeRecord, *keys: str) -> list[tuple[str, object, object]]:
    pairs = [(key, getattr(was, key), getattr(now, key)) for key in keys]
    return [pair for pair in pairs if pair[1] != pair[2]]
