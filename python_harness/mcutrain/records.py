"""Records as a flat table, one row a run: ``records.csv`` beside each records.json, and a data frame of many of them for pandas.

docs/records.md lists the columns; names carry the unit where a figure has one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from mcutrain.atomic import write_atomically
from mcutrain.episode.observations import Observations
from mcutrain.episode.record import PHASES, EpisodeRecord
from mcutrain.errors import UsageError
from mcutrain.report.json_report import load_records

if TYPE_CHECKING:
    import pandas

Cell = str | int | float | bool | None
Kind = Literal["text", "count", "amount", "flag"]
GetCell = Callable[[EpisodeRecord], Any]
GetSeen = Callable[[Observations], Any]
_DTYPES: dict[Kind, str] = {"text": "string", "count": "Int64", "amount": "Float64", "flag": "boolean"}

_TYPES: dict[Kind, type | tuple[type, ...]] = {"text": str, "count": int, "amount": (int, float)}


@dataclass(frozen=True)
class Column:
    """A column: what is in it, and how a record gives its cell (None: not measured, or not stated)."""

    name: str
    kind: Kind
    cell: GetCell


def _own(kind: Kind, *names: str) -> list[Column]:
    """Keys of the record itself."""
    return [Column(name, kind, attrgetter(name)) for name in names]


def _setting(kind: Kind, *names: str) -> list[Column]:
    """Keys of its settings."""

    def cell_of(name: str) -> GetCell:
        return lambda record: getattr(record.settings, name, None)

    return [Column(name, kind, cell_of(name)) for name in names]


def _definition(kind: Kind, *names: str) -> list[Column]:
    """Keys of the episode's definition."""
    return [Column(name, kind, _said(kind, name)) for name in names]


def _data(kind: Kind, *names: str) -> list[Column]:
    """Keys of the definition's ``data``, as data_<key>."""
    return [Column(f"data_{name}", kind, _said(kind, "data", name)) for name in names]


def _phases(name: str) -> list[Column]:
    """A count of a step and of each of its phases."""

    def cell_of(part: str) -> GetCell:
        return lambda record: getattr(getattr(record, name), part, None)

    return [
        Column(name, "amount", cell_of("total")),
        *(Column(f"{name}_{phase}", "amount", cell_of(phase)) for phase in (*PHASES, "other")),
    ]


def _sram(**columns: str) -> list[Column]:
    """Parts of the record's sram."""
    return [Column(column, "count", attrgetter(f"sram.{part}")) for part, column in columns.items()]


def _observed(kind: Kind, **columns: GetSeen) -> list[Column]:
    """What its observations say."""

    def cell_of(seen: GetSeen) -> GetCell:
        return lambda record: None if record.observations is None else seen(record.observations)

    return [Column(name, kind, cell_of(seen)) for name, seen in columns.items()]


def _said(kind: Kind, *keys: str) -> GetCell:
    """What the definition says under these keys, if it is of this kind: it may be of another mcutrain."""

    def cell(record: EpisodeRecord) -> Cell:
        value: Any = record.settings.definition if record.settings else None
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        fits = isinstance(value, _TYPES[kind]) and not isinstance(value, bool)
        return cast(Cell, value) if fits else None

    return cell


# Where older records have it.
_DEFINED_SEED = _said("count", "seed")

