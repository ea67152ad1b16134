"""Shares of a training step are of all of it, the driver's work too, wherever they stand: they sum to 100 %."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mcutrain.commands.cycle_tables import shares_table
from mcutrain.episode.record import PHASES
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
    """Other work of a seventh of the step, and cycles in the proportions of its instructions."""
    record = make_record(steps=5)
    counts = record.instructions_per_step
    counts = counts.model_copy(update={"other": counts.total / 6})
    operators = tuple(o.model_copy(update={"estimated_cycles": o.instructions}) for o in record.operators)
    return record.model_copy(
        update={"instructions_per_step": counts, "estimated_cycles_per_step": counts, "operators": operators}
    )


def _of_run(record: Any) -> dict[str, str]:
    line = next(line for line in _print(render_episode(record)).splitlines() if "instructions per step" in line)
    return dict(re.findall(r"(\w+) (\d+\.\d %)", line))


def _of_profile(record: Any) -> dict[str, str]:
    """As ``profile`` prints the same step: its phases, the driver's work last."""
    parts = record.estimated_cycles_per_step.parts()
    shares = [Share(name, count, CycleEstimate(count, count, count)) for name, count in parts.items()]
    text = _print(shares_table("phase", shares, 80_000_000, 20, in_flash=False))
    return dict(re.findall(r"^(\w+) .*?(\d+\.\d %)", text, re.MULTILINE))


def _of_page(record: Any) -> dict[str, str]:
    html = render_report([record], title="t")
    table = html.partition('aria-label="Work by phase"')[2].partition("</table>")[0]
    cells = re.findall(r'<th scope="row">(\w+).*?</th><td[^>]*>.*?</td><td[^>]*>(.*?)</td>', table)
    return {name: share for name, share in cells if name in (*PHASES, "other")}


def _of_robot(record: Any) -> dict[str, str]:
    return dict(re.findall(r"instructions per step, (\w+)</th>.*?\((\d+\.\d %)\)", _table(record, None)))


def test_run_profile_page_and_robot_say_the_same_shares(record: Any) -> None:
    counts = record.instructions_per_step
    expected = {name: f"{100 * part / (7 / 6 * counts.total):.1f} %" for name, part in counts.parts().items()}
    assert _of_run(record) == _of_profile(record) == _of_page(record) == _of_robot(record) == expected


def test_the_shares_of_a_step_sum_to_all_of_it(record: Any) -> None:
    figures = Page(render_report([record], title="t")).figures()
    whole = record.instructions_per_step.whole
    assert sum(record.instructions_per_step.parts().values()) == pytest.approx(whole)
    for key in ("instructions", "episode-0-layers", "episode-0-cycles"):
        assert sum(sum(t["x"]) for t in figures[key]["data"]) == pytest.approx(whole), key
    written = [float(t["text"][0].removesuffix(" %")) for t in figures["instructions"]["data"]]
    assert sum(written) == pytest.approx(100.0, abs=0.05 * len(written))  # each is rounded to a tenth
    flames = figures["episode-0-flames"]["data"][0]
    assert flames["values"][0] == pytest.approx(whole)
    top = sum(v for v, parent in zip(flames["values"], flames["parents"], strict=True) if parent == "step")
    assert top == pytest.approx(whole)
