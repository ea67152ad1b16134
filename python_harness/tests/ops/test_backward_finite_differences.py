"""Every gradient rule, in float32 mode, against central differences of the real function."""

from __future__ import annotations

import numpy as np
import pytest

from support.real_operators import CASES, AddCase, Case, ConvCase, assert_gradient_equals

# The functions are linear between the clamps' kinks, so only the rounding of doubles limits a difference.
STEP = 2.0**-12


def loss(case: Case, operands: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> float:
    return float((case.error * case.output(operands)).sum())


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_central_differences(name: str) -> None:
    case = CASES[name]
    gradients = case.gradients()
    assert gradients.keys() == case.operands().keys()
    for operand, gradient in gradients.items():
        moved = {key: value.copy() for key, value in case.operands().items()}
        expected = np.zeros(gradient.shape)
        for i in np.ndindex(gradient.shape):
            here = moved[operand][i]
            moved[operand][i] = here + STEP
            above = loss(case, moved)
            moved[operand][i] = here - STEP
            expected[i] = (above - loss(case, moved)) / (2 * STEP)
            moved[operand][i] = here
        assert_gradient_equals(gradient, expected)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case, ConvCase | AddCase)])
def test_the_cases_clip_some_outputs_on_both_sides_and_none_near_a_kink(name: str) -> None:
    """Otherwise the test above would not see a wrong mask, or differences would be wrong themselves."""
    case = CASES[name]
    assert isinstance(case, ConvCase | AddCase)
    y = (
        case.sums(**case.operands()) if isinstance(case, ConvCase) else case.sums(case.operands())
    ) + case.clamp.zero_point
    if y.size > 20:
        assert (y < case.clamp.low).any()
        assert (y > case.clamp.high).any()
    assert case.clamp.inside(y - case.clamp.zero_point).any()
    assert np.abs(np.stack([y - case.clamp.low, y - case.clamp.high])).min() > 0.01
