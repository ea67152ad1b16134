"""What to call each of several records: by what differs between them, and nothing else.

Facts are what was asked for: where it ran, the method and its options, the keys of the episode's definition. Results are no facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.settings import leaves
from mcutrain.report import wording

SEPARATOR = " · "
_LONGEST_VALUE = 48

# Of a key's name in a label; a value that says by itself what it is has none.
_PLAIN = frozenset({"episode", "board", "runner", "method"})
_NAMES = {
    "error_mode": "errors",
    "weight_rounding": "weights",
    "samples_adapt": "adapt samples",
    "samples_test": "test samples",
    "data.set": "set",
    "data.file": "data",
    "data.shift": "shift",
    "data.severity": "severity",
    "data.targets": "targets",
    "data.pixel_scale": "pixel scale",
}
# The definition's keys that are words, or that the record has itself, as it was used.
_NOT_ASKED = frozenset(
    {"name", "description", "boards", "method", "input", "steps", "golden_steps", "data.adapt", "data.test"}
)
SEEDS = ("seed", "data.seed")
_EXPLAINED_BY = {
    "steps": ("epochs", "adapt samples"),
    "runner": ("board",),
    "input": ("board",),
    "data.seed": ("seed",),
}
# What tells two records apart only where all that was asked for is the same, each alone.
_LAST = ("data_sha256", "model_sha256", "tool_version", "emulator_version", "compiler", "git_revision", "digest")


@dataclass(frozen=True)
class Labels:
    """texts: one a record, in their order, no two the same. common: what all have in common, key and value, for one sentence.

    with_episode: keys that differ where the episode does, and only there, so that its name stands for them.
    """

    texts: tuple[str, ...]
    common: tuple[tuple[str, str], ...]
    with_episode: tuple[str, ...] = ()


def facts(record: EpisodeRecord) -> dict[str, Any]:
    """What was asked for, by short names, in the order in which it is said. A key that the record does not state is not in it."""
    found: dict[str, Any] = {
        "episode": record.episode,
        "board": record.board,
        "runner": record.runner,
        "method": record.method,
        "scheme": record.scheme,
        "error_mode": record.error_mode,
        "weight_rounding": record.weight_rounding,
        "batch": record.batch,
    }
    own = {"scheme", "errors", "weights", "batch"}
    found.update({key: value for key, value in leaves(record.options) if key not in own})
    if record.input_placement is not None:
        found["input"] = record.input_placement
    found.update({key: getattr(record, key) for key in ("steps", "samples_adapt", "samples_test")})
    if record.settings is not None:
        for key, value in leaves(record.settings.definition):
            if key not in _NOT_ASKED and not key.startswith("options."):
                found[key] = value
    return {_NAMES.get(key, key.replace("_", " ")): value for key, value in found.items()}


def labels_of(records: Sequence[EpisodeRecord], over_seeds: Sequence[bool] = ()) -> Labels:
    """Labels for these records beside each other. over_seeds: for each, whether it stands for many seeds, so that its own is not said."""
    known = [facts(record) for record in records]
    for each, many in zip(known, over_seeds, strict=False):
        for key in SEEDS if many else ():
            each.pop(key, None)
    keys = sorted(dict.fromkeys(key for each in known for key in each), key=lambda key: key == "seed")  # seeds last
    differing = [key for key in keys if len(_values(known, key)) > 1]
    with_episode = [key for key in differing if "episode" in differing and _comes_with_episode(known, key)]
    said = [key for key in _without_followers(known, differing) if key not in with_episode]
    shared = [key for key in keys if key not in differing and all(key in each for each in known)]
    common = tuple((key, _word(key, known[0][key])) for key in shared)
    return Labels(_texts(records, known, said), common, tuple(with_episode))


def _values(known: Sequence[Mapping[str, Any]], key: str) -> set[str]:
    """The values that are stated."""
    return {_exact(each, key) for each in known if key in each}


def _exact(each: Mapping[str, Any], key: str) -> str:
    """A value to compare, of any JSON type."""
    return f"{type(each[key]).__name__} {each[key]!r}"


def _follows(known: Sequence[Mapping[str, Any]], key: str, leader: str) -> bool:
    """Whether records with the same ``leader`` have the same ``key``, as far as they state both."""
    pairs = {(_exact(each, leader), _exact(each, key)) for each in known if leader in each and key in each}
    return len(pairs) == len({leading for leading, _ in pairs})


def _comes_with_episode(known: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether the name of the episode stands for the key. A board is always said: the same episode runs on any."""
    return key not in ("episode", "board") and _follows(known, key, "episode")


def _without_followers(known: Sequence[Mapping[str, Any]], differing: Sequence[str]) -> list[str]:
    """Leave out what differs only together with something that is said already."""
    left = []
    for key in differing:
        leaders = [leader for leader in _EXPLAINED_BY.get(key, ()) if leader in differing]
        if not any(_follows(known, key, leader) for leader in leaders):
            left.append(key)
    return left


def _texts(
    records: Sequence[EpisodeRecord], known: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> tuple[str, ...]:
    texts = [SEPARATOR.join(_part(key, each[key]) for key in keys if key in each) for each in known]
    # Where nothing that was asked for differs, the name is the episode's.
    texts = [text or wording.printable(record.episode) for text, record in zip(texts, records, strict=True)]
    for key in _LAST:
        if len(set(texts)) == len(texts):
            return tuple(texts)
        values = [_last_fact(record, key) for record in records]
        texts = [
            f"{text}{SEPARATOR}{key.removesuffix('_sha256').replace('_', ' ')} {value}"
            if value and any(t == text and v not in ("", value) for t, v in zip(texts, values, strict=True))
            else text
            for text, value in zip(texts, values, strict=True)
        ]
    return tuple(_numbered(texts))


def _last_fact(record: EpisodeRecord, key: str) -> str:
    holder = record if key in EpisodeRecord.model_fields else record.settings
    value = str(getattr(holder, key, ""))
    return wording.printable(value[:8] if key.endswith(("_sha256", "revision")) else value)


def _numbered(texts: Iterable[str]) -> list[str]:
    """Of records that differ in nothing that is known, the second and later ones get a number."""
    taken: set[str] = set()
    found = []
    for text in texts:
        name, number = text, 1
        while name in taken:
            number += 1
            name = f"{text}{SEPARATOR}#{number}"
        taken.add(name)
        found.append(name)
    return found


def _part(key: str, value: Any) -> str:
    return _word(key, value) if key in _PLAIN else f"{wording.printable(key)} {_word(key, value)}"


def _word(key: str, value: Any) -> str:
    """A value as it is said; long ones by their beginning and their end."""
    if value is None or value == "":
        text = "none"
    elif isinstance(value, bool):
        text = "on" if value else "off"
    elif isinstance(value, float):
        text = f"{value:g}"
    elif key in ("model", "data") and isinstance(value, str):
        text = PurePath(value).name
    else:
        text = str(value)
    text = wording.printable(text)
    half = (_LONGEST_VALUE - 1) // 2
    return text if len(text) <= _LONGEST_VALUE else f"{text[:half]}…{text[-half:]}"
