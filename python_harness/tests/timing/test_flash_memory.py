"""Waiting for flash: loops whose fills are known from the shapes of the caches, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulators.helpers import PERCEPTRON, FirmwareBuilder, one_inference, perceptron_image
from mcutrain.boards import load_board
from mcutrain.emulators.profile import Profile
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.errors import MismatchError, UsageError
from mcutrain.timing import CycleEstimate, estimate_profile
from mcutrain.timing.memory import flash_memory
from timing.loops import Loops, run_loops

pytestmark = pytest.mark.qemu


def repeat(count: int, instruction: str) -> str:
    return "; ".join([instruction] * count)


def loads(count: int, stride: int, base: str) -> str:
    return f"mov r5, {base}; " + repeat(count, f"ldr r6, [r5]; add r5, #{stride}")


# A line of both caches has 16 bytes and costs 5 wait states; there are 64 for instructions and 16 for data, each in one set.
# subs.w and bne.w follow a body with 8 bytes.
M4: dict[str, tuple[str, CycleEstimate]] = {
    "a loop in a few lines": (repeat(20, "nop.w"), CycleEstimate(0, 0, 0)),
    # 1008 bytes are 63 lines, and all stay.
    "a loop that fits": (repeat(250, "nop.w"), CycleEstimate(0, 0, 0)),
    # 1208 bytes are 76 lines. Used in turn, each has left 64 lines when it comes again. The first costs 5. While one of the next 75 is
    # read, which takes 6 cycles, the four instructions of the line before run, so 2 are left: 5 + 75 * 2. At best the prefetch hides these,
    # at worst it hides nothing: 76 * 5.
    "a loop that does not fit": (repeat(300, "nop.w"), CycleEstimate(5 + 75 * 2, 5, 76 * 5)),
    # The same lines with three cycles for each instruction of 4 bytes: 12 cycles hide a read of 6.
    "slow code that does not fit": (repeat(300, "vfma.f32 s1, s2, s3"), CycleEstimate(5, 5, 76 * 5)),
    # 16 lines of data stay; of 17 used in turn none does.
    "constants that fit": (loads(16, 16, "r10"), CycleEstimate(0, 0, 0)),
    "constants that do not fit": (loads(17, 16, "r10"), CycleEstimate(17 * 5, 17 * 5, 17 * 5)),
    # 160 words are 40 lines, each filled once for its four words.
    "a stream of words": (loads(160, 4, "r10"), CycleEstimate(40 * 5, 40 * 5, 40 * 5)),
    "data in SRAM": (loads(40, 16, "r0"), CycleEstimate(0, 0, 0)),
}

# A line of both caches has 32 bytes. A fill costs 7 wait states and 4 for the bus; at best 1, at worst 9.
FILL = CycleEstimate(11, 8, 16)
M7: dict[str, tuple[str, CycleEstimate]] = {
    "a loop that fits": (repeat(1000, "nop.w"), CycleEstimate(0, 0, 0)),
    # 5008 bytes are 157 lines in 64 sets of 2: 29 sets have three lines used in turn, of which none stays; the others keep their two.
    "a loop that does not fit": (repeat(1250, "nop.w"), FILL.times(29 * 3)),
    # 4 KB of constants are all the cache, 32 lines more are one more in each of the 32 sets of 4: none stays.
    "constants that fit": (loads(128, 32, "r10"), CycleEstimate(0, 0, 0)),
    "constants that do not fit": (loads(160, 32, "r10"), FILL.times(160)),
    # 1024 bytes apart they are of one set.
    "four constants of one set": (loads(4, 1024, "r10"), CycleEstimate(0, 0, 0)),
    "five constants of one set": (loads(5, 1024, "r10"), FILL.times(5)),
    "data in SRAM": (loads(160, 32, "r0"), CycleEstimate(0, 0, 0)),
}


@pytest.fixture(scope="module")
def m4(firmware: FirmwareBuilder) -> Loops:
    return run_loops({name: body for name, (body, _) in M4.items()}, "m4-256k", firmware, in_flash=True)


@pytest.fixture(scope="module")
def m7(firmware: FirmwareBuilder) -> Loops:
    return run_loops({name: body for name, (body, _) in M7.items()}, "m7-256k", firmware, in_flash=True)


@pytest.mark.parametrize("name", M4)
def test_a_round_waits_for_the_lines_that_the_m4s_caches_have_lost(name: str, m4: Loops) -> None:
    # The first round, and what leads into the loop, are less than half a cycle a round.
    assert tuple(m4.stalls(name)) == pytest.approx(tuple(M4[name][1]), abs=0.5)


@pytest.mark.parametrize("name", M7)
def test_a_round_waits_for_the_lines_that_the_m7s_caches_have_lost(name: str, m7: Loops) -> None:
    # In the first round up to 128 lines of data and 33 of code, 16 cycles each at most.
    assert tuple(m7.stalls(name)) == pytest.approx(tuple(M7[name][1]), abs=3.0)


def profile(firmware: FirmwareBuilder, board: str) -> Profile:
    built = firmware(PERCEPTRON, board)
    found = QemuRunner(built, flash_memory(built.board).caches).run(perceptron_image(20), profile=True).profile
    assert found is not None
    return found


def test_fills_are_the_same_every_time(firmware: FirmwareBuilder) -> None:
    first, second = (profile(firmware, "m7-256k") for _ in range(2))
    assert first.fills
    assert first == second


def test_simulated_caches_change_no_other_count(firmware: FirmwareBuilder) -> None:
    without = QemuRunner(firmware(PERCEPTRON, "m4-256k")).run(perceptron_image(20), profile=True).profile
    assert without == replace(profile(firmware, "m4-256k"), fills=())


def test_an_address_of_no_region_is_an_error(firmware: FirmwareBuilder) -> None:
    built = firmware(PERCEPTRON, "m4-256k")
    without_sram = replace(flash_memory(built.board).caches, free=())
    with pytest.raises(MismatchError, match=r"address 0x20.* no memory of the board"):
        QemuRunner(built, without_sram).run(one_inference(), profile=True)


def test_a_profile_without_fills_has_no_estimate_in_flash(firmware: FirmwareBuilder) -> None:
    built = firmware(PERCEPTRON, "m4-256k")
    found = QemuRunner(built).run(perceptron_image(2), profile=True).profile
    assert found is not None
    with pytest.raises(MismatchError, match="no cache fills"):
        estimate_profile(found, "cortex-m4", {}, flash_memory(built.board))


def test_a_board_that_does_not_say_what_its_flash_is_cannot_be_modelled() -> None:
    board = load_board("m4-256k")
    with pytest.raises(UsageError, match=r"m4-256k.yaml has no flash_part"):
        flash_memory(board.model_copy(update={"flash_part": None}))
    with pytest.raises(UsageError, match=r"'other'.*stm32f746"):
        flash_memory(board.model_copy(update={"flash_part": "other"}))
