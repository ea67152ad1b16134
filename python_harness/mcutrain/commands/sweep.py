"""``sweep``: many runs as one command, their records and one report."""

from __future__ import annotations

import json as json_module
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mcutrain.atomic import write_atomically
from mcutrain.commands.cycle_tables import plain_table
from mcutrain.commands.options import JsonOption, console, load, log
from mcutrain.commands.run import finish, results_folder
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.runners import find_runner
from mcutrain.errors import MismatchError, UsageError
from mcutrain.interrupt import before_end
from mcutrain.report import wording
from mcutrain.report.json_report import dump_records
from mcutrain.sweep.engine import Done, Engine, Failure
from mcutrain.sweep.grid import Axis, Point, parse_axis, parse_seeds, points_of, word
from mcutrain.sweep.store import Store
from mcutrain.sweep.sweep import HOST, Describer, Lost, Pick, Settings, Swept, pick, require_any
from mcutrain.sweep.sweep import sweep as run_sweep

_MINUTE = 60
_HOUR = 3600

JobsOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Processes of this machine; one a core where not given.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Workers of this Dask scheduler instead, e.g. tcp://10.0.0.5:8786."),
]


def sweep(
    episodes: Annotated[
        list[str], typer.Argument(metavar="EPISODE...", help="Names of episodes, or your own .yaml files.")
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=VALUE,VALUE",
            help="An axis: any key of an episode (learning_rate), its data (data.severity) or its method (scheme); may be repeated.",
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="1..5", help="Seeds: a range, or numbers with commas.")] = None,
    boards: Annotated[
        str | None,
        typer.Option(
            metavar="BOARD,BOARD", help="Whose memory and counts; host: of none. The episodes' own where not given."
        ),
    ] = None,
    pick_key: Annotated[
        str | None,
        typer.Option(
            "--pick", metavar="KEY", help="Choose this axis's value on validation samples, and test only that one."
        ),
    ] = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    steps: Annotated[
        int | None, typer.Option(min=0, help="Stop each run after this many steps of its schedule.")
    ] = None,
    test: Annotated[int | None, typer.Option(min=0, help="Evaluate on only so many test samples.")] = None,
    golden_steps: Annotated[int, typer.Option(min=0, help="Steps of each run that the golden reference repeats.")] = 5,
    check_steps: Annotated[
        int,
        typer.Option(
            min=1, help="Steps that a board runs of one point of each plan: counted, and held against the host's."
        ),
    ] = 20,
    output: Annotated[Path | None, typer.Option(help="Folder for report.html, records.json and sweep.json.")] = None,
    json: JsonOption = False,
) -> None:
    """Run every combination of episodes, values and seeds, and compare them in one report.

    Accuracies are computed by the host library, which has the boards' bits; memory and counts are those of each plan on each board. What
    was computed before is not computed again: start the same command after any interruption, and it goes on. Failures are listed and stop
    nothing.
    """
    axes = [parse_axis(text) for text in grid or ()]
    wanted = None if boards is None else _runners(boards)
    points = points_of([load(name) for name in episodes], axes, parse_seeds(seeds) if seeds else ())
    if pick_key is not None and pick_key not in [axis.key for axis in axes]:
        raise UsageError(f"--pick {pick_key}: give its values, --grid {pick_key}=VALUE,VALUE")
    if scheduler is not None and jobs is not None:
        raise UsageError("--scheduler has its own workers: leave out --jobs")
    folder = results_folder(output, "sweep")
    settings = Settings(wanted, steps, test, golden_steps, check_steps)
    describer = Describer()
    picks: list[Pick] = []
    failures: list[Lost] = []
    with engine_with_progress(jobs, scheduler) as engine:
        if pick_key is not None:
            log.print(f"choosing {pick_key} on validation samples: {wording.plural(len(points), 'run')}")
            points, picks, failures = pick(points, pick_key, settings, engine, describer)
            for chosen in picks:
                tell_pick(chosen)
        swept = run_sweep(points, settings, engine, describer)
    swept.failures[:0] = failures
    require_any(swept)
    records = [record for _, record in swept.records]
    report = finish(records, folder, title="mcutrain sweep", json=False)
    found = {**_document(swept, picks, axes), "computed": engine.tally.computed, "reused": engine.tally.reused}
    write_atomically(folder / "sweep.json", json_module.dumps(found, indent=1) + "\n", "the sweep's findings")
    if json:
        whole = {**json_module.loads(dump_records(records)), **found}
        typer.echo(json_module.dumps(whole, indent=1))
    else:
        _print(swept)
    (log if json else console).print(f"report: {report}", soft_wrap=True)
    for lost in swept.failures:
        log.print(f"failed: {lost.point.name} on {lost.runner}: {lost.failure.error}", soft_wrap=True)
    log.print(
        f"{wording.plural(engine.tally.computed, 'run')} computed, {engine.tally.reused} known before, {len(swept.failures)} failed; "
        f"{_checks(swept)}",
        soft_wrap=True,
    )
    wrong = [check for check in swept.spot_checks if not check.equal]
    if wrong:
        raise MismatchError(
            f"{wrong[0].point.name} on {wrong[0].board}: its first {wrong[0].steps} steps are not the host's; hold them against each "
            f"other: mcutrain verify {wrong[0].point.definition.name} --runners golden,host,{wrong[0].board}"
        )


