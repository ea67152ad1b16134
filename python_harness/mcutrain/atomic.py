"""Whole files or none: what is written here is never seen half done."""

from __future__ import annotations

import secrets
from pathlib import Path

from mcutrain import leftovers
from mcutrain.errors import UsageError


def write_atomically(path: Path, content: str | bytes, what: str) -> None:
    """Write content (text as UTF-8) to path through a temporary file in the same folder, made where it is missing, and a rename.

    On any failure the old file is as it was and no temporary file is left. what names the thing in the error message.
    Raises UsageError when the folder cannot be made or written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name[:64]}.{secrets.token_hex(8)}.part"
        leftovers.enter_path(temporary)
        with temporary.open("xb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"cannot write {what} to {path}: {reason}; name a path in a folder that is writable and has room"
        ) from None
    finally:
        if temporary is not None:
            leftovers.remove(temporary)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file of our own into a folder that is there, text as UTF-8.

    Raises OSError with the path as its filename, which Python leaves out where the disk is full.
    """
    try:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
