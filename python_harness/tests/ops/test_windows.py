"""What the kernels refuse of a window is refused when a step is made, in one line that names the layer, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.errors import UsageError
from mcutrain.ops.average_pool import AVERAGE_POOL_S8, PoolS8Params
from mcutrain.ops.base import Window, window_problem
from mcutrain.ops.steps import Phase, StepBuilder
from support.ckernels import call, forms
from support.examples import examples

LIMIT = 1 << 15
sides = st.one_of(st.integers(-1, 6), st.integers(1, 4), st.sampled_from([LIMIT - 1, LIMIT]))


@given(st.tuples(*[st.integers(0, 2)] * 1), st.tuples(*[sides] * 5), st.tuples(*[st.integers(-1, 4)] * 5))
@examples(150)
def test_python_and_c_refuse_the_same_windows(
    channels: tuple[int], rows: tuple[int, ...], columns: tuple[int, ...]
) -> None:
    window = Window(rows[0], columns[0], channels[0], rows[1], columns[1], channels[0], *(
        rows[2], columns[2], rows[3], columns[3], rows[4], columns[4]
    ))  # fmt: skip
    read = max(rows[0], 1) * max(columns[0], 1) * max(channels[0], 1)
    written = max(rows[1], 1) * max(columns[1], 1) * max(channels[0], 1)
    for form in forms:
        views: dict[str, Any] = {"x": np.zeros(read, np.int8), "y": np.zeros(written, np.int8)}
        taken = call(form, AVERAGE_POOL_S8, PoolS8Params(window), views) == 0
        assert taken == (window_problem(window) is None), window


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (Window(4, 4, 1, 6, 4, 1, 2, 1, 1, 1, 2, 0), "conv7: a window of 2 rows lies in the padding alone"),
        (Window(4, 1 << 15, 1, 4, 1, 1, 1, 1, 1, 1, 0, 0), "conv7: 32768 columns"),
        (Window(4, 4, 1, 4, 7, 1, 1, 1, 1, 1, 0, 0), "conv7: a window of 1 columns lies in the padding alone"),
    ],
)
def test_a_step_with_such_a_window_names_its_layer(window: Window, said: str) -> None:
    build = StepBuilder()
    operands: dict[str, str | None] = {"x": build.buffer("x", "int8", (1,)), "y": build.buffer("y", "int8", (1,))}
    with pytest.raises(UsageError, match=said):
        build.step("conv7", "average_pool_s8", PoolS8Params(window), Phase.FORWARD, "conv7", operands)
