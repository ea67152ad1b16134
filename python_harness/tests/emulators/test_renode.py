"""RenodeRunner against a stand-in for pyrenode3 (fake_renode.py): every way in which a run there can go wrong has one right end."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators.helpers import one_step
from emulators.test_lines import BOOT, STEP, end
from mcutrain.boards import load_board
from mcutrain.emulators import renode
from mcutrain.emulators.base import FaultError, Limits, RunResult, RunTimeoutError
from mcutrain.emulators.build import BuiltFirmware
from mcutrain.emulators.elf import ElfFacts
from mcutrain.emulators.renode import RenodeRunner
from mcutrain.emulators.semihosting import HostCallError
from mcutrain.errors import MismatchError, UsageError

FAKE = Path(__file__).parent / "fake_renode.py"
EXIT, INFER, STEP_MARK, STACK = 0x1000, 0x1100, 0x1200, (0x20000000, 0x20001000)
SYMBOLS = {
    "mct_semihosting_exit": EXIT,
    "mct_mark_infer_begin": INFER,
    "mct_mark_step_begin": STEP_MARK,
    "mct_stack_base": STACK[0],
    "mct_stack_top": STACK[1],
}
SP, PC = "13", "15"
DATA_ABORT, FETCH_ABORT, INVALID_STATE, BREAKPOINT = 4, 3, 18, 7

Event = list[Any]
Run = Callable[..., RunResult]


def sends(*lines: str) -> Event:
    return ["uart_sends", "".join(f"{line}\n" for line in lines)]


LINES = [sends(BOOT), sends(STEP), sends(end(2))]
GOOD: list[Event] = [*LINES, ["executes", 123456], ["ends_with", 0, EXIT]]


def running_with(text: str) -> list[str]:
    """The processes whose environment has a text; the guard of this one outlives every run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            is_guard = b"guard.py" in path.with_name("cmdline").read_bytes()
            if text.encode() in path.read_bytes() and not is_guard:
                found.append(path.parent.name)
    return found


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs make their private folders: nothing may be left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that has the stand-in for pyrenode3, and a Renode for it."""
    modules = tmp_path / "modules"
    (modules / "pyrenode3").mkdir(parents=True)
    (modules / "pythonnet.py").touch()
    loader = (
        f"import importlib.util, sys\nspec = importlib.util.spec_from_file_location('fake_renode', {str(FAKE)!r})\n"
    )
    loader += (
        "module = sys.modules['fake_renode'] = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
    )
    (modules / "pyrenode3" / "__init__.py").write_text(loader, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nPYTHONPATH='{modules}' exec '{sys.executable}' \"$@\"\n", encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "renode").touch()
    for name in (*renode.PLACE_VARIABLES, renode.OUTPUT_VARIABLE, renode.RUNTIME_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYRENODE_BIN", str(tmp_path / "renode"))
    monkeypatch.setenv(renode.PYTHON_VARIABLE, str(python))
    return python


@pytest.fixture
def run(fake: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a scenario, and sees that no process and no file of it is left, whatever its end."""
    elf = tmp_path / "firmware.elf"
    elf.touch()
    facts = ElfFacts(0, 100, 0, 4096, SYMBOLS, {"misbehave": (0x100, 0x20), "mct_semihosting_exit": (EXIT, 8)})
    built = BuiltFirmware(elf, load_board("m4-256k"), "", 0, 100, 0, 4096, "", "", facts)

    def run(events: list[Event], limits: Limits | None = None, image: object = None) -> RunResult:
        scenario = tmp_path / "scenario.json"
        scenario.write_text(json.dumps(events), encoding="utf-8")
        monkeypatch.setenv("FAKE_RENODE", str(scenario))
        try:
            return RenodeRunner(built).run(one_step() if image is None else image, limits=limits)  # type: ignore[arg-type]
        finally:
            assert list(folders.iterdir()) == []
            assert not running_with(str(scenario))

    return run


def test_a_run_gives_its_lines_its_instructions_and_renodes_version(run: Run) -> None:
    result = run(GOOD)
    assert [line.kind for line in result.lines] == ["boot", "step", "end"]
    assert (result.status, result.instructions, result.emulator, result.emulator_version) == (
        0,
        123456,
        "renode",
        "1.16.1",
    )


def test_the_lines_are_read_from_the_file_that_stays(run: Run) -> None:
    """Renode makes the UART's file, removes it and makes it again: what is opened in between stays empty for ever."""
    assert len(run([["sleeps", 0.3], *GOOD]).lines) == 3


def test_the_parts_of_a_run_are_counted_at_their_first_marks(run: Run) -> None:
    meets = {"infer": ["meets", INFER], "step": ["meets", STEP_MARK]}
    events = [["executes", 10], meets["infer"], ["executes", 200], meets["infer"], ["executes", 200], meets["step"]]
    events += [["executes", 3000], meets["step"], ["executes", 3000], meets["infer"], ["executes", 50], meets["infer"]]
    result = run([*LINES, *events, ["executes", 7], ["ends_with", 0, EXIT]])
    assert result.parts == {"reset": 10, "evaluation before": 400, "training": 6000, "evaluation after": 57}
    assert result.instructions == sum(result.parts.values())


def test_training_alone_has_no_evaluations(run: Run) -> None:
    events = [["executes", 10], ["meets", STEP_MARK], ["executes", 3000]]
    assert run([*LINES, *events, ["ends_with", 0, EXIT]]).parts == {"reset": 10, "training": 3000}


def test_an_exception_in_a_hook_does_not_abort_but_is_told(run: Run) -> None:
    with pytest.raises(MismatchError, match=r"^renode: KeyError: 13$"):
        run([sends(BOOT), ["forgets", 13], ["faults", DATA_ABORT, 0, {}], *GOOD[1:]])


