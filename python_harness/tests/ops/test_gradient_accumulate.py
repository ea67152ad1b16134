"""Minibatches: gradients of samples are summed up exactly, and the sums become one gradient.

Sums are held against Python's integers, which have no size: an element's value is a Fraction of its mantissa and its exponent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.base import Block, Kernel, NotFiniteError
from mcutrain.ops.bounds import ACCUMULATOR_BITS, INPUT_MAGNITUDE, INT32_LIMIT, accumulator_window_bits
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.gradient_accumulate import GRADIENT_ACCUMULATE_B16, GRADIENT_ACCUMULATE_F32, width
from mcutrain.ops.gradient_drain import GRADIENT_DRAIN_B16, GRADIENT_DRAIN_F32
from mcutrain.ops.gradient_drain import KERNELS as DRAINS
from mcutrain.ops.mean_rate import MEAN_RATE_F32, MeanRateParams
from mcutrain.ops.update_bias import UPDATE_BIAS_F32, UpdateBiasParams
from support.backward_cases import golden_and_c_agree, random_floats, refused, same_bits, seeds, with_extremes
from support.ckernels import block32, block64, call, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
every_kernel = pytest.mark.parametrize(
    "kernel", [GRADIENT_ACCUMULATE_B16, GRADIENT_ACCUMULATE_F32, *DRAINS], ids=lambda kernel: kernel.name
)
# Below, at and above the eights of the assembly.
sizes = st.sampled_from((1, 2, 7, 8, 9, 16, 19, 33))

Sample = tuple[int, Sequence[int]]  # exponent, mantissas


def block_of(make: Any, exponent: int, mantissas: Iterable[int]) -> Block:
    values = np.array(list(mantissas), np.int64)
    block: Block = make(values.shape)
    block.exponent[0] = exponent
    block.mantissa[...] = values
    return block


def gradient_of(exponent: int, mantissas: Iterable[int]) -> Block:
    return block_of(block32, exponent, mantissas)


def sums_of(exponent: int, mantissas: Iterable[int]) -> Block:
    return block_of(block64, exponent, mantissas)


def values_of(block: Block) -> list[Fraction]:
    unit = Fraction(2) ** int(block.exponent[0])
    return [int(mantissa) * unit for mantissa in block.mantissa.reshape(-1)]


def added(form: str, accumulator: Block, gradient: Block) -> Block:
    """The accumulator behind the sample; golden and C have the same bits."""
    params = ElementsParams(accumulator.mantissa.size)
    views = {"gradient": gradient, "accumulator": accumulator}
    after: Block = golden_and_c_agree(form, GRADIENT_ACCUMULATE_B16, params, views)["accumulator"]
    return after


def drained(form: str, accumulator: Block) -> Block:
    params = ElementsParams(accumulator.mantissa.size)
    views = {"gradient": block32(accumulator.mantissa.shape), "accumulator": accumulator}
    after: Block = golden_and_c_agree(form, GRADIENT_DRAIN_B16, params, views)["gradient"]
    return after


def accumulated(form: str, samples: Sequence[Sample]) -> Block:
    accumulator = block64((len(samples[0][1]),))
    for exponent, mantissas in samples:
        accumulator = added(form, accumulator, gradient_of(exponent, mantissas))
    return accumulator


def exact_sums(samples: Sequence[Sample]) -> list[Fraction]:
    return [sum(column) for column in zip(*(values_of(gradient_of(*sample)) for sample in samples), strict=True)]


def random_sums(rng: np.random.Generator, elements: int, bits: int) -> list[int]:
    """Up to ``bits`` wide: -2**bits <= sum < 2**bits; some at either end, some 0."""
    values = [int(rng.integers(-(2**bits), 2**bits)) for _ in range(elements)]
    return [int(rng.choice([-(2**bits), 0, 2**bits - 1])) if rng.random() < 0.2 else value for value in values]


def random_mantissas(rng: np.random.Generator, elements: int, bits: int) -> list[int]:
    limit = 2**bits - 1
    drawn = with_extremes(rng, rng.integers(-limit, limit + 1, elements), (-limit, 0, limit))
    return [int(value) for value in drawn]


@both_forms
@examples(200)
@given(
    distance=st.integers(-100, 100),
    own_bits=st.integers(0, ACCUMULATOR_BITS),
    bits=st.integers(1, 31),
    elements=sizes,
    seed=seeds,
)
def test_c_has_goldens_bits_whatever_the_exponents(
    form: str, distance: int, own_bits: int, bits: int, elements: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    exponent = int(rng.integers(-60, 60))
    accumulator = sums_of(exponent, random_sums(rng, elements, own_bits))
    after = added(form, accumulator, gradient_of(exponent + distance, random_mantissas(rng, elements, bits)))
    assert width(after.mantissa) <= ACCUMULATOR_BITS


@both_forms
@examples(60)
@given(batch=st.integers(1, 12), bits=st.integers(1, 31), narrower=st.integers(0, 20), elements=sizes, seed=seeds)
def test_the_sum_is_exact_within_the_window_in_any_order(
    form: str, batch: int, bits: int, narrower: int, elements: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    window = max(0, ACCUMULATOR_BITS - bits - (batch - 1).bit_length() - narrower)
    base = int(rng.integers(-80, 40))
    exponents = [base + int(rng.integers(0, window + 1)) for _ in range(batch)]
    samples: list[Sample] = [(exponent, random_mantissas(rng, elements, bits)) for exponent in exponents]
    accumulator = accumulated(form, samples)
    assert values_of(accumulator) == exact_sums(samples)
    shuffled = accumulated(form, [samples[i] for i in rng.permutation(batch)])
    assert values_of(shuffled) == values_of(accumulator)
    # What an update makes of it does not depend on the order either.
    assert values_of(drained(form, shuffled)) == values_of(drained(form, accumulator))


@pytest.mark.parametrize("smallest_at", [0, 3, 7])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_gradients_at_the_ends_of_the_window_are_summed_exactly(smallest_at: int, sign: int) -> None:
    """8 samples of 31 bits: the window is 28. Seven gradients at its upper end are nearly 2^62 of the eighth's units."""
    batch, window = 8, ACCUMULATOR_BITS - 31 - 3
    samples: list[Sample] = [(window, [sign * INT32_LIMIT])] * batch
    samples[smallest_at] = (0, [sign])
    accumulator = accumulated("portable", samples)
    assert int(accumulator.exponent[0]) == 0
    assert values_of(accumulator) == exact_sums(samples) == [sign * (7 * INT32_LIMIT * 2**window + 1)]


