"""Two records held against each other: in settings, bits, accuracy, bytes and work; as text, JSON and in the page."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mcutrain.cli import app
from mcutrain.errors import UsageError
from mcutrain.report import write_json
from mcutrain.report.html import render_report
from mcutrain.report.two_records import bits_words, compare_records, difference_words
from mcutrain.report.two_records_text import render_comparison
from report.test_labels import asked
from report.test_report_html import HOSTILE, Page


@pytest.fixture
def pair(make_record: Any) -> tuple[Any, Any]:
    """The second with another rate, a loss of other bits from step 3 on, a larger arena and one dearer operator."""
    a = make_record(steps=6, settings=asked(), trained_parameters=100)
    steps = [
        s.model_copy(update={"loss_bits": "3f800000", "digest": "0" * 8} if s.n >= 3 else {}) for s in a.step_records
    ]
    added = a.operators[1].instructions
    more = {0: 10.0, 1: added}  # the smaller change stands first in the network
    operators = [o.model_copy(update={"instructions": o.instructions + more.get(o.op, 0)}) for o in a.operators]
    counts = a.instructions_per_step
    b = make_record(
        steps=6,
        settings=asked(learning_rate=0.5),
        digest="0000beef",
        accuracy_after=0.604,
        step_records=tuple(steps),
        operators=tuple(operators),
        instructions_per_step=counts.model_copy(
            update={"forward": counts.forward + added, "total": counts.total + added, "loss": counts.loss - 12.5}
        ),
        sram=a.sram.model_copy(update={"arena": a.sram.arena + 64, "bss": a.sram.bss + 64}),
        sram_peak_bytes=a.sram_peak_bytes + 64,
        trained_parameters=150,
    )
    return a, b


def changes(of: Any) -> dict[str, float | None]:
    return {change.what: change.difference for change in of}


def test_every_kind_of_change_is_found(pair: tuple[Any, Any]) -> None:
    a, b = pair
    found = compare_records(a, b)
    assert found.settings == ("learning_rate: 0.011 -> 0.5",)
    assert not found.same_bits and found.first_step is not None and found.first_step.n == 3
    assert [key for key, _, _ in found.first_step.keys] == ["loss_bits", "digest"]
    assert changes(found.accuracy) == {"accuracy before": 0.0, "accuracy after": pytest.approx(0.02)}
    memory = changes(found.memory)
    assert (memory["SRAM peak"], memory["SRAM, arena"], memory["flash"], memory["trained parameters"]) == (
        64,
        64,
        0,
        50,
    )
    assert memory["SRAM, other static data"] == 0
    added = a.operators[1].instructions
    assert [(c.what, c.difference) for c in found.operators] == [
        (a.operators[1].name, added),
        (a.operators[0].name, 10.0),
    ]
    work = [change.what for change in found.work]
    assert work[:3] == ["instructions of a step", "instructions, forward", "instructions, loss"]  # the largest first
    assert changes(found.work)["instructions, loss"] == -12.5


def test_a_record_against_itself_differs_in_nothing(pair: tuple[Any, Any]) -> None:
    a, _ = pair
    found = compare_records(a, a)
    assert (found.settings, found.operators, found.same_bits, found.first_step) == ((), (), True, None)
    assert all(change.is_equal for change in (*found.accuracy, *found.memory, *found.work))
    assert bits_words(found) == "Same bits in every step: digest 89abcdef."


def test_the_first_step_is_not_guessed_where_there_are_no_steps(pair: tuple[Any, Any], make_record: Any) -> None:
    a, b = (record.model_copy(update={"step_records": ()}) for record in pair)
    assert "Steps were not kept" in bits_words(compare_records(a, b))
    longer = make_record(steps=8, digest="00000001")
    shorter = longer.model_copy(update={"steps": 5, "step_records": longer.step_records[:5], "digest": "00000002"})
    assert "The 5 steps that both have are equal; one ran longer" in bits_words(compare_records(longer, shorter))


def test_an_operator_of_one_side_is_said_to_be_so(pair: tuple[Any, Any]) -> None:
    a, b = pair
    fewer = b.model_copy(update={"operators": b.operators[:-1]})
    last = next(c for c in compare_records(a, fewer).operators if c.what == a.operators[-1].name)
    assert difference_words(last) == "only in A"
    uncounted = b.model_copy(update={"operators": (), "instructions_per_step": None})
    assert compare_records(a, uncounted).operators == ()


def test_records_without_settings_are_compared_as_far_as_they_state_them(make_record: Any) -> None:
    a, b = make_record(steps=2), make_record(steps=2, batch=4, runner="renode")
    found = compare_records(a, b)
    assert not found.settings_known and found.settings == ("runner: qemu -> renode", "batch: 1 -> 4")


def test_the_terminal_and_the_page_show_the_same(pair: tuple[Any, Any]) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, _environ={"TERM": "dumb"})
    for part in render_comparison(compare_records(*pair), 15):
        console.print(part)
    text, page = stream.getvalue(), Page(render_report(list(pair), title="t"))
    for shown in (
        "learning_rate: 0.011 -> 0.5",
        "The first step that differs is step 3",
        "+2.00 points",
        "+50 (+50.0 %)",
    ):
        assert shown in text and shown in page.text, shown
    assert "A learning rate 0.011" in page.text
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 100


def test_only_two_records_are_compared_in_the_page(pair: tuple[Any, Any]) -> None:
    for records, shown in (([pair[0]], False), (list(pair), True), ([*pair, pair[0]], False)):
        assert ("What changed from A to B" in render_report(records, title="t")) == shown


def test_names_in_a_comparison_stay_text(make_record: Any) -> None:
    a, b = make_record(steps=2), make_record(steps=2, compiler=HOSTILE, scheme=HOSTILE)
    html = render_report([a, b], title="t")
    assert not Page(html).tags("img") and "\u202e" not in html and "\x1b" not in html


def test_the_command_prints_one_document_and_picks_records_by_number(pair: tuple[Any, Any], tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    write_json(list(pair), file)
    run = CliRunner().invoke(app, ["compare", f"{file}#0", str(file), "--json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    assert document["settings"] == ["learning_rate: 0.011 -> 0.5"]
    assert document["bits"]["first_step"]["n"] == 3 and document["bits"]["equal"] is False
    assert {"what": "flash", "unit": "bytes", "a": 178316, "b": 178316, "difference": 0} in document["memory"]
    with pytest.raises(UsageError, match="no record 7, it holds 2"):
        CliRunner().invoke(app, ["compare", f"{file}#7", str(file)], catch_exceptions=False, standalone_mode=False)