def test_a_fault_that_the_firmware_tells_of_is_the_firmwares_word(run: Run) -> None:
    told = "@fault kind=memory address=20040000 pc=00000104"
    line = f"{told} *{zlib.crc32(told.encode()):08x}"
    events = [sends(BOOT), ["faults", DATA_ABORT, 0x20040000, {PC: 0x104}], sends(line), ["ends_with", 101, EXIT]]
    with pytest.raises(
        FaultError, match=r"memory fault at address 0x20040000 by the instruction at 0x00000104 \(misbehave\+0x4\)"
    ):
        run(events)


@pytest.mark.parametrize("sp", [STACK[0] - 16, STACK[0] + 40, 0x30000000])
def test_a_fault_without_room_for_its_frame_ends_the_run_before_it_loops(run: Run, sp: int) -> None:
    faults = ["faults", DATA_ABORT, 0x1FFFFFF8, {SP: sp, PC: 0x104}]
    begin = time.monotonic()
    with pytest.raises(FaultError, match=r"memory fault at address 0x1ffffff8 \(stack overflow\?\)"):
        run([sends(BOOT), faults, ["loops_over_its_stack"]])
    assert time.monotonic() - begin < 10


def test_a_fault_of_the_fault_handler_ends_the_run_with_the_first(run: Run) -> None:
    first = ["faults", FETCH_ABORT, 0, {PC: 0x21000000}]
    with pytest.raises(FaultError) as caught:
        run([sends(BOOT), first, ["faults", INVALID_STATE, 0, {PC: 0x108}], ["loops_over_its_stack"]])
    assert (caught.value.kind, caught.value.address, caught.value.pc) == ("memory", 0x21000000, 0x21000000)


def test_a_log_that_grows_without_end_ends_the_run(run: Run) -> None:
    with pytest.raises(
        MismatchError, match=r"^renode: its log has over 4 MB, the last of it: \[WARNING\] cpu: stacking fault"
    ):
        run([sends(BOOT), ["loops_over_its_stack"]])


def test_an_access_that_the_fence_let_through_fails_the_run_with_renodes_words(run: Run) -> None:
    said = "[WARNING] sysbus: [cpu: 0x56] WriteDoubleWord to non existing peripheral at 0x20040000, value 0x1."
    with pytest.raises(MismatchError, match=r"^renode: the firmware reached past its board: .*0x20040000"):
        run([sends(BOOT), ["writes_log", said], ["sleeps", 0.2], *GOOD[1:]])


def test_other_warnings_do_not_fail_a_run(run: Run) -> None:
    assert run([["writes_log", "[WARNING] cpu: something else"], *GOOD]).status == 0


def test_a_child_that_exits_without_a_word_is_a_failure(run: Run) -> None:
    with pytest.raises(
        MismatchError, match=r"broke off after 1 lines \(the last: boot .*renode ended with exit code 0"
    ):
        run([sends(BOOT), ["exits_silently"]])
    with pytest.raises(MismatchError, match="renode ended with exit code 0 before it said what became of the run"):
        run([*LINES, ["exits_silently"]])


def test_a_child_that_is_killed_is_a_failure_with_its_signal(run: Run) -> None:
    with pytest.raises(MismatchError, match=r"broke off after 2 lines .*renode ended with signal 9"):
        run([*LINES[:2], ["is_killed"]])


def test_an_error_of_renode_is_told_in_its_words(run: Run) -> None:
    with pytest.raises(MismatchError, match=r"^renode: RuntimeError: the CPU halted$"):
        run([sends(BOOT), ["throws", "the CPU halted\n  at Antmicro.Renode"]])


def test_a_command_that_the_monitor_refuses_is_named(run: Run) -> None:
    command = "emulation SetGlobalSerialExecution true"
    with pytest.raises(MismatchError, match=f"^renode: RuntimeError: {command}: no such command$"):
        run([["monitor_refuses", command]])


def test_a_firmware_that_hangs_is_ended_by_the_clock_of_the_host_with_its_last_line(run: Run) -> None:
    with pytest.raises(RunTimeoutError, match=r"renode: no line for 2 s, after 2 lines \(the last: step n=0"):
        run([*LINES[:2], ["sleeps", 60]], Limits(total_seconds=60, silence_seconds=2))


def test_a_firmware_that_hangs_is_ended_by_its_own_clock(run: Run) -> None:
    with pytest.raises(MismatchError, match=r"^renode: the firmware took over 20 s of its own clock"):
        run([*LINES[:2], ["repeats", ["executes", 1000]]], Limits(total_seconds=20))


@pytest.mark.parametrize(
    ("number", "name"),
    [(0x12, "SYS_SYSTEM of 'path'"), (0x01, "SYS_OPEN of 'path'"), (0x10, "SYS_CLOCK;"), (0x99, "operation 0x99;")],
)
def test_a_call_for_the_host_is_refused_by_name(run: Run, number: int, name: str) -> None:
    with pytest.raises(HostCallError, match=f"asked by semihosting for {name}"):
        run([sends(BOOT), ["faults", BREAKPOINT, 0, {"0": number}], *GOOD[1:]])


def test_an_exit_code_that_is_not_the_status_fails_the_run(run: Run) -> None:
    with pytest.raises(MismatchError, match="ended with status 0, but exit code 3"):
        run([*LINES, ["ends_with", 3, EXIT]])


def test_an_image_that_does_not_fit_is_refused_before_anything_starts(run: Run) -> None:
    with pytest.raises(UsageError, match="the external memory of m4-256k 16,777,216"):
        run([], image=bytes(load_board("m4-256k").external_bytes + 1))
