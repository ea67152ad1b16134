"""The terminal summary: the numbers, at 80 columns, on any terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from mcutrain.report import render_episode, render_table


def _print(thing: RenderableType, width: int = 80) -> str:
    """As printed where there is no terminal."""
    stream = io.StringIO()
    Console(file=stream, width=width, _environ={"TERM": "dumb"}).print(thing)
    return stream.getvalue()


def test_the_panel_shows_what_the_demo_promises(make_record: Any) -> None:
    text = _print(render_episode(make_record(), Path("results") / "report.html"))
    for shown in (
        "PASS  resnet8-noise on m4-256k",
        "17.3 % -> 58.4 %  (+41.1 points, 1,000 test samples)",
        "bit-exact to golden",
        "10,789,662.5",
        "10,830,999.5",
        "of 262,144 B",
        "178,316 of 1,048,576 B",
        "results/report.html",
    ):
        assert shown in text, shown
    assert f"{make_record().sram_peak_bytes:,} of 262,144 B" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_failure_says_why(make_record: Any) -> None:
    assert "differs from golden" in _print(render_episode(make_record(matches_golden=False)))
    over = _print(render_episode(make_record(sram_peak_bytes=300_000)))
    assert "FAIL" in over
    assert "SRAM peak 300,000 B is over 262,144 B" in over
    assert "bit-exact to golden" in over


def test_cycles_are_named_an_estimate(make_record: Any) -> None:
    counts = make_record().instructions_per_step
    assert "cycles" not in _print(render_episode(make_record()))
    text = _print(render_episode(make_record(estimated_cycles_per_step=counts)))
    assert "estimate per step" in text
    assert "timing model, not measured" in text
    assert "no datasheet current" in text


def test_an_inference_stands_beside_a_step_with_its_time_and_energy(make_record: Any) -> None:
    estimated = {"estimated_cycles_per_inference": 4e6, "estimated_millijoules_per_inference": 1.25}
    text = _print(render_episode(make_record(**estimated, supply_source="a datasheet")))
    assert "4,000,000 cycles, 50.00 ms, 1.25 mJ" in text  # at 80 MHz
    assert "estimate per step" not in text
    assert "datasheet current" in text


def test_the_table_has_every_number_whole_at_80_columns(make_record: Any) -> None:
    records = [make_record(), make_record(episode="digits-rotation-float32", board="m7-256k", matches_golden=False)]
    records += [make_record(runner="host", instructions_per_step=None, accuracy_after=None, sram_peak_bytes=1_048_000)]
    text = _print(render_table(records))
    assert max(len(line) for line in text.splitlines()) <= 80
    for shown in ("pass", "fail", "17.3 -> 58.4", "17.3 -> -", "10,789,662", "1,048,000", "178,316", "m7-256k, qemu"):
        assert shown in text, shown
    assert "…" not in text


def test_names_can_neither_style_nor_steer_the_terminal(make_record: Any) -> None:
    record = make_record(episode="[red]x[/red]\x1b[31m\r\nnext", board="[/]")
    for thing in (render_episode(record), render_table([record])):
        text = _print(thing, width=120)
        assert r"[red]x[/red]\x1b[31m\r\nnext" in text
        assert "\x1b" not in text
        assert "[/]" in text


def test_the_panel_is_ascii_where_the_terminal_is(make_record: Any) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=stream, width=80, _environ={"TERM": "dumb"})
    console.print(render_episode(make_record(), Path("r.html")))
    console.print(render_table([make_record()]))
    stream.flush()
    assert b"bit-exact to golden" in raw.getvalue()


def test_a_figure_without_the_sample_is_labelled_with_the_bytes_it_leaves_out(make_record: Any) -> None:
    external = make_record(input_placement="external", input_bytes=49_152)
    panel, table = _print(render_episode(external)), _print(render_table([external, make_record()]))
    assert "input external (49,152 B not in SRAM)" in panel
    assert table.count("input external") == 1
    inside = make_record(input_placement="sram", input_bytes=49_152)
    assert "input in SRAM (49,152 B)" in _print(render_episode(inside))
    assert "external" not in _print(render_episode(inside)) + _print(render_table([inside]))
    assert "input" not in _print(render_episode(make_record()))
