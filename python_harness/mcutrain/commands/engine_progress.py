"""What the commands that run many jobs say while they do."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mcutrain.commands.options import log
from mcutrain.interrupt import before_end
from mcutrain.report import wording
from mcutrain.sweep.engine import Done, Engine, Failure
from mcutrain.sweep.grid import word
from mcutrain.sweep.store import Store
from mcutrain.sweep.sweep import Pick

_MINUTE = 60
_HOUR = 3600


@contextmanager
def engine_with_progress(jobs: int | None, scheduler: str | None) -> Iterator[Engine]:
    """An engine that tells on standard error what has ended and how long the rest takes: a bar on a terminal, and a line a run."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    progress = Progress(*columns, console=log, transient=True, disable=not log.is_terminal)
    task = progress.add_task("runs", total=None, left="")

    def on_done(done: Done) -> None:
        said = "no estimate yet" if done.left_seconds is None else f"{_about(done.left_seconds)} left"
        progress.update(task, completed=done.done, total=done.total, left=said)
        name = f"{_name(done)}: {_result(done)}, {duration(done.seconds)}"
        log.print(f"[{done.done}/{done.total}] {name}" + ("" if log.is_terminal else f"; {said}"), soft_wrap=True)

    count = jobs or os.cpu_count() or 1
    engine = Engine(Store(), count, scheduler, on_done, lambda note: log.print(f"{note} ..."))
    with engine, progress, before_end(progress.stop):
        yield engine


def _name(done: Done) -> str:
    definition = done.job.definition
    options = definition["options"]
    said = [f"{key}={word(options[key])}" for key in ("scheme", "batch") if options.get(key) not in (None, 1)]
    said += [f"learning_rate={definition['learning_rate']:g}", f"seed={definition['seed']}", f"on {done.job.runner}"]
    said += ["validated"] if definition["data"]["evaluate"] == "validate" else []
    return " ".join([definition["name"], *said])


def _result(done: Done) -> str:
    result = done.result
    if isinstance(result, Failure):
        return f"failed: {result.error}"
    if done.job.profile:
        return f"{wording.plural(result.steps, 'step')} counted"
    if result.loss == "mse":
        return f"error {wording.value(result.mse_before or 0.0)} -> {wording.value(result.mse_after or 0.0)}"
    before, after = (
        "-" if value is None else wording.accuracy(value, result.samples_test)
        for value in (result.accuracy_before, result.accuracy_after)
    )
    return f"{before} -> {after}"


def duration(seconds: float) -> str:
    """``8 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"


def _about(seconds: float) -> str:
    return duration(seconds) if seconds < 1 else f"about {duration(seconds)}"


def tell_tried(tried: Pick) -> None:
    """How each value did on the validation part, on standard error."""
    log.print(f"{tried.episode}: {tried.key} {_scores(tried)}", soft_wrap=True)


def _scores(tried: Pick) -> str:
    return ", ".join(f"{word(c.value)}: {score_words(tried.of, c.scores)}" for c in tried.candidates)


def tell_pick(chosen: Pick) -> None:
    """What was chosen, and from what, on standard error."""
    values = "".join(f" {key}={word(value)}" for key, value in chosen.values.items())
    log.print(f"{chosen.episode}{values}: {chosen.key} {word(chosen.chosen.value)} ({_scores(chosen)})", soft_wrap=True)
    if chosen.is_at_edge:
        log.print(
            f"warning: {chosen.episode}{values}: {chosen.key} {word(chosen.chosen.value)} is the last value that was tried on its side; "
            "a better one may lie beyond",
            soft_wrap=True,
        )


def score_words(of: str, scores: Sequence[float]) -> str:
    """``62.7 %``, or of several seeds ``62.7 +- 1.2 %``: mean and sample standard deviation."""
    mean = statistics.fmean(scores)
    spread = statistics.stdev(scores) if len(scores) > 1 else None
    if of == "mse":
        return wording.value(mean) + (f" +- {wording.value(spread)}" if spread is not None else "")
    return f"{100 * mean:.1f}" + (f" +- {100 * spread:.1f}" if spread is not None else "") + " %"