COLUMNS: tuple[Column, ...] = (
    *_own("text", "episode", "board", "core", "runner", "method", "scheme", "error_mode", "weight_rounding"),
    Column("options", "text", lambda record: json.dumps(record.options, sort_keys=True)),
    Column("seed", "count", lambda record: _DEFINED_SEED(record) if record.seed is None else record.seed),
    *_definition("amount", "learning_rate"),
    *_definition("text", "schedule"),
    *_definition("count", "epochs", "new_head"),
    *_own("count", "batch", "trained_parameters", "steps", "samples_adapt", "samples_test"),
    *_own("text", "evaluated", "loss"),
    *_definition("text", "model", "output"),
    *_setting("text", "model_sha256"),
    *_data("text", "set", "shift"),
    *_data("count", "severity", "seed"),
    *_data("text", "file", "targets"),
    *_data("amount", "pixel_scale"),
    *_setting("text", "data_sha256"),
    *_setting("amount", "input_scale"),
    *_setting("count", "input_zero_point"),
    *_own("text", "input_placement"),
    *_own("count", "input_bytes"),
    *_own("amount", "accuracy_before", "accuracy_after", "mse_before", "mse_after"),
    *_observed(
        "amount",
        input_clipped_fraction=lambda seen: seen.input_clipped_fraction,
        steps_capped_fraction=lambda seen: seen.steps_capped_fraction,
        at_limit_fraction=lambda seen: seen.at_limit_fraction,
        loss_first=lambda seen: seen.loss and seen.loss.first,
        loss_last=lambda seen: seen.loss and seen.loss.last,
    ),
    *_observed("count", unmoved_tensors=lambda seen: seen.unmoved_tensors, warnings=lambda seen: len(seen.warnings)),
    *_observed("text", warnings_text=lambda seen: " | ".join(seen.warnings)),
    *_own("text", "digest", "plan_crc32"),
    *_own("flag", "matches_golden"),
    *_own("count", "golden_steps", "instructions"),
    *_phases("instructions_per_step"),
    *_phases("estimated_cycles_per_step"),
    *_own("amount", "estimated_cycles_low", "estimated_cycles_high"),
    *_own("amount", "instructions_per_inference", "estimated_cycles_per_inference"),
    *_own("amount", "estimated_cycles_per_inference_low", "estimated_cycles_per_inference_high"),
    *_own("amount", "estimated_millijoules_per_step", "estimated_millijoules_per_inference"),
    *_own("count", "sram_peak_bytes", "sram_planned_bytes", "sram_limit_bytes"),
    *_own("text", "reference_board"),
    *_own("count", "reference_sram_limit_bytes"),
    *_sram(data="data_bytes", bss="bss_bytes", arena="arena_bytes", trainable="trainable_bytes", state="state_bytes"),
    *_sram(stack_peak="stack_peak_bytes", stack_reserve="stack_reserve_bytes"),
    *_own("count", "flash_bytes", "flash_limit_bytes", "clock_hz", "macs_forward", "macs_backward"),
    *_own("text", "emulator", "emulator_version", "compiler", "compiler_flags", "elf_sha256", "counts_source"),
    *_setting("text", "tool_version", "git_revision", "date"),
    *_own("amount", "wall_seconds"),
)


def dump_csv(records: Sequence[EpisodeRecord]) -> str:
    """The table as CSV: a header and one row a record; an empty cell is a figure that was not measured or not stated."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    writer.writerows(_row(record) for record in records)
    return stream.getvalue()


def write_csv(records: Sequence[EpisodeRecord], path: Path) -> None:
    """Write the table to path, whole or not at all. Raises UsageError when it cannot be written."""
    write_atomically(path, dump_csv(records), "the table of records")


def load_records_frame(paths: Iterable[str | Path]) -> pandas.DataFrame:
    """The rows of many records.json or records.csv files as one pandas frame, with the columns of this table behind ``file``, their file.

    Texts are of dtype string, counts Int64, amounts Float64, flags boolean; what was not measured or not stated is missing (isna).
    Raises UsageError for a file that is none of records.
    """
    import pandas  # here: slow to import, and nothing else needs it

    rows: list[list[Cell]] = []
    files = [Path(path) for path in paths]
    for path in files:
        found = (
            _read_csv(path) if path.suffix == ".csv" else [_row(record) for record in load_records(path, steps=False)]
        )
        rows += [[str(path), *row] for row in found]
    frame = pandas.DataFrame(rows, columns=["file", *(column.name for column in COLUMNS)], dtype=object)
    try:
        return frame.astype({"file": "string", **{column.name: _DTYPES[column.kind] for column in COLUMNS}})
    except (OverflowError, TypeError, ValueError):
        raise UsageError(f"a count of the records in {', '.join(map(str, files))} does not fit 64 bits") from None


def _row(record: EpisodeRecord) -> list[Cell]:
    # An empty text is what is not known, e.g. the revision of what is no checkout: as in the file, it is no value.
    return [None if (cell := column.cell(record)) == "" else cell for column in COLUMNS]


def _read_csv(path: Path) -> list[list[Cell]]:
    """Rows of a records.csv; a column that it lacks, of an older mcutrain, is not stated."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if "episode" not in (table.fieldnames or ()):
                raise ValueError("no column episode")
            return [[_cell(column, row.get(column.name)) for column in COLUMNS] for row in table]
    except OSError as error:
        raise UsageError(f"cannot read records from {path}: {error.strerror}") from None
    except (ValueError, KeyError, csv.Error) as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(
            f"{path}: not a table of records ({reason}); name a records.csv that a run has written"
        ) from None


def _cell(column: Column, text: str | None) -> Cell:
    if not text:
        return None
    match column.kind:
        case "text":
            return text
        case "count":
            return int(text)
        case "amount":
            return float(text)
        case "flag":
            return {"True": True, "False": False}[text]
