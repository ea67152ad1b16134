"""update_weights in its three roundings, and the random numbers of the stochastic one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.base import Kernel, NotFiniteError
from mcutrain.ops.random import draws
from mcutrain.ops.update_weights import (
    KERNELS,
    UPDATE_WEIGHTS_MASTER16_B16,
    UPDATE_WEIGHTS_MASTER16_F32,
    UPDATE_WEIGHTS_NEAREST8_B16,
    UPDATE_WEIGHTS_NEAREST8_F32,
    UPDATE_WEIGHTS_STOCHASTIC8_F32,
    UpdateWeightsParams,
)
from support.backward_cases import (
    ERROR_NOT_FINITE,
    golden_and_c_agree,
    random_codes,
    random_floats,
    refused,
    seeds,
    with_extremes,
)
from support.ckernels import block32, forms, index_list
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
FLOAT_KERNELS = (UPDATE_WEIGHTS_MASTER16_F32, UPDATE_WEIGHTS_STOCHASTIC8_F32, UPDATE_WEIGHTS_NEAREST8_F32)
float_kernels = pytest.mark.parametrize("kernel", FLOAT_KERNELS, ids=lambda kernel: kernel.name)


def random_case(
    rng: np.random.Generator, kernel: Kernel, sparse: bool, step_bits: int
) -> tuple[UpdateWeightsParams, dict[str, Any]]:
    """A tensor with steps up to about 2**step_bits codes, all its input and output channels or some of them."""
    rows, taps, inputs = (int(n) for n in rng.integers(1, 7, 3))
    outputs = int(rng.integers(1, rows + 1)) if sparse else rows
    selected = int(rng.integers(1, inputs + 1)) if sparse else inputs
    params = UpdateWeightsParams(
        *(rows, taps, inputs, outputs, selected),
        weight_min=int(rng.choice([-128, -127])),
        step_cap=float(rng.choice([0.0, 0.5, 1e-3, 30.0])),
    )
    shape = (outputs, taps, selected)
    weights = with_extremes(rng, random_codes(rng, (rows, taps, inputs)), (-127, 127)).astype(np.int8)
    fraction = random_codes(rng, shape)
    views: dict[str, Any] = {
        "factor": np.exp2(rng.uniform(-8, 8, rows)).astype(np.float32),
        "learning_rate": np.array([2.0 ** rng.uniform(-8, 0)], np.float32),
        "weights": np.maximum(weights, params.weight_min).astype(np.int8),
    }
    if kernel.name.endswith("b16"):
        gradient = block32(shape)
        limit = 2 ** int(rng.integers(1, 32)) - 1
        gradient.mantissa[...] = with_extremes(
            rng, rng.integers(-limit, limit, shape, endpoint=True), (-limit, 0, limit)
        )
        gradient.exponent[0] = step_bits - int(np.ceil(np.log2(limit)))
        views["gradient"] = gradient
    else:
        views["gradient"] = random_floats(rng, shape) * np.float32(2.0**step_bits)
    if selected < inputs or rng.random() < 0.3:
        views["index"] = index_list(np.sort(rng.choice(inputs, selected, replace=False)))
    if outputs < rows or rng.random() < 0.3:
        views["rows"] = index_list(np.sort(rng.choice(rows, outputs, replace=False)))
    state = {"fraction": fraction, "random": np.array([rng.integers(1, 2**32)], np.uint32)}
    views |= {name: state[name] for name in kernel.updates if name in state}
    return params, views


def float_case(
    kernel: Kernel, weights: list[int], steps: list[float], cap: float = 0.0, weight_min: int = -127
) -> tuple[Any, dict[str, Any]]:
    """Weights (one tap, one output) that take exactly these steps."""
    state = {"fraction": np.zeros(len(steps), np.int8), "random": np.array([1], np.uint32)}
    views: dict[str, Any] = {
        "gradient": np.array(steps, np.float32),
        "factor": np.ones(1, np.float32),
        "learning_rate": np.ones(1, np.float32),
        "weights": np.array(weights, np.int8),
    }
    views |= {name: state[name] for name in kernel.updates if name in state}
    return UpdateWeightsParams(1, 1, len(steps), 1, len(steps), weight_min, cap), views


def masters(views: dict[str, Any]) -> list[float]:
    return list((views["weights"] + views["fraction"] / 256.0).tolist())


@both_forms
@every_kernel
@examples(60)
@given(sparse=st.booleans(), step_bits=st.integers(-12, 24), seed=seeds)
def test_updates_have_goldens_bits(form: str, kernel: Kernel, sparse: bool, step_bits: int, seed: int) -> None:
    params, views = random_case(np.random.default_rng(seed), kernel, sparse, step_bits)
    golden_and_c_agree(form, kernel, params, views)


@both_forms
@every_kernel
@pytest.mark.parametrize("exponent", [-300, -149, -127, -126, 60, 127])
def test_updates_at_extreme_exponents_have_goldens_bits(form: str, kernel: Kernel, exponent: int) -> None:
    params, views = random_case(np.random.default_rng(1), kernel, sparse=False, step_bits=0)
    if kernel.name.endswith("b16"):
        views["gradient"].mantissa[...] = np.sign(views["gradient"].mantissa)
        views["gradient"].exponent[0] = exponent
    else:
        views["gradient"][...] = np.sign(views["gradient"]) * np.float32(2.0 ** max(-149, exponent))
    views["learning_rate"][0] = views["factor"][...] = 1
    golden_and_c_agree(form, kernel, params, views)


@float_kernels
@pytest.mark.parametrize("step", [1e4, 1e9, 1e30, 300.0])
def test_a_large_step_saturates_at_both_ends_and_never_wraps(kernel: Kernel, step: float) -> None:
    params, views = float_case(kernel, [5, -5, 127, -127], [step, -step, -step, step])
    kernel.golden(params, views)
    assert views["weights"].tolist() == [-127, 127, 127, -127]
    params, views = float_case(kernel, [5, -128], [step, step], weight_min=-128)
    kernel.golden(params, views)
    assert views["weights"].tolist() == [-128, -128]


def test_nearest_loses_a_step_below_half_a_code_on_both_sides() -> None:
    params, views = float_case(UPDATE_WEIGHTS_NEAREST8_F32, [5, 5, -5, -5], [0.3, -0.3, 0.3, -0.3])
    UPDATE_WEIGHTS_NEAREST8_F32.golden(params, views)
    assert views["weights"].tolist() == [5, 5, -5, -5]


def test_nearest_rounds_the_step_half_to_even() -> None:
    params, views = float_case(UPDATE_WEIGHTS_NEAREST8_F32, [0] * 6, [0.5, -0.5, 1.5, -1.5, 0.75, -0.75])
    UPDATE_WEIGHTS_NEAREST8_F32.golden(params, views)
    assert views["weights"].tolist() == [0, 0, -2, 2, -1, 1]


def test_a_16_bit_master_keeps_the_fraction_of_a_step() -> None:
    params, views = float_case(UPDATE_WEIGHTS_MASTER16_F32, [5, 5], [0.3, -0.3])
    UPDATE_WEIGHTS_MASTER16_F32.golden(params, views)
    assert views["weights"].tolist() == [5, 5]
    assert masters(views) == [5 - 77 / 256, 5 + 77 / 256]  # 0.3 * 256 = 76.8
    UPDATE_WEIGHTS_MASTER16_F32.golden(params, views)
    assert views["weights"].tolist() == [4, 6]
    assert masters(views) == [5 - 154 / 256, 5 + 154 / 256]


def test_a_hundred_small_steps_of_a_16_bit_master_are_one_large_one() -> None:
    params, views = float_case(UPDATE_WEIGHTS_MASTER16_F32, [100, -100], [0.25, -0.25])
    for _ in range(100):
        UPDATE_WEIGHTS_MASTER16_F32.golden(params, views)
    assert masters(views) == [75.0, -75.0]


def test_a_saturated_master_has_no_fraction_beyond_the_last_code() -> None:
    params, views = float_case(UPDATE_WEIGHTS_MASTER16_F32, [127, -127], [-0.25, 0.25])
    UPDATE_WEIGHTS_MASTER16_F32.golden(params, views)
    assert masters(views) == [127.0, -127.0]


@pytest.mark.parametrize("step", [0.3, -0.3, 0.01, -1.7])
def test_a_stochastic_step_is_right_on_average(step: float) -> None:
    """Each weight rounds up with the probability of its fraction p: the mean of n has a deviation of sqrt(p (1 - p) / n)."""
    n = 40_000
    params, views = float_case(UPDATE_WEIGHTS_STOCHASTIC8_F32, [5] * n, [step] * n)
    views["random"][0] = 12345
    UPDATE_WEIGHTS_STOCHASTIC8_F32.golden(params, views)
    p = abs(step) % 1
    deviation = np.sqrt(p * (1 - p) / n)
    assert abs(views["weights"].astype(np.float64).mean() - (5 - step)) < 5 * deviation
    assert set(views["weights"].tolist()) == {int(np.floor(5 - step)), int(np.ceil(5 - step))}


@both_forms
@every_kernel
def test_a_step_of_zero_changes_no_weight(form: str, kernel: Kernel) -> None:
    params, views = random_case(np.random.default_rng(4), kernel, sparse=True, step_bits=0)
    gradient = views["gradient"]
    (gradient.mantissa if kernel.name.endswith("b16") else gradient)[...] = 0
    # A master at its last code has no fraction beyond it.
    if "fraction" in views:
        views["fraction"][...] = 77
        views["weights"][...] = np.clip(views["weights"], -126, 126)
    after = golden_and_c_agree(form, kernel, params, views)
    assert np.array_equal(after["weights"], views["weights"])
    if "fraction" in views:
        assert np.array_equal(after["fraction"], views["fraction"])


def test_the_stochastic_update_draws_once_a_trained_weight_even_where_the_step_is_zero() -> None:
    params, views = float_case(UPDATE_WEIGHTS_STOCHASTIC8_F32, [0] * 7, [0.0] * 7)
    UPDATE_WEIGHTS_STOCHASTIC8_F32.golden(params, views)
    assert views["random"][0] == draws(1, 7)[-1]


def test_the_cap_rescales_the_whole_tensor_and_keeps_the_ratios() -> None:
    params, views = float_case(UPDATE_WEIGHTS_MASTER16_F32, [0, 0, 0, 0], [8.0, -4.0, 2.0, 0.0], cap=0.5)
    UPDATE_WEIGHTS_MASTER16_F32.golden(params, views)
    assert masters(views) == [-0.5, 0.25, -0.125, 0.0]


def test_steps_below_the_cap_stay_as_they_are() -> None:
    params, views = float_case(UPDATE_WEIGHTS_MASTER16_F32, [0, 0], [0.5, -0.25], cap=0.5)
    UPDATE_WEIGHTS_MASTER16_F32.golden(params, views)
    assert masters(views) == [-0.5, 0.25]


def test_only_the_selected_input_channels_change() -> None:
    params = UpdateWeightsParams(2, 3, 5, 2, 2, -127, 0.0)
    gradient = block32((2, 3, 2))
    gradient.mantissa[...] = np.arange(1, 13).reshape(2, 3, 2)
    views: dict[str, Any] = {
        "gradient": gradient,
        "factor": np.array([1, 2], np.float32),
        "index": index_list([1, 4]),
        "learning_rate": np.ones(1, np.float32),
        "weights": np.zeros((2, 3, 5), np.int8),
    }
    UPDATE_WEIGHTS_NEAREST8_B16.golden(params, views)
    expected = np.zeros((2, 3, 5), np.int8)
    expected[..., [1, 4]] = -gradient.mantissa * np.array([1, 2])[:, np.newaxis, np.newaxis]
    assert np.array_equal(views["weights"], expected)


@both_forms
@every_kernel
def test_the_step_of_chosen_rows_is_that_of_a_tensor_which_has_only_these(form: str, kernel: Kernel) -> None:
    """Gradient, state and draws belong to the chosen rows, a factor to each row; what is not chosen stays."""
    chosen, shape = np.array([1, 2, 4], np.int32), (3, 9, 2)
    whole = UpdateWeightsParams(*shape, most_rows=3, most_selected=2, weight_min=-128, step_cap=5.0)
    params = replace(whole, out_channels=6)
    weights = random_codes(np.random.default_rng(8), (6, 9, 2))
    steps = np.linspace(-9, 9, weights[chosen].size).reshape(shape)
    gradient: Any = block32(shape) if kernel.name.endswith("b16") else steps.astype(np.float32)
    if kernel.name.endswith("b16"):
        gradient.mantissa[...] = steps.astype(np.int32)
    state = {"fraction": random_codes(np.random.default_rng(9), shape), "random": np.array([1], np.uint32)}
    views = {
        "gradient": gradient,
        "learning_rate": np.ones(1, np.float32),
        **{name: state[name] for name in kernel.updates if name in state},
    }
    factor = np.array([9, 1, 2, 9, 4, 9], np.float32)
    few: dict[str, Any] = {"weights": weights[chosen].copy(), "factor": factor[chosen]}
    expected = golden_and_c_agree(form, kernel, whole, {**views, **few})
    part: dict[str, Any] = {"weights": weights, "factor": factor, "rows": index_list(chosen)}
    actual = golden_and_c_agree(form, kernel, params, {**views, **part})
    assert not np.array_equal(actual["weights"], weights)
    assert np.array_equal(actual["weights"][chosen], expected["weights"])
    assert np.array_equal(actual["weights"][[0, 3, 5]], weights[[0, 3, 5]])
    for name in state.keys() & views.keys():
        assert np.array_equal(actual[name], expected[name])


@both_forms
@every_kernel
@pytest.mark.parametrize("rows", [[2, 1], [1, 1], [-1, 1], [1, 4], [1, 2, 3]], ids=str)
def test_rows_that_do_not_ascend_or_do_not_exist_are_refused(form: str, kernel: Kernel, rows: list[int]) -> None:
    state = {"fraction": np.zeros(2, np.int8), "random": np.array([1], np.uint32)}
    views: dict[str, Any] = {
        "gradient": block32((2, 1, 1)) if kernel.name.endswith("b16") else np.ones((2, 1, 1), np.float32),
        "factor": np.ones(4, np.float32),
        "rows": index_list(rows),
        "learning_rate": np.ones(1, np.float32),
        "weights": np.zeros((4, 1, 1), np.int8),
    }
    views |= {name: state[name] for name in kernel.updates if name in state}
    params = UpdateWeightsParams(4, 1, 1, 2, 1, -127, 0.0)
    assert refused(form, kernel, params, views)
    golden_and_c_agree(form, kernel, params, {**views, "rows": index_list([1, 3])})


@both_forms
@every_kernel
@pytest.mark.parametrize(("role", "value"), [("learning_rate", np.nan), ("learning_rate", np.inf), ("factor", np.nan)])
def test_a_step_that_is_not_finite_changes_nothing(form: str, kernel: Kernel, role: str, value: float) -> None:
    params, views = random_case(np.random.default_rng(2), kernel, sparse=True, step_bits=0)
    views[role][...] = value
    assert refused(form, kernel, params, views, ERROR_NOT_FINITE)
    before = views["weights"].copy()
    with pytest.raises(NotFiniteError):
        kernel.golden(params, views)
    assert np.array_equal(views["weights"], before)


@both_forms
@float_kernels
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(form: str, kernel: Kernel, value: float) -> None:
    params, views = float_case(kernel, [1, 2, 3], [0.5, value, 1.0], cap=0.5)
    assert refused(form, kernel, params, views, ERROR_NOT_FINITE)
    with pytest.raises(NotFiniteError):
        kernel.golden(params, views)


@both_forms
@every_kernel
@pytest.mark.parametrize(
    "change",
    [
        {"most_selected": 0},
        {"most_selected": 99},
        {"most_rows": 0},
        {"most_rows": 99},
        {"out_channels": 0},
        {"taps": -1},
        {"weight_min": -129},
        {"in_channels": 0},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(form: str, kernel: Kernel, change: dict[str, int]) -> None:
    params, views = random_case(np.random.default_rng(3), kernel, sparse=False, step_bits=0)
    assert refused(form, kernel, UpdateWeightsParams(**{**params.__dict__, **change}), views)


@both_forms
def test_a_part_of_the_channels_without_an_index_is_refused(form: str) -> None:
    _, views = float_case(UPDATE_WEIGHTS_NEAREST8_F32, [1, 2], [1.0, 1.0])
    assert refused(form, UPDATE_WEIGHTS_NEAREST8_F32, UpdateWeightsParams(1, 1, 2, 1, 1, -127, 0.0), views)


@both_forms
def test_a_random_state_of_zero_is_refused(form: str) -> None:
    params, views = float_case(UPDATE_WEIGHTS_STOCHASTIC8_F32, [1], [1.0])
    views["random"][0] = 0
    assert refused(form, UPDATE_WEIGHTS_STOCHASTIC8_F32, params, views)


@examples(30)
@given(state=st.integers(1, 2**32 - 1), count=st.integers(1, 300))
def test_many_draws_are_one_draw_after_the_other(state: int, count: int) -> None:
    expected = []
    x = state
    for _ in range(count):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        expected.append(x)
    assert draws(state, count).tolist() == expected


def test_master16_b16_takes_the_block_exponent_into_the_step() -> None:
    gradient = block32((1, 1, 1))
    gradient.mantissa[...], gradient.exponent[...] = 3, -2
    views: dict[str, Any] = {
        "gradient": gradient,
        "factor": np.array([0.5], np.float32),
        "learning_rate": np.array([2.0], np.float32),
        "weights": np.array([1], np.int8),
        "fraction": np.array([0], np.int8),
    }
    UPDATE_WEIGHTS_MASTER16_B16.golden(UpdateWeightsParams(1, 1, 1, 1, 1, -127, 0.0), views)
    assert masters(views) == [0.25]
