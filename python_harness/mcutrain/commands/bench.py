"""``bench kernels``: what each kernel costs on each core, by exact counts and the timing model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from mcutrain.bench.catalogue import cases
from mcutrain.bench.document import write_tables
from mcutrain.bench.measure import BOARDS, Measurement, measure
from mcutrain.commands.options import JsonOption, console, log, print_json
from mcutrain.errors import UsageError

app = typer.Typer(help="Measure parts of the library on the emulated cores.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure parts of the library on the emulated cores."""


@app.command("kernels")
def kernels(
    kernel: Annotated[
        list[str] | None, typer.Option("--kernel", help="Only kernels whose name contains this; may be repeated.")
    ] = None,
    core: Annotated[list[str] | None, typer.Option("--core", help="Only this core: m4 or m7.")] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also put all tables, with peers' figures, between the markers of this Markdown file."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Instructions, estimated cycles and code size of each kernel on typical shapes."""
    if document is not None and (kernel or core):
        raise UsageError("--document takes every kernel on both cores: leave out --kernel and --core")
    if document is not None and not document.is_file():
        raise UsageError(f"{document}: there is no such file to put tables into")
    chosen = [case for case in cases() if not kernel or any(part in case.kernel for part in kernel)]
    if not chosen:
        names = ", ".join(dict.fromkeys(case.kernel for case in cases()))
        raise UsageError(f"no kernel is called {' or '.join(map(repr, kernel or []))}: there are {names}")
    unknown = [name for name in core or () if name not in BOARDS]
    if unknown:
        raise UsageError(f"unknown core {unknown[0]!r}: give one of {', '.join(BOARDS)}")
    rows: list[Measurement] = []
    for name in dict.fromkeys(core or BOARDS):
        log.print(f"{BOARDS[name]}: {len(chosen)} cases")
        rows += measure(chosen, name)
    if document is not None:
        write_tables(document, rows)
        log.print(f"tables: {document}")
    if json:
        print_json([_entry(row) for row in rows])
    else:
        for name in dict.fromkeys(row.kernel for row in rows):
            console.print(_table(name, [row for row in rows if row.kernel == name]))
            console.print()
        console.print("Instructions are exact; cycles are estimated by the timing model, zero wait states.")


def _entry(row: Measurement) -> dict[str, Any]:
    return {
        "kernel": row.kernel,
        "shape": row.shape,
        "core": row.core,
        "macs": row.macs,
        "instructions": row.instructions,
        "estimated_cycles": row.estimate.cycles,
        "estimated_cycles_low": row.estimate.low,
        "estimated_cycles_high": row.estimate.high,
        "cycles_per_mac": row.cycles_per_mac,
        "cycles_per_element": row.cycles_per_element,
        "smlad_share": row.smlad_share,
        "code_bytes": row.code_bytes,
    }


def _table(kernel: str, rows: Sequence[Measurement]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(kernel, no_wrap=True, min_width=36)
    for header in ("core", "instructions", "est. cycles", "per MAC", "per elem.", "of SMLAD", "code B"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.shape,
            row.core.removeprefix("cortex-"),
            f"{row.instructions:,}",
            f"{row.estimate.cycles:,.0f}",
            "-" if row.cycles_per_mac is None else f"{row.cycles_per_mac:.2f}",
            f"{row.cycles_per_element:.1f}",
            "-" if row.smlad_share is None else f"{row.smlad_share:.0%}",
            f"{row.code_bytes:,}",
        )
    return table
