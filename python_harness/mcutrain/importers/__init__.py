"""Model files to Graphs: int8 .tflite, ONNX in QDQ form, and the .pkl files of tiny-training."""

from __future__ import annotations

import stat
from pathlib import Path

from mcutrain.errors import UsageError
from mcutrain.graph.model import Graph
from mcutrain.importers.onnx import import_onnx
from mcutrain.importers.tflite import import_tflite
from mcutrain.importers.tiny_training import import_tiny_training

__all__ = ["DEFAULT_MAX_BYTES", "load_model"]

DEFAULT_MAX_BYTES = 64 * 1024 * 1024

_IMPORTERS = {".tflite": import_tflite, ".onnx": import_onnx, ".pkl": import_tiny_training}


def load_model(path: Path, *, output: str | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> Graph:
    """The quantised network in a .tflite, .onnx or tiny-training .pkl file.

    The file is not trusted: whatever it holds, the result is a valid Graph or one UsageError, in bounded time and
    memory. output: the name of the tensor to take as the output, where the file has several or the network is to end
    before its own; what that one does not need is left out. Raises UsageError: no such file, no such output, over
    ``max_bytes``, of another format, damaged, or unsupported (it says what the model is, or names the first few problems).
    """
    content = _read(path, max_bytes)
    if content[4:8] == b"TFL3":
        return import_tflite(path, content, output)
    importer = _IMPORTERS.get(path.suffix.lower())
    if importer is None:
        raise UsageError(f"{path}: not a model file this tool reads; give a .tflite, .onnx or .pkl file")
    return importer(path, content, output)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        # A pipe or a device could block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path}: not a regular file; give a .tflite, .onnx or .pkl file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise UsageError(f"{path}: cannot read the model: {reason}") from None
    if len(content) > max_bytes:
        raise UsageError(f"{path}: larger than the limit of {max_bytes} bytes for a model file")
    return content
