"""A run on the host has no limit: it is held against a board that is named, or against none, and never against 0 B."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from mcutrain.report import render_episode, render_table
from mcutrain.report.html import render_report
from mcutrain.report.summary import Status, judge, notes, sram_parts
from mcutrain.robot.log import _sentence, _table
from report.test_report_html import Page, trace

HOST: dict[str, Any] = {
    **{"board": "host", "core": "host", "runner": "host", "instructions_per_step": None, "operators": ()},
    **{"sram_limit_bytes": 0, "flash_bytes": 0, "flash_limit_bytes": 0, "clock_hz": 0},
}
REFERENCE: dict[str, Any] = {"reference_board": "m4-256k", "reference_sram_limit_bytes": 262_144}


def _host(make_record: Any, **changes: Any) -> Any:
    record = make_record(steps=20, **{**HOST, **changes})
    sram = record.sram.model_copy(update={"stack_peak": 0, "stack_reserve": 0})
    return record.model_copy(update={"sram": sram, "sram_peak_bytes": sram.data + sram.bss})


def _everything(records: list[Any]) -> str:
    """What every form of report says of these records."""
    stream = io.StringIO()
    console = Console(file=stream, width=200, _environ={"TERM": "dumb"})
    for record in records:
        console.print(render_episode(record))
    console.print(render_table(records))
    page = Page(render_report(records, title="t"))
    told = [attributes.get("aria-label", "") for _, attributes in page.elements]
    said = [f"{_sentence(record)} {_table(record, None)}" for record in records]
    return " ".join([stream.getvalue(), page.text, json.dumps(page.figures()), *told, *said])


@pytest.mark.parametrize("reference", [{}, REFERENCE])
def test_nothing_is_of_0_bytes(reference: dict[str, Any], make_record: Any) -> None:
    host = _host(make_record, **reference)
    text = _everything([host])
    assert " of 0 B" not in text and "limit: room for -" not in text and "of 0 MHz" not in text
    assert ("m4-256k has 262,144 B" in text) == bool(reference)
    assert "host has no limit" in text
    assert " of 0 B" not in _everything([host, make_record(steps=20)])


def test_a_host_run_is_held_against_the_board_that_its_record_names(make_record: Any) -> None:
    host = _host(make_record, **REFERENCE)
    page = Page(render_report([host], title="t"))
    assert f"{host.sram_peak_bytes:,} of 262,144 B of m4-256k" in page.text
    assert trace(page, "sram", "SRAM limit")["x"] == [262_144]
    assert trace(page, "sram", "free")["x"] == [262_144 - host.sram_peak_bytes]
    assert "they are held against m4-256k" in page.text
    assert "The SRAM of m4-256k leaves room" in page.text


def test_without_a_board_there_is_neither_a_bar_nor_a_mark(make_record: Any) -> None:
    page = Page(render_report([_host(make_record)], title="t"))
    assert not [div for div in page.tags("div") if "meter" in div.get("class", "")]
    assert [t["name"] for t in page.figures()["sram"]["data"]] == ["arena", "trainable state", "other static data"]
    assert "The run had no SRAM limit." in page.text


def test_a_host_run_over_the_board_is_noted_and_does_not_fail(make_record: Any) -> None:
    host = _host(make_record, reference_board="m4-256k", reference_sram_limit_bytes=1000)
    assert judge(host).status is Status.PASS
    assert f"It would not fit m4-256k: {host.sram_peak_bytes:,} B of its 1,000 B." in notes(host)
    assert sram_parts(host).free == 0
