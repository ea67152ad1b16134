"""When the buffers of the arena are alive: the moments at which their bytes are still needed, loops taken into account.

A buffer is alive from the step that writes it to the last one that reads it. What is alive as a loop begins its next round, because a step
of the body reads it before any writes it again, lives through the whole loop. A buffer that a program writes anew has another life, and
between two lives its bytes are anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcutrain.methods.training_graph import INPUT, TrainingGraph
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, Moment, Program, moments
from mcutrain.ops.steps import Step


class UnwrittenError(AssertionError):
    """A program reads what none of its steps has written: a pass, or a method, has put its steps in a wrong order."""


@dataclass(frozen=True)
class Life:
    """A buffer of the arena from the moment that writes it to the last that needs it, both included."""

    buffer: str
    first: int
    last: int


@dataclass(frozen=True)
class Alive:
    """What is alive round the moments of one program: before and after each, as sets of buffers; and all that its moments touch."""

    moments: tuple[Moment, ...]
    before: tuple[frozenset[str], ...]
    after: tuple[frozenset[str], ...]


def arena_roots(training: TrainingGraph, names: Sequence[str]) -> frozenset[str]:
    """The buffers of the arena behind these names."""
    found = (training.root(name) for name in names)
    return frozenset(name for name in found if training.buffers[name].region == "arena")


def touched(training: TrainingGraph, step: Step) -> frozenset[str]:
    """The buffers of the arena that a step reads or writes."""
    return arena_roots(training, (*step.reads(), *step.writes()))


def alive(training: TrainingGraph, program: Program, kept: Sequence[str] = ()) -> Alive:
    """Liveness of one program. kept: buffers that are read when it is over.

    Raises UnwrittenError where a step reads what nothing before it has written.
    """
    where = moments(program)
    reads = [arena_roots(training, moment.step.reads()) - frozenset(moment.starts) for moment in where]
    writes = [arena_roots(training, (*moment.step.writes(), *moment.starts)) for moment in where]
    before: list[frozenset[str]] = [frozenset()] * len(where)
    after: list[frozenset[str]] = [frozenset()] * len(where)
    end = arena_roots(training, kept)
    changed = True
    while changed:  # a loop that lies in a loop takes as many rounds more as it is deep
        changed = False
        for at in reversed(range(len(where))):
            follows = before[at + 1] if at + 1 < len(where) else end
            for back in where[at].ends:
                follows |= before[at - back]
            needed = (follows - writes[at]) | reads[at]
            changed |= (needed, follows) != (before[at], after[at])
            before[at], after[at] = needed, follows
    unwritten = (before[0] if where else end) - {INPUT}
    if unwritten:
        name = min(unwritten)
        reader = next((moment.step.name for moment, read in zip(where, reads, strict=True) if name in read), "its end")
        raise UnwrittenError(f"{reader} reads {name}, which no step has written before")
    return Alive(tuple(where), tuple(before), tuple(after))


@dataclass(frozen=True)
class Timeline:
    """The moments of all programs, one program behind the other, and the lives of all buffers on it."""

    moments: tuple[Moment, ...]
    programs: tuple[str, ...]
    lives: tuple[Life, ...]


def timeline(training: TrainingGraph, programs: Mapping[str, Program]) -> Timeline:
    """One axis for all that runs. An inference that is the beginning of ``sample`` needs no moments of its own."""
    shown: list[Moment] = []
    names: list[str] = []
    lives: list[Life] = []
    sample: Alive | None = None
    for name in (SAMPLE, UPDATE, INFER):
        program = programs.get(name)
        if not program:
            continue
        kept = training.results if name == INFER else ()
        found = alive(training, program, kept)
        if name == INFER and sample is not None and _begins(sample, found, arena_roots(training, kept), training):
            continue
        sample = found if name == SAMPLE else sample
        lives += _lives(training, found, kept, len(shown))
        shown += found.moments
        names += [name] * len(found.moments)
    return Timeline(tuple(shown), tuple(names), tuple(lives))


def _begins(sample: Alive, inference: Alive, results: frozenset[str], training: TrainingGraph) -> bool:
    """Whether ``sample`` begins with the very moments of an inference, and whatever lives in the latter lives in the former, too."""
    last = len(inference.moments) - 1
    prefix = sample.moments[: last + 1]
    if [moment.step for moment in prefix] != [moment.step for moment in inference.moments]:
        return False
    if any(moment.ends or moment.starts for moment in (*prefix, *inference.moments)):
        return False
    # The results must be there when the inference is over: written last, or still needed in the sample. What the last step only reads may
    # be written over by it.
    return results <= sample.after[last] | arena_roots(training, prefix[-1].step.writes())


def _lives(training: TrainingGraph, found: Alive, kept: Sequence[str], start: int) -> list[Life]:
    """The lives in one program, whose moments begin at ``start``."""
    since: dict[str, int] = {}
    lives: list[Life] = []
    for at, moment in enumerate(found.moments):
        for name in (*found.before[at], *touched(training, moment.step), *arena_roots(training, moment.starts)):
            since.setdefault(name, at)
        behind = found.before[at + 1] if at + 1 < len(found.moments) else arena_roots(training, kept)
        lives += [Life(name, start + since.pop(name), start + at) for name in sorted(since.keys() - behind)]
    return lives + [Life(name, start + first, start + len(found.moments) - 1) for name, first in sorted(since.items())]
