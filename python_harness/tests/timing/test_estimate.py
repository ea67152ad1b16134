"""Estimates of hand-made profiles."""

from __future__ import annotations

import pytest

from mcutrain.emulators.profile import Block, BlockCount, EdgeCount, MarkCount, Profile
from mcutrain.errors import UsageError
from mcutrain.timing import CycleEstimate, ProfileEstimate, estimate_profile
from mcutrain.timing.estimate import FunctionIndex
from mcutrain.timing.instruction import UnknownInstructionError

FUNCTIONS = {"before": (0x0FF0, 0x10), "loop": (0x1000, 0x6), "after": (0x1006, 0)}
ENTRY = Block(0x0FFE, 1, bytes.fromhex("0020"))  # movs r0, #0
LOOP = Block(0x1000, 2, bytes.fromhex("0138fdd1"))  # subs r0, #1; bne
END = Block(0x1004, 1, bytes.fromhex("7047"))  # bx lr
ROUNDS = 100


def profile_of_a_loop(mark: str = "m") -> Profile:
    blocks = (BlockCount("reset", ENTRY, 1), BlockCount(mark, LOOP, ROUNDS), BlockCount(mark, END, 1))
    edges = (
        EdgeCount("reset", ENTRY, mark, LOOP, 1),
        EdgeCount(mark, LOOP, mark, LOOP, ROUNDS - 1),
        EdgeCount(mark, LOOP, mark, END, 1),
    )
    marks = {"reset": MarkCount(0, 1), mark: MarkCount(1, 2 * ROUNDS + 1)}
    return Profile(2 * ROUNDS + 2, marks, blocks, edges)


def estimate(core: str) -> ProfileEstimate:
    return estimate_profile(profile_of_a_loop(), core, FUNCTIONS)


def test_taken_branches_cost_a_refill_and_the_range_is_that_of_the_refill() -> None:
    # subs, bne and two cycles for each of the rounds but the last, which falls through; the return leads nowhere.
    taken, plain = ROUNDS - 1, 2 * ROUNDS + 1
    assert estimate("cortex-m4").mark("m") == (plain + 2 * taken, plain + taken, plain + 3 * taken)


def test_the_m7_predicts_the_loop_but_for_its_end() -> None:
    # A pair each round, the return, and one misprediction, flags known too late.
    assert estimate("cortex-m7").mark("m") == (ROUNDS + 1 + 8, ROUNDS + 1 + 4, ROUNDS + 1 + 8)


def test_what_ran_is_told_by_mark_and_function() -> None:
    cells = {
        (cell.mark, cell.function): (cell.instructions, cell.estimate.cycles) for cell in estimate("cortex-m4").cells
    }
    assert cells == {("reset", "before"): (1, 1), ("m", "loop"): (2 * ROUNDS + 1, 2 * ROUNDS + 1 + 2 * (ROUNDS - 1))}


def test_the_parts_add_up_to_the_whole() -> None:
    found = estimate("cortex-m4")
    assert found.estimate == found.mark("reset").plus(found.mark("m"))


def test_divisions_widen_the_range() -> None:
    divide = Block(0x1000, 1, bytes.fromhex("91fbf2f0"))
    profile = Profile(10, {"m": MarkCount(1, 10)}, (BlockCount("m", divide, 10),), ())
    assert estimate_profile(profile, "cortex-m4", FUNCTIONS).estimate == CycleEstimate(70, 20, 120)


def test_an_instruction_that_the_core_lacks_is_an_error_with_its_function() -> None:
    double = Block(0x1000, 1, bytes.fromhex("31ee020b"))  # vadd.f64 d0, d1, d2
    profile = Profile(1, {"m": MarkCount(1, 1)}, (BlockCount("m", double, 1),), ())
    assert estimate_profile(profile, "cortex-m7", FUNCTIONS).estimate.cycles == 1
    with pytest.raises(UnknownInstructionError, match=r"'vadd .*0x1000 \(loop\)"):
        estimate_profile(profile, "cortex-m4", FUNCTIONS)


def test_there_are_two_cores() -> None:
    with pytest.raises(UsageError, match=r"cortex-m33.*cortex-m4 and cortex-m7"):
        estimate("cortex-m33")


def test_addresses_belong_to_the_function_that_covers_them_or_to_one_without_a_size() -> None:
    index = FunctionIndex(FUNCTIONS)
    assert [index.at(pc) for pc in (0x0, 0x0FF0, 0x1004, 0x1006, 0x2000)] == ["", "before", "loop", "after", "after"]