@pytest.mark.parametrize(("gradient", "rounded"), [(1, 2), (2, 2), (3, 4), (5, 6), (0, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_the_window_a_gradient_is_rounded_half_away_from_zero(sign: int, gradient: int, rounded: int) -> None:
    """Nine samples of 31 bits have a window of 27. The ninth lies 29 below sums of 34 bits, which leave it a unit of 2."""
    full = accumulated("portable", [(29, [sign * INT32_LIMIT] * 2)] * 8)
    after = added("portable", full, gradient_of(0, [sign * gradient, sign]))
    assert int(after.exponent[0]) == 1
    assert values_of(after)[0] - values_of(full)[0] == sign * rounded


@both_forms
@examples(60)
@given(batch=st.integers(2, 12), spread=st.integers(32, 90), elements=sizes, seed=seeds)
def test_beyond_the_window_the_error_is_a_2_to_the_61st_of_the_largest_sum_for_each_sample(
    form: str, batch: int, spread: int, elements: int, seed: int
) -> None:
    """A summand is rounded to the unit only where the other, M, then fills 62 bits: half a unit is at most 2^-62 M. The sum is rounded to
    the next unit only where it fills 63 bits: another 2^-62 of it."""
    rng = np.random.default_rng(seed)
    samples: list[Sample] = [
        (int(rng.integers(0, spread + 1)), random_mantissas(rng, elements, 31)) for _ in range(batch)
    ]
    accumulator = block64((elements,))
    largest = Fraction(0)
    for sample in samples:
        gradient = gradient_of(*sample)
        exact = [a + b for a, b in zip(values_of(accumulator), values_of(gradient), strict=True)]
        largest = max(largest, *(abs(value) for value in (*exact, *values_of(accumulator), *values_of(gradient))))
        accumulator = added(form, accumulator, gradient)
    errors = [abs(a - b) for a, b in zip(values_of(accumulator), exact_sums(samples), strict=True)]
    assert max(errors) <= batch * largest / 2**61


@both_forms
@examples(60)
@given(exponent=st.integers(-(2**31), 2**31 - 1), bits=st.integers(0, 62), elements=sizes, seed=seeds)
def test_a_gradient_of_zeros_changes_nothing_whatever_its_exponent(
    form: str, exponent: int, bits: int, elements: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    accumulator = sums_of(int(rng.integers(-60, 60)), random_sums(rng, elements, bits))
    assert same_bits(added(form, accumulator, gradient_of(exponent, [0] * elements)), accumulator)


@both_forms
@pytest.mark.parametrize("own_exponent", [0, 50, -50])
@pytest.mark.parametrize("exponent", [-90, -1, 0, 1, 30, 31, 90])
def test_sums_that_are_all_zero_take_the_exponent_of_the_next_sample(
    form: str, own_exponent: int, exponent: int
) -> None:
    after = added(form, sums_of(own_exponent, [0, 0, 0]), gradient_of(exponent, [0, -5, INT32_LIMIT]))
    assert same_bits(after, sums_of(exponent, [0, -5, INT32_LIMIT]))


@both_forms
def test_a_sum_of_63_bits_is_halved_half_away_from_zero(form: str) -> None:
    most, least = 2**62 - 1, -(2**62)
    after = added(form, sums_of(0, [most, least, 2, 3, -3, -2]), gradient_of(30, [1, -1, 0, 0, 0, 0]))
    assert same_bits(after, sums_of(1, [2**61 + 2**29, -(2**61) - 2**29, 1, 2, -2, -1]))
    again = added(form, sums_of(0, [most, least]), gradient_of(0, [0, -1]))
    assert same_bits(again, sums_of(1, [2**61, -(2**61) - 1]))
    assert same_bits(added(form, sums_of(0, [most - 1, least]), gradient_of(0, [1, 0])), sums_of(0, [most, least]))


@both_forms
def test_far_below_the_sums_a_gradient_vanishes_and_far_above_them_they_do(form: str) -> None:
    wide, one = sums_of(0, [2**61, -1]), gradient_of(-200, [INT32_LIMIT, -INT32_LIMIT])
    assert same_bits(added(form, wide, one), wide)
    above = added(form, sums_of(0, [2**62 - 1, -(2**62)]), gradient_of(200, [1, 0]))
    assert same_bits(above, sums_of(139, [2**61, 0]))


@both_forms
def test_the_longest_shift_that_leaves_anything_of_a_sum_is_of_63(form: str) -> None:
    sums = sums_of(0, [2**62 - 1, -(2**62)])
    assert same_bits(
        added(form, sums, gradient_of(124, [1, 0])), sums_of(63, [2**61, -1])
    )  # half a unit goes away from 0
    assert same_bits(added(form, sums, gradient_of(125, [1, 0])), sums_of(64, [2**61, 0]))


@both_forms
@examples(60)
@given(bits=st.integers(0, ACCUMULATOR_BITS), elements=sizes, seed=seeds)
def test_a_drain_rounds_to_31_bits_and_leaves_zero_bytes(form: str, bits: int, elements: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = ElementsParams(elements)
    accumulator = sums_of(int(rng.integers(-60, 60)), random_sums(rng, elements, bits))
    gradient = drained(form, accumulator)
    shift = int(gradient.exponent[0]) - int(accumulator.exponent[0])
    errors = [abs(a - b) for a, b in zip(values_of(gradient), values_of(accumulator), strict=True)]
    assert max(errors) <= Fraction(2) ** int(gradient.exponent[0]) / 2
    largest = max(abs(int(sum_)) for sum_ in accumulator.mantissa)
    assert abs(gradient.mantissa.astype(np.int64)).max() <= INT32_LIMIT
    # The smallest shift: rounded to the next smaller unit the largest would not fit.
    assert shift == 0 or (2 * largest + 2 ** (shift - 1)) // 2**shift > INT32_LIMIT
    memory = np.full(8 + 8 * elements, 0, np.uint8)
    emptied = block64((elements,), memory)
    emptied.exponent[...], emptied.mantissa[...] = accumulator.exponent, accumulator.mantissa
    assert call(form, GRADIENT_DRAIN_B16, params, {"gradient": block32((elements,)), "accumulator": emptied}) == 0
    assert not memory.any()


@both_forms
@pytest.mark.parametrize(
    ("sums", "shift", "mantissas"),
    [
        ([INT32_LIMIT, -INT32_LIMIT], 0, [INT32_LIMIT, -INT32_LIMIT]),
        ([-(2**31), 3, -3], 1, [-(2**30), 2, -2]),  # -2^31 has no magnitude in int32
        ([2**31, 1, -1], 1, [2**30, 1, -1]),
        ([2**32 - 1, -5], 2, [2**30, -1]),  # the rounding carries
        ([2**32 - 2, -5], 1, [INT32_LIMIT, -3]),
        ([-(2**62), 2**31, -(2**31), 2**31 - 1], 32, [-(2**30), 1, -1, 0]),
        ([2**62 - 1, 2**31, -(2**31), 2**31 - 1], 32, [2**30, 1, -1, 0]),
        ([0, 0], 0, [0, 0]),
    ],
)
def test_the_shift_of_a_drain_is_the_smallest_with_room_for_all(
    form: str, sums: list[int], shift: int, mantissas: list[int]
) -> None:
    assert same_bits(drained(form, sums_of(-7, sums)), gradient_of(-7 + shift, mantissas))


@both_forms
@examples(60)
@given(exponent=st.integers(-60, 60), elements=sizes, seed=seeds)
def test_a_minibatch_of_one_sample_is_its_own_gradient(form: str, exponent: int, elements: int, seed: int) -> None:
    mantissas = random_mantissas(np.random.default_rng(seed), elements, 31)
    mantissas[0] = mantissas[0] or 1  # zeros have no exponent of their own
    sample = (exponent, mantissas)
    assert same_bits(drained(form, accumulated(form, [sample])), gradient_of(*sample))


@both_forms
@examples(60)
@given(elements=sizes, batch=st.integers(1, 6), seed=seeds)
def test_float_sums_are_rounded_sample_by_sample(form: str, elements: int, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params, sums = ElementsParams(elements), np.zeros(elements, np.float32)
    expected = np.zeros(elements, np.float32)
    for _ in range(batch):
        gradient = random_floats(rng, (elements,))
        views = {"gradient": gradient, "accumulator": sums}
        sums = golden_and_c_agree(form, GRADIENT_ACCUMULATE_F32, params, views)["accumulator"]
        expected = (expected.astype(np.float64) + gradient).astype(np.float32)  # 53 bits round the same to 24
    assert same_bits(sums, expected)
    views = {"gradient": np.ones(elements, np.float32), "accumulator": sums}
    after = golden_and_c_agree(form, GRADIENT_DRAIN_F32, params, views)
    assert same_bits(after["gradient"], sums)
    assert after["accumulator"].tobytes() == bytes(4 * elements)


@both_forms
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float_sum_that_is_not_finite_reaches_the_update_which_changes_nothing(form: str, value: float) -> None:
    params = ElementsParams(2)
    sums: Any = np.zeros(2, np.float32)
    for gradient in (np.array([1, value], np.float32), np.array([1, 5], np.float32)):
        views = {"gradient": gradient, "accumulator": sums}
        sums = golden_and_c_agree(form, GRADIENT_ACCUMULATE_F32, params, views)["accumulator"]
    views = {"gradient": np.zeros(2, np.float32), "accumulator": sums}
    drained_views = golden_and_c_agree(form, GRADIENT_DRAIN_F32, params, views)
    assert not drained_views["accumulator"].any()
    ones = np.ones(2, np.float32)
    update: dict[str, Any] = {
        "gradient": drained_views["gradient"],
        "factor": ones,
        "output_scale": ones.copy(),
        "learning_rate": np.ones(1, np.float32),
        "bias": np.array([7, 8], np.int32),
    }
    assert refused(form, UPDATE_BIAS_F32, UpdateBiasParams(2, 1000, 0.5), update, status=2)
    with pytest.raises(NotFiniteError):
        UPDATE_BIAS_F32.golden(UpdateBiasParams(2, 1000, 0.5), update)


@both_forms
@every_kernel
@pytest.mark.parametrize("elements", [0, -1])
def test_wrong_parameters_are_refused(form: str, kernel: Kernel, elements: int) -> None:
    is_block = kernel.name.endswith("b16")
    views: dict[str, Any] = {
        "gradient": gradient_of(3, [1, 2]) if is_block else np.ones(2, np.float32),
        "accumulator": sums_of(2, [5, 6]) if is_block else np.ones(2, np.float32),
    }
    assert refused(form, kernel, ElementsParams(elements), views)


@both_forms
@examples(60)
@given(rate=st.floats(2.0**-30, 2.0**10, width=32), batch=st.integers(1, 40_000), data=st.data())
def test_the_mean_rate_is_one_division(form: str, rate: float, batch: int, data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, batch))
    views = {
        "learning_rate": np.array([rate], np.float32),
        "samples": np.array([samples], np.int32),
        "rate": np.zeros(1, np.float32),
    }
    after = golden_and_c_agree(form, MEAN_RATE_F32, MeanRateParams(batch), views)["rate"]
    assert after[0] == np.float32(np.float64(np.float32(rate)) / samples)  # 53 bits round the same to 24
    assert samples > 1 or after[0] == np.float32(rate)


@both_forms
@pytest.mark.parametrize(("samples", "batch"), [(0, 4), (-1, 4), (5, 4), (1, 0)])
def test_a_count_of_samples_outside_the_batch_is_refused(form: str, samples: int, batch: int) -> None:
    views = {
        "learning_rate": np.ones(1, np.float32),
        "samples": np.array([samples], np.int32),
        "rate": np.full(1, 7, np.float32),
    }
    assert refused(form, MEAN_RATE_F32, MeanRateParams(batch), views)
    with pytest.raises(ValueError, match=f"{samples} samples"):
        MEAN_RATE_F32.golden(MeanRateParams(batch), views)


@pytest.mark.parametrize(("side", "mantissa_bits", "batch"), [(96, 9, 32), (32, 11, 8), (8, 11, 4), (1, 11, 3)])
def test_a_layers_window_holds_for_its_largest_gradients(side: int, mantissa_bits: int, batch: int) -> None:
    terms = side * side
    window = accumulator_window_bits("conv1", terms, mantissa_bits, batch)
    largest = terms * INPUT_MAGNITUDE * (2**mantissa_bits - 1)
    samples: list[Sample] = [(window, [largest, -largest])] * (batch - 1) + [(0, [1, largest])]
    assert values_of(accumulated("portable", samples)) == exact_sums(samples)
