"""Records that differ in their seed alone are one entry, with mean, standard deviation and n; others are not."""

from __future__ import annotations

import io
import statistics
from typing import Any

import pytest
from rich.console import Console

from mcutrain.report import render_table
from mcutrain.report.html import render_report
from mcutrain.report.seeds import entries_of, spread
from report.test_labels import asked
from report.test_report_html import Page, trace
from report.test_table_rows import RENODE

AFTER = (0.5, 0.56, 0.59)


@pytest.fixture
def seeds(make_record: Any) -> list[Any]:
    """Three seeds."""
    return [
        make_record(steps=3, settings=asked(seed=seed), accuracy_after=after, digest=f"{seed:08x}")
        for seed, after in enumerate(AFTER, start=1)
    ]


def groups(records: list[Any]) -> list[int]:
    return [entry.seeds for entry in entries_of(records)[0]]


def test_the_spread_is_mean_and_sample_standard_deviation() -> None:
    found = spread(AFTER)
    assert found.mean == pytest.approx(statistics.mean(AFTER)) and found.n == 3
    assert found.deviation == pytest.approx(statistics.stdev(AFTER))
    assert spread([0.5]).deviation is None
    assert spread([0.1] * 3).deviation == pytest.approx(0.0, abs=1e-15)


def test_seeds_are_one_entry_that_is_not_called_by_a_seed(seeds: list[Any], make_record: Any) -> None:
    other = make_record(steps=3, scheme="head", settings=asked(seed=1))
    entries, _ = entries_of([*seeds, other])
    assert [(entry.label, entry.seeds) for entry in entries] == [("scheme biases+conv0,1,4,6", 3), ("scheme head", 1)]
    assert entries[0].labels == ("seed 1", "seed 2", "seed 3")
    found = entries[0].spread(lambda record: record.accuracy_after)
    assert found is not None and found.mean == pytest.approx(0.55)
    assert entries[0].spread(lambda record: record.mse_after) is None


def test_a_figure_that_one_seed_lacks_has_no_mean(seeds: list[Any], make_record: Any) -> None:
    lacking = make_record(steps=3, settings=asked(seed=9), accuracy_after=None)
    (entry,) = entries_of([*seeds, lacking])[0]
    assert entry.seeds == 4 and entry.spread(lambda record: record.accuracy_after) is None


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "head"},
        {"board": "m7-256k"},
        {"options": {"step_cap": 1.0}},
        {"settings": asked(seed=4, learning_rate=0.5)},
        {"settings": {**asked(seed=4), "model_sha256": "f" * 64}},
        {"settings": {**asked(seed=4), "data_sha256": "f" * 64}},
        {"settings": {**asked(seed=4), "tool_version": "9"}},
        {"settings": None},
        {"steps": 2, "golden_steps": 2, "step_records": ()},
    ],
)
def test_what_differs_in_more_stays_apart(change: dict[str, Any], seeds: list[Any], make_record: Any) -> None:
    assert groups(seeds) == [3]
    assert groups([*seeds, make_record(**{"steps": 3, "settings": asked(seed=4), **change})]) == [3, 1]


def test_a_second_run_of_a_seed_is_no_fourth_seed(seeds: list[Any], make_record: Any) -> None:
    again = make_record(steps=3, settings=asked(seed=2), accuracy_after=0.99, digest="0000ffff")
    assert groups([*seeds, again]) == [3, 1]


def test_data_that_vary_with_the_seed_are_one_entry_and_data_that_vary_by_themselves_are_not(make_record: Any) -> None:
    def run(seed: int, data_seed: int) -> Any:
        settings = {**asked(seed=seed, data_seed=data_seed), "data_sha256": f"{data_seed:064x}"}
        return make_record(steps=3, settings=settings, digest=f"{seed:04x}{data_seed:04x}")

    assert groups([run(n, n) for n in (1, 2, 3)]) == [3]
    assert groups([run(seed, data) for data in (1, 2) for seed in (1, 2, 3)]) == [3, 3]


def test_one_seed_on_two_emulators_is_a_row_of_the_entry(seeds: list[Any], make_record: Any) -> None:
    renode = make_record(**RENODE, steps=3, settings=asked(seed=1), accuracy_after=AFTER[0], digest="00000001")
    (entry,) = entries_of([*seeds, renode])[0]
    assert (entry.seeds, len(entry.rows[0].records)) == (3, 2)
    html = render_report([*seeds, renode], title="t")
    assert len([d for d in Page(html).tags("details") if d.get("class") == "episode"]) == 4


def test_the_page_says_mean_deviation_and_what_they_are(seeds: list[Any]) -> None:
    html = render_report(seeds, title="t")
    page = Page(html)
    assert "55.0 ± 4.6 %" in page.text
    assert "sample standard deviation over the n seeds" in page.text and "no interval is claimed" in page.text
    after = trace(page, "accuracy", "after training")
    assert after["x"] == pytest.approx([55.0])
    deviation = 100 * statistics.stdev(AFTER)
    assert after["error_x"]["array"] == after["error_x"]["arrayminus"] == pytest.approx([deviation])
    assert "mean ± standard deviation of 3 seeds" in after["hovertext"][0]
    members = [row for row in page.tags("tr") if row.get("class") == "member"]
    assert len(members) == 3 and all("hidden" in row for row in members)


def test_the_terminal_has_one_row_for_the_seeds(seeds: list[Any]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=80, _environ={"TERM": "dumb"}).print(render_table(seeds))
    text = stream.getvalue()
    assert text.count("resnet8-noise") == 1
    assert "+- std, 3 seeds" in " ".join(text.split()) and "55.0+-4.6" in text
    assert max(len(line) for line in text.splitlines()) <= 80
