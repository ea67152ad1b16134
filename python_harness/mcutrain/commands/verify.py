"""``verify``: hold runners against each other, step by step, and name the first difference."""

from __future__ import annotations

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
from mcutrain.episode.compare import Side, compared_lines, locate
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
    lines = []
    with bars() as bar:
        for target in targets:
            lines.append(target.run(image, bar.counter(target.name, image.steps)))
    reference, reference_lines = targets[0], lines[0]
    divergences = []
    for target, own in zip(targets[1:], lines[1:], strict=True):
        sides = (Side(reference.name, reference.run), Side(target.name, target.run))
        found = locate(prepared, *sides, reference_lines, own)
        if found is not None:
            divergences.append(found)
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
                "matches": not divergences,
                "divergences": [str(divergence) for divergence in divergences],
            }
        )
    else:
        words = option_words(definition.options.model_dump())
        said = [word for word in (words["error_mode"], words["weight_rounding"]) if word != "none"]
        chosen = ", ".join(said) or definition.method
        for name, digest in digests.items():
            console.print(f"{definition.name} ({chosen}): {name:<8} {image.steps} steps, digest {digest}")
    if divergences:
        raise MismatchError("; ".join(str(divergence) for divergence in divergences))
    if not json:
        console.print(f"bit-exact: {', '.join(names)} agree in {len(compared_lines(reference_lines))} lines")
