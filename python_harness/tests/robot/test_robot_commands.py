"""The keywords that run the tool see what it did, stop it in time, skip what cannot run here, and leave nothing themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from robot.api import Failure

from mcutrain.paths import PROJECT
from mcutrain.robot import McutrainLibrary
from mcutrain.robot.tool import Outcome
from mcutrain.robot.words import Count, parse_place
from support.robot_suites import run_suite, run_test

DIGITS = PROJECT / "examples" / "digits" / "digits.onnx"
REFUSED = "Command Should Fail With Exit Code 2 And One Line"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the library makes its folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_refused_command_is_seen_with_its_exit_code_its_line_and_no_file(tmp_path: Path, temporary: Path) -> None:
    result = run_test(
        tmp_path,
        "Run Mcutrain    run    nothing",
        REFUSED,
        "Error Should Say    nothing",
        "Nothing Should Be Left Behind",
    )
    assert result[:2] == ("PASS", "")
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("Command Should Pass", "exit code 2: mcutrain: no episode 'nothing'"),
        ("Command Should Fail With Exit Code 1 And One Line", "exit code 2, not 1"),
        ("Error Should Say    nothing    everything", "'everything' is not in"),
        ("Error Should Say", "nothing to look for"),
    ],
)
def test_an_assertion_on_a_command_fails_where_it_is_wrong(keyword: str, message: str, tmp_path: Path) -> None:
    result = run_test(tmp_path, "Run Mcutrain    run    nothing", keyword)
    assert result.status == "FAIL"
    assert message in result.message


def test_a_file_that_a_command_leaves_is_found(tmp_path: Path) -> None:
    command = "Run Mcutrain    build    digits-biases    --sources-only    --output    here"
    result = run_test(tmp_path, command, "Command Should Pass", "Nothing Should Be Left Behind")
    assert result[:2] == ("FAIL", "2 files were left behind: here/digits_biases.c, here/digits_biases.h")


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        ("raise ValueError(2)", "Traceback"),
        (r"raise SystemExit('mcutrain: one\\nmcutrain: two')", "not one line on standard error but 2"),
        ("raise SystemExit('one')", "not one line on standard error but 1: one"),  # it does not say who speaks
    ],
)
def test_what_is_not_one_line_of_the_tool_is_refused(instead: str, message: str, tmp_path: Path) -> None:
    change = f"Change The Sources    python_harness/mcutrain/commands/doctor.py    checks = doctor()    {instead}"
    result = run_test(tmp_path, change, "Run Mcutrain    doctor", "Command Should Fail With Exit Code 1 And One Line")
    assert result.status == "FAIL"
    assert message in result.message


def test_a_command_is_stopped_at_the_time_limit(tmp_path: Path) -> None:
    begin = time.monotonic()
    result = run_test(tmp_path, "Run Mcutrain    verify    digits-sparse", library="time_limit=0.2 seconds")
    assert result[:2] == ("FAIL", "'mcutrain verify digits-sparse' took over 0.2 s")
    assert time.monotonic() - begin < 10


def test_what_this_machine_does_not_have_skips_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCUTRAIN_MODELS", raising=False)
    result = run_test(tmp_path, "Train resnet8-noise On host For 1 Steps")
    assert result.status == "SKIP"
    assert result.message.startswith("model mlperf_tiny/pretrainedResnet_quant.tflite is not on this machine")


def test_an_assertion_without_a_run_fails_and_no_test_sees_the_run_of_another(tmp_path: Path) -> None:
    tests = """
First
    Run Mcutrain    doctor
    Train digits-biases On host    steps=1    test=1
    Command Should Pass
Second
    Every Step Should Be Bit-Exact To Golden
Third
    Command Should Pass
"""
    results = run_suite(tmp_path, tests)
    assert results["First"].status == "PASS"
    assert results["Second"][:2] == ("FAIL", "nothing has been trained yet: use 'Train ... On ...' first")
    assert results["Third"][:2] == ("FAIL", "no command has been run yet: use 'Run Mcutrain' first")


def test_changed_sources_are_those_of_one_test(tmp_path: Path, temporary: Path) -> None:
    tests = f"""
Changed
    Change The Sources    python_harness/mcutrain/commands/doctor.py    checks = doctor()    raise SystemExit(3)
    Run Mcutrain    doctor
    Command Should Fail With Exit Code 3 And One Line
Unchanged
    ${{left}}=    Evaluate    list(pathlib.Path(r"{temporary}").iterdir())
    Should Be Empty    ${{left}}
    Run Mcutrain    doctor
    Command Should Pass
