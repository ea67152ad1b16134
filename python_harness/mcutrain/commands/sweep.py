"""``sweep``: many runs as one command, their records and one report."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mcutrain.atomic import write_atomically
from mcutrain.commands.cycle_tables import plain_table
from mcutrain.commands.engine_progress import engine_with_progress, score_words, tell_pick
from mcutrain.commands.options import JsonOption, ResultsOption, console, load, log
from mcutrain.commands.run import finish
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.runners import HOST, find_runner
from mcutrain.errors import MismatchError, UsageError
from mcutrain.report import wording
from mcutrain.report.json_report import dump_records
from mcutrain.results import results_folder
from mcutrain.sweep.grid import Axis, Point, parse_axis, parse_seeds, points_of, word
from mcutrain.sweep.sweep import Describer, Lost, Pick, Settings, Swept, pick, require_any
from mcutrain.sweep.sweep import sweep as run_sweep

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
    output: ResultsOption = None,
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
            if not picks:
                require_any(Swept(failures=failures))
                raise UsageError(f"--pick {pick_key}: no run has a score to choose by: nothing is evaluated")
        swept = run_sweep(points, settings, engine, describer)
    swept.failures[:0] = failures
    require_any(swept)
    records = [record for _, record in swept.records]
    found = {**_document(swept, picks, axes), "computed": engine.tally.computed, "reused": engine.tally.reused}

    def write_findings(into: Path) -> None:
        write_atomically(into / "sweep.json", json_module.dumps(found, indent=1) + "\n", "the sweep's findings")

    report = finish(records, folder, title="mcutrain sweep", json=False, also=write_findings)
    if json:
        whole = {**json_module.loads(dump_records(records)), **found}
        typer.echo(json_module.dumps(whole, indent=1))
    else:
        _print(swept)
    (log if json else console).print(f"report: {report}", soft_wrap=True)
    for point, record in _once(swept):
        for warning in record.observations.warnings if record.observations else ():
            log.print(f"warning: {point.name}: {warning}", soft_wrap=True)
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


def _once(swept: Swept) -> list[tuple[Point, EpisodeRecord]]:
    """One record of each point: those of its boards say the same of the run."""
    return list({id(point): (point, record) for point, record in swept.records}.values())


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
                "samples": chosen.samples,
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
