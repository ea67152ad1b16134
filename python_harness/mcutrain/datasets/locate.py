"""Find a published data set on this machine: in $MCUTRAIN_DATA, else in the cache, else by downloading it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mcutrain.errors import NotAvailableError

DATA_VARIABLE = "MCUTRAIN_DATA"
CONNECT_SECONDS = 10
READ_SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """A published .tar.gz: its address and SHA-256 (hex). Its members lie under one folder."""

    url: str
    sha256: str


def locate_file(folder: str, file: str) -> Path:
    """The path of ``folder/file`` under $MCUTRAIN_DATA, for a set that has no archive to download.

    Raises NotAvailableError when it is not there.
    """
    root = os.environ.get(DATA_VARIABLE)
    path = Path(root or ".") / folder / file
    if not root or not path.is_file():
        looked_in = f"{DATA_VARIABLE}={root}" if root else f"{DATA_VARIABLE}, which is not set"
        raise NotAvailableError(f"{folder}/{file} is not on this machine: looked for folder {folder} in {looked_in}")
    return path


def locate_member(folder: str, file: str, archive: Archive) -> Path:
    """The path of ``folder/file``: under $MCUTRAIN_DATA if it is there, else out of the archive, in the user's cache.

    A download is checked against the pinned SHA-256 before anything of it is used.
    Raises NotAvailableError when the file is not here and cannot be downloaded.
    """
    try:
        return locate_file(folder, file)
    except NotAvailableError as not_here:
        try:
            return _download(folder, file, archive)
        except (OSError, ValueError) as error:  # no network, a full disk; ValueError: the SHA-256 differs
            reason = " ".join(str(error).split())[:120]
            raise NotAvailableError(
                f"{not_here}, and could not download {archive.url} ({type(error).__name__}: {reason})"
            ) from error


def _download(folder: str, file: str, archive: Archive) -> Path:
    import pooch  # imported here: slow, and mostly not needed

    member = f"{folder}/{file}"
    extracted: list[str] = pooch.retrieve(
        archive.url,
        known_hash=f"sha256:{archive.sha256}",
        fname=archive.url.rsplit("/", 1)[1],
        path=pooch.os_cache("mcutrain"),
        processor=pooch.Untar(members=[member]),
        downloader=pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS)),
    )
    return Path(extracted[0])
