"""``build``: the C sources and the firmware of an episode."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

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
from mcutrain.compiler.codegen import generate
from mcutrain.episode.prepare import prepare
from mcutrain.episode.targets import build_for_board, planned_static_bytes
from mcutrain.errors import UsageError


def build(
    episode: EpisodeArgument,
    board: Annotated[str | None, typer.Option(help="The board; the episode's first where not given.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder to copy model.c, firmware.elf and episode.image to.")
    ] = None,
    sources_only: Annotated[
        bool, typer.Option("--sources-only", help="Write model.c into --output and build nothing.")
    ] = False,
    scheme: SchemeOption = None,
    errors: ErrorsOption = None,
    weights: WeightsOption = None,
    batch: BatchOption = None,
    option: MethodOption = None,
    json: JsonOption = False,
) -> None:
    """Generate the C sources of an episode and build its firmware."""
    definition = load(episode, method_options(scheme, errors, weights, batch, option))
    prepared = prepare(definition)
    if sources_only:
        if output is None:
            raise UsageError("--sources-only needs --output, the folder to write model.c to")
        path = generate(prepared.plan, output)
        print_json({"model": str(path)}) if json else console.print(str(path))
        return
    target = load_board(board or definition.boards[0])
    built = build_for_board(prepared.plan, target)
    elf = built.elf
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        generate(prepared.plan, output)
        elf = Path(shutil.copy2(built.elf, output / "firmware.elf"))
        (output / "episode.image").write_bytes(prepared.image().to_bytes())
    document = {
        "episode": definition.name,
        "board": target.name,
        "elf": str(elf),
        "elf_sha256": built.sha256,
        "plan_crc32": f"{prepared.plan.crc32:08x}",
        "static_sram_bytes": built.data_bytes + built.bss_bytes,
        "planned_static_sram_bytes": planned_static_bytes(prepared.plan),
        "flash_bytes": built.flash_bytes,
        "compiler": built.compiler,
    }
    if json:
        print_json(document)
    else:
        for key, value in document.items():
            console.print(f"{key:<26} {value:,}" if isinstance(value, int) else f"{key:<26} {value}")
