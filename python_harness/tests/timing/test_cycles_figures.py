"""The page's figures of estimated cycles."""

from __future__ import annotations

from typing import Any

import pytest

from mcutrain.episode.record import EpisodeRecord, FunctionCounts, OperatorCounts, PhaseCounts
from mcutrain.report.cycles_figures import cycles_figures
from report.conftest import make_record

__all__ = ["make_record"]

OPERATORS = (
    OperatorCounts(op=0, name="conv0", layer="conv0", phase="forward", instructions=100, estimated_cycles=150.0),
    OperatorCounts(op=1, name="conv1", layer="conv1", phase="forward", instructions=100, estimated_cycles=50.0),
    OperatorCounts(op=2, name="<b>x", layer="conv1", phase="update", instructions=100, estimated_cycles=800.0),
)
FUNCTIONS = (
    FunctionCounts(op=0, name="mct_conv2d_s8", instructions=90, estimated_cycles=140.0),
    FunctionCounts(op=0, name="memcpy", instructions=1, estimated_cycles=1.0),  # too little to be seen
    FunctionCounts(op=-1, name="mct_crc32", instructions=500, estimated_cycles=600.0),  # the driver, part of the step
)


@pytest.fixture
def record(make_record: Any) -> EpisodeRecord:
    cycles = PhaseCounts(total=1000, forward=200, loss=0, backward=0, update=800, other=600)
    made: EpisodeRecord = make_record(operators=OPERATORS, functions=FUNCTIONS, estimated_cycles_per_step=cycles)
    return made


def test_bars_hold_the_cycles_of_each_layer_and_phase(record: EpisodeRecord) -> None:
    bars, _ = cycles_figures(record, "e")
    assert {trace["name"]: trace["x"] for trace in bars.data} == {
        **{"forward": [150, 50, 0], "update": [0, 800, 0]},
        "other": [0, 0, 600],
    }
    assert "conv1 with 850, 53.1 % of the step" in bars.alternative
    assert "not measured" in bars.caption


def test_boxes_of_the_flame_graph_hold_what_is_inside_them(record: EpisodeRecord) -> None:
    _, flames = cycles_figures(record, "e")
    (trace,) = flames.data
    boxes = {
        key: (parent, value)
        for key, parent, value in zip(*(trace[name] for name in ("ids", "parents", "values")), strict=True)
    }
    assert boxes["step"] == ("", 1600)
    assert boxes["step/forward"] == ("step", 200)
    assert boxes["step/update/conv1/2"] == ("step/update/conv1", 800)
    assert boxes["step/forward/conv0/0/0"] == ("step/forward/conv0/0", 140)
    assert len(boxes) == 1 + 3 + 3 + 3 + 2
    for key, (_, value) in boxes.items():
        inside = sum(own for parent, own in boxes.values() if parent == key)
        assert inside <= value


def test_names_are_no_markup(record: EpisodeRecord) -> None:
    assert all("<b>" not in str(figure.data) for figure in cycles_figures(record, "e"))


def test_a_record_without_an_estimate_has_no_such_figures(make_record: Any) -> None:
    assert cycles_figures(make_record(), "e") == []
