"""One board on several emulators is one row of every table, unless they differ in anything: then that can be seen."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from mcutrain.episode.record import PhaseCounts
from mcutrain.report import render_table
from mcutrain.report.html import render_report
from mcutrain.report.table_rows import table_rows
from report.test_records_table import SETTINGS

NO_COUNTS: dict[str, Any] = {"instructions_per_step": None, "instructions_per_inference": None, "operators": ()}
RENODE: dict[str, Any] = {
    **NO_COUNTS,
    "instructions": 123_456,
    "instructions_by_part": {"training": 100_000},
    "runner": "renode",
    "emulator": "renode",
    "emulator_version": "1.16.1",
    "wall_seconds": 9.0,
}


def _text(records: list[Any]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80, _environ={"TERM": "dumb"}).print(render_table(records))
    return stream.getvalue()


def _html_rows(records: list[Any]) -> list[str]:
    """The cells of each row of the comparison, as HTML."""
    table = (
        render_report(records, title="t").partition('aria-label="Table of all episodes"')[2].partition("</table>")[0]
    )
    return table.partition("<tbody>")[2].split("</tr>")[:-1]


def test_two_emulators_of_one_board_are_one_row_with_the_counts_of_the_one_that_has_them(make_record: Any) -> None:
    for records in ([make_record(), make_record(**RENODE)], [make_record(**RENODE), make_record()]):
        (row,) = table_rows(records)
        assert row.record.runner == "qemu"
        assert row.agreement == "same digest"
    assert table_rows([make_record(), make_record(**RENODE)])[0].runners == ("qemu 7.2.17", "renode 1.16.1")


def test_the_row_is_in_the_page_and_in_the_terminal(make_record: Any) -> None:
    records = [make_record(), make_record(**RENODE)]
    (row,) = _html_rows(records)
    text = _text(records)
    assert ">qemu 7.2.17, renode 1.16.1</td>" in row
    assert ">same digest</td>" in row
    for shown in ("m4-256k, qemu 7.2.17,", "renode 1.16.1", "same digest"):
        assert shown in text
    assert '<td class="bad"' not in row
    assert f"{round(make_record().instructions_per_step.total):,}" in text
    assert text.count("resnet8-noise") == 1
    assert max(len(line) for line in text.splitlines()) <= 80


def test_another_digest_is_another_row_that_says_so(make_record: Any) -> None:
    records = [make_record(), make_record(**RENODE, digest="00000000")]
    assert [row.differences for row in table_rows(records)] == [("other digest on renode",), ("other digest on qemu",)]
    first, second = _html_rows(records)
    assert re.search('<td class="bad"[^>]*>other digest on renode</td>', first)
    assert re.search('<td class="bad"[^>]*>other digest on qemu</td>', second)
    assert "other digest on renode" in _text(records)
    assert "other digest on qemu" in _text(records)


@pytest.mark.parametrize(
    "changes",
    [
        {"board": "m4-1m"},
        {"episode": "digits-sparse"},
        {"steps": 999, "golden_steps": 999, "step_records": ()},
        {"options": {"seed": 2}},
        {"matches_golden": False},
        {"accuracy_after": 0.5},
        {"sram_peak_bytes": 1},
        {"elf_sha256": "0" * 64},
    ],
)
def test_records_that_differ_in_more_than_their_emulator_keep_their_rows(
    changes: dict[str, Any], make_record: Any
) -> None:
    rows = table_rows([make_record(), make_record(**{**RENODE, **changes})])
    assert [row.agreement for row in rows] == ["", ""]


def test_emulators_that_both_count_have_to_count_the_same(make_record: Any) -> None:
    counts = make_record().instructions_per_step
    other = PhaseCounts(**{**counts.model_dump(), "total": counts.total + 1})
    assert len(table_rows([make_record(), make_record(**{**RENODE, "instructions_per_step": counts})])) == 1
    rows = table_rows([make_record(), make_record(**{**RENODE, "instructions_per_step": other})])
    assert [row.agreement for row in rows] == ["other counts on renode", "other counts on qemu"]


def test_runs_on_one_emulator_stay_apart_and_each_meets_its_own_of_the_other(make_record: Any) -> None:
    records = [make_record(digest=f"{n:08x}", **more) for more in ({}, RENODE) for n in (1, 2)]
    rows = table_rows([*records, make_record(digest="00000001")])
    assert [[(record.runner, record.digest[-1]) for record in row.records] for row in rows] == [
        [("qemu", "1"), ("renode", "1")],
        [("qemu", "2"), ("renode", "2")],
        [("qemu", "1")],
    ]
    assert rows[2].runners == ("qemu",)
    assert rows[0].differences == rows[1].differences == ()


def test_a_table_without_two_emulators_has_no_column_for_them(make_record: Any) -> None:
    assert "agreement" not in render_report([make_record(), make_record(board="m7-256k")], title="t")


def test_the_settings_have_to_be_the_same_but_for_when_and_how_much_was_looked_at(make_record: Any) -> None:
    looked_at = {"date": "2026-11-28T12:34:57Z", "golden_steps": 7, "profile": False, "git_revision": ""}
    (row,) = table_rows([make_record(settings=SETTINGS), make_record(**RENODE, settings={**SETTINGS, **looked_at})])
    assert row.agreement == "same digest"
    definition: Any = SETTINGS["definition"]
    asked: list[dict[str, Any]] = [
        {"model_sha256": "f" * 64},
        {"data_sha256": "f" * 64},
        {"definition": {**definition, "seed": 77}},
    ]
    for other in asked:
        renode = make_record(**RENODE, settings={**SETTINGS, **other}, digest="0badcafe")
        rows = table_rows([make_record(settings=SETTINGS), renode])
        # Something else was asked for, so another digest says nothing of the emulators.
        assert [row.differences for row in rows] == [(), ()]
