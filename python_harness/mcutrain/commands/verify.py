"""``verify``: hold runners against each other, step by step, and name the first difference."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from mcutrain.commands.options import (
    BatchOption,
    EpisodeArgument,
    ErrorsOption,
    InputOption,
    JsonOption,
    MethodOption,
    SchemeOption,
    WeightsOption,
    bars,
    console,
    load,
    method_options,
    print_json,
)
from mcutrain.emulators.lines import Line
from mcutrain.episode.compare import Side, compared_lines, differing_totals, locate
from mcutrain.episode.prepare import prepare
from mcutrain.episode.record import option_words
from mcutrain.episode.run import run_digest
from mcutrain.episode.runners import ALWAYS_COMPARED, find_runner, make_target
from mcutrain.errors import MismatchError, UsageError


def verify(
    episode: EpisodeArgument,
    runners: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: golden, host, BOARD, BOARD@EMULATOR. Default: golden,host and the episode's boards."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to compare.")] = 200,
    test: Annotated[int, typer.Option(min=0, help="Test samples to evaluate before and after.")] = 10,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    batch: BatchOption = None,
    option: MethodOption = None,
    input_placement: InputOption = None,
    json: JsonOption = False,
) -> None:
    """Compare losses, predictions and digests of every step; exit 1 with step, operator, tensor and element where two runners part."""
    definition = load(episode, method_options(scheme, errors, weights, batch, option), {"input": input_placement})
    names = runners.split(",") if runners else [*ALWAYS_COMPARED, *definition.boards]
    if len({find_runner(name).key for name in names}) < 2:
        raise UsageError("--runners: give two or more different runners, e.g. golden,host,m4-256k")
    prepared = prepare(definition)
    image = prepared.image(steps=steps, test=test)
    targets = [make_target(prepared.plan, name) for name in names]
    # A board on two emulators has executed the same instructions on both, too.
    boards = Counter(target.site.board for target in targets)
    lines: list[tuple[Line, ...]] = []
    totals: dict[str, int] = {}
    with bars() as bar:
        for target in targets:
            on_line = bar.counter(target.name, image.steps)
            if boards[target.site.board] == 1:
                lines.append(target.run(image, on_line))
                continue
            result = target.counted(image, on_line)
            lines.append(result.lines)
            if result.instructions is not None:
                totals[target.name] = result.instructions
    reference, reference_lines = targets[0], lines[0]
    divergences = []
    for target, own in zip(targets[1:], lines[1:], strict=True):
        sides = (Side(reference.name, reference.run), Side(target.name, target.run))
        found = locate(prepared, *sides, reference_lines, own)
        if found is not None:
            divergences.append(found)
    miscounts = differing_totals(totals, {target.name: target.site.board for target in targets})
    digests = {
        target.name: run_digest([line for line in own if line.kind == "step"])
        for target, own in zip(targets, lines, strict=True)
    }
    if json:
        print_json(
            {
                "schema_version": 1,
                "episode": definition.name,
                **option_words(definition.options.model_dump()),
                "options": definition.options.model_dump(),
                "steps": image.steps,
                "digests": digests,
                "instructions": totals,
                "matches": not divergences and not miscounts,
                "divergences": [*map(str, divergences), *miscounts],
            }
        )
    else:
        words = option_words(definition.options.model_dump())
        said = [word for word in (words["error_mode"], words["weight_rounding"]) if word != "none"]
        chosen = ", ".join(said) or definition.method
        for name, digest in digests.items():
            count = f", {totals[name]:,} instructions" if name in totals else ""
            console.print(f"{definition.name} ({chosen}): {name:<8} {image.steps} steps, digest {digest}{count}")
    if divergences or miscounts:
        raise MismatchError("; ".join([*map(str, divergences), *miscounts]))
    if not json:
        console.print(f"bit-exact: {', '.join(names)} agree in {len(compared_lines(reference_lines))} lines")
        if len(totals) > 1:
            console.print(
                "and in the instructions from reset to the call that ends the program, which is not of the count"
            )
