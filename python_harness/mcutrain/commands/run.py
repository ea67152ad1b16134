"""``run``: an episode on its boards or any other runner, with its record and report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mcutrain.commands.engine_progress import engine_with_progress, tell_tried
from mcutrain.commands.options import (
    BatchOption,
    ErrorsOption,
    InputOption,
    JsonOption,
    MethodOption,
    ResultsOption,
    SchemeOption,
    WeightsOption,
    bars,
    console,
    load,
    log,
    method_options,
)
from mcutrain.episode.compare import Divergence
from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.observe import observe_input
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.repeat import as_shipped, repetition_of, result_differences
from mcutrain.episode.run import RunOptions, Watch, run_episode
from mcutrain.episode.runners import find_runner, key_of, make_target
from mcutrain.errors import MismatchError, UsageError
from mcutrain.paths import is_file
from mcutrain.records import write_csv
from mcutrain.report.html import write_report
from mcutrain.report.json_report import dump_records, load_records, write_json
from mcutrain.report.observed import input_words
from mcutrain.report.text import render_episode
from mcutrain.results import ResultsFolder, results_folder
from mcutrain.sweep.find_rate import find_learning_rate


def run(
    episode: Annotated[
        str | None, typer.Argument(metavar="EPISODE", help="Name of an episode, or your own .yaml file.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RECORDS[#N]",
            help="Repeat the run of a records.json (its last record, or the one with number N, from 0), and say what differs.",
        ),
    ] = None,
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
    observe: Annotated[
        bool, typer.Option(help="Look at input, updates and loss, and warn of a run that is worth nothing.")
    ] = True,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    batch: BatchOption = None,
    option: MethodOption = None,
    input_placement: InputOption = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the first step.")] = None,
    find_rate: Annotated[
        bool,
        typer.Option("--find-learning-rate", help="Find the rate on validation samples first, then train with it."),
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the adapt samples.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of order and stochastic rounding.")] = None,
    output: ResultsOption = None,
    json: JsonOption = False,
) -> None:
    """Train an episode and hold its steps against golden; exit 1 where they differ.

    With --from, repeat an earlier run by its record, and say first what of its settings cannot be met any more; exit 1 where its results
    are others.
    """
    if source is not None:
        options_given = {
            **{"EPISODE": episode, "--steps": steps, "--test": test, "--golden-steps": golden_steps},
            **{"--no-profile": None if profile else True, "--scheme": scheme, "--errors": errors, "--weights": weights},
            **{"--batch": batch, "--option": option or None, "--input": input_placement},
            **{"--no-observe": None if observe else True},
            **{"--learning-rate": learning_rate, "--epochs": epochs, "--seed": seed},
            **{"--find-learning-rate": find_rate or None},
        }
        beside = [name for name, value in options_given.items() if value is not None]
        if beside:
            raise UsageError(f"--from repeats a run as it was: leave out {', '.join(beside)}")
        repeat(source, tuple(board or ()), output, json)
        return
    if episode is None:
        raise UsageError("Missing argument 'EPISODE': give one, or --from and the records.json of an earlier run")
    changes = {"learning_rate": learning_rate, "epochs": epochs, "seed": seed, "input": input_placement}
    definition = load(episode, method_options(scheme, errors, weights, batch, option), changes)
    boards = tuple(board) if board else definition.boards
    for name in boards:
        find_runner(name)
    options = RunOptions(steps=steps, test=test, golden_steps=golden_steps, profile=profile, observe=observe)
    folder = results_folder(output, definition.name)
    if find_rate:
        if learning_rate is not None:
            raise UsageError("--find-learning-rate finds what --learning-rate gives: leave out one of them")
        definition = with_found_rate(definition, steps)
    prepared = prepare(definition)
    records: list[EpisodeRecord] = []
    divergences: list[Divergence] = []
    for name in boards:
        record, divergence = run_with_bars(
            prepared, name, options, say_input=observe and not json and name == boards[0]
        )
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


def with_found_rate(definition: EpisodeDefinition, steps: int | None) -> EpisodeDefinition:
    """The episode with the learning rate that does best on its validation part."""
    with engine_with_progress(None, None) as engine:
        rate = find_learning_rate(definition, engine, tell_tried, steps)
    log.print(
        f"{definition.name}: learning_rate: {rate:g}  # chosen on validation samples; keep it in the episode's file",
        soft_wrap=True,
    )
    return definition.changed({"learning_rate": rate})


def repeat(source: str, boards: tuple[str, ...], output: Path | None, json: bool) -> None:
    """Run what a record says again, on its own runner where no other is given, and hold the results against the record's.

    Raises UsageError for a record that is damaged or older than settings are, MismatchError where a result is another that has to be equal.
    """
    say = log if json else console
    record, file, where = record_called(source)
    # What a sweep computed on this machine is repeated there, whichever board its counts are of.
    boards = boards or ((key_of(record.board, record.runner) if record.counts_source is None else record.runner),)
    for name in boards:
        find_runner(name)
    repetition = repetition_of(record, where)
    definition = repetition.definition
    folder = results_folder(output, f"{definition.name}-repeated")
    if output is not None and (output / "records.json").resolve() == file.resolve():
        raise UsageError(f"{file} would be replaced by the run that it is held against: give another --output")
    for phrase in as_shipped(repetition.settings):
        say.print(f"{definition.name} as it is now -> this record: {phrase}", soft_wrap=True)
    records: list[EpisodeRecord] = []
    problems: list[str] = []
    for name in boards:
        unmet = repetition.unmet(make_target(repetition.prepared.plan, name))
        for phrase in unmet:
            say.print(f"{name}: not as it was: {phrase}", soft_wrap=True)
        again, divergence = run_with_bars(repetition.prepared, name, repetition.options)
        records.append(again)
        wrong, told = result_differences(record, again, same_runner=repetition.is_same_runner(name))
        for phrase in told:
            say.print(f"{name}: differs, as it may: {phrase}", soft_wrap=True)
        said = [*wrong, *([str(divergence)] if divergence else [])]
        for phrase in said or [f"as in the record, digest {again.digest}"]:
            say.print(f"{name}: {phrase}", soft_wrap=True)
        because = f" (not as it was: {'; '.join(unmet)})" if unmet else ""
        problems += [f"{name}: {phrase}{because}" for phrase in said[:1]]
    report = finish(records, folder, title=f"{definition.name}, repeated", json=json)
    if not json:
        console.print(f"report: {report}")
    if problems:
        raise MismatchError(f"{where} is not repeated: {problems[0]}")


def record_called(source: str, *, steps: bool = False) -> tuple[EpisodeRecord, Path, str]:
    """The last record of a file, or its record number N of ``FILE#N``; the file, and what to call the record. steps: with its steps.

    Raises UsageError where there is none.
    """
    file, number = source, ""
    if not is_file(Path(source)) and "#" in source:
        file, _, number = source.rpartition("#")
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise UsageError(f"{source!r}: {number!r} is no number of a record; write FILE#0 for the first")
    records = load_records(Path(file), steps=steps)
    index = int(number) if number else len(records) - 1
    if not 0 <= index < len(records):
        raise UsageError(f"{file}: no record {index if number else 0}, it holds {len(records)}")
    return records[index], Path(file), f"{file}: episodes[{index}]"


def run_with_bars(
    prepared: PreparedEpisode, name: str, options: RunOptions, *, say_input: bool = False
) -> tuple[EpisodeRecord, Divergence | None]:
    """Run on the runner called ``name`` with progress bars on standard error.

    say_input: print ahead of it how the samples meet the input's codes.
    """
    target = make_target(prepared.plan, name)
    if say_input:
        console.print(f"input: {input_words(observe_input(prepared))}", soft_wrap=True)
    image = prepared.image(steps=options.steps, test=options.test)
    asked = prepared.definition.golden_steps if options.golden_steps is None else options.golden_steps
    with bars() as bar:
        watch = Watch(
            on_line=bar.counter(f"{prepared.definition.name} on {name}", image.steps),
            on_golden_line=bar.counter("golden", min(asked, image.steps)) if asked else None,
        )
        record, divergence = run_episode(prepared, target, options, watch)
    for warning in record.observations.warnings if record.observations else ():
        log.print(f"warning: {warning}", soft_wrap=True)
    return record, divergence


def finish(
    records: list[EpisodeRecord],
    folder: ResultsFolder,
    *,
    title: str,
    json: bool,
    also: Callable[[Path], None] | None = None,
) -> Path:
    """Write report.html, records.json and records.csv, and print the records where --json asks for them; returns the report's path.

    also: writes what else belongs into the folder.
    """
    if not records:
        raise UsageError("no episode was run")

    def write(into: Path) -> None:
        write_report(records, into / "report.html", title=title)
        write_json(records, into / "records.json")
        write_csv(records, into / "records.csv")
        if also is not None:
            also(into)

    report = folder.fill(write) / "report.html"
    if json:
        typer.echo(dump_records(records), nl=False)
        log.print(f"report: {report}")
    return report
