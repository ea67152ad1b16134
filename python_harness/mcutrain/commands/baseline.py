"""``baseline check`` and ``baseline update``: hold episodes against their locked figures, or lock new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcutrain.commands.options import JsonOption, console, log
from mcutrain.commands.run import finish, results_folder, run_with_bars
from mcutrain.episode.baseline import (
    Locked,
    baseline_names,
    differences,
    load_baseline,
    lock,
    save_baseline,
    unlocked_figures,
)
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.run import RunOptions
from mcutrain.episode.runners import find_runner
from mcutrain.errors import MismatchError, NotAvailableError, UsageError
from mcutrain.paths import BASELINES, require_writable

app = typer.Typer(help="Hold episodes against their locked figures, or lock new ones.", no_args_is_help=True)

EpisodesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[EPISODE]...", help="All that have a baseline where none is given.")
]
BoardOption = Annotated[list[str] | None, typer.Option("--board", help="Only these runners: boards, or host.")]


@app.command("check")
def check(
    episodes: EpisodesArgument = None,
    board: BoardOption = None,
    output: Annotated[Path | None, typer.Option(help="Folder for report.html and records.json.")] = None,
    json: JsonOption = False,
) -> None:
    """Run each episode as far as its baseline did; exit 1 with every figure that differs.

    Instructions, flash and stack are compared under a compiler that has them locked, and only told under another.
    """
    records: list[EpisodeRecord] = []
    problems: list[str] = []
    unavailable: list[str] = []
    wanted = [find_runner(name).key for name in board or ()]
    folder = results_folder(output, "baseline")
    for name in episodes or baseline_names():
        baseline = load_baseline(name)
        try:
            prepared = prepare(load_episode(name))
        except NotAvailableError as error:
            unavailable.append(name)
            log.print(f"{name}: not available here: {error}")
            continue
        for where, locked in baseline.runs.items():
            if wanted and where not in wanted:
                continue
            record, divergence = run_with_bars(prepared, where, RunOptions(steps=locked.steps, test=locked.test))
            records.append(record)
            now = lock(record)
            found = differences(locked, now) + ([str(divergence)] if divergence else [])
            problems += [f"{name} on {where}: {problem}" for problem in found]
            verdict = "; ".join([*(found or ["as locked"]), *unlocked_figures(locked, now)])
            (log if json else console).print(f"{name} on {where}: {verdict}", soft_wrap=True)
    if not records:
        if unavailable:
            raise NotAvailableError(f"none of {', '.join(unavailable)} can run here")
        raise UsageError("no baseline to check; lock one: mcutrain baseline update EPISODE --reason '...'")
    finish(records, folder, title="mcutrain baseline check", json=json)
    if problems:
        raise MismatchError(f"{len(problems)} figures differ from the baselines, the first: {problems[0]}")


@app.command("update")
def update(
    episodes: EpisodesArgument = None,
    reason: Annotated[str, typer.Option(help="Why the figures may change; kept in the baseline's history.")] = "",
    board: BoardOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Lock only the first steps.")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="Evaluate on only so many test samples.")] = None,
) -> None:
    """Run episodes and lock their figures."""
    if not reason.strip():
        raise UsageError("--reason is missing: say why the locked figures may change")
    wanted = [find_runner(name).key for name in board or ()]
    require_writable(BASELINES, "work in a copy of the project that is yours")
    for name in episodes or baseline_names():
        definition = load_episode(name)
        prepared = prepare(definition)
        known = load_baseline(name).runs if name in baseline_names() else {}
        locked = {}
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
            changed = _changes(before, locked[where]) if before else ["new"]
            console.print(f"{name} on {where}: {'; '.join(changed) or 'unchanged'}")
        for dropped in save_baseline(name, locked, reason.strip()):
            console.print(f"dropped {dropped}; lock them again with that compiler")


def _changes(before: Locked, now: Locked) -> list[str]:
    new = [f"new for {compiler}" for compiler in now.compilers if compiler not in before.compilers]
    return [*differences(before, now), *new]
