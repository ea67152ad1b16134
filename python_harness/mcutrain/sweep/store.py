"""Results by the key of their job, one file each, so that nothing is computed twice."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from pydantic import ValidationError

from mcutrain.atomic import write_atomically
from mcutrain.episode.record import EpisodeRecord
from mcutrain.paths import build_directory


class Store:
    """A folder of records: ``build/sweep/records`` unless told otherwise. It may be deleted at any time."""

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is read or written yet."""
        self.folder = folder or build_directory() / "sweep" / "records"

    def get(self, key: str) -> EpisodeRecord | None:
        """The record of a job; None where there is none, or none that can be read any more."""
        try:
            return EpisodeRecord.model_validate_json(gzip.decompress(self._path(key).read_bytes()))
        except (OSError, EOFError, zlib.error, ValidationError):
            return None

    def put(self, key: str, record: str) -> None:
        """Keep a record, given as JSON. Raises UsageError where it cannot be written."""
        write_atomically(self._path(key), gzip.compress(record.encode(), mtime=0), "the result")

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json.gz"
