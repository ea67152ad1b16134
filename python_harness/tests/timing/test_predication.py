"""Instructions under an IT, in hand-made profiles: a profile does not say whether their condition held."""

from __future__ import annotations

import pytest

from mcutrain.emulators.profile import Block, BlockCount, EdgeCount, MarkCount, Profile
from mcutrain.timing import CycleEstimate, estimate_profile

RUNS = 10
COMPARE = "0028"  # cmp r0, #0


def profile(code: str, instructions: int, taken: int = 0) -> Profile:
    """A block that runs ten times, and branches elsewhere so often."""
    block = Block(0x1000, instructions, bytes.fromhex(code))
    end = 0x1000 + len(block.code)
    after, elsewhere = (Block(pc, 1, bytes.fromhex("00bf")) for pc in (end, 0x2000))
    edges = [EdgeCount("m", block, "after", to, count) for to, count in ((after, RUNS - taken), (elsewhere, taken))]
    return Profile(
        0, {"m": MarkCount(1, 0)}, (BlockCount("m", block, RUNS),), tuple(edge for edge in edges if edge.count)
    )


def cycles(core: str, code: str, instructions: int, taken: int = 0) -> CycleEstimate:
    return estimate_profile(profile(code, instructions, taken), core, {}).mark("m").times(1 / RUNS)


def test_an_instruction_of_many_cycles_may_have_run_or_taken_one() -> None:
    # it eq; ldmeq r1, {r4-r7}: cmp 1, it 0, and 1 + 4 or 1.
    assert cycles("cortex-m4", COMPARE + "08bf91e8f000", 3) == (4, 2, 6)


def test_instructions_of_one_cycle_are_not_in_doubt() -> None:
    # ittee eq; moveq r1, r2; moveq r2, r3; movne r3, r4; movne r4, r5
    assert cycles("cortex-m4", COMPARE + "07bf11461a4623462c46", 6) == (5, 5, 5)


def test_of_two_sides_one_runs() -> None:
    # ite eq; ldreq r2, [r1]; movne r2, r3: 2 + 1 or 1 + 1, after cmp.
    assert cycles("cortex-m4", COMPARE + "0cbf0a681a46", 4) == (3.5, 3, 4)


def test_both_sides_never_run() -> None:
    # ite eq; ldreq r2, [r1]; ldrne r2, [r3]: 2 + 1, whichever runs.
    assert cycles("cortex-m4", COMPARE + "0cbf0a681a68", 4) == (4, 4, 4)


def test_a_division_that_is_dropped_takes_one_cycle() -> None:
    # it eq; sdiveq r1, r2, r3: 1, or 2 to 12 with 7 for the mean with 1.
    assert cycles("cortex-m4", COMPARE + "08bf92fbf3f1", 3) == (1 + (7 + 1) / 2, 2, 13)


@pytest.mark.parametrize("taken", [0, 4, RUNS])
def test_the_edges_say_how_often_a_branch_under_an_it_ran(taken: int) -> None:
    # it eq; popeq {r4, pc}: 1 + 2 and a refill of 2 (1 to 3) each time that it is taken, else 1.
    code = COMPARE + "08bf10bd"
    ran, dropped = taken / RUNS, 1 - taken / RUNS
    expected = CycleEstimate(*(1 + dropped + ran * (3 + refill) for refill in (2, 1, 3)))
    assert tuple(cycles("cortex-m4", code, 3, taken)) == pytest.approx(tuple(expected))


def test_what_stands_beside_a_branch_under_an_it_ran_as_often_as_it() -> None:
    # itt eq; ldreq r1, [r2]; bxeq lr: 2 + 1 and the refill, or 1 + 1.
    taken = 4
    expected = 1 + (6 * 2 + 4 * (3 + 2)) / RUNS
    assert cycles("cortex-m4", COMPARE + "04bf11687047", 4, taken).cycles == pytest.approx(expected)


def test_what_is_dropped_keeps_its_slot_on_the_m7() -> None:
    # cmp and it in one cycle; ldmeq r1, {r4-r7} takes two by itself, or the next cycle.
    assert cycles("cortex-m7", COMPARE + "08bf91e8f000", 3) == (2.5, 2, 3)
