"""Build folders of a test's own that share the libraries, which take twelve times as long to build as a model."""

from __future__ import annotations

from pathlib import Path

from mcutrain.paths import build_directory

# Of the whole run, whatever folder a test names later. Ninja brings a stale library up to date, and one process at a time builds it.
_LIBRARIES = build_directory() / "library"


def own_build_folder(folder: Path) -> Path:
    """``folder``, made, as a value of MCUTRAIN_BUILD: plans are built into it, libraries where all tests have them."""
    _LIBRARIES.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "library").symlink_to(_LIBRARIES)
    return folder
