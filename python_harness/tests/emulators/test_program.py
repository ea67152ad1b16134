"""`estimate`: any program for a board, priced from reset to its end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mcutrain import cli
from mcutrain.boards import load_board
from mcutrain.emulators.elf import read_elf
from mcutrain.emulators.program import RESET, profile_program
from mcutrain.errors import UsageError

pytestmark = pytest.mark.qemu

ROUNDS = 1000

# A vector table, a loop of two instructions a round, and the semihosting call that ends the program with status r1.
PROGRAM = """
.syntax unified
.thumb
.section .text
.word 0x20010000, reset + 1, hang + 1, hang + 1
.type reset, %function
reset: bl work
    bl finish
.size reset, . - reset
.type work, %function
work: movw r0, #ROUNDS
1:  subs.w r0, r0, #1
    bne.w 1b
    bx lr
.size work, . - work
.type finish, %function
finish: movs r0, #0x18
    ldr r1, =STATUS
    bkpt #0xab
hang: b hang
.size finish, . - finish
"""
ENDED, FAILED = 0x20026, 0x20023  # ADP_Stopped_ApplicationExit, ADP_Stopped_RunTimeErrorUnknown


def build(folder: Path, *, status: int = ENDED, source: str = PROGRAM) -> Path:
    elf = folder / "program.elf"
    text = source.replace("ROUNDS", str(ROUNDS)).replace("STATUS", str(status))
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-nostdlib", "-Wl,-Ttext=0", "-x", "assembler", "-"]
    subprocess.run([*command, "-o", str(elf)], input=text.encode(), capture_output=True, check=True)
    return elf


def estimate(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    cli.app(["estimate", *arguments, "--json"], standalone_mode=False, prog_name="mcutrain")
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_a_program_is_counted_from_reset_to_its_end(tmp_path: Path) -> None:
    run = profile_program(build(tmp_path), load_board("m4-256k"))
    # bl, movw, two a round, bx, bl, movs, ldr, bkpt
    assert run.profile.instructions == 1 + 1 + 2 * ROUNDS + 1 + 1 + 3
    assert run.exit_status == 0


def test_marks_count_apart_from_the_entry_of_one_function_to_that_of_the_next(tmp_path: Path) -> None:
    run = profile_program(build(tmp_path), load_board("m7-256k"), ["work", "finish"])
    counts = {name: count.instructions for name, count in run.profile.instructions_per_mark.items()}
    assert counts == {RESET: 1, "work": 1 + 2 * ROUNDS + 1 + 1, "finish": 3}


def test_the_cycles_of_a_loop_are_those_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = estimate(capsys, str(build(tmp_path)), "--board", "m4-256k", "--mark", "work", "--mark", "finish")
    work = next(row for row in found["marks"] if row["name"] == "work")  # type: ignore[attr-defined]
    # movw 1; a round: subs 1, bne 1 + a refill of 2 (range 1 to 3), the last not taken; bx and bl with a refill each
    assert work["estimated_cycles"] == 1 + 4 * ROUNDS - 2 + 3 + 3
    assert work["estimated_cycles_low"] == 1 + 3 * ROUNDS - 1 + 2 + 2
    assert work["estimated_cycles_high"] == 1 + 5 * ROUNDS - 3 + 4 + 4
    assert repr(work["instructions"]) == str(1 + 2 * ROUNDS + 1 + 1)
    assert found["memory"] == "zero wait states" and found["memory_in_flash"] is None


def test_flash_has_a_column_and_a_label_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = estimate(capsys, str(build(tmp_path)), "--board", "m7-1m", "--memory", "flash")
    total = found["total"]
    assert isinstance(total, dict) and total["estimated_cycles_in_flash"] > total["estimated_cycles"]
    assert "wait states" in str(found["memory_in_flash"])


def test_static_functions_of_one_name_are_told_apart_by_their_files(tmp_path: Path) -> None:
    sources = []
    for name in ("first", "second"):
        source = tmp_path / f"{name}.c"
        source.write_text(
            f"static __attribute__((noipa)) int work(int x) {{ return 3 * x; }}\nint {name}(int x) {{ return work(x); }}\n"
        )
        sources.append(str(source))
    elf = tmp_path / "two.elf"
    command = [
        "arm-none-eabi-gcc",
        "-mcpu=cortex-m4",
        "-mthumb",
        "-O1",
        "-nostdlib",
        "-Wl,--entry=first",
        "-o",
        str(elf),
    ]
    subprocess.run([*command, *sources], check=True)
    functions = read_elf(elf).functions
    assert sorted(functions) == ["first", "second", "work", "work (second.c)"]
    assert functions["work"] != functions["work (second.c)"]


def test_a_program_that_fails_is_priced_and_said_to_have_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.app(["estimate", str(build(tmp_path, status=FAILED)), "--board", "m4-256k"], standalone_mode=False)
    said = capsys.readouterr()
    assert "ended with status 1" in said.err and "work" in said.out


def test_a_mark_that_is_never_reached_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = PROGRAM + ".type spare, %function\nspare: bx lr\n.size spare, . - spare\n"
    elf = build(tmp_path, source=source)
    arguments = ["estimate", str(elf), "--board", "m4-256k", "--mark", "work", "--mark", "spare"]
    cli.app(arguments, standalone_mode=False)
    said = capsys.readouterr().err
    assert "never reached spare" in said and "reached work" not in said


def test_a_program_without_an_end_is_one_line(tmp_path: Path) -> None:
    elf = build(tmp_path, source=PROGRAM.replace("bkpt #0xab", "nop"))
    with pytest.raises(UsageError, match="did not end within 1 s"):
        profile_program(elf, load_board("m4-256k"), seconds=1)


def test_an_unknown_mark_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no function 'nowhere'"):
        profile_program(build(tmp_path), load_board("m4-256k"), ["nowhere"])


@pytest.mark.parametrize(("content", "problem"), [(b"", "no ELF file"), (b"hello", "no ELF file")])
def test_what_is_no_program_is_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "program.elf"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        profile_program(path, load_board("m4-256k"))


def test_an_object_file_is_no_program(tmp_path: Path) -> None:
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-c", "-x", "assembler", "-", "-o", str(tmp_path / "part.o")]
    subprocess.run(command, input=b".thumb\nnop\n", check=True)
    with pytest.raises(UsageError, match="no linked program"):
        profile_program(tmp_path / "part.o", load_board("m4-256k"))
