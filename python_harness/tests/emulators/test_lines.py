from __future__ import annotations

import pytest

from emulators.helpers import one_step
from mcutrain.emulators.lines import LineReader, format_line, parse_line
from mcutrain.emulators.request import Device
from mcutrain.errors import MismatchError

DEVICE = Device("m4-256k", data_bytes=0, bss_bytes=100, stack_bytes=4096)


def boot(image: str) -> str:
    return format_line(
        "boot",
        plan="12345678",
        image=image,
        protocol=3,
        board="m4-256k",
        data=0,
        bss=100,
        arena=16,
        trainable=60,
        stack=4096,
    )


BOOT = boot(f"{one_step().crc32:08x}")
STEP = format_line("step", n=0, loss="3fa1b2c3", prediction=4, digest="89abcdef")


def read(*lines: str) -> LineReader:
    reader = LineReader(lambda line: None)
    reader.feed("".join(line + "\n" for line in lines).encode())
    reader.finish()
    return reader


def end(lines: int) -> str:
    return format_line("end", status=0, lines=lines, stack_peak=224)


def test_the_crc_is_the_one_of_the_protocol_document() -> None:
    assert format_line("step", n=12).startswith("@step n=12 *")
    assert parse_line(STEP.encode(), 1).bits("loss") == 0x3FA1B2C3


def test_a_complete_run_gives_its_lines_with_typed_values() -> None:
    boot, step, last = read(BOOT, STEP, end(2)).lines
    assert (boot.text("board"), step.integer("prediction"), last.integer("lines")) == ("m4-256k", 4, 2)


def test_lines_arrive_whole_however_the_bytes_are_cut() -> None:
    reader = LineReader(lambda line: None)
    sent = "".join(f"{line}\n" for line in (BOOT, STEP, end(2))).encode()
    for byte in sent:
        reader.feed(bytes([byte]))
    reader.finish()
    assert [line.kind for line in reader.lines] == ["boot", "step", "end"]


@pytest.mark.parametrize("position", range(len(STEP)))
def test_any_changed_character_of_a_line_is_detected(position: int) -> None:
    raw = bytearray(STEP.encode())
    raw[position] ^= 1
    with pytest.raises(MismatchError, match="line 7 is damaged"):
        parse_line(bytes(raw), 7)


def test_a_wrong_crc_names_the_line_and_both_values() -> None:
    damaged = STEP.replace("n=0", "n=1")
    with pytest.raises(MismatchError, match=f"line 2 is damaged: its CRC is {STEP[-8:]}, but its content has"):
        read(BOOT, damaged, end(2))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((BOOT, STEP), r"broke off after 2 lines \(the last: step n=0 loss=\w+ prediction=\d+\) without an 'end'"),
        ((), "broke off after 0 lines without"),
        ((BOOT, format_line("hello", n=1)), "there is no kind 'hello'"),
        ((BOOT, format_line("end", lines=1, status=0, stack_peak=0)), "has the keys status, lines, stack_peak"),
        ((BOOT, format_line("end", status="00", lines=1, stack_peak=0)), "status=00 is not a valid value"),
        ((BOOT.replace("protocol=3", "protocol=1"),), "CRC"),
        ((BOOT, ""), "not of the form"),
    ],
)
def test_what_is_not_exactly_as_agreed_fails_the_run(lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        read(*lines)


def test_a_line_that_breaks_off_fails_the_run() -> None:
    reader = LineReader(lambda line: None)
    reader.feed((BOOT + "\n" + STEP[:20]).encode())
    with pytest.raises(MismatchError, match="line 2 is damaged: it breaks off"):
        reader.finish()


def test_a_line_without_an_end_is_not_collected_for_ever() -> None:
    with pytest.raises(MismatchError, match="longer than 512"):
        LineReader(lambda line: None).feed(b"@" + b"x" * 600)


def test_a_fault_may_be_the_first_line_and_ends_the_run() -> None:
    reader = read(format_line("fault", kind="memory", address="20040000", pc="00000123"))
    assert reader.ended
