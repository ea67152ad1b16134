"""The board's limits are real: whatever lies outside them faults, with its address, and the run fails."""

from __future__ import annotations

import pytest

from emulators.helpers import Emulated, FirmwareBuilder, one_inference
from mcutrain.emulators.base import FaultError, Limits, RunTimeoutError

pytestmark = pytest.mark.qemu


def model(body: str, before: str = "") -> str:
    return f'#include "minimal.h"\n{before}\nstatic void misbehave(void)\n{{\n{body}\n}}\n'


def fault_of(
    emulated: Emulated, firmware: FirmwareBuilder, body: str, board: str = "m4-256k", before: str = ""
) -> FaultError:
    with pytest.raises(FaultError) as caught:
        emulated(firmware(model(body, before), board)).run(one_inference())
    return caught.value


@pytest.mark.parametrize(
    ("board", "address"),
    [("m4-256k", 0x20040000), ("m7-256k", 0x20040000), ("m4-1m", 0x20100000), ("m7-1m", 0x20100000)],
)
def test_a_word_written_past_sram_faults_with_its_address(
    board: str, address: int, emulated: Emulated, firmware: FirmwareBuilder
) -> None:
    fault = fault_of(emulated, firmware, f"*word_at({address:#x}u) = 1;", board)
    assert (fault.kind, fault.address) == ("memory", address)
    assert "infer" in str(fault)


def test_the_last_word_of_sram_can_be_written(emulated: Emulated, firmware: FirmwareBuilder) -> None:
    assert emulated(firmware(model("*word_at(0x2003fffcu) = 1;"), "m4-256k")).run(one_inference()).status == 0


@pytest.mark.parametrize(
    ("access", "address"),
    [
        ("*word_at(0u) = 1;", 0),  # a null pointer
        ("*word_at(0x000ffffcu) = 1;", 0xFFFFC),  # flash
        ("mct_model_arena[0] = (int32_t)*word_at(0x00100000u);", 0x100000),  # behind flash
        ("mct_model_arena[0] = (int32_t)*word_at(0x1ffffffcu);", 0x1FFFFFFC),  # before SRAM
        ("*word_at(0x21000000u) = 1;", 0x21000000),  # the image is for reading
        ("mct_model_arena[0] = (int32_t)*word_at(0x22000000u);", 0x22000000),  # behind the image's memory
        ("mct_model_arena[0] = (int32_t)*word_at(0x40000000u);", 0x40000000),  # another device: a timer
    ],
)
def test_an_access_outside_the_board_faults_with_its_address(
    access: str, address: int, emulated: Emulated, firmware: FirmwareBuilder
) -> None:
    fault = fault_of(emulated, firmware, access)
    assert (fault.kind, fault.address) == ("memory", address)


@pytest.mark.parametrize(
    ("board", "target"), [("m4-256k", 0x20002000), ("m7-256k", 0x20002000), ("m4-256k", 0x21000000)]
)
def test_code_outside_flash_does_not_run(
    board: str, target: int, emulated: Emulated, firmware: FirmwareBuilder
) -> None:
    fault = fault_of(emulated, firmware, f"((void (*)(void))(uintptr_t)({target:#x}u | 1u))();", board)
    assert (fault.kind, fault.address, fault.pc) == ("memory", target, target)


# Through a pointer that is null, to the pointed-to word or to a field behind it: all inside the null page.
NULL_READS = {
    "a word": ("mct_model_arena[0] = (int32_t)*word_at(0u);", 0),
    "a field": ("mct_model_arena[0] = (int32_t)*word_at(0x24u);", 0x24),
    "the last word of the page": ("mct_model_arena[0] = (int32_t)*word_at(0x3fcu);", 0x3FC),
    "a string": (
        "const volatile char *volatile text = (const volatile char *)word_at(4u);\n"
        "    while (text[mct_model_arena[0]] != 0) { mct_model_arena[0]++; }",
        4,
    ),
    "a write": ("*word_at(4u) = 1;", 4),
}


@pytest.mark.parametrize("board", ["m4-256k", "m7-256k"])
@pytest.mark.parametrize("what", NULL_READS)
def test_an_access_through_a_null_pointer_faults_with_its_address(
    board: str, what: str, emulated: Emulated, firmware: FirmwareBuilder
) -> None:
    access, address = NULL_READS[what]
    fault = fault_of(emulated, firmware, access, board)
    assert (fault.kind, fault.address) == ("memory", address)
    assert "infer" in str(fault)


