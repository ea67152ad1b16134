"""``profile``: where the cycles of a training step go, by the timing model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mcutrain.boards import load_board
from mcutrain.commands.options import (
    EpisodeArgument,
    ErrorsOption,
    JsonOption,
    SchemeOption,
    WeightsOption,
    console,
    load,
    log,
    print_json,
)
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.episode.prepare import prepare
from mcutrain.episode.run import PROFILED_STEPS, profile_steps
from mcutrain.episode.targets import build_for_board
from mcutrain.errors import UsageError
from mcutrain.report import wording
from mcutrain.report.atomic import write_atomically
from mcutrain.timing import Breakdown, CycleEstimate
from mcutrain.timing.breakdown import OTHER, OperatorShare, Share
from mcutrain.timing.export import collapsed, perfetto, speedscope

_ROWS = 20


def profile(
    episode: EpisodeArgument,
    board: Annotated[str | None, typer.Option(help="A board; the episode's first where not given.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to take the mean of.")] = PROFILED_STEPS,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the longer tables.")] = _ROWS,
    speedscope_file: Annotated[
        Path | None, typer.Option("--speedscope", metavar="FILE", help="Write a speedscope profile.")
    ] = None,
    perfetto_file: Annotated[
        Path | None, typer.Option("--perfetto", metavar="FILE", help="Write a trace for Perfetto.")
    ] = None,
    collapsed_file: Annotated[
        Path | None, typer.Option("--collapsed", metavar="FILE", help="Write collapsed stacks for flame graphs.")
    ] = None,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    json: JsonOption = False,
) -> None:
    """Estimate the cycles of a training step by phase, layer, operator and C function."""
    definition = load(episode, {"scheme": scheme, "errors": errors, "weights": weights})
    emulated = [name for name in definition.boards if name != "host"]
    if board is None and not emulated:
        raise UsageError(f"episode {definition.name} names no board; give one with --board")
    target = load_board(board or emulated[0])
    prepared = prepare(definition)
    built = build_for_board(prepared.plan, target)
    available = prepared.image(test=0, evaluate=(False, False)).steps
    breakdown = profile_steps(prepared, QemuRunner(built), min(steps, available)).breakdown
    if json:
        print_json(_document(definition.name, target.name, breakdown))
    else:
        _print(definition.name, target.name, breakdown, rows)
    name = f"{definition.name} on {target.name}"
    if speedscope_file is not None:
        _write(speedscope_file, speedscope(breakdown, name))
    if perfetto_file is not None:
        _write(perfetto_file, perfetto(breakdown, name))
    if collapsed_file is not None:
        _write(collapsed_file, collapsed(breakdown))


def _write(path: Path, text: str) -> None:
    write_atomically(path, text, "the profile")
    log.print(f"profile: {path}")


def _document(episode: str, board: str, breakdown: Breakdown) -> dict[str, Any]:
    def entry(share: Share) -> dict[str, Any]:
        return {"name": share.name, "instructions": share.instructions, **_estimate(share.estimate, breakdown)}

    def operator(row: OperatorShare) -> dict[str, Any]:
        place = {"op": row.op, "layer": row.layer, "phase": row.phase}
        return {**place, **entry(row), "functions": [entry(part) for part in row.functions]}

    return {
        "schema_version": 1,
        "episode": episode,
        "board": board,
        "core": breakdown.core,
        "clock_hz": breakdown.clock_hz,
        "metric_kind": "estimated_cycles",
        "memory": "zero wait states",
        "steps": breakdown.steps,
        "total": entry(breakdown.training),
        "phases": [entry(share) for share in breakdown.phases()],
        "layers": [entry(share) for share in breakdown.layers()],
        "operators": [operator(row) for row in breakdown.operators],
        "functions": [entry(share) for share in breakdown.functions()],
    }


def _estimate(estimate: CycleEstimate, breakdown: Breakdown) -> dict[str, float]:
    return {
        "estimated_cycles": estimate.cycles,
        "estimated_cycles_low": estimate.low,
        "estimated_cycles_high": estimate.high,
        "estimated_milliseconds": breakdown.milliseconds(estimate.cycles),
    }


def _print(episode: str, board: str, breakdown: Breakdown, rows: int) -> None:
    whole = breakdown.training
    low, high = whole.estimate.low, whole.estimate.high
    console.print(
        f"{wording.printable(episode)} on {board}: {whole.estimate.cycles:,.0f} estimated cycles a training step "
        f"({low:,.0f} to {high:,.0f}), {breakdown.milliseconds(whole.estimate.cycles):,.1f} ms at "
        f"{breakdown.clock_hz / 1e6:g} MHz; {whole.instructions:,.0f} instructions, exact. "
        f"Timing model, zero wait states; mean of {wording.plural(breakdown.steps, 'step')}."
    )
    ranked = sorted(breakdown.operators, key=lambda row: -row.estimate.cycles)
    named = [Share(f"{row.op:4d}  {row.name}", row.instructions, row.estimate) for row in ranked if row.phase != OTHER]
    layers = sorted(breakdown.layers(), key=lambda share: -share.estimate.cycles)
    for title, shares in (
        ("phase", breakdown.phases()),
        ("layer", layers),
        ("operator", named),
        ("C function", breakdown.functions()),
    ):
        console.print()
        console.print(_table(title, shares, breakdown, rows))


def _table(title: str, shares: Sequence[Share], breakdown: Breakdown, rows: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(title, overflow="fold")
    for header in ("estimated cycles", "share", "ms", "instructions", "cycles each"):
        table.add_column(header, justify="right", no_wrap=True)
    whole = sum(share.estimate.cycles for share in shares)
    shown = shares if len(shares) <= rows else [*shares[: rows - 1], _rest(shares[rows - 1 :])]
    for share in shown:
        cycles = share.estimate.cycles
        table.add_row(
            Text(wording.printable(share.name)),
            f"{cycles:,.0f}",
            wording.share(cycles, whole),
            f"{breakdown.milliseconds(cycles):,.2f}",
            f"{share.instructions:,.0f}",
            f"{cycles / share.instructions:.2f}" if share.instructions else "-",
        )
    return table


def _rest(shares: Sequence[Share]) -> Share:
    sums = [sum(share.estimate[at] for share in shares) for at in range(3)]
    return Share(f"{len(shares)} more", sum(share.instructions for share in shares), CycleEstimate(*sums))