def _runners(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if find_runner(name).board is None and name != HOST:
            raise UsageError(f"--boards {text!r}: {name} is no board")
        if names.count(name) > 1:
            raise UsageError(f"--boards {text!r}: {name} is given twice")
        if name != HOST:
            find_runner(name).counting()
    return names


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


def tell_pick(chosen: Pick) -> None:
    """What was chosen, and from what, on standard error."""
    tried = ", ".join(f"{word(c.value)}: {score_words(chosen.of, c.scores)}" for c in chosen.candidates)
    values = "".join(f" {key}={word(value)}" for key, value in chosen.values.items())
    log.print(f"{chosen.episode}{values}: {chosen.key} {word(chosen.chosen.value)} ({tried})", soft_wrap=True)
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


def _document(swept: Swept, picks: Sequence[Pick], axes: Sequence[Axis]) -> dict[str, Any]:
    return {
        "axes": {axis.key: list(axis.values) for axis in axes},
        "spot_checks": [
            {
                "episode": check.point.definition.name,
                "values": dict(check.point.values),
                "board": check.board,
                "steps": check.steps,
                "equal": check.equal,
            }
            for check in swept.spot_checks
        ],
        "failures": [_failure(lost) for lost in swept.failures],
        "picks": [
            {
                "episode": chosen.episode,
                "values": dict(chosen.values),
                "key": chosen.key,
                "of": chosen.of,
                "chosen": chosen.chosen.value,
                "is_at_edge": chosen.is_at_edge,
                "candidates": [
                    {"value": c.value, "scores": list(c.scores), "mean": c.mean, "standard_deviation": c.deviation}
                    for c in chosen.candidates
                ],
            }
            for chosen in picks
        ],
    }


def _failure(lost: Lost) -> Mapping[str, Any]:
    return {
        "episode": lost.point.definition.name,
        "values": dict(lost.point.values),
        "runner": lost.runner,
        "error": lost.failure.error,
    }


def _checks(swept: Swept) -> str:
    if not swept.spot_checks:
        return "no spot check on a board"
    equal = sum(check.equal for check in swept.spot_checks)
    steps = sum(check.steps for check in swept.spot_checks)
    return f"{equal} of {wording.plural(len(swept.spot_checks), 'spot check')} on boards have the host's bits ({steps:,} steps)"


def _print(swept: Swept) -> None:
    """One row for each episode, combination of values and board, over its seeds."""
    groups: dict[tuple[str, str, str], list[tuple[Point, EpisodeRecord]]] = {}
    for point, record in swept.records:
        values = ", ".join(f"{key}={word(value)}" for key, value in point.without("seed").items())
        groups.setdefault((point.definition.name, values, record.board), []).append((point, record))
    table = plain_table()
    table.add_column("episode", overflow="fold")
    if any(values for _, values, _ in groups):
        table.add_column("values", overflow="fold")
    table.add_column("board", no_wrap=True)
    for header in ("n", "before", "after", "peak SRAM, B", "est. Mcycles/step"):
        table.add_column(header, justify="right", no_wrap=True)
    for (episode, values, board), members in groups.items():
        records = [record for _, record in members]
        first = records[0]
        cycles = first.estimated_cycles_per_step
        table.add_row(
            episode,
            *([values] if len(table.columns) == 8 else []),
            board,
            str(len(records)),
            _over_seeds(records, "before"),
            _over_seeds(records, "after"),
            f"{max(record.sram_peak_bytes for record in records):,}",
            f"{cycles.total / 1e6:,.2f}" if cycles else "-",
        )
    console.print(table)


def _over_seeds(records: Sequence[EpisodeRecord], when: str) -> str:
    of = "mse" if records[0].loss == "mse" else "accuracy"
    scores = [getattr(record, f"{of}_{when}") for record in records]
    known = [score for score in scores if score is not None]
    return score_words(of, known) if known else "-"
