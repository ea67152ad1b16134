"""Whole files or none: what is written here is never seen half done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mcutrain.errors import UsageError


def write_atomically(path: Path, content: str | bytes, what: str) -> None:
    """Write content (text as UTF-8) to path through a temporary file in the same folder, made where it is missing, and a rename.

    On any failure the old file is as it was and no temporary file is left. what names the thing in the error message.
    Raises UsageError when the folder cannot be made or written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
        # mkstemp makes private files; a report is as readable as any file the user makes.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write {what} to {path}: {reason}; name a path in a folder that is writable") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
