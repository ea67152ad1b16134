"""``demo``: the whole pipeline on data that is always there."""

from __future__ import annotations

from typing import Annotated

import typer

from mcutrain.commands.options import JsonOption, ResultsOption, console, log
from mcutrain.commands.run import finish, run_with_bars
from mcutrain.emulators.table import EMULATORS
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.run import RunOptions
from mcutrain.episode.runners import find_runner
from mcutrain.errors import MismatchError
from mcutrain.report.text import render_episode
from mcutrain.results import results_folder

EPISODE = "digits-sparse"


def demo(
    output: ResultsOption = None,
    emulator: Annotated[
        str | None, typer.Option(help=f"What runs the boards: {', '.join(EMULATORS)}. Default: what each board says.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a small network on both cores in an emulator, step by step the same bits as the golden reference."""
    at = f"@{emulator}" if emulator else ""
    definition = load_episode(EPISODE)
    for board in definition.boards:
        find_runner(f"{board}{at}")
    folder = results_folder(output, "demo")
    log.print(f"{EPISODE}: {definition.description}")
    prepared = prepare(definition)
    records, divergences = [], []
    for board in definition.boards:
        record, divergence = run_with_bars(prepared, f"{board}{at}", RunOptions(golden_steps=definition.golden_steps))
        records.append(record)
        if divergence is not None:
            divergences.append(str(divergence))
        if not json:
            console.print(render_episode(record))
    report = finish(records, folder, title="mcutrain demo", json=json)
    if not json:
        console.print(f"report: {report}")
    if divergences:
        raise MismatchError("; ".join(divergences))
