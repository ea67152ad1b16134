"""Records that differ in their seed alone, as one entry: mean, sample standard deviation and n."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report.labels import SEEDS, Labels, facts, labels_of
from mcutrain.report.table_rows import Row, table_rows

WHAT_SPREAD_IS = "± is the sample standard deviation over the n seeds of an entry; no interval is claimed."


@dataclass(frozen=True)
class Spread:
    """Mean of n values, and their sample standard deviation (divided by n - 1; None for one value)."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True)
class Entry:
    """What a page holds against each other: the rows of one or of several seeds, and what to call it.

    key: its anchor in the page. labels: of each row within the entry, by its seed.
    """

    key: str
    label: str
    rows: tuple[Row, ...]
    labels: tuple[str, ...]

    @property
    def records(self) -> tuple[EpisodeRecord, ...]:
        """The record that each row shows."""
        return tuple(row.record for row in self.rows)

    @property
    def first(self) -> EpisodeRecord:
        """A record for what all of them have in common."""
        return self.rows[0].record

    @property
    def seeds(self) -> int:
        """How many seeds there are; 1 where a record stands alone."""
        return len(self.rows)

    def spread(self, of: Callable[[EpisodeRecord], float | None]) -> Spread | None:
        """Over the seeds; None where one of them has no such figure."""
        values = [value for value in map(of, self.records) if value is not None]
        return spread(values) if len(values) == len(self.rows) else None


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    n = len(values)
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Spread(mean, deviation, n)


def entries_of(records: Sequence[EpisodeRecord]) -> tuple[tuple[Entry, ...], Labels]:
    """The entries, each where its first record stands, and their labels."""
    rows = table_rows(records)
    groups = _groups(rows)
    labels = labels_of([rows[group[0]].record for group in groups], [len(group) > 1 for group in groups])
    entries = tuple(
        Entry(f"entry-{n}", text, tuple(rows[i] for i in group), labels_of([rows[i].record for i in group]).texts)
        for n, (group, text) in enumerate(zip(groups, labels.texts, strict=True))
    )
    return entries, labels


@dataclass(frozen=True)
class _Seeded:
    """A row, the seed of its order and rounding, and its data: their own seed and hash."""

    row: int
    seed: object
    data: tuple[object, str]


def _groups(rows: Sequence[Row]) -> list[list[int]]:
    """Numbers of the rows that differ in their seed alone, each group where its first row stands."""
    alike: dict[str, list[_Seeded]] = {}
    groups: list[list[int]] = []
    for i, record in enumerate(row.record for row in rows):
        known = facts(record)
        seed, data_seed = (known.pop(key, None) for key in SEEDS)
        settings = record.settings
        if seed is None or settings is None:
            groups.append([i])
            continue
        asked = json.dumps([known, settings.model_sha256, settings.tool_version], sort_keys=True, default=str)
        alike.setdefault(asked, []).append(_Seeded(i, seed, (data_seed, settings.data_sha256)))
    for members in alike.values():
        for same_data in _by_data(members):
            groups += _by_seed(same_data)
    return sorted(groups)


def _by_data(members: Sequence[_Seeded]) -> list[list[_Seeded]]:
    """Members on the same data; data that vary with the seed, each seed with its own, are no difference."""
    pairs = {(member.seed, member.data) for member in members}
    seeds, data = {seed for seed, _ in pairs}, {data for _, data in pairs}
    if len(pairs) == len(seeds) == len(data) == len({seed for seed, _ in data}):
        return [list(members)]
    parts: dict[tuple[object, str], list[_Seeded]] = {}
    for member in members:
        parts.setdefault(member.data, []).append(member)
    return list(parts.values())


def _by_seed(members: Sequence[_Seeded]) -> list[list[int]]:
    """One group of distinct seeds. A second run of the same seed stands alone: it is no other seed."""
    firsts: dict[object, int] = {}
    alone = []
    for member in members:
        if firsts.setdefault(member.seed, member.row) != member.row:
            alone.append([member.row])
    return [list(firsts.values()), *alone]
