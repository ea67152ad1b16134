"""Where things lie: the project, its results, and the models a user keeps elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from mcutrain.errors import NotAvailableError, UsageError

PROJECT = Path(__file__).resolve().parents[2]
EPISODES = PROJECT / "emulation" / "episodes"
BASELINES = PROJECT / "emulation" / "baselines"
MODELS_VARIABLE = "MCUTRAIN_MODELS"


def build_directory() -> Path:
    """Where sources are generated and built: $MCUTRAIN_BUILD, or build/ in the project."""
    return Path(os.environ.get("MCUTRAIN_BUILD") or PROJECT / "build").absolute()


def results_directory() -> Path:
    """Where records and reports go: $MCUTRAIN_RESULTS, or results/ in the current folder."""
    return Path(os.environ.get("MCUTRAIN_RESULTS") or "results").absolute()


def require_writable(folder: Path, instead: str) -> None:
    """Refuse a folder, there or still to be made, that cannot be written, before any work is done for it.

    instead: what to set or give for another one. Raises UsageError.
    """
    there = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not there.is_dir():
        raise UsageError(f"cannot write to {folder}: {there} is no folder; {instead}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {folder}: {there} may not be written to; {instead}")


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (too long) has none."""
    try:
        return path.is_file()
    except OSError:
        return False


def portable(path: Path, variable: str) -> str:
    """The path as a record keeps it: relative to the folder that ``variable`` names or to the project where it lies below one."""
    absolute = path.resolve()
    for root in (os.environ.get(variable), PROJECT):
        if root and absolute.is_relative_to(Path(root).resolve()):
            return str(absolute.relative_to(Path(root).resolve()))
    return str(absolute)


def find_portable(text: str, variable: str) -> Path:
    """The file that ``portable`` wrote as ``text``; the text itself as a path where there is none."""
    root = os.environ.get(variable)
    candidates = [*([Path(root) / text] if root else []), PROJECT / text]
    return next((candidate for candidate in candidates if is_file(candidate)), Path(text))


def find_model(text: str, *, relative_to: Path = PROJECT) -> Path:
    """The model file called ``text``: a path, a path below ``relative_to``, or one below $MCUTRAIN_MODELS.

    Raises UsageError where there is none, NotAvailableError where it is one of the models below $MCUTRAIN_MODELS and that is not set.
    """
    models = os.environ.get(MODELS_VARIABLE)
    candidates = [Path(text), relative_to / text, PROJECT / text, *([Path(models) / text] if models else [])]
    for candidate in candidates:
        if is_file(candidate):
            return candidate
    if text.startswith(("mlperf_tiny/", "mcunet/")):
        where = f"{MODELS_VARIABLE}={models} does not hold it" if models else f"{MODELS_VARIABLE} is not set"
        raise NotAvailableError(f"model {text} is not on this machine: {where}; set it to the folder that holds {text}")
    raise UsageError(f"no model file {text!r}: give the path of a .tflite, .onnx or .pkl file")
