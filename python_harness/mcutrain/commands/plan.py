"""``plan``: what training a model takes on a board, before anything is built."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mcutrain.boards import load_board
from mcutrain.commands.options import (
    BatchOption,
    ErrorsOption,
    InputOption,
    JsonOption,
    MethodOption,
    OutputOption,
    SchemeOption,
    WeightsOption,
    console,
    method_options,
    print_json,
)
from mcutrain.compiler.memory_map import Region, TimelineRow, render_memory_map, render_timeline
from mcutrain.compiler.plan import INPUT_PLACEMENTS, IO_BYTES, Fit, InputPlacement, Plan, compile_plan, require_fit
from mcutrain.episode.record import option_words
from mcutrain.episode.targets import fit_on_board
from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from mcutrain.methods.new_head import new_head
from mcutrain.methods.registry import DEFAULT_METHOD, METHODS, find_method
from mcutrain.ops.programs import UPDATE
from mcutrain.ops.steps import Phase
from mcutrain.paths import find_model
from mcutrain.report.wording import input_words


def plan(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A .tflite, .onnx or .pkl file.")],
    output: OutputOption = None,
    board: Annotated[str, typer.Option(help="The board it must fit.")] = "m4-256k",
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = DEFAULT_METHOD,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    batch: BatchOption = None,
    option: MethodOption = None,
    input_placement: InputOption = None,
    budget: Annotated[
        int | None, typer.Option(help="SRAM to stay within, bytes, where it is less than the board's.")
    ] = None,
    head: Annotated[
        int | None, typer.Option("--new-head", min=2, help="Replace the head by a fresh one of so many classes.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print the memory map and the timeline of live bytes; exit 2 with the numbers if it does not fit."""
    chosen = find_method(method)
    options = chosen.parse(method_options(scheme, errors, weights, batch, option))
    placement = _placement(input_placement or INPUT_PLACEMENTS[0])
    target = load_board(board)
    if budget is not None:
        if budget <= 0:
            raise UsageError(f"--budget {budget}: give a positive number of bytes")
        target = target.model_copy(update={"sram_bytes": min(budget, target.sram_bytes)})
    graph = load_model(find_model(model), output=output)
    if head is not None:
        graph = new_head(graph, head)
    made = compile_plan(chosen.build(graph, options), placement)
    fit = fit_on_board(made, target)
    if json:
        print_json(plan_document(made, fit))
    else:
        _print(made, fit)
    require_fit(made, target, fit)


def _placement(name: str) -> InputPlacement:
    for placement in INPUT_PLACEMENTS:
        if placement == name:
            return placement
    raise UsageError(f"--input {name!r}: give one of {', '.join(INPUT_PLACEMENTS)}")


def plan_document(made: Plan, fit: Fit) -> dict[str, Any]:
    """The JSON of a plan.

    programs: each as a tree, runs as lists of operators and loops as objects. visits: how often an operator runs in a sample and its
    update. moments: operators where they stand in the programs' text; first_op and last_op of a tensor's life count in these.
    """
    live = made.live_bytes()
    return {
        "schema_version": 1,
        "model": made.training.graph.name,
        "method": made.training.method,
        **option_words(made.training.options),
        "options": dict(made.training.options),
        "batch": made.training.batch,
        "plan_crc32": f"{made.crc32:08x}",
        "fits": fit.fits,
        "sram_peak_bytes": fit.sram_peak_bytes,
        "sram_lower_bound_bytes": fit.sram_lower_bound_bytes,
        "sram_limit_bytes": fit.sram_limit_bytes,
        "input_placement": made.input_placement,
        "input_bytes": made.input_bytes,
        "sram": {
            "arena": made.arena_bytes,
            "trainable": made.persistent_bytes,
            "io": IO_BYTES,
            "runtime": fit.runtime_bytes,
            "stack_reserve": fit.stack_bytes,
        },
        "state_bytes": made.state_bytes,
        "arena_lower_bound_bytes": made.arena.lower_bound_bytes,
        "arena_proven_minimal": made.arena.optimal,
        "flash_bytes": fit.flash_bytes,
        "flash_limit_bytes": fit.flash_limit_bytes,
        "macs": {"forward": made.macs(backward=False), "backward": made.macs(backward=True)},
        "operators": [
            {
                "op": op,
                "name": step.name,
                "kernel": step.kernel,
                "phase": step.phase.value,
                "layer": step.layer,
                "macs": step.definition.macs(step.params),
                "visits": made.visits[op],
                "live_bytes": max(live[at] for at, moment in enumerate(made.timeline.moments) if moment.step == step),
            }
            for op, step in enumerate(made.steps)
        ],
        "programs": made.outlines,
        "moments": [
            {"program": program, "op": made.ops[moment.step.name], "name": moment.step.name, "live_bytes": live[at]}
            for at, (program, moment) in enumerate(zip(made.timeline.programs, made.timeline.moments, strict=True))
        ],
        "tensors": [
            {
                "name": block.name,
                "offset_bytes": made.offsets[block.name],
                "size_bytes": block.size_bytes,
                "first_op": first,
                "last_op": last,
            }
            for block in made.blocks
            for first, last in block.lives
        ],
    }