def test_the_code_behind_the_null_page_can_be_read(emulated: Emulated, firmware: FirmwareBuilder) -> None:
    read = model("mct_model_arena[0] = (int32_t)*word_at(0x400u);")
    assert emulated(firmware(read, "m4-256k")).run(one_inference()).status == 0


@pytest.mark.parametrize("board", ["m4-256k", "m7-256k"])
@pytest.mark.parametrize("pointer", [0, 1])  # 1: of Thumb state, as a linker resolves a weak function that is not there
def test_a_call_of_a_null_function_pointer_faults_at_address_0(
    board: str, pointer: int, emulated: Emulated, firmware: FirmwareBuilder
) -> None:
    call = f"void (*volatile function)(void) = (void (*)(void))(uintptr_t){pointer}u;\n    function();"
    fault = fault_of(emulated, firmware, call, board)
    if (pointer, fault.kind) == (0, "usage"):
        # A call that leaves Thumb state is a fault, too: which of the two comes first is the core's to choose, and Renode's is this one.
        assert fault.address == 0
        assert "infer" in str(fault)
        return
    assert (fault.kind, fault.address, fault.pc) == ("memory", 0, 0)
    assert "a jump to a null pointer" in str(fault)


@pytest.mark.parametrize("board", ["m4-256k", "m7-256k"])
def test_a_stack_overflow_faults_below_the_stack(board: str, emulated: Emulated, firmware: FirmwareBuilder) -> None:
    recursion = "__attribute__((noipa)) int32_t deep(int32_t n)\n{\n    volatile int32_t local[16] = {n};\n"
    recursion += "    return n == 0 ? 0 : deep(n - 1) + local[0];\n}\n"
    fault = fault_of(
        emulated, firmware, "mct_model_arena[0] = deep(1000);", board, "int32_t deep(int32_t n);\n" + recursion
    )
    assert fault.kind == "memory"
    assert 0x1FFFFF00 <= fault.address < 0x20000000


# Renode 1.16 has neither fault.
ONLY_QEMU = pytest.mark.parametrize("emulated", ["qemu"], indirect=True)


@ONLY_QEMU
def test_a_division_by_zero_is_a_usage_fault(emulated: Emulated, firmware: FirmwareBuilder) -> None:
    zero = "volatile int32_t zero = 0;\n    mct_model_arena[0] = 7 / zero;"
    assert fault_of(emulated, firmware, zero).kind == "usage"


@ONLY_QEMU
def test_double_precision_does_not_exist_on_the_cortex_m4(emulated: Emulated, firmware: FirmwareBuilder) -> None:
    instruction = '__asm__ volatile(".fpu fpv5-d16\\n\\tvadd.f64 d0, d0, d0\\n\\t.fpu fpv4-sp-d16");'
    assert fault_of(emulated, firmware, instruction).kind == "usage"


@pytest.mark.parametrize("used", [600, 1600])
def test_the_stack_peak_is_what_was_used(used: int, emulated: Emulated, firmware: FirmwareBuilder) -> None:
    fill = f"for (int i = 0; i < {used}; i++) {{ local[i] = (uint8_t)i; }}"
    body = f"volatile uint8_t local[{used}];\n    {fill}\n    (void)local[0];"
    idle = emulated(firmware(model(""), "m4-256k")).run(one_inference()).lines[-1].integer("stack_peak")
    peak = emulated(firmware(model(body), "m4-256k")).run(one_inference()).lines[-1].integer("stack_peak")
    assert 0 < idle < 300
    assert used <= peak <= used + idle


def test_a_firmware_that_hangs_is_stopped_by_the_time_limit(emulated: Emulated, firmware: FirmwareBuilder) -> None:
    runner = emulated(firmware(model("for (volatile int i = 0;; i++) {\n    }"), "m4-256k"))
    with pytest.raises(RunTimeoutError, match="no line for 1 s"):
        runner.run(one_inference(), limits=Limits(total_seconds=30, silence_seconds=1))
    with pytest.raises(RunTimeoutError, match="took over 2 s"):
        runner.run(one_inference(), limits=Limits(total_seconds=2))
    assert runner.exit_status() is None  # nothing of it is left
