"""Expected mispredictions from the counts of a branch's outcomes."""

from __future__ import annotations

import random

import pytest

from mcutrain.timing.branches import mispredictions
from mcutrain.timing.engine import Exits
from mcutrain.timing.instruction import Branch, Instruction

START, END, BACK, FORWARD = 0x100, 0x110, 0x0F0, 0x200


def exits(*targets: tuple[int, int], branch: Branch = "direct", conditional: bool = True) -> Exits:
    return Exits(Instruction("branch", "b", 2, branch=branch, conditional=conditional), START, END, targets)


def test_a_loop_is_mispredicted_once_for_each_time_that_it_is_left() -> None:
    assert mispredictions(exits((BACK, 900), (END, 100))) == 100


def test_a_branch_that_always_goes_one_way_is_predicted() -> None:
    assert mispredictions(exits((FORWARD, 50))) == mispredictions(exits((END, 50))) == 0


def test_unconditional_branches_and_calls_are_predicted() -> None:
    assert mispredictions(exits((FORWARD, 50), conditional=False)) == 0


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.7, 0.95])
def test_a_random_branch_is_mispredicted_as_often_as_a_two_bit_counter_does(share: float) -> None:
    rng = random.Random(7)
    outcomes = [rng.random() < share for _ in range(200_000)]
    state = wrong = 0
    for taken in outcomes:
        wrong += taken != (state >= 2)
        state = min(3, state + 1) if taken else max(0, state - 1)
    expected = mispredictions(exits((FORWARD, sum(outcomes)), (END, len(outcomes) - sum(outcomes))))
    # The chain's mixing makes the count's deviation a few times that of independent trials: 5 * sqrt(n p q) < 1 % of n.
    assert expected == pytest.approx(wrong, abs=0.01 * len(outcomes))


def test_a_return_to_one_caller_is_predicted_and_to_many_callers_is_not() -> None:
    assert mispredictions(exits((BACK, 1000), branch="indirect", conditional=False)) == 0
    many = exits(*((BACK - 4 * n, 10) for n in range(100)), branch="indirect", conditional=False)
    assert mispredictions(many) == pytest.approx(990)


def test_a_rare_second_caller_costs_two_mispredictions_each_time() -> None:
    found = mispredictions(exits((BACK, 1000), (FORWARD, 3), branch="indirect", conditional=False))
    assert found == pytest.approx(6, abs=0.1)
