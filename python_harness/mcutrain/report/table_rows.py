"""Rows of the tables over many records: what one board did on several emulators is one row.

Two records are one row where they differ in their emulator, and in counts that only one of the two has; in nothing else. A record that has
another digest, or counts otherwise, has a row of its own, which says so and from whom it differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord

_OF_THE_EMULATOR = frozenset({"runner", "emulator", "emulator_version", "wall_seconds"})
# One of two emulators may have none; where both count, they have to count the same.
_COUNTED = frozenset(
    name
    for name in EpisodeRecord.model_fields
    if name.startswith(("instructions", "estimated_")) or name in ("supply_source", "operators", "functions")
)
# Of every step and operator: the digest and the plan's checksum stand for them.
_LONG = frozenset({"step_records", "arena_tensors", "operator_names", "operator_programs"})
_EQUAL = tuple(
    name for name in EpisodeRecord.model_fields if name not in _OF_THE_EMULATOR | _COUNTED | _LONG | {"settings"}
)
# The rest of the settings says how much was held against golden or profiled, and when and by what it was run.
_EQUAL_SETTINGS = ("definition", "model_sha256", "data_sha256", "input_scale", "input_zero_point")
# What was to be done, as far as a record says it: the same of these should give the same digest anywhere.
_ASKED = (
    *("episode", "board", "method", "scheme", "error_mode", "weight_rounding", "options", "batch", "loss", "steps"),
    *("samples_adapt", "input_placement", "plan_crc32"),
)


@dataclass(frozen=True)
class Row:
    """One row. records: in their order, at least one; differences: ``other digest on renode``, where that did the same on this board."""

    records: tuple[EpisodeRecord, ...]
    differences: tuple[str, ...] = ()

    @property
    def record(self) -> EpisodeRecord:
        """The record that the row shows: the first that has counts, or the first."""
        return next((record for record in self.records if record.instructions_per_step is not None), self.records[0])

    @property
    def runners(self) -> tuple[str, ...]:
        """``qemu``; of several each with its version: ``qemu 7.2.22``, ``renode 1.16.1``."""
        if len(self.records) == 1:
            return (self.records[0].runner,)
        return tuple(f"{record.runner} {record.emulator_version}".strip() for record in self.records)

    @property
    def agreement(self) -> str:
        """Whether the emulators agree: ``same digest``, the differences, or nothing where there is one alone."""
        if self.differences:
            return ", ".join(self.differences)
        return "same digest" if len(self.records) > 1 else ""


def table_rows(records: Sequence[EpisodeRecord]) -> list[Row]:
    """The rows of these records, each where its first record stands."""
    groups: list[list[EpisodeRecord]] = []
    for record in records:
        group = next((group for group in groups if all(_differ_in_emulator(record, other) for other in group)), None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    return [Row(tuple(group), _differences(group, groups)) for group in groups]


def _differ_in_emulator(a: EpisodeRecord, b: EpisodeRecord) -> bool:
    return a.runner != b.runner and _equal(a, b, _EQUAL) and _same_settings(a, b) and not _miscount(a, b)


def _equal(a: EpisodeRecord, b: EpisodeRecord, names: Iterable[str]) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _same_settings(a: EpisodeRecord, b: EpisodeRecord) -> bool:
    """Whether both were asked the same, as far as both say it: older records have no settings."""
    one, other = a.settings, b.settings
    return one is None or other is None or all(getattr(one, name) == getattr(other, name) for name in _EQUAL_SETTINGS)


def _miscount(a: EpisodeRecord, b: EpisodeRecord) -> bool:
    counts = ((getattr(a, name), getattr(b, name)) for name in _COUNTED)
    return any(of_a != of_b for of_a, of_b in counts if of_a and of_b)


def _differences(group: Sequence[EpisodeRecord], groups: Sequence[Sequence[EpisodeRecord]]) -> tuple[str, ...]:
    record, own = group[0], {record.runner for record in group}
    found = []
    for other in (other for another in groups for other in another if other.runner not in own):
        if not _equal(record, other, _ASKED) or not _same_settings(record, other):
            continue
        if other.digest != record.digest:
            found.append(f"other digest on {other.runner}")
        elif other.elf_sha256 == record.elf_sha256 and any(_miscount(member, other) for member in group):
            found.append(f"other counts on {other.runner}")
    return tuple(dict.fromkeys(found))
