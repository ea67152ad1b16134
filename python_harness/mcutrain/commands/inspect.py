"""``inspect``: what is in a model file."""

from __future__ import annotations

from typing import Annotated

import typer

from mcutrain.commands.options import JsonOption, OutputOption, console, print_json
from mcutrain.graph.summary import render, summarize
from mcutrain.importers import load_model
from mcutrain.paths import find_model


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A .tflite, .onnx or .pkl file.")],
    output: OutputOption = None,
    json: JsonOption = False,
) -> None:
    """Show a model's layers, shapes, scales, parameters and multiply-accumulates."""
    summary = summarize(load_model(find_model(model), output=output))
    if json:
        print_json(summary.to_json())
    else:
        console.print(render(summary))
