"""Shares of a training step are of all of it, the driver's work too, wherever they stand: they sum to 100 %."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mcutrain.commands.cycle_tables import shares_table
from mcutrain.episode.record import PHASES, PhaseCounts
from mcutrain.report import render_episode
from mcutrain.report.html import render_report
from mcutrain.robot.log import _table
from mcutrain.timing.breakdown import Share
from mcutrain.timing.cycles import CycleEstimate
from report.test_report_html import Page


def _print(thing: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, _environ={"TERM": "dumb"}).print(thing)
    return stream.getvalue()


@pytest.fixture
def record(make_record: Any) -> Any:
    """Other work of a seventh of the step, and cycles in other proportions than its instructions."""
    record = make_record(steps=5)
    counts = record.instructions_per_step
    counts = counts.model_copy(update={"other": counts.total / 6})
    dear = {"forward": 1.0, "loss": 3.0, "backward": 2.0, "update": 1.5}
    operators = tuple(
        o.model_copy(update={"estimated_cycles": dear[o.phase] * o.instructions}) for o in record.operators
    )
    phases = {phase: dear[phase] * getattr(counts, phase) for phase in PHASES}
    cycles = PhaseCounts(total=sum(phases.values()), **phases, other=1.25 * counts.other)
    return record.model_copy(
        update={"instructions_per_step": counts, "estimated_cycles_per_step": cycles, "operators": operators}
    )


def _of_run(record: Any, row: str) -> dict[str, str]:
    line = next(line for line in _print(render_episode(record)).splitlines() if row in line)
    return dict(re.findall(r"(\w+) (\d+\.\d %)", line))


def _of_profile(record: Any) -> dict[str, str]:
    """As ``profile`` prints the same step: its phases, the driver's work last."""
    parts = record.estimated_cycles_per_step.parts()
    shares = [Share(name, count, CycleEstimate(count, count, count)) for name, count in parts.items()]
    text = _print(shares_table("phase", shares, 80_000_000, 20, in_flash=False))
    return dict(re.findall(r"^(\w+) .*?(\d+\.\d %)", text, re.MULTILINE))


def _of_page(record: Any, column: int) -> dict[str, str]:
    """Of the column with this number behind the names."""
    html = render_report([record], title="t")
    table = html.partition('aria-label="Work by phase"')[2].partition("</table>")[0]
    rows = re.findall(r'<th scope="row">(\w+).*?</th>(.*?)</tr>', table)
    found = {name: re.findall(r"<td[^>]*>(.*?)</td>", cells) for name, cells in rows}
    return {name: cells[column] for name, cells in found.items() if name in (*PHASES, "other")}


def _of_robot(record: Any, what: str) -> dict[str, str]:
    return dict(re.findall(rf"{what} per step, (\w+)</th>.*?\((\d+\.\d %)\)", _table(record, None)))


def _expected(counts: PhaseCounts) -> dict[str, str]:
    """By the definition: of everything."""
    whole = counts.forward + counts.loss + counts.backward + counts.update + counts.other
    return {name: f"{100 * getattr(counts, name) / whole:.1f} %" for name in (*PHASES, "other")}


def test_run_profile_page_and_robot_say_the_same_shares_of_cycles(record: Any) -> None:
    said = [_of_run(record, "cycles by phase"), _of_profile(record), _of_page(record, 5)]
    assert [*said, _of_robot(record, "estimated cycles")] == [_expected(record.estimated_cycles_per_step)] * 4


def test_run_page_and_robot_say_the_same_shares_of_instructions(record: Any) -> None:
    said = [_of_run(record, "instructions per step"), _of_page(record, 1), _of_robot(record, "instructions")]
    assert said == [_expected(record.instructions_per_step)] * 3


def test_the_shares_of_a_step_sum_to_all_of_it(record: Any) -> None:
    figures = Page(render_report([record], title="t")).figures()
    whole = record.instructions_per_step.whole
    assert sum(record.instructions_per_step.parts().values()) == pytest.approx(whole)
    cycles = record.estimated_cycles_per_step.whole
    for key, all_of_it in (("instructions", whole), ("episode-0-layers", whole), ("episode-0-cycles", cycles)):
        assert sum(sum(t["x"]) for t in figures[key]["data"]) == pytest.approx(all_of_it), key
    written = [float(t["text"][0].removesuffix(" %")) for t in figures["instructions"]["data"]]
    assert sum(written) == pytest.approx(100.0, abs=0.05 * len(written))  # each is rounded to a tenth
    flames = figures["episode-0-flames"]["data"][0]
    assert flames["values"][0] == pytest.approx(cycles)
    top = sum(v for v, parent in zip(flames["values"], flames["parents"], strict=True) if parent == "step")
    assert top == pytest.approx(cycles)
