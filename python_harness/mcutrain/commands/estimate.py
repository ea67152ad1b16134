"""``estimate``: the cycles of any program for a board, by the timing model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mcutrain.boards import Board, load_board
from mcutrain.commands.cycle_tables import shares_table
from mcutrain.commands.options import JsonOption, MemoryOption, console, log, memory_model, print_json
from mcutrain.emulators.profile import MarkCount
from mcutrain.emulators.program import RESET, ProgramRun, profile_program
from mcutrain.report import wording
from mcutrain.timing import ProfileEstimate, estimate_profile
from mcutrain.timing.breakdown import Share
from mcutrain.timing.cycles import total
from mcutrain.timing.estimate import Cell
from mcutrain.timing.memory import ZERO_WAIT_STATES, FlashMemory

_ROWS = 20


def estimate(
    program: Annotated[
        Path, typer.Argument(metavar="PROGRAM", help="An ELF file for the board.", exists=True, dir_okay=False)
    ],
    board: Annotated[str, typer.Option(help="The board whose core, clock and emulator it is for.")],
    mark: Annotated[
        list[str] | None,
        typer.Option(
            help="Count apart from the entry of this function on, up to that of the next one given. Repeatable."
        ),
    ] = None,
    memory: MemoryOption = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the table of functions.")] = _ROWS,
    seconds: Annotated[float, typer.Option(min=1, help="How long the emulator may take.")] = 600.0,
    json: JsonOption = False,
) -> None:
    """Estimate the cycles of any program, from reset to its end, by mark and function.

    The program runs on the board's QEMU machine and ends by a semihosting exit. For one part of it, give the function that begins it and
    one that follows it as marks.
    """
    target = load_board(board)
    flash = memory_model(memory, target)
    run = profile_program(program, target, mark or (), flash.caches if flash else None, seconds=seconds)
    found = estimate_profile(run.profile, target.core, run.functions, flash)
    if run.exit_status != 0:
        last = run.output.strip().splitlines()[-1:] or ["nothing"]
        log.print(
            f"{program}: it ended with status {run.exit_status} and said: {wording.printable(last[0])}", style="yellow"
        )
    for name in mark or ():
        if run.profile.instructions_per_mark.get(name, MarkCount(0, 0)).visits == 0:
            log.print(f"{program}: it never reached {wording.printable(name)}, so this mark has no row", style="yellow")
    if json:
        print_json(_document(program, target, flash, run, found))
    else:
        _print(program, target, flash, run, found, rows)


def _shares(found: ProfileEstimate, key: Callable[[Cell], str]) -> list[Share]:
    groups: dict[str, list[Cell]] = {}
    for cell in found.cells:
        groups.setdefault(key(cell), []).append(cell)
    shares = [
        Share(
            name,
            sum(cell.instructions for cell in cells),
            total([cell.estimate for cell in cells]),
            stalls=total([cell.stalls for cell in cells]),
        )
        for name, cells in groups.items()
    ]
    return sorted(shares, key=lambda share: (-share.estimate.cycles, share.name))


def _function(cell: Cell) -> str:
    return cell.function or "(no function)"


def _whole(found: ProfileEstimate) -> Share:
    (share,) = _shares(found, lambda cell: "all")
    return share


def _document(
    program: Path, board: Board, flash: FlashMemory | None, run: ProgramRun, found: ProfileEstimate
) -> dict[str, Any]:
    def entry(share: Share) -> dict[str, Any]:
        cycles = {"": share.estimate, **({"_in_flash": share.in_flash} if flash else {})}
        estimates = {}
        for where, figure in cycles.items():
            estimates[f"estimated_cycles{where}"] = figure.cycles
            estimates[f"estimated_cycles{where}_low"] = figure.low
            estimates[f"estimated_cycles{where}_high"] = figure.high
        return {"name": share.name, "instructions": share.instructions, **estimates}

    def marked(share: Share) -> dict[str, Any]:
        return {**entry(share), "visits": run.profile.instructions_per_mark[share.name].visits}

    return {
        "schema_version": 1,
        "program": program.name,
        "exit_status": run.exit_status,
        "board": board.name,
        "core": board.core,
        "clock_hz": board.clock_hz,
        "metric_kind": "estimated_cycles",
        "memory": ZERO_WAIT_STATES,
        "memory_in_flash": flash.label if flash else None,
        "total": entry(_whole(found)),
        "marks": [marked(share) for share in _shares(found, lambda cell: cell.mark)],
        "functions": [entry(share) for share in _shares(found, _function)],
    }


def _print(
    program: Path, board: Board, flash: FlashMemory | None, run: ProgramRun, found: ProfileEstimate, rows: int
) -> None:
    whole = _whole(found)
    console.print(
        f"{wording.printable(program.name)} on {board.name}: {whole.estimate.cycles:,.0f} estimated cycles "
        f"({whole.estimate.low:,.0f} to {whole.estimate.high:,.0f}), {1000 * whole.estimate.cycles / board.clock_hz:,.2f} ms at "
        f"{board.clock_hz / 1e6:g} MHz; {whole.instructions:,.0f} instructions, exact. Timing model, {ZERO_WAIT_STATES}"
        + (f"; {whole.in_flash.cycles:,.0f} with {flash.label}." if flash else ".")
    )
    tables = [("function", _shares(found, _function))]
    marks = _shares(found, lambda cell: cell.mark)
    if [share.name for share in marks] != [RESET]:
        tables.insert(0, ("mark", marks))
    for title, shares in tables:
        console.print()
        console.print(shares_table(title, shares, board.clock_hz, rows, in_flash=flash is not None))
