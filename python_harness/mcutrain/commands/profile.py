"""``profile``: where the cycles of a training step go, by the timing model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mcutrain.atomic import write_atomically
from mcutrain.boards import Board
from mcutrain.commands.cycle_tables import plain_table, share_entry, shares_table
from mcutrain.commands.options import (
    BatchOption,
    EpisodeArgument,
    ErrorsOption,
    InputOption,
    JsonOption,
    MemoryOption,
    MethodOption,
    SchemeOption,
    WeightsOption,
    console,
    load,
    log,
    memory_model,
    method_options,
    print_json,
)
from mcutrain.episode.prepare import prepare
from mcutrain.episode.run import PROFILED_STEPS, profile_inference, profile_steps
from mcutrain.episode.runners import find_runner, make_target
from mcutrain.report import wording
from mcutrain.report.estimates import NO_CURRENT
from mcutrain.timing import Breakdown
from mcutrain.timing.breakdown import OTHER, OperatorShare, Share
from mcutrain.timing.energy import Supply, supply_of
from mcutrain.timing.export import collapsed, perfetto, speedscope
from mcutrain.timing.memory import ZERO_WAIT_STATES, FlashMemory

_ROWS = 20


def profile(
    episode: EpisodeArgument,
    board: Annotated[
        str | None, typer.Option(help="A board, alone or as BOARD@EMULATOR; the episode's first where not given.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to take the mean of.")] = PROFILED_STEPS,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the longer tables.")] = _ROWS,
    memory: MemoryOption = None,
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
    batch: BatchOption = None,
    option: MethodOption = None,
    input_placement: InputOption = None,
    json: JsonOption = False,
) -> None:
    """Estimate the cycles of an inference and of a training step, and these by phase, layer, operator and C function.

    The files for viewers hold the cycles at zero wait states.
    """
    definition = load(episode, method_options(scheme, errors, weights, batch, option), {"input": input_placement})
    name = board or definition.boards[0]
    where = find_runner(name).counting()
    flash = memory_model(memory, where)
    prepared = prepare(definition)
    target = make_target(prepared.plan, name, flash.caches if flash else None)
    available = prepared.image(test=0, evaluate=(False, False)).steps
    breakdown = profile_steps(prepared, target, min(steps, available), flash).breakdown
    inference = profile_inference(prepared, target, flash)
    forward, backward = (prepared.plan.macs(backward=behind) for behind in (False, True))
    found = _Profile(definition.name, where, flash, breakdown, inference, forward, forward + backward)
    if json:
        print_json(found.document())
    else:
        _print(found, rows)
    title = f"{definition.name} on {where.name}"
    if speedscope_file is not None:
        _write(speedscope_file, speedscope(breakdown, title))
    if perfetto_file is not None:
        _write(perfetto_file, perfetto(breakdown, title))
    if collapsed_file is not None:
        _write(collapsed_file, collapsed(breakdown))


def _write(path: Path, text: str) -> None:
    write_atomically(path, text, "the profile")
    log.print(f"profile: {path}")


@dataclass(frozen=True)
class _Profile:
    """What is printed: a training step and an inference on a board."""

    episode: str
    board: Board
    flash: FlashMemory | None
    breakdown: Breakdown
    inference: Share
    inference_macs: int
    step_macs: int

    @property
    def supply(self) -> Supply | None:
        return supply_of(self.board)

    def document(self) -> dict[str, Any]:
        """Of --json."""
        breakdown = self.breakdown
        supply = self.supply
        return {
            "schema_version": 1,
            "episode": self.episode,
            "board": self.board.name,
            "core": breakdown.core,
            "clock_hz": breakdown.clock_hz,
            "metric_kind": "estimated_cycles",
            "memory": ZERO_WAIT_STATES,
            "memory_in_flash": self.flash.label if self.flash else None,
            "supply": None if supply is None else dataclasses.asdict(supply),
            "steps": breakdown.steps,
            "inference": self._whole(self.inference, self.inference_macs),
            "total": self._whole(breakdown.training, self.step_macs),
            "phases": [self._entry(share) for share in breakdown.phases()],
            "layers": [self._entry(share) for share in breakdown.layers()],
            "operators": [self._operator(row) for row in breakdown.operators],
            "functions": [self._entry(share) for share in breakdown.functions()],
        }

    def _whole(self, share: Share, macs: int) -> dict[str, Any]:
        """An entry with its energy and its multiply-accumulates."""
        supply = self.supply
        found = {
            **self._entry(share),
            "macs": macs,
            "estimated_cycles_per_mac": share.estimate.cycles / macs if macs else None,
            "estimated_millijoules": supply and supply.millijoules(share.estimate.cycles),
        }
        if self.flash:
            found["estimated_millijoules_in_flash"] = supply and supply.millijoules(share.in_flash.cycles)
        return found

    def _operator(self, row: OperatorShare) -> dict[str, Any]:
        place = {"op": row.op, "layer": row.layer, "phase": row.phase}
        return {**place, **self._entry(row), "functions": [self._entry(part) for part in row.functions]}

    def _entry(self, share: Share) -> dict[str, Any]:
        return share_entry(share, self.breakdown.clock_hz, in_flash=self.flash is not None)


def _print(found: _Profile, rows: int) -> None:
    breakdown = found.breakdown
    console.print(
        f"{wording.printable(found.episode)} on {found.board.name} at {breakdown.clock_hz / 1e6:g} MHz: estimates of the "
        f"timing model; mean of {wording.plural(breakdown.steps, 'training step')}. Instructions are exact."
    )
    console.print()
    console.print(_summary(found))
    console.print(f"memory: {ZERO_WAIT_STATES}" + (f"; in flash: {found.flash.label}" if found.flash else ""))
    supply = found.supply
    if supply is None:
        console.print(f"energy: {NO_CURRENT}")
    else:
        console.print(
            f"mJ: an estimate, {supply.ua_per_mhz:g} uA/MHz at {supply.millivolts / 1000:g} V ({supply.source})"
        )
    ranked = sorted(breakdown.operators, key=lambda row: -row.estimate.cycles)
    named = [
        Share(
            f"{'' if row.phase == OTHER else row.op:>4}  {row.name}", row.instructions, row.estimate, stalls=row.stalls
        )
        for row in ranked
    ]
    # The driver's work is no layer, but a share of the step: in every table they sum to 100 %.
    driver = [share for share in breakdown.phases() if share.name == OTHER]
    layers = sorted([*breakdown.layers(), *driver], key=lambda share: -share.estimate.cycles)
    for title, shares in (
        ("phase", breakdown.phases()),
        ("layer", layers),
        ("operator", named),
        ("C function", breakdown.functions()),
    ):
        console.print()
        console.print(shares_table(title, shares, breakdown.clock_hz, rows, in_flash=found.flash is not None))


def _summary(found: _Profile) -> Table:
    """An inference and a training step, one row for each memory."""
    table = plain_table()
    table.add_column("", no_wrap=True)
    for header in ("est. cycles", "range", "per MAC", "ms", "mJ", "instructions"):
        table.add_column(header, justify="right", no_wrap=True)
    for share, macs in ((found.inference, found.inference_macs), (found.breakdown.training, found.step_macs)):
        memories = [(share.name, share.estimate)]
        if found.flash:
            memories.append(("  in flash", share.in_flash))
        for name, estimate in memories:
            table.add_row(
                name,
                f"{estimate.cycles:,.0f}",
                f"{estimate.low / 1e6:,.2f}-{estimate.high / 1e6:,.2f} M",
                f"{estimate.cycles / macs:.2f}" if macs else "-",
                f"{found.breakdown.milliseconds(estimate.cycles):,.2f}",
                f"{found.supply.millijoules(estimate.cycles):,.3g}" if found.supply else "-",
                f"{share.instructions:,.0f}",
            )
    return table
