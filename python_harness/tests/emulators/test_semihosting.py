"""A program on QEMU may print and end; whatever else it asks of this machine by semihosting is refused by its name."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from emulators.helpers import Emulated, FirmwareBuilder, one_inference
from mcutrain import cli
from mcutrain.boards import load_board
from mcutrain.emulators import qemu
from mcutrain.emulators.program import ProgramRun, profile_program
from mcutrain.emulators.qemu import sandbox_options
from mcutrain.emulators.semihosting import MAX_OUTPUT_BYTES, HostCallError
from mcutrain.errors import UsageError

pytestmark = pytest.mark.qemu

# A vector table; `call` asks for operation r0 with the block r1; the program ends with what `body` leaves in r6 as its status.
PROGRAM = """
.syntax unified
.thumb
.section .text
.word 0x20010000, reset + 1, hang + 1, hang + 1
.type reset, %function
reset:
    BODY
    ldr r0, =0x20026
    ldr r1, =0x20000100
    str r0, [r1]
    str r6, [r1, #4]
    movs r0, #0x20
    bkpt #0xab
hang: b hang
.size reset, . - reset
.ltorg
.align 2
DATA
"""


def build(folder: Path, body: str, data: str) -> Path:
    elf = folder / "program.elf"
    text = PROGRAM.replace("BODY", body).replace("DATA", data)
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-nostdlib", "-Wl,-Ttext=0", "-x", "assembler", "-"]
    subprocess.run([*command, "-o", str(elf)], input=text.encode(), capture_output=True, check=True)
    return elf


def run(folder: Path, body: str, data: str = "", board: str = "m4-256k") -> ProgramRun:
    return profile_program(build(folder, body, data), load_board(board))


def call(operation: int, block: str = "block") -> str:
    return f"movs r0, #{operation:#x}\n ldr r1, ={block}\n bkpt #0xab\n"


def block(*words: str, **texts: str) -> str:
    strings = "".join(f'{name}: .asciz "{text}"\n' for name, text in texts.items())
    return f"block: .word {', '.join(words)}\n{strings}"


def refused(tmp_path: Path) -> dict[str, tuple[str, str, str]]:
    """What a program may try: operation and block, the call by its name, and what of it is said."""
    present, absent = str(tmp_path / "present"), str(tmp_path / "absent")
    lengths = {path: str(len(path)) for path in (present, absent)}
    system = f"touch {absent}"
    return {
        "a command": (call(0x12) + "", block("text", str(len(system)), text=system), "SYS_SYSTEM"),
        "a file to read": (call(0x01), block("text", "0", lengths[present], text=present), "SYS_OPEN"),
        "a file to write": (call(0x01), block("text", "4", lengths[absent], text=absent), "SYS_OPEN"),
        "a file to append to": (call(0x01), block("text", "8", lengths[present], text=present), "SYS_OPEN"),
        "the lines of its own run": (call(0x01), block("text", "4", "9", text="lines.txt"), "SYS_OPEN"),
        "a file to remove": (call(0x0E), block("text", lengths[present], text=present), "SYS_REMOVE"),
        "a file to rename": (
            call(0x0F),
            block("text", lengths[present], "other", lengths[absent], text=present, other=absent),
            "SYS_RENAME",
        ),
    }


KINDS = tuple(refused(Path()))


@pytest.mark.parametrize("board", ["m4-256k", "m7-256k"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_program_that_asks_for_the_host_is_refused_by_the_name_of_the_call(
    kind: str, board: str, tmp_path: Path
) -> None:
    (tmp_path / "present").write_text("mine")
    body, data, name = refused(tmp_path)[kind]
    with pytest.raises(UsageError, match=rf"program.elf: .* asked by semihosting for {name} of '"):
        run(tmp_path, body, data, board)
    assert (tmp_path / "present").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["present", "program.elf"]


def test_estimate_says_it_in_one_line_and_exits_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body, data, _ = refused(tmp_path)["a command"]
    elf = build(tmp_path, body, data)
    monkeypatch.setattr("sys.argv", ["mcutrain", "estimate", str(elf), "--board", "m4-256k"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.strip().splitlines()) == 1
    assert "SYS_SYSTEM of 'touch " in said.err and "no access to this machine" in said.err


def test_a_command_is_refused_without_the_sandbox_of_qemu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "sandbox_options", list)
    body, data, name = refused(tmp_path)["a command"]
    with pytest.raises(UsageError, match=name):
        run(tmp_path, body, data)
    assert not (tmp_path / "absent").exists()


def test_the_sandbox_is_on_where_qemu_has_one_and_left_out_where_it_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for refusal, expected in (("exit 1", []), ("exit 0", list(qemu._SANDBOX))):
        folder = tmp_path / refusal[-1]
        folder.mkdir()
        fake = folder / "qemu-system-arm"
        fake.write_text(f'#!/bin/sh\ncase "$*" in *-sandbox*) {refusal};; esac\nexit 3\n')
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        sandbox_options.cache_clear()
        try:
            assert sandbox_options() == expected
        finally:
            sandbox_options.cache_clear()


def test_the_command_line_of_a_program_says_nothing_of_this_machine(tmp_path: Path) -> None:
    writable = "ldr r1, =0x20000200\n ldr r0, =0x20000000\n str r0, [r1]\n movs r0, #64\n str r0, [r1, #4]\n"
    done = run(tmp_path, writable + call(0x15, "0x20000200") + "mov r6, r0\n" + call(0x04, "0x20000000"))
    assert (done.output, done.exit_status) == ("program", 0)


def test_a_temporary_name_is_a_name_that_nobody_can_open(tmp_path: Path) -> None:
    writable = "ldr r1, =0x20000200\n ldr r0, =0x20000000\n str r0, [r1]\n movs r0, #1\n str r0, [r1, #4]\n"
    named = writable + "movs r0, #64\n str r0, [r1, #8]\n" + call(0x0D, "0x20000200")
    measure = (
        "ldr r2, =0x20000000\n mov r3, r2\n1: ldrb r0, [r3], #1\n cmp r0, #0\n bne 1b\n subs r3, r3, r2\n subs r3, #1\n"
    )
    opens = measure + "ldr r1, =0x20000200\n movs r0, #4\n str r0, [r1, #4]\n str r3, [r1, #8]\n"
    with pytest.raises(UsageError, match="SYS_OPEN of '/"):
        run(tmp_path, named + opens + call(0x01, "0x20000200"))


CONSOLE = {
    "SYS_WRITEC": (call(0x03, "text"), "h", 0),
    "SYS_WRITE0": (call(0x04, "text"), "hello", 0),
    "SYS_OPEN and SYS_WRITE": (
        call(0x01) + "ldr r1, =0x20000200\n ldr r2, =text\n movs r3, #4\n stm r1!, {r0, r2, r3}\n"
        "movs r0, #0x05\n ldr r1, =0x20000200\n bkpt #0xab\n mov r6, r0\n",
        "hell",
        0,  # bytes that were not written
    ),
    "SYS_READ, at the end of the input": (
        "ldr r1, =block\n ldr r0, [r1]\n ldr r2, [r1, #8]\n ldr r1, =0x20000200\n movs r3, #0\n"
        "str r0, [r1]\n str r3, [r1, #4]\n str r2, [r1, #8]\n" + call(0x01, "0x20000200") + "ldr r1, =0x20000200\n"
        "ldr r2, =0x20000300\n movs r3, #4\n stm r1!, {r0, r2, r3}\n" + call(0x06, "0x20000200") + "mov r6, r0\n",
        "",
        4,  # bytes that were not read
    ),
    "SYS_READC, at the end of the input": (call(0x07), "", 0),
}


@pytest.mark.parametrize("what", CONSOLE)
def test_a_program_may_print_and_end_with_its_status(what: str, tmp_path: Path) -> None:
    body, output, status = CONSOLE[what]
    done = run(tmp_path, "movs r6, #0\n" + body, block("console", "4", "3", text="hello", console=":tt"))
    assert (done.output, done.exit_status) == (output, status)


def test_a_long_text_arrives_whole_and_an_endless_one_is_cut(tmp_path: Path) -> None:
    # Memory behind 0x20000200 is filled with 'a': 5,000 of them in one call, and again until the limit is passed.
    fill = "ldr r0, =0x20001000\n ldr r1, =5000\n movs r2, #'a'\n1: strb r2, [r0], #1\n subs r1, #1\n bne 1b\n"
    fill += "movs r3, #0\n strb r3, [r0]\n"
    assert run(tmp_path, fill + "movs r6, #0\n" + call(0x04, "0x20001000")).output == "a" * 5000
    rounds = MAX_OUTPUT_BYTES // 5000 + 10
    endless = f"ldr r5, ={rounds}\n2:\n{call(0x04, '0x20001000')} subs r5, #1\n bne 2b\n movs r6, #7\n"
    done = run(tmp_path, fill + endless)
    assert (len(done.output), done.exit_status) == (MAX_OUTPUT_BYTES, 7)


def test_a_program_that_prints_for_ever_is_stopped_by_its_time(tmp_path: Path) -> None:
    elf = build(tmp_path, f"2:\n{call(0x04, 'text')} b 2b\n.ltorg\n", 'text: .asciz "hello"')
    begin = time.monotonic()
    with pytest.raises(UsageError, match="did not end within 1 s"):
        profile_program(elf, load_board("m4-256k"), seconds=1)
    assert time.monotonic() - begin < 10


def test_a_write_from_where_there_is_no_memory_fails_in_the_program_alone(tmp_path: Path) -> None:
    body = call(0x01) + "ldr r1, =0x20000200\n ldr r2, =0x70000000\n movs r3, #4\n stm r1!, {r0, r2, r3}\n"
    body += "movs r0, #0x05\n ldr r1, =0x20000200\n bkpt #0xab\n mov r6, r0\n"
    done = run(tmp_path, body, block("console", "4", "3", console=":tt"))
    assert (done.output, done.exit_status) in (
        (("", 4)),
        ("", 255),
    )  # bytes that were not written; later versions of QEMU: -1


def test_a_firmware_of_an_episode_is_refused_too(emulated: Emulated, firmware: FirmwareBuilder, tmp_path: Path) -> None:
    escaped = str(tmp_path / "absent")
    body = f"""
    static const char path[] = "{escaped}";
    const uint32_t block[3] = {{(uint32_t)(uintptr_t)path, 4, sizeof(path) - 1}};
    register uint32_t operation __asm__("r0") = 1;
    register const uint32_t *parameters __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(parameters) : "memory");
"""
    built = firmware(f'#include "minimal.h"\nstatic void misbehave(void)\n{{{body}}}\n', "m4-256k")
    runner = emulated(built)
    with pytest.raises(HostCallError, match=f"SYS_OPEN of '{escaped}'") as caught:
        runner.run(one_inference())
    assert caught.value.call == "SYS_OPEN"
    assert runner.exit_status() is None  # nothing of it is left
    assert not Path(escaped).exists()
