"""Verdict, notes, curves: what is derived from a record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mcutrain.episode.record import StepRecord, TensorLife
from mcutrain.report import Status, curves, judge
from mcutrain.report.arena_figure import live_bytes
from mcutrain.report.layers import layer_counts, top_operators
from mcutrain.report.summary import golden_phrase, notes, sram_parts, wilson_interval
from mcutrain.report.wording import count, printable


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.PASS),
        ({"matches_golden": False}, Status.FAIL),
        ({"matches_golden": None}, Status.UNCHECKED),
        ({"golden_steps": 0}, Status.UNCHECKED),
        ({"sram_peak_bytes": 262_145}, Status.FAIL),
        ({"sram_peak_bytes": 262_144}, Status.PASS),
        ({"flash_bytes": 1_048_577}, Status.FAIL),
    ],
)
def test_the_verdict_follows_golden_and_the_limits(make_record: Any, changes: dict[str, Any], status: Status) -> None:
    verdict = judge(make_record(steps=10, **changes))
    assert verdict.status is status
    assert bool(verdict.reasons) == (status is not Status.PASS)


def test_a_stack_over_its_reserve_fails(make_record: Any) -> None:
    record = make_record(steps=10)
    deep = record.model_copy(update={"sram": record.sram.model_copy(update={"stack_peak": 4_100})})
    assert judge(deep).reasons == ("stack peak 4,100 B is over its reserve of 4,096 B",)


def test_a_comparison_of_some_steps_says_how_many(make_record: Any) -> None:
    assert golden_phrase(make_record(steps=1000, golden_steps=50)) == "bit-exact to golden on 50 of 1,000 steps"
    assert golden_phrase(make_record(steps=1000)) == "bit-exact to golden"


def test_a_record_that_does_not_add_up_is_noted(make_record: Any) -> None:
    record = make_record(steps=10)
    assert notes(record) == []
    assert "parts of SRAM sum to" in notes(record.model_copy(update={"sram_peak_bytes": 1}))[0]
    assert notes(record.model_copy(update={"steps": 11})) == ["The record holds 10 of 11 steps."]
    assert sram_parts(record).used == record.sram_peak_bytes


def test_the_wilson_interval_is_the_published_one() -> None:
    assert wilson_interval(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0.0, 100)[0] == 0.0
    assert wilson_interval(1.0, 100)[1] == 1.0
    assert wilson_interval(0.5, 0) == (0.0, 1.0)


def test_thinning_keeps_every_spike_and_the_order() -> None:
    values = np.zeros(5000)
    values[1234] = 50.0
    values[4321] = -3.0
    curve = curves.envelope(range(5000), values)
    assert len(curve.x) <= curves.MAX_POINTS
    assert dict(zip(curve.x, curve.y, strict=True))[1234] == 50.0
    assert dict(zip(curve.x, curve.y, strict=True))[4321] == -3.0
    assert list(curve.x) == sorted(set(curve.x))


def test_a_short_curve_is_not_thinned() -> None:
    curve = curves.envelope(range(5, 8), np.array([1.0, math.nan, 3.0]))
    assert curve == curves.Curve((5, 6, 7), (1.0, None, 3.0))


def test_a_smooth_curve_keeps_both_ends() -> None:
    curve = curves.thin(range(5000), np.arange(5000.0))
    assert len(curve.x) == curves.MAX_POINTS
    assert (curve.x[0], curve.x[-1]) == (0, 4999)


def test_the_running_mean_is_over_the_window_and_survives_what_is_not_finite() -> None:
    values = np.array([1.0, 2.0, math.inf, 4.0, 1e30, 0.0, 0.0, 3.0])
    mean = curves.running_mean(values, 3)
    assert mean == pytest.approx([1.0, 1.5, 1.5, 3.0, 5e29, (1e30 + 4) / 3, 1e30 / 3, 1.0])


def test_the_running_mean_begins_when_a_fifth_of_the_window_is_there() -> None:
    mean = curves.running_mean(np.ones(100), 50)
    assert np.isnan(mean[:9]).all()
    assert (mean[9:] == 1.0).all()


def test_training_accuracy_is_of_the_predictions_and_not_of_the_loss() -> None:
    right = (True, False, True)
    steps = [
        StepRecord(n=i, loss_bits="0" * 8, loss=0.1, prediction=0, correct=c, digest="0" * 8)
        for i, c in enumerate(right)
    ]
    assert curves.correct(steps).tolist() == [1.0, 0.0, 1.0]


def test_live_bytes_are_the_sum_over_the_tensors_alive() -> None:
    lives = [(0, 10, 0, 2), (10, 5, 1, 3), (0, 7, 3, 3)]
    live = live_bytes(
        [TensorLife(name="", offset_bytes=o, size_bytes=s, first_op=a, last_op=b) for o, s, a, b in lives]
    )
    assert live.at.tolist() == [10, 15, 15, 12]
    assert (live.peak, live.op) == (15, 1)


def test_a_byte_that_is_written_in_place_is_live_once() -> None:
    source = TensorLife(name="sums", offset_bytes=8, size_bytes=16, first_op=0, last_op=1)
    output = TensorLife(name="error", offset_bytes=16, size_bytes=8, first_op=1, last_op=2)
    assert live_bytes([source, output]).at.tolist() == [16, 16, 8]


def test_layers_come_in_the_order_of_execution_and_sum_up_to_the_step(make_record: Any) -> None:
    record = make_record(steps=1)
    shuffled = record.model_copy(update={"operators": record.operators[::-1]})
    layers = layer_counts(shuffled)
    assert [layer.name for layer in layers][:3] == ["conv0", "conv1", "conv2"]
    assert layers[-1].name == "between operators"
    assert sum(layer.total for layer in layers) == pytest.approx(record.instructions_per_step.whole)


def test_the_top_operators_are_the_largest_first(make_record: Any) -> None:
    top = top_operators(make_record(steps=1), most=5)
    assert [o.instructions for o in top] == [900_000, 900_000, 900_000, 720_000, 720_000]
    assert [o.op for o in top][:3] == [0, 1, 2]


def test_counts_have_thousand_separators_and_a_decimal_only_where_needed() -> None:
    assert count(1_234_567) == "1,234,567"
    assert count(7_412.5) == "7,412.5"
    assert count(0) == "0"


def test_invisible_characters_are_spelled_out() -> None:
    assert printable("a\x1b\u202e\u2028b\ud800") == r"a\x1b\u202e\u2028b\ud800"
    assert printable("größe → 3") == "größe → 3"
