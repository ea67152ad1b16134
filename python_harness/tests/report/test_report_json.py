"""Records as JSON: what is written is read back, and what is not ours is refused in one line."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mcutrain.errors import UsageError
from mcutrain.report import dump_records, load_records, write_json


def test_records_come_back_as_they_were(make_record: Any, tmp_path: Path) -> None:
    records = (make_record(steps=20), make_record(steps=3, instructions_per_step=None, accuracy_after=None))
    write_json(records, tmp_path / "records.json")
    assert load_records(tmp_path / "records.json") == records


def test_the_document_has_the_keys_that_other_programs_rely_on(make_record: Any) -> None:
    document = json.loads(dump_records([make_record(steps=2)]))
    assert list(document) == ["episodes"]
    record = document["episodes"][0]
    assert record["schema_version"] == 1
    assert record["instructions_per_step"]["total"] == 10_789_662.5
    assert record["sram"]["stack_peak"] == 2_168
    assert record["step_records"][1]["n"] == 1


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_json_cannot_hold_comes_back(make_record: Any, tmp_path: Path, loss: float) -> None:
    record = make_record(steps=1)
    broken = record.model_copy(update={"step_records": (record.step_records[0].model_copy(update={"loss": loss}),)})
    write_json([broken], tmp_path / "records.json")
    text = (tmp_path / "records.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = load_records(tmp_path / "records.json")[0].step_records[0].loss
    assert back == loss or (math.isnan(back) and math.isnan(loss))


def test_a_failed_write_leaves_the_old_file(make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.json"
    path.write_text("old")

    def full(_: Path, __: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_json([make_record(steps=1)], path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["records.json"]


def _change(**changes: Any) -> Any:
    def apply(document: Any) -> Any:
        document["episodes"][0].update(changes)
        return document

    return apply


def _drop(key: str) -> Any:
    def apply(document: Any) -> Any:
        del document["episodes"][0][key]
        return document

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_change(schema_version=2), r"episodes\[0\] has schema_version 2, this mcutrain reads 1; write the file again"),
        (_change(schema_version="1"), r'has schema_version "1", this mcutrain reads 1'),
        (_change(schema_version=True), r"has schema_version true, this mcutrain reads 1"),
        (_drop("schema_version"), r"episodes\[0\] has no schema_version, this mcutrain reads 1"),
        (_drop("board"), r"episodes\[0\], key board: Field required"),
        (_change(colour="red"), r"episodes\[0\], key colour: Extra inputs are not permitted"),
        (_change(sram={"data": 1}), r"episodes\[0\], key sram.bss: Field required"),
        (lambda d: {"episodes": [3]}, r"episodes\[0\] is not an object"),
        (lambda d: {"episodes": {}}, r'no list "episodes" at the top'),
        (lambda d: d["episodes"], r'no list "episodes" at the top'),
    ],
)
def test_a_document_that_is_not_ours_is_refused_with_its_place(
    make_record: Any, tmp_path: Path, spoil: Any, message: str
) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(spoil(json.loads(dump_records([make_record(steps=1)])))))
    with pytest.raises(UsageError, match=message) as caught:
        load_records(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"episodes": [' + b"9" * 5000 + b"]}"]
)
def test_a_file_that_is_no_json_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "records.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a JSON file") as caught:
        load_records(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read records from .*: No such file"):
        load_records(tmp_path / "none.json")


def _written(make_record: Any, folder: Path, *steps: int) -> tuple[Any, list[Path]]:
    """The document of records of so many steps each, written into ``folder``, and the files of steps beside it."""
    write_json([make_record(steps=number) for number in steps], folder / "records.json")
    return json.loads((folder / "records.json").read_text()), sorted(folder.glob("steps-*"))


def test_steps_stand_in_a_table_beside_the_records(make_record: Any, tmp_path: Path) -> None:
    document, (table,) = _written(make_record, tmp_path, 3, 0)
    first, without = document["episodes"]
    assert first["steps_file"] == table.name and "step_records" not in first and "steps_file" not in without
    header, *rows = table.read_text().splitlines()
    assert header == "n,loss_bits,loss,prediction,correct,digest" and [row.split(",")[0] for row in rows] == list("012")


def test_records_of_the_same_steps_share_their_table(make_record: Any, tmp_path: Path) -> None:
    document, (table,) = _written(make_record, tmp_path, 3, 3)
    assert [record["steps_file"] for record in document["episodes"]] == [table.name] * 2


def test_another_run_into_the_folder_leaves_the_steps_of_the_first(make_record: Any, tmp_path: Path) -> None:
    _written(make_record, tmp_path, 3)
    (tmp_path / "records.json").rename(tmp_path / "kept.json")
    _written(make_record, tmp_path, 4)
    lengths = [len(load_records(tmp_path / name)[0].step_records) for name in ("kept.json", "records.json")]
    assert lengths == [3, 4]


def test_records_with_their_steps_inside_are_read_as_before(make_record: Any, tmp_path: Path) -> None:
    record = make_record(steps=5)
    (tmp_path / "records.json").write_text(dump_records([record]))
    assert load_records(tmp_path / "records.json") == (record,)
    assert load_records(tmp_path / "records.json", steps=False) == (record.model_copy(update={"step_records": ()}),)


def test_records_that_cannot_be_written_leave_no_steps(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (kept,) = _written(make_record, tmp_path, 3)
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "records.json":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_json([make_record(steps=3), make_record(steps=4)], tmp_path / "records.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.json", kept.name]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda record, table: table.unlink(), r"episodes\[0\]: cannot read its steps from .*: No such file"),
        (lambda record, table: table.write_text(f"{table.read_text()} "), "its content was changed"),
        (lambda record, table: record.update(steps_file="../etc/passwd"), "steps_file: '../etc/passwd' is no name"),
        (lambda record, table: record.update(steps_file=f"{table.name}\n"), "is no name of a file of steps"),
        (lambda record, table: record.update(steps_file=3), "steps_file: 3 is no name of a file of steps"),
        (lambda record, table: record.update(step_records=[]), "in steps_file and in step_records"),
    ],
)
def test_steps_that_are_not_as_the_record_names_them_are_refused_in_one_line(
    spoil: Any, message: str, make_record: Any, tmp_path: Path
) -> None:
    document, (table,) = _written(make_record, tmp_path, 3)
    spoil(document["episodes"][0], table)
    (tmp_path / "records.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=message) as refusal:
        load_records(tmp_path / "records.json")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a table of n, loss_bits"),
        (b"n,digest\n0,1\n", "not a table of n, loss_bits"),
        (b"n,loss_bits,loss,prediction,correct,digest\n0,1\n", "not a table of n, loss_bits"),
        (b"n,loss_bits,loss,prediction,correct,digest\n0,zz,1,1,True,00000000\n", "key step_records.0.loss_bits: "),
        (b"n,loss_bits,loss,prediction,correct,digest\n\xff,0,1,1,True,0\n", "key step_records.0.n: "),
    ],
)
def test_a_table_of_other_steps_is_refused_in_one_line(
    content: bytes, message: str, make_record: Any, tmp_path: Path
) -> None:
    document, _ = _written(make_record, tmp_path, 1)
    name = f"steps-{hashlib.sha256(content).hexdigest()[:16]}.csv"
    (tmp_path / name).write_bytes(content)
    document["episodes"][0]["steps_file"] = name
    (tmp_path / "records.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=message) as refusal:
        load_records(tmp_path / "records.json")
    assert "\n" not in str(refusal.value)


STEPS = 3
IMPOSSIBLE: dict[str, Any] = {
    "more right than there are": {"accuracy_after": 49.95},
    "fewer than none right": {"accuracy_before": -0.1},
    "an accuracy that is no number": {"accuracy_before": "NaN"},
    "a negative count of steps": {"steps": -1},
    "more steps held against golden than ran": {"golden_steps": STEPS + 1},
    "a digest of other digits": {"digest": "89ABCDEF"},
    "a short digest": {"plan_crc32": "123"},
    "negative instructions": {"instructions_per_inference": -1.0},
    "endless cycles": {"estimated_cycles_low": "Infinity"},
    "negative memory": {"flash_bytes": -4},
    "a batch of none": {"batch": 0},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_a_record_with_an_impossible_value_is_refused_by_its_key(what: str, make_record: Any, tmp_path: Path) -> None:
    document = json.loads(dump_records([make_record(steps=STEPS)]))
    document["episodes"][0].update(IMPOSSIBLE[what])
    (tmp_path / "records.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=rf"episodes\[0\], key {next(iter(IMPOSSIBLE[what]))}: ") as refusal:
        load_records(tmp_path / "records.json")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("change", ["one missing", "one twice", "one out of order"])
def test_a_record_has_every_step_once(change: str, make_record: Any, tmp_path: Path) -> None:
    document = json.loads(dump_records([make_record(steps=STEPS)]))
    steps = document["episodes"][0]["step_records"]
    steps[:] = {
        "one missing": steps[:2],
        "one twice": [*steps, steps[2]],
        "one out of order": [steps[i] for i in (1, 0, 2)],
    }[change]
    (tmp_path / "records.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"key step_records: .*the 3 steps from 0 on, each once and in order"):
        load_records(tmp_path / "records.json")
