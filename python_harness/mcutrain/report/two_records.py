"""Two records held against each other: what changed in settings, bits, accuracy, bytes, and work by phase and operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mcutrain.episode.record import EpisodeRecord, PhaseCounts, StepRecord
from mcutrain.episode.settings import settings_differences
from mcutrain.report import wording
from mcutrain.report.labels import facts, labels_of
from mcutrain.report.summary import sram_parts

Unit = Literal["fraction", "value", "bytes", "count", "instructions", "cycles", "mJ"]

_PER_STEP: tuple[tuple[str, Unit], ...] = (("instructions", "instructions"), ("estimated_cycles", "cycles"))


@dataclass(frozen=True)
class Change:
    """A figure of both records; None where one lacks it."""

    what: str
    unit: Unit
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """Of the second over the first."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def is_equal(self) -> bool:
        """Whether both have the same, or none."""
        return self.a == self.b


@dataclass(frozen=True)
class StepDifference:
    """The first step that is another: its number, and (key, first, second) for each of its keys that differ."""

    n: int
    keys: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Comparison:
    """What two records differ in; equal figures are in it too, but for operators.

    settings: one phrase each. settings_known: whether both records say all of them. bits: equal, differ from step (first_step), or
    cannot be compared (why). operators, operator_cycles: changed instructions and estimated cycles, the largest first, where both count.
    """

    names: tuple[str, str]
    settings: tuple[str, ...]
    settings_known: bool
    same_bits: bool
    digests: tuple[str, str]
    compared_steps: int
    first_step: StepDifference | None
    accuracy: tuple[Change, ...]
    memory: tuple[Change, ...]
    work: tuple[Change, ...]
    operators: tuple[Change, ...]
    operator_cycles: tuple[Change, ...]

    def document(self) -> dict[str, Any]:
        """Of --json."""

        def entries(changes: Sequence[Change]) -> list[dict[str, Any]]:
            return [{"what": c.what, "unit": c.unit, "a": c.a, "b": c.b, "difference": c.difference} for c in changes]

        step = self.first_step
        return {
            "schema_version": 1,
            "a": self.names[0],
            "b": self.names[1],
            "settings": list(self.settings),
            "settings_known": self.settings_known,
            "bits": {
                "equal": self.same_bits,
                "digest": list(self.digests),
                "compared_steps": self.compared_steps,
                "first_step": None
                if step is None
                else {"n": step.n, "keys": [{"key": key, "a": a, "b": b} for key, a, b in step.keys]},
            },
            **{
                name: entries(getattr(self, name))
                for name in ("accuracy", "memory", "work", "operators", "operator_cycles")
            },
        }


def compare_records(a: EpisodeRecord, b: EpisodeRecord) -> Comparison:
    """Hold ``b`` against ``a``."""
    names = labels_of([a, b]).texts
    known = a.settings is not None and b.settings is not None
    compared, first = _first_step(a.step_records, b.step_records)
    return Comparison(
        names=(names[0], names[1]),
        settings=tuple(_settings(a, b)),
        settings_known=known,
        same_bits=a.digest == b.digest and a.steps == b.steps,
        digests=(a.digest, b.digest),
        compared_steps=compared,
        first_step=first,
        accuracy=_figures(a, b, _MEASURES),
        memory=_memory(a, b),
        work=_work(a, b),
        operators=_operators(a, b, "instructions"),
        operator_cycles=_operators(a, b, "cycles"),
    )


def _settings(a: EpisodeRecord, b: EpisodeRecord) -> list[str]:
    """Where it ran and with what, then the settings; of records without settings, what they say themselves."""
    own = ("episode", "board", "runner", "emulator_version", "compiler", "compiler_flags")
    found = [f"{key}: {getattr(a, key)} -> {getattr(b, key)}" for key in own if getattr(a, key) != getattr(b, key)]
    if a.settings is not None and b.settings is not None:
        skipped = ("name: ", "description: ", "boards: ")
        return found + [p for p in settings_differences(a.settings, b.settings) if not p.startswith(skipped)]
    was, now = facts(a), facts(b)
    keys = [key for key in was if key in now and key not in own and was[key] != now[key]]
    return found + [f"{key}: {was[key]} -> {now[key]}" for key in keys]


def _first_step(a: Sequence[StepRecord], b: Sequence[StepRecord]) -> tuple[int, StepDifference | None]:
    """How many steps both have, and the first of them that differs."""
    keys = ("loss_bits", "prediction", "digest")
    for one, other in zip(a, b, strict=False):
        differing = tuple(
            (key, str(getattr(one, key)), str(getattr(other, key)))
            for key in keys
            if getattr(one, key) != getattr(other, key)
        )
        if differing:
            return min(len(a), len(b)), StepDifference(one.n, differing)
    return min(len(a), len(b)), None


_MEASURES: tuple[tuple[str, Unit, str], ...] = (
    ("accuracy before", "fraction", "accuracy_before"),
    ("accuracy after", "fraction", "accuracy_after"),
    ("mean squared error before", "value", "mse_before"),
    ("mean squared error after", "value", "mse_after"),
)


