"""``report``: one HTML page over the records of many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcutrain.commands.options import JsonOption, ResultsOption, console
from mcutrain.commands.run import finish
from mcutrain.report.json_report import load_records
from mcutrain.report.text import render_table
from mcutrain.results import results_folder


def report(
    records: Annotated[list[Path], typer.Argument(metavar="RECORDS...", help="records.json files of earlier runs.")],
    output: ResultsOption = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "mcutrain report",
    json: JsonOption = False,
) -> None:
    """Merge the records of several runs into one report."""
    folder = results_folder(output, "report")
    merged = [record for path in records for record in load_records(path)]
    page = finish(merged, folder, title=title, json=json)
    if not json:
        console.print(render_table(merged))
        console.print(f"report: {page}")