"""
    results = run_suite(tmp_path, tests)
    assert results["Changed"].message.startswith("not one line on standard error but 0")
    assert results["Unchanged"].status == "PASS"
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(("text", "count"), [("not there", 0), ("checks", 3)])
def test_a_change_of_the_sources_must_hit_one_place(text: str, count: int, tmp_path: Path) -> None:
    result = run_test(tmp_path, f"Change The Sources    python_harness/mcutrain/commands/doctor.py    {text}    other")
    assert result.status == "FAIL"
    assert f"stands {count} times" in result.message


@pytest.mark.parametrize(
    ("keyword", "status"),
    [
        (f"Training {DIGITS} With Scheme head Should Fit On m4-256k", "PASS"),
        (f"Training {DIGITS} With Scheme head Should Not Fit On m4-256k", "FAIL"),
        (f"Training {DIGITS} With Scheme head Should Fit On m4-256k    budget=1,000", "FAIL"),
        (f"Training {DIGITS} With Scheme head Should Not Fit On m4-256k    budget=1,000", "PASS"),
        (f"Training {DIGITS} With Scheme nonsense Should Not Fit On m4-256k", "FAIL"),
        (f"Training {DIGITS} With Scheme head Should Not Fit In 1,000 Bytes On m4-256k", "PASS"),
        (f"Training {DIGITS} With Scheme head Should Not Fit In 100,000 Bytes On m4-256k", "FAIL"),
    ],
)
def test_a_plan_fits_or_it_does_not(keyword: str, status: str, tmp_path: Path) -> None:
    assert run_test(tmp_path, keyword).status == status


def test_runners_must_be_those_that_were_asked_for(tmp_path: Path) -> None:
    verify = (
        "Run Mcutrain    verify    digits-biases    --steps    2    --test    1    --runners    golden,host    --json"
    )
    results = run_suite(
        tmp_path,
        f"Both, Then Another\n    {verify}\n    All Runners Should Agree    host    golden\n"
        "    All Runners Should Agree    host    golden    m4-256k\n",
    )
    # Had the first assertion failed, its message would stand here.
    assert results["Both, Then Another"][:2] == ("FAIL", "compared were golden, host, not host, golden, m4-256k")


def test_an_emulator_of_choice_runs_the_boards_that_say_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def tool(arguments: Sequence[str], **_: object) -> Outcome:
        asked.append(list(arguments))
        document = {"digests": {"golden": "0", "m4-256k@renode": "0"}, "steps": 5, "matches": True}
        return Outcome("mcutrain", 0, json.dumps(document), "")

    monkeypatch.setattr("mcutrain.robot.session.run_tool", tool)
    monkeypatch.setattr("mcutrain.robot.training.output_folder", lambda: tmp_path)
    library = McutrainLibrary(emulator="renode")
    for board in ("m4-256k", "the 256K Cortex-M4 board", "m7-1m@qemu", "host"):
        with pytest.raises(Failure):  # nothing has run
            library.train_episode("digits-biases", parse_place(board))
    boards = [arguments[arguments.index("--board") + 1] for arguments in asked]
    assert boards == ["m4-256k@renode", "m4-256k@renode", "m7-1m@qemu", "host"]
    library.run_mcutrain("verify", "digits-biases", "--runners", "golden,m4-256k")
    assert asked[-1][-1] == "golden,m4-256k@renode"
    library.all_runners_should_agree("golden", "m4-256k")


def test_an_emulator_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no emulator 'quemu'; give one of .*qemu"):
        McutrainLibrary(emulator="quemu")


@pytest.mark.parametrize(
    ("digests", "steps", "matches"),
    [
        ({"golden": "0", "host": "1"}, 5, True),
        ({"golden": "0", "host": "0"}, 0, True),
        ({"golden": "0", "host": "0"}, 5, False),
    ],
)
def test_runners_agree_only_with_equal_digests_over_some_steps(
    digests: dict[str, str], steps: int, matches: bool
) -> None:
    library = McutrainLibrary()
    document = {"digests": digests, "steps": steps, "matches": matches, "divergences": []}
    library.session.outcome = Outcome("mcutrain verify", 0, json.dumps(document), "")
    with pytest.raises(Failure):
        library.all_runners_should_agree("golden", "host")


@pytest.mark.slow
def test_a_step_that_parts_from_golden_is_not_bit_exact_and_its_operator_is_named(tmp_path: Path) -> None:
    tests = """
Right
    Train digits-biases On host For 3 Steps
    Every Step Should Be Bit-Exact To Golden
Wrong
    Change The Sources    src/kernels/update/update_bias.c    - mct_round_s32(    - (int32_t)(
    Train digits-biases On host    steps=3    golden_steps=3    test=1    afresh=True
    Every Step Should Be Bit-Exact To Golden
"""
    results = run_suite(tmp_path, tests)
    assert results["Right"].status == "PASS"
    assert results["Wrong"].status == "FAIL"
    assert "mct_update_bias_b16" in results["Wrong"].message


def test_the_load_ends_with_the_test(tmp_path: Path) -> None:
    tests = """
Busy
    Keep The Other Cores Busy
    The Other Cores Should Still Be Busy
    Let The Other Cores Rest
    Keep The Other Cores Busy
Idle
    The Other Cores Should Still Be Busy
"""
    results = run_suite(tmp_path, tests)
    assert results["Busy"].status == "PASS"
    assert results["Idle"].status == "FAIL"


def test_damaged_copies_differ_in_what_was_asked_for_and_the_file_stays(tmp_path: Path) -> None:
    library = McutrainLibrary()
    file = tmp_path / "file.bin"
    file.write_bytes(bytes(range(10)))
    flipped = library.copy_with_bit_flipped(file, 7, 3)
    shorter, longer = library.copy_cut_to(file, Count(4)), library.copy_cut_to(file, Count(12))
    assert flipped.read_bytes() == bytes([0, 1, 2, 0x83, *range(4, 10)])
    assert shorter.read_bytes() == bytes(range(4))
    assert longer.read_bytes() == bytes([*range(10), 0, 0])
    assert {path.name for path in (flipped, shorter, longer)} == {"file.bin"}
    assert file.read_bytes() == bytes(range(10))
