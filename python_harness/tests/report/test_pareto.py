"""Fronts of accuracy against what it costs: who is on them, what is drawn, and what is left out and why."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcutrain.episode.record import PhaseCounts
from mcutrain.report.html import render_report
from mcutrain.report.pareto import Candidate, front
from report.test_labels import asked
from report.test_report_html import Page, trace

SMALL = st.integers(0, 4).map(float)


def dominates(a: Candidate, b: Candidate) -> bool:
    """By the definition."""
    return a.cost <= b.cost and a.gain >= b.gain and a != b


@settings(max_examples=300, deadline=None)
@given(st.lists(st.builds(Candidate, SMALL, SMALL), max_size=8))
def test_the_front_is_what_no_other_dominates_by_rising_cost(candidates: list[Candidate]) -> None:
    found = front(candidates)
    expected = {i for i, c in enumerate(candidates) if not any(dominates(other, c) for other in candidates)}
    assert set(found) == expected and len(found) == len(expected)
    assert all(candidates[a].cost <= candidates[b].cost for a, b in itertools.pairwise(found))


def cycles(total: float) -> PhaseCounts:
    return PhaseCounts(total=total, forward=total, loss=0, backward=0, update=0)


@pytest.fixture
def schemes(make_record: Any) -> list[Any]:
    """Cheap and worst, between and best but dear, between and worse than the cheap one."""
    figures = (("head", 1e6, 0.4, 100), ("full", 4e6, 0.7, 9000), ("odd", 2e6, 0.3, 500))
    return [
        make_record(
            steps=2,
            scheme=scheme,
            accuracy_after=after,
            estimated_cycles_per_step=cycles(total),
            trained_parameters=trained,
        )
        for scheme, total, after, trained in figures
    ]


def test_the_front_is_drawn_as_steps_and_every_point_leads_to_its_entry(schemes: list[Any]) -> None:
    page = Page(render_report(schemes, title="t"))
    line = trace(page, "pareto-cycles", "front of resnet8-noise")
    assert (line["x"], line["line"]["shape"]) == ([1e6, 4e6], "hv")
    assert line["y"] == pytest.approx([40.0, 70.0])
    points = trace(page, "pareto-cycles", "resnet8-noise")
    assert points["x"] == [1e6, 4e6, 2e6] and points["customdata"] == ["entry-0", "entry-1", "entry-2"]
    assert points["marker"]["opacity"] == [1.0, 1.0, 0.45]
    ids = {section.get("id") for section in page.tags("section")}
    assert set(points["customdata"]) <= ids
    assert trace(page, "pareto-parameters", "resnet8-noise")["x"] == [100, 9000, 500]


def test_a_plot_that_nobody_has_figures_for_is_left_out_and_the_page_says_which_and_why(schemes: list[Any]) -> None:
    page = Page(render_report(schemes, title="t"))
    assert {"pareto-sram", "pareto-cycles", "pareto-parameters"} <= set(page.figures())
    assert "pareto-energy" not in page.figures()
    assert "Accuracy against estimated energy per step is not drawn: no record has any" in page.text
    assert "Accuracy against estimated cycles per step is not drawn" not in page.text
    host = [record.model_copy(update={"estimated_cycles_per_step": None}) for record in schemes]
    assert "Accuracy against estimated cycles per step is not drawn" in Page(render_report(host, title="t")).text


def test_an_entry_without_the_figure_is_counted(schemes: list[Any]) -> None:
    bare = schemes[2].model_copy(update={"trained_parameters": None})
    html = render_report([*schemes[:2], bare], title="t")
    assert "1 entry without these figures left out" in html


def test_each_episode_has_a_front_of_its_own(schemes: list[Any]) -> None:
    others = [record.model_copy(update={"episode": "blur", "accuracy_after": 0.9}) for record in schemes]
    page = Page(render_report([*schemes, *others], title="t"))
    assert trace(page, "pareto-cycles", "front of resnet8-noise")["x"] == [1e6, 4e6]
    assert trace(page, "pareto-cycles", "front of blur")["x"] == [1e6]


def test_episodes_of_one_network_and_data_share_a_front(make_record: Any) -> None:
    def run(episode: str, after: float, data_shift: str = "noise") -> Any:
        settings = asked(data_shift=data_shift)
        return make_record(steps=2, episode=episode, accuracy_after=after, settings=settings, trained_parameters=9)

    page = Page(render_report([run("sparse", 0.5), run("full", 0.6), run("blur", 0.4, "blur")], title="t"))
    assert trace(page, "pareto-parameters", "front of sparse, full")["y"] == pytest.approx([60.0])
    assert trace(page, "pareto-parameters", "front of blur")["y"] == pytest.approx([40.0])


def test_seeds_are_a_point_with_their_deviation(make_record: Any) -> None:
    seeds = [make_record(steps=2, settings=asked(seed=n), accuracy_after=0.5 + 0.1 * n) for n in (1, 2, 3)]
    other = make_record(steps=2, scheme="head", settings=asked(seed=1), accuracy_after=0.2)
    points = trace(Page(render_report([*seeds, other], title="t")), "pareto-sram", "resnet8-noise")
    assert points["y"] == pytest.approx([70.0, 20.0])
    assert points["error_y"]["array"] == pytest.approx([10.0, 0.0])
    assert "3 seeds" in points["hovertext"][0] and "seeds" not in points["hovertext"][1]


def test_one_entry_or_no_accuracy_gives_no_plot_and_no_excuse(make_record: Any) -> None:
    values = [make_record(steps=2, scheme=s, loss="mse", accuracy_before=None, accuracy_after=None) for s in "ab"]
    for records in ([make_record(steps=2)], values):
        page = Page(render_report(records, title="t"))
        assert not [key for key in page.figures() if key.startswith("pareto")]
        assert "is not drawn" not in page.text
