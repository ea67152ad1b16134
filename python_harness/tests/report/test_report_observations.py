"""Observations and warnings in the page, in the terminal, in the table of records and in Robot's log."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from rich.console import Console

from mcutrain.episode.observations import InputCodes, LossTrend, Observations, TensorUpdates
from mcutrain.records import dump_csv
from mcutrain.report import render_episode
from mcutrain.report.html import render_report
from mcutrain.report.observed import input_words, loss_words, updates_words
from mcutrain.robot import log

WARNINGS = ("every step of conv<0> was capped: lower it", "the loss does not fall: raise\x1b it")
_HEAD = {"tensor": "h", "layer": "head", "kind": "weights", "elements": 300, "changed_fraction": 0.0, "moved": False}
_CONV = {
    **{"tensor": "w", "layer": "conv<0>", "kind": "weights", "elements": 900, "changed_fraction": 0.5, "moved": True},
    **{"at_limit_before": 0.0, "at_limit_after": 0.25, "updates": 50, "without_gradient": 10, "capped": 30},
    **{"smallest_ratio": 0.01, "largest_ratio": 1.0, "largest_step": 123.4},
}
SEEN = Observations(
    input=(
        InputCodes(part="adapt", values=300, clipped_fraction=0.5, lowest_code=-128, highest_code=103),
        InputCodes(part="test", values=100, clipped_fraction=0.1, lowest_code=-7, highest_code=98),
    ),
    loss=LossTrend(steps=20, first=2.5, last=0.25, last_error=0.1, fall=2.25, fall_error=0.2, of_a_guess=2.3025),
    tensors=(
        TensorUpdates.model_validate(_CONV),
        TensorUpdates.model_validate(_HEAD),
    ),
    warnings=WARNINGS,
)


def test_words_weigh_parts_by_their_values_and_steps_by_those_with_a_gradient() -> None:
    assert input_words(SEEN.input) == (
        "codes -128 to 103 (adapt), -7 to 98 (test), of -128 to 127; 40.0 % of the values clipped"
    )
    assert updates_words(SEEN) == (
        "75.0 % of the steps capped, 25.0 % of weights and biases at their limits, 1 of 2 tensors unmoved"
    )
    assert loss_words(SEEN) == "2.5 in the first tenth of the steps, 0.25 in the last (a guess has 2.3)"
    unknown = Observations(not_observed="no compiler")
    assert (updates_words(unknown), loss_words(unknown)) == ("not observed: no compiler", "")


def test_the_terminal_has_every_warning_and_obeys_none(make_record: Any) -> None:
    stream = io.StringIO()
    Console(file=stream, width=200, _environ={"TERM": "dumb"}).print(render_episode(make_record(observations=SEEN)))
    text = stream.getvalue()
    assert "warning: every step of conv<0> was capped: lower it" in text
    assert r"warning: the loss does not fall: raise\x1b it" in text and "\x1b" not in text
    assert "40.0 % of the values clipped" in text and "75.0 % of the steps capped" in text
    assert "warning" not in _plain(make_record())


def _plain(record: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, _environ={"TERM": "dumb"}).print(render_episode(record))
    return stream.getvalue()


def test_the_page_has_warnings_at_the_head_of_the_card_and_a_table_of_tensors(make_record: Any) -> None:
    page = render_report([make_record(observations=SEEN)], title="one")
    card = page[page.index('<details class="episode"') :]
    first = '<p class="note bad">Warning: every step of conv&lt;0&gt; was capped: lower it</p>'
    assert card.index(first) < card.index('<div class="columns') and "\x1b" not in card
    table = card[card.index('aria-label="Updates by tensor"') :]
    table = table[: table.index("</table>")]
    assert "conv&lt;0&gt;" in table and "75.0" not in table and "60.0 %" in table and "123" in table
    assert table.count("<tr>") == 3 and 'class="number bad"' in table
    assert "Updates by tensor" not in render_report([make_record()], title="one")


def test_the_table_of_records_has_them_flat(make_record: Any) -> None:
    seen, without = csv.DictReader(io.StringIO(dump_csv([make_record(observations=SEEN), make_record()])))
    expected = {
        **{"input_clipped_fraction": "0.4", "steps_capped_fraction": "0.75", "at_limit_fraction": "0.25"},
        **{"loss_first": "2.5", "loss_last": "0.25", "unmoved_tensors": "1", "warnings": "2"},
        "warnings_text": " | ".join(WARNINGS),
    }
    assert {key: seen[key] for key in expected} == expected
    assert all(without[key] == "" for key in expected)


def test_robot_s_log_has_each_as_a_warning(make_record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("robot.api.logger.warn", said.append)
    log.log_record(make_record(observations=SEEN), None)
    assert said == [
        "resnet8-noise on m4-256k: every step of conv<0> was capped: lower it",
        r"resnet8-noise on m4-256k: the loss does not fall: raise\x1b it",
    ]
