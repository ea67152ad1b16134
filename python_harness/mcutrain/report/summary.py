"""What a record says when it is read as a whole: verdict, notes, where the SRAM went. Every form of report uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report.limits import sram_limit
from mcutrain.report.wording import byte_count, count, plural


class Status(Enum):
    """Verdict over one episode. UNCHECKED: nothing failed, but the run was not held against golden."""

    PASS = "pass"  # noqa: S105 (a verdict)
    FAIL = "fail"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Verdict:
    """status, and why where it is not PASS."""

    status: Status
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class SramParts:
    """Measured SRAM in disjoint parts, bytes: other_static is data + bss without arena and trainable."""

    arena: int
    trainable: int
    other_static: int
    stack_peak: int
    free: int

    @property
    def used(self) -> int:
        """Sum of the parts in use, bytes."""
        return self.arena + self.trainable + self.other_static + self.stack_peak


def judge(record: EpisodeRecord) -> Verdict:
    """Pass or fail of one record: bit-exact to golden, inside SRAM and flash, stack inside its reserve.

    A record that says it matches golden without a single step compared is UNCHECKED: that match would be vacuous.
    """
    failures = []
    if record.matches_golden is False:
        failures.append("differs from golden")
    if 0 < record.sram_limit_bytes < record.sram_peak_bytes:  # 0: the host, which has no limit
        failures.append(f"SRAM peak {byte_count(record.sram_peak_bytes)} is over {byte_count(record.sram_limit_bytes)}")
    if 0 < record.flash_limit_bytes < record.flash_bytes:
        failures.append(f"flash {byte_count(record.flash_bytes)} is over {byte_count(record.flash_limit_bytes)}")
    stack, reserve = record.sram.stack_peak, record.sram.stack_reserve
    if stack > reserve:
        failures.append(f"stack peak {byte_count(stack)} is over its reserve of {byte_count(reserve)}")
    if failures:
        return Verdict(Status.FAIL, tuple(failures))
    if not held_against_golden(record):
        return Verdict(Status.UNCHECKED, ("not held against golden",))
    return Verdict(Status.PASS)


def golden_phrase(record: EpisodeRecord) -> str:
    """The comparison against golden in words, with the number of steps compared where it was not all of them."""
    if record.matches_golden is False:
        return "differs from golden"
    if not held_against_golden(record):
        return "not held against golden"
    if record.golden_steps < record.steps:
        return f"bit-exact to golden on {count(record.golden_steps)} of {count(record.steps)} steps"
    return "bit-exact to golden"


def sram_parts(record: EpisodeRecord) -> SramParts:
    """Split the measured SRAM of a record; nothing is negative even where the record does not add up (see `notes`).

    What is free is so of the limit that the record is held against, and 0 where there is none.
    """
    use, limit = record.sram, sram_limit(record)
    return SramParts(
        arena=use.arena,
        trainable=use.trainable,
        other_static=max(0, use.data + use.bss - use.arena - use.trainable),
        stack_peak=use.stack_peak,
        free=0 if limit is None else max(0, limit.size_bytes - record.sram_peak_bytes),
    )


def notes(record: EpisodeRecord) -> list[str]:
    """What a careful reader should know before trusting the figures; empty when there is nothing to say."""
    found = []
    used = sram_parts(record).used
    if used != record.sram_peak_bytes:
        found.append(
            f"The measured parts of SRAM sum to {byte_count(used)}, "
            f"but the record's peak is {byte_count(record.sram_peak_bytes)}."
        )
    if record.sram.stack_peak == 0:
        found.append("The stack was not measured (this runner has no stack of the board), so it is not in the peak.")
    limit = sram_limit(record)
    if limit is not None and not limit.own and record.sram_peak_bytes > limit.size_bytes:
        found.append(
            f"It would not fit {limit.board}: {byte_count(record.sram_peak_bytes)} of its {byte_count(limit.size_bytes)}."
        )
    recorded = len(record.step_records)
    if recorded not in (0, record.steps):
        found.append(f"The record holds {count(recorded)} of {count(record.steps)} steps.")
    bad = [step.n for step in record.step_records if not math.isfinite(step.loss)]
    if bad:
        found.append(f"The loss is not a finite number in {count(len(bad))} steps, first in step {bad[0]}.")
    return found


def wilson_interval(fraction: float, samples: int) -> tuple[float, float]:
    """95 % Wilson score interval of a fraction seen in `samples` independent trials, as fractions (low, high)."""
    if samples <= 0:
        return 0.0, 1.0
    z = 1.959964  # two-sided 95 % quantile of the normal distribution
    shrink = 1.0 + z * z / samples
    centre = (fraction + z * z / (2 * samples)) / shrink
    half = z / shrink * math.sqrt(fraction * (1 - fraction) / samples + z * z / (4 * samples * samples))
    # At 0 and 1 the exact bound is the fraction itself; rounding must not put it on the wrong side.
    return min(fraction, max(0.0, centre - half)), max(fraction, min(1.0, centre + half))


def headline(records: Sequence[EpisodeRecord]) -> str:
    """One sentence over all records: of how many episodes they are, how many pass, fail, are not checked."""
    if not records:
        return "No episodes."
    tally = [judge(record).status for record in records]
    said = [
        f"{count(tally.count(status))} {word}"
        for status, word in ((Status.PASS, "passed"), (Status.FAIL, "failed"), (Status.UNCHECKED, "not checked"))
        if tally.count(status)
    ]
    episodes = len({record.episode for record in records})
    what = plural(episodes, "episode")
    if len(records) > episodes:
        what = f"{count(len(records))} runs of {what}"
    return f"{what}: {', '.join(said)}."


def held_against_golden(record: EpisodeRecord) -> bool:
    """True when the run was compared with golden, and all that was compared is equal."""
    return record.matches_golden is True and (record.golden_steps > 0 or record.steps == 0)
