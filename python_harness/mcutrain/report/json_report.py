"""Records as JSON: ``{"episodes": [record, ...]}``, as `demo`, `test` and `sweep` print it.

In a file the steps of each record stand apart, in a table beside it that the record names under the key "steps_file".
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mcutrain.atomic import write_atomically
from mcutrain.episode.record import SCHEMA_VERSION, EpisodeRecord
from mcutrain.errors import UsageError
from mcutrain.report.step_file import read_steps, write_steps
from mcutrain.report.wording import printable

# A record takes about 0.1 MB, and with steps inside, as old files have them, 0.6 MB of 5,000; a limit for what is not ours.
MAX_FILE_BYTES = 512 << 20


def dump_records(records: Sequence[EpisodeRecord]) -> str:
    """The JSON document of the records, one line a nesting level, ending in a newline.

    JSON has no NaN nor infinity: such a loss is written as the string "NaN", "Infinity" or "-Infinity", which
    `load_records` reads back; loss_bits has the exact bits in any case.
    """
    return _document([record.model_dump(mode="python") for record in records])


def write_json(records: Sequence[EpisodeRecord], path: Path) -> None:
    """Write the records to path and their steps beside it, whole or not at all. Raises UsageError when they cannot be written."""
    new: list[Path] = []
    try:
        episodes = []
        for record in records:
            episode = record.model_dump(mode="python", exclude={"step_records"})
            if record.step_records:
                episode["steps_file"] = write_steps(record.step_records, path.parent, new)
            episodes.append(episode)
        write_atomically(path, _document(episodes), "the JSON report")
    except BaseException:
        for steps in new:
            steps.unlink(missing_ok=True)
        raise


def load_records(path: Path, *, steps: bool = True) -> tuple[EpisodeRecord, ...]:
    """Read what `write_json` wrote, now or when steps still stood in the records. Without ``steps``, no record has step_records.

    Raises UsageError, naming the file and the place in it, when it is missing, too large, not JSON, not a list of
    episodes, of an unknown schema version, has a wrong or unknown key, or its steps are not beside it as it names them.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(
                f"{path}: larger than {MAX_FILE_BYTES:,} B, which no file of records is; name a file of records"
            )
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read records from {path}: {error.strerror}; write them first with --json") from None
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: not a JSON file ({reason}); name a file written with --json") from None
    episodes = document.get("episodes") if isinstance(document, dict) else None
    if not isinstance(episodes, list):
        raise UsageError(f'{path}: no list "episodes" at the top; name a file written with --json')
    return tuple(_record(path, index, value, steps) for index, value in enumerate(episodes))


def _record(path: Path, index: int, value: object, steps: bool) -> EpisodeRecord:
    where = f"{path}: episodes[{index}]"
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not an object; name a file written with --json")
    version = value.get("schema_version")
    # `True == 1` in Python, but no version is a truth value.
    if version != SCHEMA_VERSION or isinstance(version, bool):
        found = "no schema_version" if version is None else f"schema_version {printable(json.dumps(version))[:40]}"
        raise UsageError(
            f"{where} has {found}, this mcutrain reads {SCHEMA_VERSION}; write the file again with this mcutrain"
        )
    if "steps_file" in value:
        name = value.pop("steps_file")
        if "step_records" in value:
            raise UsageError(
                f"{where} has steps in steps_file and in step_records; write the file again with this mcutrain"
            )
        value["step_records"] = read_steps(path.parent, name, where) if steps else []
    elif not steps:
        value.pop("step_records", None)
    try:
        return EpisodeRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = printable(".".join(str(part) for part in first["loc"]))[:120]
        reason = printable(str(first["msg"]))
        raise UsageError(f"{where}, key {key}: {reason}; write the file again with this mcutrain") from None


def _document(episodes: list[dict[str, Any]]) -> str:
    return json.dumps({"episodes": _strict(episodes)}, indent=1, allow_nan=False) + "\n"


def _strict(value: object) -> object:
    """The value with every float that JSON cannot hold replaced by its name."""
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
