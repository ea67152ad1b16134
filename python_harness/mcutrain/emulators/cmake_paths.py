r"""Paths as CMake can take them: ``[ ] ; " \`` mean something to it wherever they stand, so paths that have one go through links."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mcutrain import leftovers
from mcutrain.errors import UsageError

_UNFIT = re.compile(r'[\[\];"\\\n]')
_ELSEWHERE = "/tmp"  # noqa: S108 - where the folder for temporary files has such a name too


@contextmanager
def fit_for_cmake(folder: Path, paths: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """The same paths by key, all of them through links while the block runs where one is unfit.

    folder: that is built in, whose lock the caller holds. Its links have the same names each time, since CMake remembers them.
    Raises UsageError where the folder for the links is somebody else's.
    """
    if not any(_UNFIT.search(str(path)) for path in paths.values()):
        yield dict(paths)
        return
    temporary = tempfile.gettempdir()
    name = f"mcutrain-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    links = Path(_ELSEWHERE if _UNFIT.search(temporary) else temporary) / name
    _make_own(links)
    try:
        found = {}
        for key, path in paths.items():
            is_file = path.is_file()
            (links / key).symlink_to(path.parent if is_file else path)
            found[key] = links / key / path.name if is_file else links / key
        yield found
    finally:
        leftovers.remove(links)


def _make_own(links: Path) -> None:
    """Make the folder anew; one of ours is left from a start that was cut short with its guard."""
    leftovers.enter_path(links)
    try:
        links.mkdir(mode=0o700)
    except FileExistsError:
        found = links.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            leftovers.leave_path(links)
            raise UsageError(f"{links} is not ours; remove it, or set TMPDIR to another folder") from None
        shutil.rmtree(links)
        links.mkdir(mode=0o700)
