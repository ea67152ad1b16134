"""Rows of the tables over many records: what one board did on several emulators is one row.

Two records are one row where they differ in their emulator, and in counts that only one of the two has; in nothing else. A record whose
digest is another one has a row of its own, which says whose digest it does not share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord

_OF_THE_EMULATOR = frozenset({"runner", "emulator", "emulator_version", "wall_seconds"})
# One of two emulators may have none; where both count, they have to count the same.
_COUNTED = frozenset(
    name
    for name in EpisodeRecord.model_fields
    if name.startswith(("instructions_", "estimated_")) or name in ("supply_source", "operators", "functions")
)
# Of every step and operator: the digest and the plan's checksum stand for them.
_LONG = frozenset({"step_records", "arena_tensors", "operator_names", "operator_programs"})
_EQUAL = tuple(name for name in EpisodeRecord.model_fields if name not in _OF_THE_EMULATOR | _COUNTED | _LONG)
# What was to be done, as far as a record says it: the same of these should give the same digest anywhere.
_ASKED = (
    *("episode", "board", "method", "scheme", "error_mode", "weight_rounding", "options", "batch", "loss", "steps"),
    *("samples_adapt", "input_placement", "plan_crc32"),
)


@dataclass(frozen=True)
class Row:
    """One row. records: in their order, at least one; others: runners that did the same episode on this board to another digest."""

    records: tuple[EpisodeRecord, ...]
    others: tuple[str, ...] = ()

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
        """Whether the emulators agree: ``same digest``, ``other digest on renode``, or nothing where there is one alone."""
        if self.others:
            return f"other digest on {', '.join(self.others)}"
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
    return [Row(tuple(group), _others(group, groups)) for group in groups]


def _differ_in_emulator(a: EpisodeRecord, b: EpisodeRecord) -> bool:
    if a.runner == b.runner or any(getattr(a, name) != getattr(b, name) for name in _EQUAL):
        return False
    counts = ((getattr(a, name), getattr(b, name)) for name in _COUNTED)
    return all(of_a == of_b for of_a, of_b in counts if of_a and of_b)


def _others(group: Sequence[EpisodeRecord], groups: Sequence[Sequence[EpisodeRecord]]) -> tuple[str, ...]:
    record, own = group[0], {record.runner for record in group}
    found = [
        other.runner
        for another in groups
        for other in another
        if other.digest != record.digest
        and other.runner not in own
        and all(getattr(other, name) == getattr(record, name) for name in _ASKED)
    ]
    return tuple(dict.fromkeys(found))