def _print(made: Plan, fit: Fit) -> None:
    regions = [
        Region("constants", "flash", made.constant_bytes - made.trainable_bytes),
        Region("initial values of the trainable state", "flash", made.trainable_bytes),
        Region("code (reserve)", "flash", fit.flash_bytes - made.constant_bytes),
        Region(f"arena, {input_words(made.input_placement, made.input_bytes)}", "sram", made.arena_bytes),
        Region("trainable state", "sram", made.trainable_bytes),
        Region("state, zero at reset", "sram", made.state_bytes),
        Region("runtime and io", "sram", fit.runtime_bytes + IO_BYTES),
        Region("stack (reserve)", "sram", fit.stack_bytes),
    ]
    limits = {"flash": fit.flash_limit_bytes, "sram": fit.sram_limit_bytes}
    console.print(render_memory_map(regions, limits, made.blocks, made.arena))
    rows = [
        TimelineRow(made.ops[moment.step.name], moment.step.phase.value, moment.step.name, live)
        for moment, live in zip(made.timeline.moments, made.live_bytes(), strict=True)
    ]
    console.print()
    console.print(render_timeline(rows, made.arena_bytes))
    if UPDATE in made.training.programs or any(moment.ends for moment in made.timeline.moments):
        console.print("\nPrograms, by operators:")
        for name, program in made.outlines.items():
            console.print(f"  {name}: {_outlined(program)}{_how_often(name, made.training.batch)}")
    bits = {
        step.layer: getattr(step.params, "mantissa_bits", 0)
        for step in made.steps
        if step.phase is Phase.BACKWARD and step.name.endswith(".scaled_error")
    }
    if bits and any(step.kernel.endswith("_b16") for step in made.steps):
        proven = ", ".join(f"{layer} {count}" for layer, count in bits.items())
        console.print(f"\nError mantissa bits, proven to keep every int32 sum from overflowing: {proven}")
    console.print(
        f"\nMultiply-accumulates a step: {made.macs(backward=False):,} forward, {made.macs(backward=True):,} backward and update"
    )
    console.print(
        f"SRAM {fit.sram_peak_bytes:,} B of {fit.sram_limit_bytes:,} B; lower bound of any placement {fit.sram_lower_bound_bytes:,} B"
    )


def _outlined(program: list[Any]) -> str:
    """A program in one line: ``0-5, 4 x (6-8)``."""
    parts: list[str] = []
    for node in program:
        if isinstance(node, dict):
            parts.append(f"{node['count']} x ({_outlined(node['body'])})")
        else:
            parts += [str(first) if first == last else f"{first}-{last}" for first, last in _spans(node)]
    return ", ".join(parts)


def _spans(ops: list[int]) -> list[tuple[int, int]]:
    """Numbers that follow each other, as (first, last)."""
    spans: list[tuple[int, int]] = []
    for op in ops:
        if spans and spans[-1][1] == op - 1:
            spans[-1] = (spans[-1][0], op)
        else:
            spans.append((op, op))
    return spans


def _how_often(program: str, batch: int) -> str:
    return f" (once every {batch} samples)" if program == UPDATE and batch > 1 else ""
