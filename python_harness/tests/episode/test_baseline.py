"""Baselines: every locked figure counts, those of a compiler under that compiler alone, and nothing is locked without a reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mcutrain.episode.baseline import (
    CompilerFigures,
    Locked,
    baseline_names,
    baseline_path,
    differences,
    load_baseline,
    relock,
    save_baseline,
    unlocked_figures,
)
from mcutrain.episode.definition import load_episode
from mcutrain.episode.record import PhaseCounts
from mcutrain.episode.trail import Trail
from mcutrain.errors import UsageError
from mcutrain.paths import BASELINES, EPISODES

GCC_12 = "arm-none-eabi-gcc (GNU 12.2.1)"
GCC_14 = "arm-none-eabi-gcc (GNU 14.2.1)"
COUNTS = PhaseCounts(total=100.0, forward=40.0, loss=10.0, backward=30.0, update=20.0)
FIGURES = CompilerFigures(
    stack_peak_bytes=800, flash_bytes=60000, instructions_per_step=COUNTS, instructions_per_inference=1000.0
)
LOCKED = Locked(
    steps=100,
    test=50,
    digest="0123abcd",
    accuracy_before=0.5,
    accuracy_after=0.75,
    arena_bytes=8192,
    trainable_bytes=1024,
    static_bytes=9300,
    compilers={GCC_12: FIGURES},
)
EVERYWHERE: dict[str, Any] = {
    "digest": "0123abce",
    "accuracy_before": 0.51,
    "accuracy_after": None,
    "mse_before": 0.25,
    "mse_after": 0.125,
    "arena_bytes": 8200,
    "trainable_bytes": 1032,
    "static_bytes": 9308,
}
OF_A_COMPILER: dict[str, Any] = {
    "stack_peak_bytes": 808,
    "flash_bytes": 60004,
    "instructions_per_step": COUNTS.model_copy(update={"backward": 31.0, "total": 101.0}),
    "instructions_per_inference": 1000.1,
}


def figures(**values: object) -> CompilerFigures:
    return FIGURES.model_copy(update=values)


def run_by(compilers: dict[str, CompilerFigures], **values: object) -> Locked:
    return LOCKED.model_copy(update={"compilers": compilers, **values})


def changed(**values: object) -> Locked:
    """LOCKED with other figures, built by the same compiler."""
    of_a_compiler = {field: values.pop(field) for field in tuple(values) if field in OF_A_COMPILER}
    return run_by({GCC_12: figures(**of_a_compiler)}, **values)


def test_the_same_figures_have_no_difference() -> None:
    assert differences(LOCKED, changed()) == []
    assert unlocked_figures(LOCKED, changed()) == []


@pytest.mark.parametrize("field", [*EVERYWHERE, *OF_A_COMPILER])
def test_every_figure_is_compared(field: str) -> None:
    value = {**EVERYWHERE, **OF_A_COMPILER}[field]
    found = differences(LOCKED, changed(**{field: value}))
    assert found and all(phrase.startswith(field) for phrase in found)


def test_every_field_is_compared_or_says_how_the_run_was_made() -> None:
    assert {*EVERYWHERE, "settings", "plan_crc32", "steps", "test", "compilers"} == set(Locked.model_fields)
    assert set(OF_A_COMPILER) == set(CompilerFigures.model_fields)


def test_counts_are_told_phase_by_phase_with_the_change_in_percent() -> None:
    assert differences(LOCKED, changed(instructions_per_step=OF_A_COMPILER["instructions_per_step"])) == [
        "instructions_per_step.total: 100.0 -> 101.0 (+1.00 %)",
        "instructions_per_step.backward: 30.0 -> 31.0 (+3.33 %)",
    ]


def test_counts_that_are_missing_are_a_difference() -> None:
    assert differences(LOCKED, changed(instructions_per_step=None))
    assert differences(changed(instructions_per_step=None), LOCKED)


def test_each_compiler_is_held_against_its_own_figures() -> None:
    locked = run_by({GCC_12: FIGURES, GCC_14: figures(flash_bytes=61000)})
    assert differences(locked, run_by({GCC_12: FIGURES})) == []
    assert differences(locked, run_by({GCC_14: figures(flash_bytes=61000)})) == []
    assert differences(locked, run_by({GCC_14: FIGURES})) == ["flash_bytes: 61000 -> 60000"]
    assert unlocked_figures(locked, run_by({GCC_14: FIGURES})) == []


def test_an_unknown_compiler_differs_in_nothing_of_its_own_and_in_everything_else() -> None:
    other = {"arm-none-eabi-gcc (GNU 13.2.1)": figures(**OF_A_COMPILER)}
    assert differences(LOCKED, run_by(other)) == []
    for field, value in EVERYWHERE.items():
        assert differences(LOCKED, run_by(other, **{field: value})), field


def test_an_unknown_compiler_tells_its_figures_and_for_whom_there_are_some_in_one_line() -> None:
    locked = run_by({GCC_12: FIGURES, GCC_14: FIGURES})
    (told,) = unlocked_figures(locked, run_by({"arm-none-eabi-gcc (GNU 13.2.1)": figures(flash_bytes=61000)}))
    assert told == (
        "none locked for arm-none-eabi-gcc (GNU 13.2.1): 100.0 instructions per step, 1,000.0 per inference, "
        f"flash 61,000 B, stack 800 B (locked for {GCC_12} and {GCC_14})"
    )


def test_a_run_that_counted_nothing_tells_its_sizes() -> None:
    uncounted = figures(instructions_per_step=None, instructions_per_inference=None)
    (told,) = unlocked_figures(run_by({}), run_by({GCC_14: uncounted}))
    assert told == f"none locked for {GCC_14}: flash 60,000 B, stack 800 B (locked for no compiler)"


def test_locking_under_one_compiler_keeps_the_figures_of_the_others() -> None:
    known = run_by({GCC_12: FIGURES, GCC_14: figures(flash_bytes=61000)})
    now = run_by({GCC_14: figures(flash_bytes=62000)}, arena_bytes=8000)
    assert relock(known, now) == (
        run_by({GCC_12: FIGURES, GCC_14: figures(flash_bytes=62000)}, arena_bytes=8000),
        (),
    )


def test_another_digest_drops_the_figures_of_the_other_compilers() -> None:
    known = run_by({GCC_12: FIGURES, GCC_14: FIGURES})
    now = run_by({GCC_14: figures(flash_bytes=62000)}, digest="00000000")
    assert relock(known, now) == (now, (GCC_12,))
    assert relock(run_by({GCC_14: FIGURES}), now) == (now, ())


def test_what_is_locked_is_read_back(tmp_path: Path) -> None:
    assert save_baseline("digits-x", {"m4-256k": LOCKED}, "first figures", tmp_path) == ()
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
    assert (baseline.runs["m4-256k"], baseline.runs["m7-256k"]) == (changed(flash_bytes=2), LOCKED)
    assert [change.reason for change in baseline.changes] == ["first", "second", "third"]


def test_a_second_compiler_is_added_to_the_file_whichever_comes_first(tmp_path: Path) -> None:
    by = {GCC_12: run_by({GCC_12: FIGURES}), GCC_14: run_by({GCC_14: figures(flash_bytes=1)})}
    for order, folder in (((GCC_12, GCC_14), tmp_path / "a"), ((GCC_14, GCC_12), tmp_path / "b")):
        for compiler in order:
            assert save_baseline("x", {"m4-256k": by[compiler]}, "why", folder) == ()
    first, second = (baseline_path("x", tmp_path / name).read_text(encoding="utf-8") for name in "ab")
    assert first == second
    assert list(load_baseline("x", tmp_path / "a").runs["m4-256k"].compilers) == [GCC_12, GCC_14]


def test_a_board_with_another_digest_says_whose_figures_it_drops_and_the_other_board_keeps_them(tmp_path: Path) -> None:
    both = run_by({GCC_12: FIGURES, GCC_14: FIGURES})
    save_baseline("x", {"m4-256k": both, "m7-256k": both}, "first", tmp_path)
    m4, m7 = run_by({GCC_14: FIGURES}, digest="00000000"), run_by({GCC_14: FIGURES})
    dropped = save_baseline("x", {"m4-256k": m4, "m7-256k": m7}, "second", tmp_path)
    assert dropped == (f"x on m4-256k: the figures of {GCC_12}, for which the digest was another",)
    assert load_baseline("x", tmp_path).runs == {"m4-256k": m4, "m7-256k": both}


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
    save_baseline("x", {"m4-256k": LOCKED}, "why", tmp_path)
    document = json.loads(baseline_path("x", tmp_path).read_text(encoding="utf-8"))
    assert document["runs"]["m4-256k"]["compilers"][GCC_12]["instructions_per_step"]["backward"] == 30.0


def test_a_users_baseline_lies_beside_the_episodes_file_and_the_projects_in_its_folder() -> None:
    assert baseline_path("some/where/mine.yaml") == Path("some/where/mine.baseline.json")
    assert baseline_path("mine.yml") == Path("mine.baseline.json")
    assert baseline_path("digits-sparse") == BASELINES / "digits-sparse.json"
    assert baseline_path(str(EPISODES / "digits-sparse.yaml")) == BASELINES / "digits-sparse.json"


def test_trails_are_kept_for_the_digests_that_are_locked_alone(tmp_path: Path) -> None:
    first, second = (
        Trail(checkpoints="0" * 8, operators=digest, traces={0: "1" * 16}) for digest in ("a" * 8, "b" * 8)
    )
    save_baseline("x", {"m4-256k": LOCKED, "m7-256k": LOCKED}, "first", tmp_path, {LOCKED.digest: first})
    assert load_baseline("x", tmp_path).trails == {LOCKED.digest: first}
    moved = changed(digest="00000000")
    save_baseline("x", {"m4-256k": moved}, "second", tmp_path, {moved.digest: second})
    assert load_baseline("x", tmp_path).trails == {LOCKED.digest: first, moved.digest: second}
    save_baseline("x", {"m7-256k": moved}, "third", tmp_path)
    assert load_baseline("x", tmp_path).trails == {moved.digest: second}


@pytest.mark.parametrize("episode", baseline_names())
def test_the_projects_baselines_are_read_and_hold_figures_of_a_compiler_settings_and_trails(episode: str) -> None:
    baseline = load_baseline(episode)
    assert baseline.episode == episode
    assert baseline.runs
    assert all(run.compilers for run in baseline.runs.values())
    for run in baseline.runs.values():
        assert (
            run.settings is not None and run.settings.definition["learning_rate"] == load_episode(episode).learning_rate
        )
        assert baseline.trails[run.digest].checkpoints.endswith(run.digest)
        assert 0 in baseline.trails[run.digest].traces
    assert baseline_path(episode).stat().st_size < 12_000
    text = json.dumps(baseline.model_dump(), indent=2) + "\n"
    assert text == baseline_path(episode).read_text(encoding="utf-8"), "not as save_baseline writes it"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accuracy_after", 49.95),
        ("accuracy_before", -0.5),
        ("digest", "0123ABCD"),
        ("steps", -1),
        ("static_bytes", -4),
        (f"compilers.{GCC_12}.flash_bytes", -1),
        (f"compilers.{GCC_12}.instructions_per_inference", float("nan")),
        (f"compilers.{GCC_12}.instructions_per_step.total", float("inf")),
    ],
)
def test_a_baseline_with_an_impossible_value_is_refused_by_its_key(key: str, value: object, tmp_path: Path) -> None:
    save_baseline("x", {"m4-256k": LOCKED}, "a test", tmp_path)
    document = json.loads(baseline_path("x", tmp_path).read_text())
    inner = document["runs"]["m4-256k"]
    *path, last = key.replace("12.2.1", "12_2_1").split(".")
    for part in path:
        inner = inner[part.replace("12_2_1", "12.2.1")]
    inner[last] = value
    baseline_path("x", tmp_path).write_text(json.dumps(document))
    with pytest.raises(UsageError, match=re.escape(f"x.json is not a baseline (key runs.m4-256k.{key}: ")):
        load_baseline("x", tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("checkpoints", "0123456"),
        ("checkpoints", 7),
        ("operators", "none"),
        ("traces.first", "01234567"),
        ("traces.-1", "01234567"),
        ("traces.0", "0123456G"),
        ("more", 1),
    ],
)
def test_a_damaged_trail_is_refused_by_its_key(key: str, value: object, tmp_path: Path) -> None:
    trail = Trail(checkpoints="0" * 8, operators="1" * 8, traces={0: "1" * 16})
    save_baseline("x", {"m4-256k": LOCKED}, "a test", tmp_path, {LOCKED.digest: trail})
    document = json.loads(baseline_path("x", tmp_path).read_text())
    inner = document["trails"][LOCKED.digest]
    *path, last = key.split(".")
    for part in path:
        inner = inner[part]
    inner[last] = value
    baseline_path("x", tmp_path).write_text(json.dumps(document))
    with pytest.raises(UsageError, match=re.escape(f"x.json is not a baseline (key trails.{LOCKED.digest}.{key}")):
        load_baseline("x", tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_sha256", "0" * 63), ("data_sha256", None), ("definition", []), ("input_scale", -1.0), ("more", 1)],
)
def test_damaged_settings_are_refused_by_their_key(key: str, value: object, tmp_path: Path) -> None:
    settings = load_baseline("digits-biases").runs["m4-256k"].settings
    save_baseline("x", {"m4-256k": changed(settings=settings)}, "a test", tmp_path)
    document = json.loads(baseline_path("x", tmp_path).read_text())
    document["runs"]["m4-256k"]["settings"][key] = value
    baseline_path("x", tmp_path).write_text(json.dumps(document))
    with pytest.raises(UsageError, match=re.escape(f"x.json is not a baseline (key runs.m4-256k.settings.{key}: ")):
        load_baseline("x", tmp_path)
