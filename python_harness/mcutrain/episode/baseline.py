"""Locked baselines: what an episode must do again, and why it was last allowed to change.

One JSON file an episode: in emulation/baselines for the project's own, ``mine.baseline.json`` beside a user's ``mine.yaml``. Digests,
accuracy or mean squared error, and memory must be equal everywhere; instruction counts, flash and stack belong to a compiler. A baseline
holds those of several, and each is compared only with what that very compiler built. Settings and trails say why figures differ, and where.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcutrain.atomic import write_atomically
from mcutrain.episode.locked_settings import LockedSettings, locked_settings
from mcutrain.episode.record import Amount, Bits, Count, EpisodeRecord, Fraction, PhaseCounts
from mcutrain.episode.trail import Trail
from mcutrain.errors import UsageError
from mcutrain.paths import BASELINES, EPISODES


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: object) -> bool:
    return not value


class CompilerFigures(_Strict):
    """The locked figures of one run that belong to the compiler of its firmware."""

    stack_peak_bytes: Count
    flash_bytes: Count
    instructions_per_step: PhaseCounts | None
    instructions_per_inference: Amount | None


class Locked(_Strict):
    """The locked figures of one run. steps and test say how much of the episode was run: the check runs as much.

    compilers: by the compiler's name and version, as a record has it. Classifiers have no mean squared error, and their files none.
    settings, plan_crc32: what made it; None in files of an mcutrain that did not lock them yet.
    """

    settings: LockedSettings | None = Field(default=None, exclude_if=_is_none)
    plan_crc32: Bits | None = Field(default=None, exclude_if=_is_none)
    steps: Count
    test: Count
    digest: Bits
    accuracy_before: Fraction | None
    accuracy_after: Fraction | None
    mse_before: Amount | None = Field(default=None, exclude_if=_is_none)
    mse_after: Amount | None = Field(default=None, exclude_if=_is_none)
    arena_bytes: Count
    trainable_bytes: Count
    static_bytes: Count
    compilers: dict[str, CompilerFigures]


class Change(_Strict):
    """When and why a baseline changed."""

    date: str
    reason: str


class Baseline(_Strict):
    """All locked runs of one episode, by board. trails: by the digest of the runs that left them."""

    episode: str
    runs: dict[str, Locked]
    trails: dict[Bits, Trail] = Field(default_factory=dict, exclude_if=_is_empty)
    changes: tuple[Change, ...]


# Compared on every machine, unlike how the run was made and what belongs to a compiler.
_HOW = ("settings", "plan_crc32", "steps", "test")
_EVERYWHERE = tuple(field for field in Locked.model_fields if field not in (*_HOW, "compilers"))


def lock(record: EpisodeRecord) -> Locked:
    """The figures of a record that a baseline keeps, with those of the one compiler that built it."""
    figures = CompilerFigures(
        stack_peak_bytes=record.sram.stack_peak,
        flash_bytes=record.flash_bytes,
        instructions_per_step=record.instructions_per_step,
        instructions_per_inference=record.instructions_per_inference,
    )
    return Locked(
        settings=locked_settings(record.settings) if record.settings else None,
        plan_crc32=record.plan_crc32,
        steps=record.steps,
        test=record.samples_test,
        digest=record.digest,
        accuracy_before=record.accuracy_before,
        accuracy_after=record.accuracy_after,
        mse_before=record.mse_before,
        mse_after=record.mse_after,
        arena_bytes=record.sram.arena,
        trainable_bytes=record.sram.trainable,
        static_bytes=record.sram.data + record.sram.bss,
        compilers={record.compiler: figures},
    )


def differences(locked: Locked, now: Locked) -> list[str]:
    """What is not as it was, one phrase each; empty where the run did what the baseline says.

    Figures of a compiler that has none locked are no difference: see `unlocked_figures`.
    """
    found = [phrase for field in _EVERYWHERE for phrase in _compare(field, locked, now)]
    for compiler, figures in now.compilers.items():
        if compiler in locked.compilers:
            was = locked.compilers[compiler]
            found += [phrase for field in CompilerFigures.model_fields for phrase in _compare(field, was, figures)]
    return found


def unlocked_figures(locked: Locked, now: Locked) -> list[str]:
    """The figures of each compiler that has none locked, in one line each; empty where all are compared."""
    return [
        f"none locked for {compiler}: {_describe(figures)} (locked for {' and '.join(locked.compilers) or 'no compiler'})"
        for compiler, figures in now.compilers.items()
        if compiler not in locked.compilers
    ]


def relock(known: Locked, now: Locked) -> tuple[Locked, tuple[str, ...]]:
    """``now``, with the figures that ``known`` has for other compilers, and the compilers whose figures are dropped.

    They are kept as long as the digest is what it was: with another one, their firmware would do other things than they were counted for.
    """
    others = {compiler: figures for compiler, figures in known.compilers.items() if compiler not in now.compilers}
    if known.digest != now.digest:
        return now, tuple(others)
    compilers = dict(sorted({**others, **now.compilers}.items()))
    return now.model_copy(update={"compilers": compilers}), ()


def _compare(field: str, was: BaseModel, now: BaseModel) -> list[str]:
    before, after = getattr(was, field), getattr(now, field)
    if before == after:
        return []
    if isinstance(before, PhaseCounts) and isinstance(after, PhaseCounts):
        pairs = ((phase, getattr(before, phase), getattr(after, phase)) for phase in PhaseCounts.model_fields)
        return [f"{field}.{phase}: {a:,.1f} -> {b:,.1f} ({_percent(a, b)})" for phase, a, b in pairs if a != b]
    return [f"{field}: {before} -> {after}"]


def _describe(figures: CompilerFigures) -> str:
    step, inference = figures.instructions_per_step, figures.instructions_per_inference
    counts = [f"{step.total:,.1f} instructions per step"] if step else []
    counts += [f"{inference:,.1f} per inference"] if inference is not None else []
    return ", ".join([*counts, f"flash {figures.flash_bytes:,} B", f"stack {figures.stack_peak_bytes:,} B"])


def _percent(was: float, is_now: float) -> str:
    return f"{100 * (is_now / was - 1):+.2f} %" if was else "new"


def baseline_path(episode: str, folder: Path = BASELINES) -> Path:
    """The file of an episode's baseline; episode: a name of the project's, or the .yaml file of a user, which has it beside it."""
    path = Path(episode)
    if path.suffix not in (".yaml", ".yml") or path.resolve().parent == EPISODES:
        return folder / f"{path.stem if path.suffix in ('.yaml', '.yml') else episode}.json"
    return path.with_name(f"{path.stem}.baseline.json")


def load_baseline(episode: str, folder: Path = BASELINES) -> Baseline:
    """Read a baseline. Raises UsageError where there is none or the file is broken."""
    path = baseline_path(episode, folder)
    if not path.is_file():
        name = shlex.quote(episode)
        raise UsageError(
            f"episode {episode} has no baseline yet; make one: mcutrain baseline update {name} --reason '...'"
        )
    try:
        return Baseline.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path.name} is not a baseline (key {key}: {first['msg']}); restore it from version control"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path.name} is not a baseline ({str(error).splitlines()[0]}); restore it from version control"
        ) from error


def save_baseline(
    episode: str,
    runs: dict[str, Locked],
    reason: str,
    folder: Path = BASELINES,
    trails: Mapping[str, Trail] | None = None,
) -> tuple[str, ...]:
    """Write the runs into the episode's baseline, keeping other boards' runs, other compilers' figures and the history of changes.

    trails: of these runs, by digest; what no locked run left any more is dropped. Returns what was dropped of the figures, one phrase each:
    those of other compilers where a digest has changed (`relock`).
    """
    path = baseline_path(episode, folder)
    known = (
        load_baseline(episode, folder) if path.exists() else Baseline(episode=Path(episode).stem, runs={}, changes=())
    )
    merged = dict(known.runs)
    dropped: list[str] = []
    for where, now in runs.items():
        merged[where], lost = relock(known.runs[where], now) if where in known.runs else (now, ())
        dropped += [
            f"{episode} on {where}: the figures of {compiler}, for which the digest was another" for compiler in lost
        ]
    change = Change(date=datetime.now(UTC).date().isoformat(), reason=reason)
    left = {run.digest for run in merged.values()}
    kept = {digest: trail for digest, trail in sorted({**known.trails, **(trails or {})}.items()) if digest in left}
    saved = Baseline(
        episode=known.episode, runs=dict(sorted(merged.items())), trails=kept, changes=(*known.changes, change)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(saved.model_dump(), indent=2) + "\n", "baseline")
    return tuple(dropped)


def baseline_names(folder: Path = BASELINES) -> tuple[str, ...]:
    """Episodes that have a baseline."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))
