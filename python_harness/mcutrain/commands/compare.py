"""``compare``: what changed from one run to another."""

from __future__ import annotations

from typing import Annotated

import typer

from mcutrain.commands.options import JsonOption, console, print_json
from mcutrain.commands.run import record_called
from mcutrain.report.two_records import compare_records
from mcutrain.report.two_records_text import render_comparison


def compare(
    a: Annotated[str, typer.Argument(metavar="RECORDS[#N]", help="records.json of the first run.")],
    b: Annotated[str, typer.Argument(metavar="RECORDS[#N]", help="records.json of the second; #0 is the first in it.")],
    rows: Annotated[int, typer.Option(min=1, help="Most operators to list.")] = 15,
    json: JsonOption = False,
) -> None:
    """Say what changed from one run to another: settings, bits and the first step that differs, accuracy, bytes, work.

    Of a file with several records its last is meant, or number N, from 0.
    """
    comparison = compare_records(*(record_called(source, steps=True)[0] for source in (a, b)))
    if json:
        print_json(comparison.document())
        return
    for part in render_comparison(comparison, rows):
        console.print(part)
