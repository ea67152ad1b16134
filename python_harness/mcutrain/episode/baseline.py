"""Locked baselines: what an episode must do again, and why it was last allowed to change.

One JSON file an episode in emulation/baselines. Digests, accuracy and memory must be equal everywhere; instruction counts, flash and stack
belong to one compiler and are compared only where the compiler is the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mcutrain.atomic import write_atomically
from mcutrain.episode.record import EpisodeRecord, PhaseCounts
from mcutrain.errors import UsageError
from mcutrain.paths import BASELINES


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Locked(_Strict):
    """The locked figures of one run. steps and test say how much of the episode was run: the check runs as much."""

    steps: int
    test: int
    digest: str
    accuracy_before: float | None
    accuracy_after: float | None
    arena_bytes: int
    trainable_bytes: int
    static_bytes: int
    compiler: str
    stack_peak_bytes: int
    flash_bytes: int
    instructions_per_step: PhaseCounts | None
    instructions_per_inference: float | None


class Change(_Strict):
    """When and why a baseline changed."""

    date: str
    reason: str


class Baseline(_Strict):
    """All locked runs of one episode, by board."""

    episode: str
    runs: dict[str, Locked]
    changes: tuple[Change, ...]


# Compared on every machine / only under the compiler that the figures were made with.
_EVERYWHERE = ("digest", "accuracy_before", "accuracy_after", "arena_bytes", "trainable_bytes", "static_bytes")
_SAME_COMPILER = ("stack_peak_bytes", "flash_bytes", "instructions_per_step", "instructions_per_inference")


def lock(record: EpisodeRecord) -> Locked:
    """The figures of a record that a baseline keeps."""
    return Locked(
        steps=record.steps,
        test=record.samples_test,
        digest=record.digest,
        accuracy_before=record.accuracy_before,
        accuracy_after=record.accuracy_after,
        arena_bytes=record.sram.arena,
        trainable_bytes=record.sram.trainable,
        static_bytes=record.sram.data + record.sram.bss,
        compiler=record.compiler,
        stack_peak_bytes=record.sram.stack_peak,
        flash_bytes=record.flash_bytes,
        instructions_per_step=record.instructions_per_step,
        instructions_per_inference=record.instructions_per_inference,
    )


def differences(locked: Locked, now: Locked) -> list[str]:
    """What is not as it was, one phrase each; empty where the run did what the baseline says."""
    found = []
    fields = _EVERYWHERE + (_SAME_COMPILER if locked.compiler == now.compiler else ())
    for field in fields:
        was, is_now = getattr(locked, field), getattr(now, field)
        if was == is_now:
            continue
        if isinstance(was, PhaseCounts) and isinstance(is_now, PhaseCounts):
            pairs = ((phase, getattr(was, phase), getattr(is_now, phase)) for phase in PhaseCounts.model_fields)
            found += [f"{field}.{phase}: {a:,.1f} -> {b:,.1f} ({_percent(a, b)})" for phase, a, b in pairs if a != b]
        else:
            found.append(f"{field}: {was} -> {is_now}")
    return found


def _percent(was: float, is_now: float) -> str:
    return f"{100 * (is_now / was - 1):+.2f} %" if was else "new"


def baseline_path(episode: str, folder: Path = BASELINES) -> Path:
    """The file of an episode's baseline."""
    return folder / f"{episode}.json"


def load_baseline(episode: str, folder: Path = BASELINES) -> Baseline:
    """Read a baseline. Raises UsageError where there is none or the file is broken."""
    path = baseline_path(episode, folder)
    if not path.is_file():
        raise UsageError(
            f"episode {episode} has no baseline yet; make one: mcutrain baseline update {episode} --reason '...'"
        )
    try:
        return Baseline.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise UsageError(
            f"{path.name} is not a baseline ({str(error).splitlines()[0]}); restore it from version control"
        ) from error


def save_baseline(episode: str, runs: dict[str, Locked], reason: str, folder: Path = BASELINES) -> Path:
    """Write the runs into the episode's baseline, keeping other boards' runs and the history of changes."""
    path = baseline_path(episode, folder)
    known = load_baseline(episode, folder) if path.exists() else Baseline(episode=episode, runs={}, changes=())
    change = Change(date=datetime.now(UTC).date().isoformat(), reason=reason)
    merged = Baseline(
        episode=episode, runs=dict(sorted({**known.runs, **runs}.items())), changes=(*known.changes, change)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(merged.model_dump(), indent=2) + "\n", "baseline")
    return path


def baseline_names(folder: Path = BASELINES) -> tuple[str, ...]:
    """Episodes that have a baseline."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))
