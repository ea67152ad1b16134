"""update_bias: int32 biases, capped in output LSB."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.base import Kernel, NotFiniteError
from mcutrain.ops.update_bias import KERNELS, UPDATE_BIAS_F32, UpdateBiasParams
from support.backward_cases import ERROR_NOT_FINITE, golden_and_c_agree, random_floats, refused, seeds, with_extremes
from support.ckernels import block32, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
LIMIT = 2**31 - 1 - 255 * 128 * 576


def float_case(bias: list[int], steps: list[float], cap: float = 0.0, limit: int = LIMIT) -> tuple[Any, dict[str, Any]]:
    """Biases that take exactly these steps, one bias LSB an output LSB."""
    ones = np.ones(len(bias), np.float32)
    views: dict[str, Any] = {
        "gradient": np.array(steps, np.float32),
        "factor": ones,
        "output_scale": ones.copy(),
        "learning_rate": np.ones(1, np.float32),
        "bias": np.array(bias, np.int32),
    }
    return UpdateBiasParams(len(bias), limit, cap), views


def random_case(rng: np.random.Generator, kernel: Kernel, step_bits: int) -> tuple[UpdateBiasParams, dict[str, Any]]:
    channels = int(rng.integers(1, 20))
    limit = int(rng.choice([LIMIT, 1000]))
    views: dict[str, Any] = {
        "factor": np.exp2(rng.uniform(-8, 8, channels)).astype(np.float32),
        "output_scale": np.exp2(rng.uniform(-12, 0, channels)).astype(np.float32),
        "learning_rate": np.array([2.0 ** rng.uniform(-8, 0)], np.float32),
        "bias": with_extremes(rng, rng.integers(-limit, limit + 1, channels), (-limit, limit)).astype(np.int32),
    }
    if kernel.name.endswith("b16"):
        gradient = block32((channels,))
        gradient.mantissa[...] = with_extremes(
            rng, rng.integers(-(2**31) + 1, 2**31, channels), (1 - 2**31, 0, 2**31 - 1)
        )
        gradient.exponent[0] = step_bits - 31
        views["gradient"] = gradient
    else:
        views["gradient"] = random_floats(rng, (channels,)) * np.float32(2.0**step_bits)
    return UpdateBiasParams(channels, limit, float(rng.choice([0.0, 0.5, 100.0]))), views


@both_forms
@every_kernel
@examples(60)
@given(step_bits=st.integers(-12, 36), seed=seeds)
def test_bias_updates_have_goldens_bits(form: str, kernel: Kernel, step_bits: int, seed: int) -> None:
    params, views = random_case(np.random.default_rng(seed), kernel, step_bits)
    golden_and_c_agree(form, kernel, params, views)


@both_forms
@examples(60)
@given(halves=st.lists(st.integers(-(2**27), 2**27), min_size=1, max_size=20))
def test_ties_of_a_step_round_to_even_at_every_magnitude(form: str, halves: list[int]) -> None:
    steps = [float(np.float32(half / 2)) for half in halves]
    params, views = float_case([0] * len(steps), steps)
    after = golden_and_c_agree(form, UPDATE_BIAS_F32, params, views)
    assert after["bias"].tolist() == [-round(step) for step in steps]


@pytest.mark.parametrize("step", [2.0**30, 2.0**31, 1e30])
def test_a_large_step_saturates_at_the_limit_on_both_sides(step: float) -> None:
    params, views = float_case([0, 0, LIMIT, -LIMIT], [step, -step, -step, step], limit=LIMIT)
    for _ in range(3):
        UPDATE_BIAS_F32.golden(params, views)
    assert views["bias"].tolist() == [-LIMIT, LIMIT, LIMIT, -LIMIT]


def test_a_step_of_zero_changes_no_bias() -> None:
    params, views = float_case([7, -LIMIT, LIMIT], [0.0, -0.0, 0.0], cap=0.5)
    UPDATE_BIAS_F32.golden(params, views)
    assert views["bias"].tolist() == [7, -LIMIT, LIMIT]


def test_the_cap_counts_output_codes_and_rescales_all_biases() -> None:
    params, views = float_case([0, 0, 0], [4000.0, -2000.0, 100.0], cap=0.5)
    views["output_scale"][...] = [2.0**-10, 2.0**-8, 2.0**-10]  # the second step moves the output most: 7.8125 codes
    UPDATE_BIAS_F32.golden(params, views)
    assert views["bias"].tolist() == [-256, 128, -6]  # times 0.064


@both_forms
@examples(30)
@given(cap=st.floats(2.0**25, 2.0**29, width=32), step=st.floats(2.0**29, 2.0**40, width=32))
def test_the_ratio_of_a_cap_is_one_division(form: str, cap: float, step: float) -> None:
    """In steps of millions each bit of the ratio shows in the bias."""
    params, views = float_case([0, 0], [step, -step / 3], cap=cap)
    after = golden_and_c_agree(form, UPDATE_BIAS_F32, params, views)
    assert after["bias"][0] == -int(np.float32(step) * (np.float32(cap) / np.float32(step)))


@both_forms
@every_kernel
@pytest.mark.parametrize("role", ["learning_rate", "factor", "output_scale"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing(form: str, kernel: Kernel, role: str, value: float) -> None:
    params, views = random_case(np.random.default_rng(5), kernel, 0)
    views[role][-1] = value
    assert refused(form, kernel, params, views, ERROR_NOT_FINITE)
    with pytest.raises(NotFiniteError):
        kernel.golden(params, views)


@both_forms
@every_kernel
def test_wrong_parameters_are_refused(form: str, kernel: Kernel) -> None:
    params, views = random_case(np.random.default_rng(5), kernel, 0)
    assert refused(form, kernel, UpdateBiasParams(0, LIMIT, 0.0), views)
    assert refused(form, kernel, UpdateBiasParams(params.channels, -1, 0.0), views)
