"""Block floating point: error_quantize, error_normalize, error_scale and error_sum."""

from __future__ import annotations

from typing import Any

import cffi
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Block, Kernel, NotFiniteError, Params, View
from mcutrain.ops.block_float import block_values
from mcutrain.ops.error_normalize import ERROR_NORMALIZE_B16
from mcutrain.ops.error_quantize import ERROR_QUANTIZE_B16, ElementsParams
from mcutrain.ops.error_scale import ERROR_SCALE_B16, ERROR_SCALE_F32, ErrorScaleParams
from mcutrain.ops.error_sum import ERROR_SUM_B16, ERROR_SUM_F32
from support.backward_cases import (
    ERROR_NOT_FINITE,
    copied,
    golden_and_c_agree,
    random_block16,
    random_floats,
    random_mask,
    refused,
    same_bits,
    seeds,
    with_extremes,
)
from support.ckernels import block16, block32, c_function, c_params, call, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
sizes = st.integers(1, 100)
INT32_MAX = 2**31 - 1


def unit(block: Block) -> float:
    """The real value of mantissa 1."""
    return float(2.0 ** int(block.exponent[0]))


def random_sums(rng: np.random.Generator, elements: int) -> Block:
    """int32 sums of any magnitude up to the whole range."""
    block = block32((elements,))
    limit = 2 ** int(rng.integers(1, 32)) - 1
    block.exponent[0] = rng.integers(-40, 20)
    block.mantissa[...] = with_extremes(rng, rng.integers(-limit, limit, elements, endpoint=True), (-limit, 0, limit))
    return block


def random_scale(rng: np.random.Generator, channels: int) -> NDArray[np.int32]:
    """Scales of every size, the largest in [2^30, 2^31)."""
    scale = rng.integers(0, 2 ** rng.integers(1, 32, channels))
    scale[rng.integers(channels)] = rng.choice(np.array([2**30, rng.integers(2**30, 2**31), INT32_MAX]))
    return scale.astype(np.int32)


def scale_case(
    rng: np.random.Generator, pixels: int, channels: int, bits: int
) -> tuple[ErrorScaleParams, dict[str, Any]]:
    shape = (pixels, channels)
    params = ErrorScaleParams(pixels * channels, channels, int(rng.integers(-40, 1)), bits)
    views: dict[str, Any] = {
        "error": random_block16(rng, shape, int(rng.integers(1, 16))),
        "inside": random_mask(rng, shape)[1],
        "scale": random_scale(rng, channels),
        "out": block16(shape),
    }
    return params, views


# Golden and C


@both_forms
@examples(60)
@given(elements=sizes, seed=seeds, power=st.integers(-149, 126))
@example(elements=3, seed=0, power=-101)
@example(elements=3, seed=0, power=-100)
@example(elements=3, seed=0, power=-99)
def test_quantised_errors_have_goldens_bits(form: str, elements: int, seed: int, power: int) -> None:
    rng = np.random.default_rng(seed)
    # A sixteenth of each value is a half unit of the mantissa: ties occur.
    error = (rng.integers(-(2**16), 2**16 + 1, elements) / 2.0**16 * 2.0**power).astype(np.float32)
    golden_and_c_agree(
        form, ERROR_QUANTIZE_B16, ElementsParams(elements), {"error": error, "out": block16((elements,))}
    )


@both_forms
@examples(60)
@given(elements=sizes, seed=seeds)
def test_normalised_sums_have_goldens_bits(form: str, elements: int, seed: int) -> None:
    views: dict[str, Any] = {"sums": random_sums(np.random.default_rng(seed), elements), "out": block16((elements,))}
    golden_and_c_agree(form, ERROR_NORMALIZE_B16, ElementsParams(elements), views)


