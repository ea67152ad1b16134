"""Every assertion passes on a run that did what it says, and fails on one that did not, with the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from robot.api import Failure

from mcutrain.episode.baseline import lock, save_baseline
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.record import EpisodeRecord, SramUse
from mcutrain.episode.targets import planned_static_bytes
from mcutrain.paths import EPISODES
from mcutrain.robot import McutrainLibrary
from mcutrain.robot.session import Run
from support.robot_suites import COUNTS, SRAM, Hold, make_record

ROSE = "Accuracy Should Rise From 56.5 % To At Least 88 %"
EVERY_STEP = "Every Step Should Be Bit-Exact To Golden"
AS_LOCKED = "Instructions Per Step Should Be As Locked"
AS_PLANNED = "Static SRAM Should Be What The Plan Says"
STACK = "Stack Should Stay Within Its Reserve"
IDENTICAL = "All Records Should Be Identical"


@pytest.mark.parametrize(
    "keyword",
    [
        ROSE,
        "Accuracy Should Rise From 56% To At Least 90 %",  # as many digits as are written: 56.5 is no further from 56 than from 57
        EVERY_STEP,
        "The First 20 Steps Should Be Bit-Exact To Golden",
        "Peak SRAM Should Be At Most 6,904 Bytes",
        STACK,
    ],
)
def test_an_assertion_passes_on_a_run_that_did_so(keyword: str, hold: Hold) -> None:
    assert hold([make_record()], keyword)[:2] == ("PASS", "")


@pytest.mark.parametrize(
    ("changes", "keyword", "message"),
    [
        ({"accuracy_after": 0.8775}, ROSE, "the accuracy after training is 87.75 %, less than 88 %"),
        ({"accuracy_before": 0.5656}, ROSE, "the accuracy before training is 56.56 %, not 56.5 %"),
        ({"accuracy_before": 0.5644}, ROSE, "the accuracy before training is 56.44 %, not 56.5 %"),
        (
            {"accuracy_after": 0.565},
            "Accuracy Should Rise From 56.5 % To At Least 50 %",
            "the accuracy did not rise: 56.50 % before, 56.50 % after",
        ),
        ({"accuracy_after": None}, ROSE, "the accuracy was not measured"),
        ({"matches_golden": False}, EVERY_STEP, "differs from golden"),
        ({"matches_golden": None, "golden_steps": 0}, EVERY_STEP, "not held against golden"),
        ({"golden_steps": 0}, EVERY_STEP, "not held against golden"),
        ({"steps": 0, "golden_steps": 0}, EVERY_STEP, "bit-exact to golden"),
        ({"golden_steps": 19}, EVERY_STEP, "only 19 of 20 steps were held against golden"),
        ({}, "The First 21 Steps Should Be Bit-Exact To Golden", "only 20 steps were held against golden, not 21"),
        ({}, "Peak SRAM Should Be At Most 6,903 Bytes", "the peak of SRAM is 6,904 B, over 6,903 B"),
        ({"sram_limit_bytes": 6000}, "Peak SRAM Should Be At Most 9,000 Bytes", "is 6,904 B, over 6,000 B"),
        ({"sram_limit_bytes": 0, "board": "host"}, "Peak SRAM Should Be At Most 9,000 Bytes", "no memory of a board"),
        (
            {"sram": SRAM.model_copy(update={"stack_peak": 4097})},
            STACK,
            "the stack took 4,097 B, its reserve is 4,096 B",
        ),
        ({"sram": SRAM.model_copy(update={"stack_peak": 0})}, STACK, "the stack took 0 B"),
    ],
)
def test_an_assertion_fails_on_a_run_that_did_not(
    changes: dict[str, Any], keyword: str, message: str, hold: Hold
) -> None:
    result = hold([make_record(**changes)], keyword)
    assert result.status == "FAIL"
    assert message in result.message


def test_static_sram_is_held_against_the_plan_to_the_byte(hold: Hold) -> None:
    plan = prepare(load_episode("digits-biases")).plan
    static = planned_static_bytes(plan)
    use = SramUse(
        data=8,
        bss=static - 8,
        arena=plan.arena_bytes,
        trainable=plan.trainable_bytes,
        stack_peak=900,
        stack_reserve=4096,
    )
    assert hold([make_record(sram=use)], AS_PLANNED).status == "PASS"
    result = hold([make_record(sram=use.model_copy(update={"data": 12}))], AS_PLANNED)
    assert result.status == "FAIL"
    assert f"static SRAM is {static + 4:,} B, planned {static:,} B" in result.message
    moved = use.model_copy(update={"arena": plan.arena_bytes + 4, "trainable": plan.trainable_bytes - 4})
    assert (
        f"arena is {plan.arena_bytes + 4:,} B, planned {plan.arena_bytes:,} B"
        in hold([make_record(sram=moved)], AS_PLANNED).message
    )
    other = hold([make_record(sram=use, scheme="head", options={"scheme": "head"})], AS_PLANNED)
    assert other.status == "FAIL"
    assert "planned" in other.message


@pytest.fixture
def locked(tmp_path: Path) -> str:
    """The library's argument for a folder with a baseline of digits-biases on m4-256k."""
    save_baseline("digits-biases", {"m4-256k": lock(make_record())}, "a test", tmp_path / "baselines")
    return f"baselines={tmp_path / 'baselines'}"


