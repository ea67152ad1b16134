"""Baselines: every locked figure counts, counts of another compiler do not, and nothing is locked without a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcutrain.episode.baseline import (
    Locked,
    baseline_names,
    baseline_path,
    differences,
    load_baseline,
    save_baseline,
)
from mcutrain.episode.record import PhaseCounts
from mcutrain.errors import UsageError

COUNTS = PhaseCounts(total=100.0, forward=40.0, loss=10.0, backward=30.0, update=20.0)
LOCKED = Locked(
    steps=100,
    test=50,
    digest="0123abcd",
    accuracy_before=0.5,
    accuracy_after=0.75,
    arena_bytes=8192,
    trainable_bytes=1024,
    static_bytes=9300,
    compiler="arm-none-eabi-gcc (GNU 12.2.1)",
    stack_peak_bytes=800,
    flash_bytes=60000,
    instructions_per_step=COUNTS,
    instructions_per_inference=1000.0,
)
EVERYWHERE: dict[str, Any] = {
    "digest": "0123abce",
    "accuracy_before": 0.51,
    "accuracy_after": None,
    "arena_bytes": 8200,
    "trainable_bytes": 1032,
    "static_bytes": 9308,
}
OF_ONE_COMPILER: dict[str, Any] = {
    "stack_peak_bytes": 808,
    "flash_bytes": 60004,
    "instructions_per_step": COUNTS.model_copy(update={"backward": 31.0, "total": 101.0}),
    "instructions_per_inference": 1000.1,
}


def changed(**values: object) -> Locked:
    return LOCKED.model_copy(update=values)


def test_the_same_figures_have_no_difference() -> None:
    assert differences(LOCKED, changed()) == []


@pytest.mark.parametrize("field", [*EVERYWHERE, *OF_ONE_COMPILER])
def test_every_figure_is_compared(field: str) -> None:
    value = {**EVERYWHERE, **OF_ONE_COMPILER}[field]
    found = differences(LOCKED, changed(**{field: value}))
    assert found and all(phrase.startswith(field) for phrase in found)


def test_every_field_is_compared_or_says_how_the_run_was_made() -> None:
    compared = {*EVERYWHERE, *OF_ONE_COMPILER}
    assert compared | {"steps", "test", "compiler"} == set(Locked.model_fields)


def test_counts_are_told_phase_by_phase_with_the_change_in_percent() -> None:
    assert differences(LOCKED, changed(instructions_per_step=OF_ONE_COMPILER["instructions_per_step"])) == [
        "instructions_per_step.total: 100.0 -> 101.0 (+1.00 %)",
        "instructions_per_step.backward: 30.0 -> 31.0 (+3.33 %)",
    ]


def test_counts_that_are_missing_are_a_difference() -> None:
    assert differences(LOCKED, changed(instructions_per_step=None))
    assert differences(changed(instructions_per_step=None), LOCKED)


def test_another_compiler_skips_its_counts_and_nothing_else() -> None:
    other = "arm-none-eabi-gcc (GNU 13.2.1)"
    assert differences(LOCKED, changed(compiler=other, **OF_ONE_COMPILER)) == []
    for field, value in EVERYWHERE.items():
        assert differences(LOCKED, changed(compiler=other, **{field: value})), field


def test_what_is_locked_is_read_back(tmp_path: Path) -> None:
    path = save_baseline("digits-x", {"m4-256k": LOCKED}, "first figures", tmp_path)
    assert path == baseline_path("digits-x", tmp_path)
    baseline = load_baseline("digits-x", tmp_path)
    assert baseline.runs == {"m4-256k": LOCKED}
    assert [change.reason for change in baseline.changes] == ["first figures"]
    assert baseline_names(tmp_path) == ("digits-x",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits-x.json"]


def test_an_update_of_one_board_keeps_the_others_and_the_history(tmp_path: Path) -> None:
    save_baseline("digits-x", {"m7-256k": LOCKED}, "first", tmp_path)
    save_baseline("digits-x", {"m4-256k": changed(flash_bytes=1)}, "second", tmp_path)
    save_baseline("digits-x", {"m4-256k": changed(flash_bytes=2)}, "third", tmp_path)
    baseline = load_baseline("digits-x", tmp_path)
    assert list(baseline.runs) == ["m4-256k", "m7-256k"]
    assert (baseline.runs["m4-256k"].flash_bytes, baseline.runs["m7-256k"]) == (2, LOCKED)
    assert [change.reason for change in baseline.changes] == ["first", "second", "third"]


def test_a_missing_baseline_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="digits-x has no baseline yet; make one: mcutrain baseline update digits-x"):
        load_baseline("digits-x", tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"episode": "x"}', '{"episode": "x", "runs": {}, "changes": [], "more": 1}']
)
def test_a_broken_baseline_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    baseline_path("x", tmp_path).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.json is not a baseline") as refusal:
        load_baseline("x", tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_broken_baseline_is_not_overwritten(tmp_path: Path) -> None:
    path = baseline_path("x", tmp_path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError):
        save_baseline("x", {"m4-256k": LOCKED}, "why", tmp_path)
    assert path.read_text(encoding="utf-8") == "{"


def test_a_baseline_is_plain_json(tmp_path: Path) -> None:
    path = save_baseline("x", {"m4-256k": LOCKED}, "why", tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["runs"]["m4-256k"]["instructions_per_step"]["backward"] == 30.0