@both_forms
@examples(60)
@given(
    pixels=st.integers(1, 40), channels=st.integers(1, 20), bits=st.integers(1, 15), masked=st.booleans(), seed=seeds
)
def test_scaled_block_errors_have_goldens_bits(
    form: str, pixels: int, channels: int, bits: int, masked: bool, seed: int
) -> None:
    params, views = scale_case(np.random.default_rng(seed), pixels, channels, bits)
    if not masked:
        del views["inside"]
    golden_and_c_agree(form, ERROR_SCALE_B16, params, views)


@both_forms
@examples(30)
@given(pixels=st.integers(1, 40), channels=st.integers(1, 20), masked=st.booleans(), seed=seeds)
def test_scaled_float_errors_have_goldens_bits(form: str, pixels: int, channels: int, masked: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (pixels, channels)
    views: dict[str, View] = {
        "error": random_floats(rng, shape),
        "scale": np.abs(random_floats(rng, (channels,))),
        "out": np.zeros(shape, np.float32),
    }
    if masked:
        views["inside"] = random_mask(rng, shape)[1]
    golden_and_c_agree(form, ERROR_SCALE_F32, ErrorScaleParams(pixels * channels, channels, 0, 15), views)


@both_forms
@examples(60)
@given(elements=sizes, seed=seeds, apart=st.integers(-40, 40))
def test_sums_of_errors_have_goldens_bits(form: str, elements: int, seed: int, apart: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_block16(rng, (elements,)), random_block16(rng, (elements,))
    b.exponent[0] = a.exponent[0] + apart
    golden_and_c_agree(form, ERROR_SUM_B16, ElementsParams(elements), {"a": a, "b": b, "out": block16((elements,))})
    floats: dict[str, Any] = {
        "a": random_floats(rng, (elements,)),
        "b": random_floats(rng, (elements,)),
        "out": np.zeros(elements, np.float32),
    }
    golden_and_c_agree(form, ERROR_SUM_F32, ElementsParams(elements), floats)


# Against real arithmetic: what each rounding may cost


@examples(60)
@given(elements=sizes, seed=seeds)
def test_quantising_costs_at_most_half_a_unit(elements: int, seed: int) -> None:
    """Half a unit from the rounding; a whole one where 2^15 - 1 stands for what rounds to 2^15."""
    error = random_floats(np.random.default_rng(seed), (elements,))
    views: dict[str, Any] = {"error": error, "out": block16((elements,))}
    ERROR_QUANTIZE_B16.golden(ElementsParams(elements), views)
    distance = np.abs(block_values(views["out"]) - error)
    bound = np.where(np.abs(views["out"].mantissa) == 2**15 - 1, 1.0, 0.5) * unit(views["out"])
    assert np.all(distance <= bound)
    if np.abs(error).max() > 0:
        assert np.abs(views["out"].mantissa.astype(np.int32)).max() >= 2**14


@examples(60)
@given(elements=sizes, seed=seeds)
def test_normalising_costs_at_most_half_a_unit_of_the_new_exponent(elements: int, seed: int) -> None:
    views: dict[str, Any] = {"sums": random_sums(np.random.default_rng(seed), elements), "out": block16((elements,))}
    ERROR_NORMALIZE_B16.golden(ElementsParams(elements), views)
    distance = np.abs(block_values(views["out"]) - block_values(views["sums"]))
    rounded = views["out"].exponent[0] > views["sums"].exponent[0]
    assert distance.max() <= (0.5 * unit(views["out"]) if rounded else 0)


@examples(60)
@given(pixels=st.integers(1, 40), channels=st.integers(1, 20), bits=st.integers(1, 15), seed=seeds)
def test_scaling_costs_one_unit_of_the_product_and_half_a_unit_of_the_result(
    pixels: int, channels: int, bits: int, seed: int
) -> None:
    """The floor loses less than 1 unit of 2^(exponent + scale_exponent + 16), the final shift at most half a unit of the result."""
    params, views = scale_case(np.random.default_rng(seed), pixels, channels, bits)
    ERROR_SCALE_B16.golden(params, views)
    inside = np.unpackbits(views["inside"].view(np.uint8), bitorder="little")[: params.elements]
    factors = np.ldexp(views["scale"].astype(np.float64), params.scale_exponent)
    real = block_values(views["error"]) * factors * inside.reshape(pixels, channels)
    product_unit = 2.0 ** (int(views["error"].exponent[0]) + params.scale_exponent + 16)
    shifted = unit(views["out"]) > product_unit
    bound = product_unit + (0.5 * unit(views["out"]) if shifted else 0)
    assert np.abs(block_values(views["out"]) - real).max() <= bound
    assert np.abs(views["out"].mantissa.astype(np.int32)).max() <= 2**bits - 1


@examples(60)
@given(elements=sizes, seed=seeds, apart=st.integers(-40, 40))
def test_a_sum_costs_half_a_unit_of_the_larger_exponent_and_half_of_the_result(
    elements: int, seed: int, apart: int
) -> None:
    """Only one of the two is shifted to the larger exponent, and the sum needs at most one more shift."""
    rng = np.random.default_rng(seed)
    a, b = random_block16(rng, (elements,)), random_block16(rng, (elements,))
    b.exponent[0] = a.exponent[0] + apart
    views: dict[str, Any] = {"a": a, "b": b, "out": block16((elements,))}
    ERROR_SUM_B16.golden(ElementsParams(elements), views)
    common = max(unit(a), unit(b))
    bound = (0.5 * common if apart else 0) + (0.5 * unit(views["out"]) if unit(views["out"]) > common else 0)
    assert np.abs(block_values(views["out"]) - (block_values(a) + block_values(b))).max() <= bound


def test_rounding_is_half_away_from_zero_on_both_sides() -> None:
    sums = block32((5,))
    sums.mantissa[...] = [2**16 - 2, 3, -3, 1, -1]  # the largest needs one shift
    views: dict[str, Any] = {"sums": sums, "out": block16((5,))}
    ERROR_NORMALIZE_B16.golden(ElementsParams(5), views)
    assert views["out"].mantissa.tolist() == [2**15 - 1, 2, -2, 1, -1]
    assert views["out"].exponent.tolist() == [1]


def test_a_rounding_that_carries_takes_one_more_shift() -> None:
    sums = block32((1,))
    sums.mantissa[...] = 2**16 - 1  # one shift would round to 2^15
    views: dict[str, Any] = {"sums": sums, "out": block16((1,))}
    ERROR_NORMALIZE_B16.golden(ElementsParams(1), views)
    assert (views["out"].mantissa[0], views["out"].exponent[0]) == (2**14, 2)


@both_forms
@pytest.mark.parametrize(
    ("magnitude", "mantissa", "exponent"), [(2.0**-100, 2**14, -114), (2.0**-101, 0, 0), (0.0, 0, 0)]
)
def test_errors_below_two_to_the_minus_100_are_zero(form: str, magnitude: float, mantissa: int, exponent: int) -> None:
    views: dict[str, Any] = {"error": np.array([magnitude], np.float32), "out": block16((1,))}
    out = golden_and_c_agree(form, ERROR_QUANTIZE_B16, ElementsParams(1), views)["out"]
    assert (out.mantissa[0], out.exponent[0]) == (mantissa, exponent)


def test_a_masked_error_is_zero_and_does_not_set_the_exponent() -> None:
    error = block16((2,))
    error.mantissa[...] = [2**15 - 1, 1]
    params = ErrorScaleParams(elements=2, channels=1, scale_exponent=-30, mantissa_bits=11)
    views: dict[str, Any] = {
        "error": error,
        "inside": np.array([2], np.uint32),
        "scale": np.array([2**30], np.int32),
        "out": block16((2,)),
    }
    ERROR_SCALE_B16.golden(params, views)
    assert views["out"].mantissa.tolist() == [0, 2**10]  # 2^14 units of 2^-14, in 11 bits
    assert block_values(views["out"]).tolist() == [0.0, 1.0]


# In place


def in_place_gives_the_same(form: str, kernel: Kernel, params: Params, views: dict[str, Any], role: str) -> None:
    apart = golden_and_c_agree(form, kernel, params, views)["out"]
    shared = {name: copied(view) for name, view in views.items() if name != "out"}
    source = shared[role]
    if isinstance(source, Block):
        memory = source.exponent.base
        assert isinstance(memory, np.ndarray)
        shared["out"] = block16(source.mantissa.shape, memory)
    else:
        shared["out"] = source
    golden = dict(shared)
    if isinstance(source, Block):
        twin = copied(source)
        assert isinstance(twin, Block)
        memory = twin.exponent.base
        assert isinstance(memory, np.ndarray)
        golden |= {role: twin, "out": block16(twin.mantissa.shape, memory)}
    else:
        golden[role] = golden["out"] = copied(source)
    kernel.golden(params, golden)
    assert same_bits(golden["out"], apart)
    assert call(form, kernel, params, shared) == 0
    assert same_bits(shared["out"], apart)


@both_forms
@examples(20)
@given(pixels=st.integers(1, 40), channels=st.integers(1, 20), seed=seeds)
def test_in_place_calls_give_what_calls_out_of_place_give(form: str, pixels: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    elements = pixels * channels
    shape, count = (elements,), ElementsParams(elements)
    params, views = scale_case(rng, pixels, channels, 11)
    in_place_gives_the_same(form, ERROR_SCALE_B16, params, views, "error")
    sums: dict[str, Any] = {"sums": random_sums(rng, elements), "out": block16(shape)}
    in_place_gives_the_same(form, ERROR_NORMALIZE_B16, count, sums, "sums")
    floats: dict[str, Any] = {
        "a": random_floats(rng, shape),
        "b": random_floats(rng, shape),
        "out": np.zeros(shape, np.float32),
    }
    branches: dict[str, Any] = {"a": random_block16(rng, shape), "b": random_block16(rng, shape), "out": block16(shape)}
    for role in ("a", "b"):
        in_place_gives_the_same(form, ERROR_SUM_B16, count, branches, role)
        in_place_gives_the_same(form, ERROR_SUM_F32, count, floats, role)
    scaled: dict[str, Any] = {"error": random_floats(rng, (pixels, channels)), "scale": random_floats(rng, (channels,))}
    float_params = ErrorScaleParams(elements, channels, 0, 15)
    out = {"out": np.zeros((pixels, channels), np.float32)}
    in_place_gives_the_same(form, ERROR_SCALE_F32, float_params, {**scaled, **out}, "error")


def rounded(size_bytes: int) -> int:
    """As the planner rounds sizes."""
    return -(-size_bytes // 8) * 8


def normalised_behind(form: str, sums: Block, distance: int) -> tuple[int, Block, Block]:
    """Status, golden's and the C kernel's mantissas where they are written ``distance`` bytes behind the start of the sums."""
    elements = sums.mantissa.size
    found = []
    for _ in range(2):
        memory = np.full(max(4 + 4 * elements, distance + 4 + 2 * elements), 0x5A, np.uint8)
        source = block32((elements,), memory)
        source.exponent[...], source.mantissa[...] = sums.exponent, sums.mantissa
        found.append((memory, source, block16((elements,), memory[distance:])))
    (_, source, golden), (memory, _, actual) = found
    ERROR_NORMALIZE_B16.golden(ElementsParams(elements), {"sums": source, "out": golden})
    pointer = cffi.FFI()
    addresses = [pointer.cast("void *", memory.ctypes.data + at) for at in (0, distance)]
    params = c_params(form, ERROR_NORMALIZE_B16, ElementsParams(elements))
    status = int(c_function(form, "mct_error_normalize_b16")(params, *addresses))
    return status, golden, actual


@both_forms
@examples(150)
@given(elements=st.integers(1, 200), further=st.integers(0, 60), seed=seeds)
@example(elements=64, further=0, seed=0)
def test_sums_may_be_normalised_into_place_behind_their_start(
    form: str, elements: int, further: int, seed: int
) -> None:
    """From the closest distance allowed (further = 0) over the one at which both end together to none of the sums left."""
    sums = random_sums(np.random.default_rng(seed), elements)
    out = block16((elements,))
    ERROR_NORMALIZE_B16.golden(ElementsParams(elements), {"sums": sums, "out": out})
    closest = rounded(2 * (elements - 1)) if further else -(-2 * (elements - 1) // 4) * 4
    for distance in {0, closest + 8 * further}:
        status, golden, actual = normalised_behind(form, sums, distance)
        assert status == 0
        assert same_bits(golden, out), f"golden, {distance} bytes behind"
        assert same_bits(actual, out), f"{form}, {distance} bytes behind"


@both_forms
def test_sums_and_what_they_become_may_end_together_unless_one_element_is_missing_to_four(form: str) -> None:
    """The planner's question, answered as the kernel works: sizes rounded up to 8 bytes."""
    rng = np.random.default_rng(5)
    answers = {}
    for elements in range(1, 101):
        distance = rounded(4 + 4 * elements) - rounded(4 + 2 * elements)
        allowed = ERROR_NORMALIZE_B16.in_place_behind(ElementsParams(elements), distance)
        answers[elements] = allowed
        if allowed:
            sums = random_sums(rng, elements)
            _, golden, actual = normalised_behind(form, sums, distance)
            out = block16((elements,))
            ERROR_NORMALIZE_B16.golden(ElementsParams(elements), {"sums": sums, "out": out})
            assert same_bits(golden, out) and same_bits(actual, out), elements
    assert answers == {elements: elements % 4 != 3 for elements in range(1, 101)}


def test_a_kernel_that_says_nothing_lets_no_output_begin_behind_its_input() -> None:
    params = ErrorScaleParams(8, 8, 0, 11)
    assert not ERROR_SCALE_B16.in_place_behind(params, 8)
    assert not ERROR_NORMALIZE_B16.in_place_behind(ElementsParams(8), 13)
    assert ERROR_NORMALIZE_B16.in_place_behind(ElementsParams(8), 14)


# Refusals


@both_forms
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_error_that_is_not_finite_is_refused(form: str, value: float) -> None:
    views: dict[str, Any] = {"error": np.array([1.0, value, 2.0], np.float32), "out": block16((3,))}
    assert refused(form, ERROR_QUANTIZE_B16, ElementsParams(3), views, ERROR_NOT_FINITE)
    with pytest.raises(NotFiniteError):
        ERROR_QUANTIZE_B16.golden(ElementsParams(3), views)


@both_forms
@pytest.mark.parametrize(
    ("elements", "channels", "bits"), [(0, 1, 11), (-1, 1, 11), (6, 0, 11), (6, 4, 11), (6, 3, 0), (6, 3, 16)]
)
def test_wrong_sizes_are_refused(form: str, elements: int, channels: int, bits: int) -> None:
    rng = np.random.default_rng(0)
    views: dict[str, Any] = {"error": random_block16(rng, (6,)), "scale": random_scale(rng, 3), "out": block16((6,))}
    assert refused(form, ERROR_SCALE_B16, ErrorScaleParams(elements, channels, 0, bits), views)
    if elements <= 0:
        count = ElementsParams(elements)
        assert refused(form, ERROR_SUM_B16, count, {"a": views["error"], "b": views["error"], "out": block16((6,))})
        assert refused(form, ERROR_NORMALIZE_B16, count, {"sums": random_sums(rng, 6), "out": block16((6,))})
        assert refused(form, ERROR_QUANTIZE_B16, count, {"error": random_floats(rng, (6,)), "out": block16((6,))})
