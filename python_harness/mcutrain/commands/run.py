"""``run``: an episode on its boards or any other runner, with its record and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcutrain.commands.options import (
    BatchOption,
    EpisodeArgument,
    ErrorsOption,
    InputOption,
    JsonOption,
    MethodOption,
    SchemeOption,
    WeightsOption,
    bars,
    console,
    load,
    log,
    method_options,
)
from mcutrain.episode.compare import Divergence
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.run import RunOptions, Watch, run_episode
from mcutrain.episode.runners import find_runner, make_target
from mcutrain.errors import MismatchError, UsageError
from mcutrain.paths import require_writable, results_directory
from mcutrain.report.html import write_report
from mcutrain.report.json_report import dump_records, write_json
from mcutrain.report.text import render_episode


def run(
    episode: EpisodeArgument,
    board: Annotated[
        list[str] | None,
        typer.Option(help="BOARD, BOARD@EMULATOR or host; may be repeated. The episode's own boards where not given."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Stop after this many steps of the schedule.")] = None,
    test: Annotated[int | None, typer.Option(min=0, help="Evaluate on only so many test samples.")] = None,
    golden_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps that the golden reference repeats; the episode's where not given.")
    ] = None,
    profile: Annotated[bool, typer.Option(help="Count instructions by operator.")] = True,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    batch: BatchOption = None,
    option: MethodOption = None,
    input_placement: InputOption = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the first step.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the adapt samples.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of order and stochastic rounding.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for report.html and records.json.")] = None,
    json: JsonOption = False,
) -> None:
    """Train an episode and hold its steps against golden; exit 1 where they differ."""
    changes = {"learning_rate": learning_rate, "epochs": epochs, "seed": seed, "input": input_placement}
    definition = load(episode, method_options(scheme, errors, weights, batch, option), changes)
    boards = tuple(board) if board else definition.boards
    for name in boards:
        find_runner(name)
    options = RunOptions(steps=steps, test=test, golden_steps=golden_steps, profile=profile)
    folder = results_folder(output, definition.name)
    prepared = prepare(definition)
    records: list[EpisodeRecord] = []
    divergences: list[Divergence] = []
    for name in boards:
        record, divergence = run_with_bars(prepared, name, options)
        records.append(record)
        if divergence is not None:
            divergences.append(divergence)
        if not json:
            console.print(render_episode(record))
    report = finish(records, folder, title=definition.name, json=json)
    if not json:
        console.print(f"report: {report}")
    if divergences:
        raise MismatchError("; ".join(str(divergence) for divergence in divergences))


def results_folder(output: Path | None, name: str) -> Path:
    """Where a run leaves its report and records. Raises UsageError, before anything runs for hours, where it cannot be written."""
    folder = output or results_directory() / name
    require_writable(
        folder, "give another --output" if output else "set MCUTRAIN_RESULTS to a folder of your own, or give --output"
    )
    return folder


def run_with_bars(prepared: PreparedEpisode, name: str, options: RunOptions) -> tuple[EpisodeRecord, Divergence | None]:
    """Run on the runner called ``name`` with progress bars on standard error."""
    image = prepared.image(steps=options.steps, test=options.test)
    asked = prepared.definition.golden_steps if options.golden_steps is None else options.golden_steps
    with bars() as bar:
        watch = Watch(
            on_line=bar.counter(f"{prepared.definition.name} on {name}", image.steps),
            on_golden_line=bar.counter("golden", min(asked, image.steps)) if asked else None,
        )
        return run_episode(prepared, make_target(prepared.plan, name), options, watch)


def finish(records: list[EpisodeRecord], folder: Path, *, title: str, json: bool) -> Path:
    """Write report.html and records.json, and print the records where --json asks for them; returns the report's path."""
    if not records:
        raise UsageError("no episode was run")
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "report.html"
    write_report(records, report, title=title)
    write_json(records, folder / "records.json")
    if json:
        typer.echo(dump_records(records), nl=False)
        log.print(f"report: {report}")
    return report
