"""``build``: the model of an episode as C, for any firmware, and the episode's own firmware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcutrain.atomic import write_atomically
from mcutrain.boards import load_board
from mcutrain.commands.options import (
    BatchOption,
    EpisodeArgument,
    ErrorsOption,
    JsonOption,
    MethodOption,
    SchemeOption,
    WeightsOption,
    console,
    load,
    method_options,
    print_json,
)
from mcutrain.compiler.codegen import c_name, checked_name, generate
from mcutrain.episode.prepare import prepare
from mcutrain.episode.targets import build_for_board, planned_static_bytes
from mcutrain.errors import UsageError


def build(
    episode: EpisodeArgument,
    board: Annotated[str | None, typer.Option(help="The board; the episode's first where not given.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to write to: NAME.c and NAME.h, and the episode's firmware.elf and episode.image."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in C and of its files; the episode's where not given.")
    ] = None,
    sources_only: Annotated[
        bool, typer.Option("--sources-only", help="Only write NAME.c and NAME.h into --output, and build nothing.")
    ] = False,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    batch: BatchOption = None,
    option: MethodOption = None,
    json: JsonOption = False,
) -> None:
    """Generate the C sources of an episode's model, for any firmware (docs/library.md), and build the episode's own."""
    definition = load(episode, method_options(scheme, errors, weights, batch, option))
    model = checked_name(name) if name is not None else c_name(definition.name)
    if sources_only and output is None:
        raise UsageError("--sources-only needs --output, the folder to write the model's .c and .h to")
    prepared = prepare(definition)
    document: dict[str, object] = {"episode": definition.name, "name": model}
    if not sources_only:
        target = load_board(board or definition.boards[0])
        built = build_for_board(prepared.plan, target)
        elf = built.elf
        if output is not None:
            elf = output / "firmware.elf"
            write_atomically(elf, built.elf.read_bytes(), "the firmware")
            write_atomically(output / "episode.image", prepared.image().to_bytes(), "the episode's image")
        document |= {
            "board": target.name,
            "elf": str(elf),
            "elf_sha256": built.sha256,
            "static_sram_bytes": built.data_bytes + built.bss_bytes,
            "planned_static_sram_bytes": planned_static_bytes(prepared.plan),
            "flash_bytes": built.flash_bytes,
            "compiler": built.compiler,
        }
    document["plan_crc32"] = f"{prepared.plan.crc32:08x}"
    if output is not None:
        source = generate(prepared.plan, output, model)
        document |= {"model": str(source), "header": str(source.with_suffix(".h"))}
    if json:
        print_json(document)
        return
    for key, value in document.items():
        console.print(f"{key:<26} {value:,}" if isinstance(value, int) else f"{key:<26} {value}")
