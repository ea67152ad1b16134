"""records.csv and the data frame: one row a run, the same from either file, each column in the documentation."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas
import pytest

from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT
from mcutrain.records import COLUMNS, dump_csv, load_records_frame, write_csv
from mcutrain.report import dump_records, write_json

NAMES = [column.name for column in COLUMNS]
SETTINGS: dict[str, Any] = {
    "definition": {
        "learning_rate": 0.011,
        "seed": 7,
        "schedule": "cosine",
        "model": 'a "net", mine.onnx',
        "data": {"set": "digits", "shift": "none", "severity": 3, "pixel_scale": 1},
    },
    **{"model_sha256": "0" * 64, "data_sha256": "1" * 64, "input_scale": 0.25, "input_zero_point": -128},
    **{"tool_version": "0.1.0", "git_revision": "", "date": "2026-11-28T12:00:00Z"},
}


@pytest.fixture
def records(make_record: Any) -> list[Any]:
    """With settings, texts that look like numbers and like nothing; and what an older version left, with hardly a figure."""
    full = make_record(steps=3, settings=SETTINGS, digest="1234e567", plan_crc32="00000012", scheme="None")
    bare = make_record(
        steps=2, instructions_per_step=None, accuracy_after=None, matches_golden=None, instructions_per_inference=None
    )
    return [full, bare]


def test_a_row_has_the_figures_of_its_record(records: list[Any]) -> None:
    full, bare = csv.DictReader(io.StringIO(dump_csv(records)))
    assert list(full) == NAMES
    said = {"episode": "resnet8-noise", "seed": "7", "learning_rate": "0.011", "digest": "1234e567", "steps": "3"}
    said |= {"model": 'a "net", mine.onnx', "data_set": "digits", "data_severity": "3", "input_zero_point": "-128"}
    said |= {
        "stack_peak_bytes": "2168",
        "instructions_per_step_other": "41337.0",
        "matches_golden": "True",
        "epochs": "",
    }
    assert full.items() >= said.items()
    assert {bare[key] for key in ("seed", "model", "instructions_per_step", "accuracy_after", "matches_golden")} == {""}


def test_both_files_give_the_same_frame(records: list[Any], tmp_path: Path) -> None:
    write_json(records, tmp_path / "records.json")
    write_csv(records, tmp_path / "records.csv")
    (tmp_path / "old.json").write_text(dump_records(records))
    frames = [load_records_frame([tmp_path / name]) for name in ("records.json", "records.csv", "old.json")]
    for frame in frames:
        pandas.testing.assert_frame_equal(frame.drop(columns="file"), frames[0].drop(columns="file"))
    together = load_records_frame([tmp_path / "records.csv", str(tmp_path / "old.json")])
    assert [Path(file).name for file in together["file"]] == ["records.csv"] * 2 + ["old.json"] * 2


def test_the_frame_has_types_whatever_a_text_looks_like(records: list[Any], tmp_path: Path) -> None:
    write_csv(records, tmp_path / "records.csv")
    frame = load_records_frame([tmp_path / "records.csv"])
    assert list(frame.columns) == ["file", *NAMES]
    first, second = frame.to_dict("records")
    assert (first["digest"], first["plan_crc32"], first["scheme"]) == ("1234e567", "00000012", "None")
    assert (first["seed"], first["learning_rate"], first["data_pixel_scale"]) == (7, 0.011, 1.0)
    assert first["matches_golden"] is True
    assert frame["git_revision"].isna().all()
    assert pandas.isna(second["seed"]) and pandas.isna(second["instructions_per_step"])
    kinds = {name: str(frame.dtypes[name]) for name in ("digest", "steps", "accuracy_before", "matches_golden")}
    assert kinds == {"digest": "string", "steps": "Int64", "accuracy_before": "Float64", "matches_golden": "boolean"}


def test_no_file_gives_a_frame_of_no_rows_with_every_column() -> None:
    assert list(load_records_frame([]).columns) == ["file", *NAMES]


def test_a_definition_of_other_types_states_nothing(make_record: Any) -> None:
    odd = {"learning_rate": "fast", "seed": True, "model": [1], "data": 3, "epochs": 1.5}
    (row,) = csv.DictReader(io.StringIO(dump_csv([make_record(settings={**SETTINGS, "definition": odd})])))
    assert {row[key] for key in ("learning_rate", "seed", "model", "data_set", "epochs")} == {""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column episode"),
        (b"a,b\n1,2\n", "no column episode"),
        (b"episode,steps\nx,many\n", "'many'"),
        (b"episode,matches_golden\nx,yes\n", "'yes'"),
        (b"episode\n\xff\n", "decode"),
        (b"episode,steps\nx," + b"9" * 30 + b"\n", "does not fit 64 bits"),
    ],
)
def test_a_table_that_is_not_ours_is_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_bytes(content)
    with pytest.raises(UsageError, match=message) as refusal:
        load_records_frame([tmp_path / "records.csv"])
    assert "records.csv" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_table_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read records from .*none\.csv: No such file"):
        load_records_frame([tmp_path / "none.csv"])


def test_the_documentation_lists_every_column_in_its_order() -> None:
    table = (PROJECT / "docs" / "records.md").read_text(encoding="utf-8").split("## records.csv")[1]
    named: list[str] = []
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row):
            if not name.startswith("_"):
                named.append(name)
            elif name in ("_low", "_high"):
                named.append(named[-1].removesuffix("_low") + name)
            else:
                named.append(re.sub("_(forward|loss|backward|update)$", "", named[-1]) + name)
        if "same endings" in row:
            named += [f"{named[-1]}_{phase}" for phase in ("forward", "loss", "backward", "update", "other")]
    assert named == NAMES


def test_options_are_one_json_object(make_record: Any) -> None:
    (row,) = csv.DictReader(io.StringIO(dump_csv([make_record(options={"b": "x, y", "a": 1})])))
    assert json.loads(row["options"]) == {"a": 1, "b": "x, y"}