def test_instructions_as_locked_pass(locked: str, hold: Hold) -> None:
    result = hold([make_record()], AS_LOCKED, library=locked)
    assert (result.status, result.warnings) == ("PASS", ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"instructions_per_step": COUNTS.model_copy(update={"backward": 500.1, "total": 1000.6})},
            "instructions_per_step.backward: 500.0 -> 500.1",
        ),
        ({"instructions_per_inference": 391.0}, "instructions_per_inference: 390.0 -> 391.0"),
        ({"instructions_per_step": None}, "instructions were not counted"),
        ({"steps": 9, "golden_steps": 9}, "counts need 10 steps, the run had 9"),
        ({"board": "m7-256k"}, "the baseline of digits-biases has no run on m7-256k"),
        ({"episode": "digits-full"}, "episode digits-full has no baseline"),
    ],
)
def test_instructions_that_are_not_as_locked_fail(
    changes: dict[str, Any], message: str, locked: str, hold: Hold
) -> None:
    result = hold([make_record(**changes)], AS_LOCKED, library=locked)
    assert result.status == "FAIL"
    assert message in result.message


def test_the_users_own_episode_has_its_plan_and_its_baseline_where_its_file_lies(tmp_path: Path) -> None:
    text = (EPISODES / "digits-biases.yaml").read_text(encoding="utf-8").replace("name: digits-biases", "name: mine")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    own = str(tmp_path / "mine.yaml")
    plan = prepare(load_episode(own)).plan
    use = SRAM.model_copy(
        update={"bss": planned_static_bytes(plan) - 4, "arena": plan.arena_bytes, "trainable": plan.trainable_bytes}
    )
    record = make_record(episode="mine", sram=use)
    save_baseline(own, {"m4-256k": lock(record)}, "a test")
    assert (tmp_path / "mine.baseline.json").is_file()
    library = McutrainLibrary()
    library.session.runs = (Run(record, own=own),)
    library.static_sram_should_be_what_the_plan_says()
    library.instructions_per_step_should_be_as_locked()
    library.session.runs = (Run(record.model_copy(update={"instructions_per_inference": 391.0}), own=own),)
    with pytest.raises(Failure, match=r"instructions_per_inference: 390.0 -> 391.0"):
        library.instructions_per_step_should_be_as_locked()


def test_other_figures_than_instructions_are_not_this_keywords_matter(locked: str, hold: Hold) -> None:
    assert hold([make_record(digest="00000000", flash_bytes=1)], AS_LOCKED, library=locked).status == "PASS"


def test_instructions_of_another_compiler_are_not_compared_and_the_log_warns(locked: str, hold: Hold) -> None:
    other = make_record(compiler="arm-none-eabi-gcc (GNU 13.1.0)", instructions_per_inference=1.0)
    result = hold([other], AS_LOCKED, "Peak SRAM Should Be At Most 1 Bytes", library=locked)
    assert len(result.warnings) == 1
    assert "instructions not compared" in result.warnings[0]
    assert "GNU 13.1.0" in result.warnings[0]
    assert "the peak of SRAM" in result.message  # only that one assertion was left out


def test_instructions_on_an_emulator_that_counts_none_by_operator_are_not_compared_and_the_log_warns(
    locked: str, hold: Hold
) -> None:
    uncounted = make_record(runner="renode", emulator="renode", instructions_per_step=None)
    result = hold([uncounted], AS_LOCKED, library=locked)
    assert result.status == "PASS"
    assert result.warnings == (
        "digits-biases on m4-256k@renode: instructions not compared, renode counts none by operator",
    )


def test_records_that_differ_in_their_seconds_alone_are_identical(hold: Hold) -> None:
    assert hold([make_record(), make_record(wall_seconds=9.0), make_record()], IDENTICAL).status == "PASS"


def with_settings(**changes: Any) -> EpisodeRecord:
    values = {"definition": {"seed": 1}, "model_sha256": "0" * 64, "data_sha256": "1" * 64, "input_scale": 1.0}
    values |= {"input_zero_point": 0, "tool_version": "0.1.0", "git_revision": "", "date": "2026-01-01T00:00:00Z"}
    return make_record(settings={**values, **changes})


def test_records_that_differ_in_their_date_and_commit_alone_are_identical(hold: Hold) -> None:
    later = with_settings(date="2026-01-02T00:00:00Z", git_revision="a" * 40)
    assert hold([with_settings(), later], IDENTICAL).status == "PASS"


def test_records_of_other_settings_are_not_identical(hold: Hold) -> None:
    result = hold([with_settings(), with_settings(definition={"seed": 2})], IDENTICAL)
    assert result[:2] == ("FAIL", "run 2 differs from run 1 in settings")


def test_records_that_differ_are_not_identical_and_the_key_is_named(hold: Hold) -> None:
    result = hold([make_record(), make_record(), make_record(digest="89abcdee")], IDENTICAL)
    assert result[:2] == ("FAIL", "run 3 differs from run 1 in digest")


def test_one_record_is_not_identical_to_anything(hold: Hold) -> None:
    assert hold([make_record()], IDENTICAL).status == "FAIL"


def test_the_figures_stand_beside_the_name_of_the_test_in_the_log(hold: Hold) -> None:
    documentation = hold([make_record()], STACK).documentation
    assert (
        "*digits-biases on m4-256k*: accuracy 56.5 % to 90.0 %, bit-exact to golden, 1,000.5 instructions"
        in documentation
    )
    assert "peak SRAM 6,904 of 262,144 B" in documentation
