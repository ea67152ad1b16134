"""``baseline check`` and ``baseline update``: hold episodes against their locked figures, or lock new ones."""

from __future__ import annotations

from typing import Annotated

import typer

from mcutrain.commands.options import JsonOption, ResultsOption, console, log
from mcutrain.commands.run import finish, run_with_bars
from mcutrain.episode.baseline import (
    Baseline,
    Locked,
    baseline_names,
    baseline_path,
    differences,
    load_baseline,
    lock,
    save_baseline,
)
from mcutrain.episode.definition import EpisodeDefinition, load_episode
from mcutrain.episode.explain import Explanation, changed_settings, explain
from mcutrain.episode.locked_settings import changed_model, locked_differences, locked_settings
from mcutrain.episode.prepare import PreparedEpisode, file_sha256, prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.run import RunOptions
from mcutrain.episode.runners import find_runner, make_target
from mcutrain.episode.settings import settings_of
from mcutrain.episode.trail import Trail, trail_of
from mcutrain.errors import McutrainError, MismatchError, NotAvailableError, UsageError
from mcutrain.paths import find_model, require_writable
from mcutrain.report.junit import JunitCase, write_junit
from mcutrain.results import results_folder

app = typer.Typer(help="Hold episodes against their locked figures, or lock new ones.", no_args_is_help=True)

EpisodesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EPISODE]...",
        help="Names, or your own .yaml files, whose baselines lie beside them (mine.baseline.json). "
        "All of the project that have a baseline where none is given.",
    ),
]
BoardOption = Annotated[list[str] | None, typer.Option("--board", help="Only these runners: boards, or host.")]


@app.command("check")
def check(
    episodes: EpisodesArgument = None,
    board: BoardOption = None,
    output: ResultsOption = None,
    json: JsonOption = False,
) -> None:
    """Run each episode as far as its baseline did; exit 1 where a figure differs.

    What differs is told by its cause first: the setting, model or data that changed, then the first step and operator that do, then the
    figures, and the commands to replay and to accept it. Instructions, flash and stack are compared under a compiler that has them
    locked, and only told under another. Settings that changed no figure are told, and end with 0.
    """
    records: list[EpisodeRecord] = []
    explained: list[Explanation] = []
    unavailable: dict[str, str] = {}
    wanted = [find_runner(name).key for name in board or ()]
    folder = results_folder(output, "baseline")
    say = log if json else console
    for name in episodes or baseline_names():
        baseline = load_baseline(name)
        definition = load_episode(name)
        try:
            prepared = _prepare(definition, baseline)
        except NotAvailableError as error:
            unavailable[name] = str(error)
            log.print(f"{name}: not available here: {error}")
            continue
        for where, locked in baseline.runs.items():
            if wanted and where not in wanted:
                continue
            record, held = _run(name, where, locked, baseline.trails.get(locked.digest), prepared)
            records.append(record)
            explained.append(held)
            for line in held.lines():
                say.print(line, soft_wrap=True)
    if not records:
        if unavailable:
            raise NotAvailableError(f"none of {', '.join(unavailable)} can run here")
        raise UsageError("no baseline to check; lock one: mcutrain baseline update EPISODE --reason '...'")
    cases = [*map(_case, explained), *(JunitCase(name, skipped=why) for name, why in unavailable.items())]
    report = finish(
        records,
        folder,
        title="mcutrain baseline check",
        json=json,
        also=lambda into: write_junit("baseline", cases, into / "junit.xml"),
    )
    if not json:
        console.print(f"report: {report}", soft_wrap=True)
    failed = [held for held in explained if not held.passed]
    if failed:
        count = f"{len(failed)} of {len(explained)} runs" if len(explained) > 1 else "the run"
        raise MismatchError(f"not as locked: {count}; {failed[0].sentence()}")


def _case(held: Explanation) -> JunitCase:
    name, said = f"{held.episode} on {held.where}", "\n".join(held.lines())
    if held.passed:
        return JunitCase(name, held.seconds, output=said)
    return JunitCase(name, held.seconds, failure=f"{held.reasons[0]}\n{said}")


def _prepare(definition: EpisodeDefinition, baseline: Baseline) -> PreparedEpisode:
    """Make the episode ready; an error that another model than the locked one may have caused says so."""
    try:
        return prepare(definition)
    except NotAvailableError:
        raise
    except McutrainError as error:
        known = next((run.settings for run in baseline.runs.values() if run.settings), None)
        try:
            model = find_model(definition.model)
            said = changed_model(known, file_sha256(model), definition.model) if known else ""
        except (McutrainError, OSError):
            said = ""
        raise type(error)(f"{error} ({said})" if said else str(error)) from error


def _run(
    name: str, where: str, locked: Locked, trail: Trail | None, prepared: PreparedEpisode
) -> tuple[EpisodeRecord, Explanation]:
    """Run what was locked, and explain how it went. What ends the run early says which settings are others."""
    options = RunOptions(steps=locked.steps, test=locked.test, observe=False)
    try:
        record, divergence = run_with_bars(prepared, where, options)
    except McutrainError as error:
        settings = settings_of(prepared, options)
        changed = locked_differences(locked.settings, locked_settings(settings)) if locked.settings and settings else []
        because = f" (not as locked: {'; '.join(changed)})" if changed else ""
        raise type(error)(f"{name} on {where}: {error}{because}") from error
    return record, explain(name, where, locked, trail, prepared, record, divergence)


@app.command("update")
def update(
    episodes: EpisodesArgument = None,
    reason: Annotated[str, typer.Option(help="Why the figures may change; kept in the baseline's history.")] = "",
    board: BoardOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Lock only the first steps.")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="Evaluate on only so many test samples.")] = None,
) -> None:
    """Run episodes and lock their figures, with the settings that made them: mine.yaml's in mine.baseline.json beside it."""
    if not reason.strip():
        raise UsageError("--reason is missing: say why the locked figures may change")
    wanted = [find_runner(name).key for name in board or ()]
    for name in episodes or baseline_names():
        definition = load_episode(name)
        path = baseline_path(name)
        require_writable(path.parent, "work in a copy that is yours")
        known = load_baseline(name).runs if path.exists() else {}
        prepared = prepare(definition)
        locked: dict[str, Locked] = {}
        trails: dict[str, Trail] = {}
        for where in wanted or list(known) or [find_runner(name).key for name in definition.boards]:
            before = known.get(where)
            options = RunOptions(
                steps=steps if steps is not None else before.steps if before else None,
                test=test if test is not None else before.test if before else None,
            )
            record, divergence = run_with_bars(prepared, where, options)
            if divergence is not None:
                raise MismatchError(f"{name} on {where} is not locked: {divergence}")
            locked[where] = lock(record)
            if record.digest not in trails:
                trails[record.digest] = trail_of(prepared, make_target(prepared.plan, where), record.step_records)
            changed = _changes(before, locked[where]) if before else ["new"]
            console.print(f"{name} on {where}: {'; '.join(changed) or 'unchanged'}", soft_wrap=True)
        for dropped in save_baseline(name, locked, reason.strip(), trails=trails):
            console.print(f"dropped {dropped}; lock them again with that compiler", soft_wrap=True)
        console.print(f"{name}: locked in {path}", soft_wrap=True)


def _changes(before: Locked, now: Locked) -> list[str]:
    new = [f"new for {compiler}" for compiler in now.compilers if compiler not in before.compilers]
    settings = "settings locked, there were none" if before.settings is None else ""
    return [*changed_settings(before, now), *differences(before, now), *new, *([settings] if settings else [])]
