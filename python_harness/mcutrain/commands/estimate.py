"""``estimate``: the cycles of any program for a board, by the timing model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mcutrain.boards import Board, load_board
from mcutrain.commands.cycle_tables import share_entry, shares_table
from mcutrain.commands.options import JsonOption, MemoryOption, console, log, memory_model, print_json
from mcutrain.emulators.profile import MarkCount
from mcutrain.emulators.program import RESET, ProgramRun, profile_program
from mcutrain.report import wording
from mcutrain.timing import ProfileEstimate, estimate_profile
from mcutrain.timing.breakdown import Share, function_of, group_shares, share_of, sum_shares
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


def _by(found: ProfileEstimate, name: Callable[[Cell], str]) -> list[Share]:
    """One share for each name, most cycles first."""
    shares = group_shares([share_of(cell, name(cell)) for cell in found.cells], lambda share: share.name)
    return sorted(shares, key=lambda share: (-share.estimate.cycles, share.name))


def _by_mark(found: ProfileEstimate) -> list[Share]:
    return _by(found, lambda cell: cell.mark)


def _whole(found: ProfileEstimate) -> Share:
    return sum_shares("all", _by_mark(found))


def _document(
    program: Path, board: Board, flash: FlashMemory | None, run: ProgramRun, found: ProfileEstimate
) -> dict[str, Any]:
    def entry(share: Share) -> dict[str, Any]:
        # Of one run, and so whole numbers.
        return {
            **share_entry(share, board.clock_hz, in_flash=flash is not None),
            "instructions": int(share.instructions),
        }

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
        "marks": [marked(share) for share in _by_mark(found)],
        "functions": [entry(share) for share in _by(found, function_of)],
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
    tables = [("function", _by(found, function_of))]
    marks = _by_mark(found)
    if [share.name for share in marks] != [RESET]:
        tables.insert(0, ("mark", marks))
    for title, shares in tables:
        console.print()
        console.print(shares_table(title, shares, board.clock_hz, rows, in_flash=flash is not None))
