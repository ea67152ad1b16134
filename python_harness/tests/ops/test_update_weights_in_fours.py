"""update_weights by the short way to a step, four weights at a time: on every number of weights and at its ends, C gives golden's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcutrain.ops.base import Kernel, NotFiniteError
from mcutrain.ops.update_weights import KERNELS, UpdateWeightsParams
from support.backward_cases import (
    ERROR_NOT_FINITE,
    copied,
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


def steps_of(
    rng: np.random.Generator, kernel: Kernel, shape: tuple[int, ...], largest: float, learning_rate: float
) -> dict[str, Any]:
    """A gradient and what makes steps of it: the largest gradient, times the learning rate, is about ``largest``."""
    if not kernel.name.endswith("b16"):
        gradient = random_floats(rng, shape).astype(np.float64)
        gradient *= largest / learning_rate / max(np.abs(gradient).max(), 1e-6)
        return {"gradient": np.clip(gradient, -3e38, 3e38).astype(np.float32)}
    block = block32(shape)
    limit = 2 ** int(rng.integers(1, 32)) - 1
    block.mantissa[...] = with_extremes(rng, rng.integers(-limit, limit, shape, endpoint=True), (-limit, 0, limit))
    block.exponent[0] = round(np.log2(largest) - np.log2(limit) - np.log2(learning_rate))
    return {"gradient": block}


@both_forms
@every_kernel
@examples(60)
@given(
    outputs=st.integers(1, 4),
    taps=st.sampled_from([1, 2, 3, 9, 25]),
    inputs=st.sampled_from([1, 2, 3, 5, 8, 20, 63, 64, 65, 150]),
    share=st.sampled_from([1.0, 1.0, 0.25, 0.5, 0.99]),
    untrained=st.sampled_from([0, 0, 1, 3]),
    step_bits=st.integers(-20, 24),
    rate_bits=st.integers(-148, 100),
    seed=seeds,
)
@example(outputs=1, taps=1, inputs=4, share=1.0, untrained=0, step_bits=6, rate_bits=0, seed=0)
def test_steps_of_every_size_and_number_have_goldens_bits(
    form: str,
    kernel: Kernel,
    outputs: int,
    taps: int,
    inputs: int,
    share: float,
    untrained: int,
    step_bits: int,
    rate_bits: int,
    seed: int,
) -> None:
    """Some channels have the factor 0, and some learning rates are so small that k is no normal number."""
    rng = np.random.default_rng(seed)
    selected, rows = max(1, int(share * inputs)), outputs + untrained
    weight_min = int(rng.choice([-128, -127, -127, -1, 0, 5]))
    params = UpdateWeightsParams(
        *(rows, taps, inputs, outputs, selected),
        weight_min=weight_min,
        step_cap=float(rng.choice([0.0, 0.5, 1e-3, 100.0])),
    )
    shape = (outputs, taps, selected)
    learning_rate = np.float32(np.ldexp(rng.uniform(0.5, 1.0), rate_bits))
    weights = with_extremes(rng, random_codes(rng, (rows, taps, inputs)), (weight_min, 127))
    views: dict[str, Any] = {
        **steps_of(rng, kernel, shape, 2.0**step_bits, float(max(learning_rate, np.float32(1e-38)))),
        "factor": (np.exp2(rng.uniform(-2, 0, rows)) * (rng.random(rows) < 0.8)).astype(np.float32),
        "learning_rate": np.array([learning_rate], np.float32),
        "weights": np.maximum(weights, weight_min).astype(np.int8),
    }
    if selected < inputs:
        views["index"] = index_list(np.sort(rng.choice(inputs, selected, replace=False)))
    if untrained:
        views["rows"] = index_list(np.sort(rng.choice(rows, outputs, replace=False)))
    state = {"fraction": random_codes(rng, shape), "random": np.array([rng.integers(1, 2**32)], np.uint32)}
    views |= {name: state[name] for name in kernel.updates if name in state}
    try:
        kernel.golden(params, {name: copied(view) for name, view in views.items()})
    except NotFiniteError:
        assert refused(form, kernel, params, views, ERROR_NOT_FINITE)
    else:
        golden_and_c_agree(form, kernel, params, views)


def two_channels(kernel: Kernel, first: float, exponent: int) -> tuple[UpdateWeightsParams, dict[str, Any]]:
    """Two channels of eight weights: the gradient of the first is ``first`` * 2**exponent and half of that, of the other 0."""
    shape = (2, 1, 8)
    gradient = np.zeros(shape)
    gradient[0, 0] = [first, -first, first / 2, 0] * 2
    if kernel.name.endswith("b16"):
        block = block32(shape)
        block.mantissa[...], block.exponent[0] = gradient, exponent
    views: dict[str, Any] = {
        "gradient": block if kernel.name.endswith("b16") else np.ldexp(gradient, exponent).astype(np.float32),
        "factor": np.ones(2, np.float32),
        "learning_rate": np.ones(1, np.float32),
        "weights": np.full(shape, 3, np.int8),
    }
    state = {"fraction": np.full(shape, 7, np.int8), "random": np.array([5], np.uint32)}
    views |= {name: state[name] for name in kernel.updates if name in state}
    return UpdateWeightsParams(2, 1, 8, 2, 8, weight_min=-127, step_cap=0.5), views


@both_forms
@every_kernel
def test_a_step_near_the_end_of_float32_is_capped_like_any_other(form: str, kernel: Kernel) -> None:
    golden_and_c_agree(form, kernel, *two_channels(kernel, 2**30, 96))


@both_forms
@every_kernel
def test_a_channel_without_a_gradient_takes_no_step_however_large_its_factor(form: str, kernel: Kernel) -> None:
    params, views = two_channels(kernel, 2**20, -22)
    views["factor"][1] = np.finfo(np.float32).max
    golden_and_c_agree(form, kernel, params, views)
