"""A breakdown and its exports: everything adds up to the same cycles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcutrain.timing import Breakdown, CycleEstimate, OperatorName, ProfileEstimate, break_down
from mcutrain.timing.estimate import Cell
from mcutrain.timing.export import collapsed, perfetto, speedscope

STEPS = 2
CELLS = (
    Cell("reset", "main", 50, CycleEstimate(99, 99, 99)),  # before the first step: no part of it
    Cell("mct_op_0000", "mct_conv2d_s8", 1000, CycleEstimate(1500, 1400, 1600)),
    Cell("mct_op_0000", "memcpy", 100, CycleEstimate(100, 100, 100)),
    Cell("mct_op_0001", "mct_conv2d_s8", 600, CycleEstimate(800, 700, 900)),
    Cell("mct_op_0002", "mct_update;weights", 30, CycleEstimate(40, 40, 40)),
    Cell("mct_mark_step_end", "mct_crc32", 400, CycleEstimate(600, 500, 700)),
)
NAMES = (
    OperatorName("conv0", "conv0", "forward"),
    OperatorName("conv1", "conv1", "forward"),
    OperatorName("conv1.update", "conv1", "update"),
)
CYCLES = 1500 + 100 + 800 + 40 + 600


@pytest.fixture
def breakdown() -> Breakdown:
    return break_down(ProfileEstimate(CELLS), NAMES, core="cortex-m4", clock_hz=100_000_000, steps=STEPS)


def test_a_step_is_the_mean_over_the_steps_without_the_driver(breakdown: Breakdown) -> None:
    assert breakdown.training.estimate == (2440 / STEPS, 2240 / STEPS, 2640 / STEPS)
    assert breakdown.training.instructions == 1730 / STEPS
    assert breakdown.milliseconds(1_000_000) == 10.0


@pytest.mark.parametrize("part", ["phases", "functions"])
def test_phases_and_functions_cover_everything(part: str, breakdown: Breakdown) -> None:
    shares = getattr(breakdown, part)()
    assert sum(share.estimate.cycles for share in shares) == CYCLES / STEPS


def test_parts_are_named_and_ordered(breakdown: Breakdown) -> None:
    assert [share.name for share in breakdown.phases()] == ["forward", "update", "other"]
    assert {share.name: share.estimate.cycles for share in breakdown.layers()} == {"conv0": 800, "conv1": 420}
    assert [share.name for share in breakdown.functions()][:2] == ["mct_conv2d_s8", "mct_crc32"]


def test_collapsed_stacks_have_four_frames_and_all_cycles(breakdown: Breakdown) -> None:
    rows = [line.rsplit(" ", 1) for line in collapsed(breakdown).splitlines()]
    assert all(len(stack.split(";")) == 4 for stack, _ in rows)
    assert sum(int(cycles) for _, cycles in rows) == CYCLES / STEPS
    assert ["forward;conv0;conv0;memcpy", "50"] in rows


def test_speedscope_weights_are_the_cycles_of_its_samples(breakdown: Breakdown) -> None:
    document = json.loads(speedscope(breakdown, "digits on m4-1m"))
    (profile,) = document["profiles"]
    names = [frame["name"] for frame in document["shared"]["frames"]]
    weights = {
        names[sample[-1]] + "@" + names[sample[0]]: w
        for sample, w in zip(profile["samples"], profile["weights"], strict=True)
    }
    assert weights["mct_crc32@other"] == 300
    assert profile["endValue"] == sum(profile["weights"]) == CYCLES / STEPS
    assert "estimated" in document["name"]


def test_perfetto_slices_nest_and_follow_each_other(breakdown: Breakdown) -> None:
    events = json.loads(perfetto(breakdown, "digits on m4-1m"))["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    by_level: dict[str, list[Any]] = {}
    for event in slices:
        by_level.setdefault(event["cat"], []).append(event)
    for level in ("phase", "layer", "operator", "function"):
        assert sum(event["dur"] for event in by_level[level]) == pytest.approx(CYCLES / STEPS / 100)  # microseconds
        ends = [event["ts"] + event["dur"] for event in by_level[level]]
        assert [event["ts"] for event in by_level[level]][1:] == pytest.approx(ends[:-1])
    assert [event["name"] for event in by_level["phase"]] == ["forward", "update", "other"]
    assert [event["cat"] for event in slices[:4]] == ["phase", "layer", "operator", "function"]