def _figures(a: EpisodeRecord, b: EpisodeRecord, rows: Sequence[tuple[str, Unit, str]]) -> tuple[Change, ...]:
    found = [Change(what, unit, getattr(a, key), getattr(b, key)) for what, unit, key in rows]
    return tuple(change for change in found if change.a is not None or change.b is not None)


def _memory(a: EpisodeRecord, b: EpisodeRecord) -> tuple[Change, ...]:
    parts = sram_parts(a), sram_parts(b)
    rows: list[tuple[str, float, float]] = [("SRAM peak", a.sram_peak_bytes, b.sram_peak_bytes)]
    for what, key in (
        ("arena", "arena"),
        ("trainable state", "trainable"),
        ("other static data", "other_static"),
        ("stack peak", "stack_peak"),
    ):
        rows.append((f"SRAM, {what}", getattr(parts[0], key), getattr(parts[1], key)))
    rows.append(("flash", a.flash_bytes, b.flash_bytes))
    changes = [Change(what, "bytes", was, now) for what, was, now in rows if was or now]
    trained = Change("trained parameters", "count", a.trained_parameters, b.trained_parameters)
    return (*changes, *([] if trained.a is None and trained.b is None else [trained]))


def _work(a: EpisodeRecord, b: EpisodeRecord) -> tuple[Change, ...]:
    """Of a step: by phase, the largest changes first, behind the sum of each kind of count; then an inference, and energy."""
    found: list[Change] = []
    for kind, unit in _PER_STEP:
        counts = [getattr(record, f"{kind}_per_step") for record in (a, b)]
        if counts == [None, None]:
            continue
        name = "estimated cycles" if unit == "cycles" else "instructions"
        sides = [_parts(each) for each in counts]
        phases = [Change(f"{name}, {key}", unit, *(side.get(key) for side in sides)) for key in sides[0] or sides[1]]
        whole = Change(f"{name} of a step", unit, *(each.whole if each else None for each in counts))
        found += [whole, *sorted(phases, key=lambda change: -abs(change.difference or 0.0))]
    rows: tuple[tuple[str, Unit, str], ...] = (
        ("instructions of an inference", "instructions", "instructions_per_inference"),
        ("estimated cycles of an inference", "cycles", "estimated_cycles_per_inference"),
        ("estimated energy of a step", "mJ", "estimated_millijoules_per_step"),
    )
    return (*found, *_figures(a, b, rows))


def _parts(counts: PhaseCounts | None) -> dict[str, float]:
    return {} if counts is None else counts.parts()


def _operators(a: EpisodeRecord, b: EpisodeRecord, unit: Unit) -> tuple[Change, ...]:
    """Those whose work changed, or that only one of both has where both count."""
    key = "estimated_cycles" if unit == "cycles" else "instructions"
    counts = ({row.name: getattr(row, key) for row in record.operators} for record in (a, b))
    was, now = ({name: count for name, count in side.items() if count is not None} for side in counts)
    if not was or not now:
        return ()
    changes = [Change(name, unit, was.get(name), now.get(name)) for name in dict.fromkeys([*was, *now])]
    changed = [change for change in changes if not change.is_equal]
    return tuple(sorted(changed, key=lambda c: -abs((c.b or 0.0) - (c.a or 0.0))))


def written(change: Change, value: float | None) -> str:
    """A figure of either side."""
    if value is None:
        return "-"
    match change.unit:
        case "fraction":
            return f"{100 * value:.2f} %"
        case "value":
            return wording.value(value)
        case "mJ":
            return f"{value:,.3g} mJ"
        case "cycles":
            return wording.count(round(value))
        case "bytes":
            return wording.byte_count(round(value))
        case _:
            return wording.count(value)


def difference_words(change: Change) -> str:
    """The change, with what it is of the first; or which side alone has the figure."""
    difference = change.difference
    if difference is None:
        return "only in A" if change.b is None else "only in B"
    if difference == 0:
        return "equal"
    match change.unit:
        case "fraction":
            return f"{100 * difference:+.2f} points"
        case "value" | "mJ":
            text = f"{difference:+.3g}"
        case "cycles":
            text = f"{round(difference):+,}"
        case _:
            text = f"{difference:+,.0f}" if difference == int(difference) else f"{difference:+,.1f}"
    return f"{text} ({100 * difference / change.a:+.1f} %)" if change.a else text


def bits_words(comparison: Comparison) -> str:
    """Whether both left the same bits, and where they part, in one sentence."""
    a, b = comparison.digests
    step = comparison.first_step
    if comparison.same_bits and step is None:
        return f"Same bits in every step: digest {a}."
    if step is not None:
        changed = "; ".join(f"{key.replace('_', ' ')} {was} -> {now}" for key, was, now in step.keys)
        return f"Digest {a} -> {b}. The first step that differs is step {step.n}: {changed}."
    if comparison.compared_steps == 0:
        return f"Digest {a} -> {b}. Steps were not kept, so the first that differs is not known."
    return f"Digest {a} -> {b}. The {wording.plural(comparison.compared_steps, 'step')} that both have are equal; one ran longer."
