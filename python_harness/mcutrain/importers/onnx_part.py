"""The part of an ONNX network that its chosen output needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mcutrain.importers.common import chosen_output
from mcutrain.importers.onnx_file import FileModel, FileNode, FileValue


def needed_part(path: Path, model: FileModel, output: str | None) -> FileModel:
    """The model with only the nodes and inputs that an output needs: the chosen one, or all of the file.

    output: the name of any tensor that a node writes. Raises UsageError where there is none of this name.
    """
    writers: dict[str, FileNode] = {name: node for node in model.nodes for name in node.outputs if name}
    outputs = model.outputs
    if output is not None:
        output = chosen_output(path, output, writers)
        stated = [end for end in outputs if end.name == output]
        outputs = (stated[0] if stated else FileValue(output, "float32", None),)
    needed: set[str] = set()
    waiting = [end.name for end in outputs]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += writers[name].inputs if name in writers else ()
    nodes = tuple(node for node in model.nodes if needed.intersection(node.outputs))
    inputs = tuple(end for end in model.inputs if end.name in needed)
    # A network whose output hangs on nothing keeps its inputs, so that messages can name them.
    return replace(model, nodes=nodes, inputs=inputs or model.inputs, outputs=outputs)
