"""copy and resize_nearest: C has golden's bits, golden moves what NumPy moves, and what reaches outside a tensor is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Block
from mcutrain.ops.copy import (
    COPY_ERROR_B16,
    COPY_ERROR_F32,
    COPY_INTO_S8,
    COPY_S8,
    CopyParams,
    Side,
    contiguous,
    copy_params,
    reversed_copy,
)
from mcutrain.ops.resize_nearest import (
    RESIZE_NEAREST_ERROR_B16,
    RESIZE_NEAREST_ERROR_F32,
    RESIZE_NEAREST_S8,
    ResizeNearestParams,
)
from support.backward_cases import golden_and_c_agree, random_block16, random_codes, random_floats, refused, seeds
from support.ckernels import block16, block32, forms
from support.examples import examples

both_forms = pytest.mark.parametrize("form", forms)
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Move:
    """Axes in another order, every step-th element of each from ``begin`` on, into a tensor with a border."""

    shape: Shape
    permutation: Shape
    begin: Shape
    step: Shape
    sizes: Shape
    border: tuple[tuple[int, int], ...]

    @property
    def target_shape(self) -> Shape:
        return tuple(n + sum(edges) for n, edges in zip(self.sizes, self.border, strict=True))

    def params(self, value: int = 0) -> CopyParams:
        strides, to = contiguous(self.shape), contiguous(self.target_shape)
        start = sum(self.begin[a] * strides[a] for a in range(len(strides)))
        source = Side(start, tuple(strides[a] * self.step[a] for a in self.permutation), math.prod(self.shape))
        at = sum(before * stride for (before, _), stride in zip(self.border, to, strict=True))
        return copy_params(self.sizes, source, Side(at, to, math.prod(self.target_shape)), value)

    def taken(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the box holds, by NumPy's own words."""
        for axis, (begin, step) in enumerate(zip(self.begin, self.step, strict=True)):
            count = self.sizes[self.permutation.index(axis)]
            x = np.take(x, [begin + i * step for i in range(count)], axis)
        return x.transpose(self.permutation)

    def apply(self, x: NDArray[Any], value: int) -> NDArray[Any]:
        return np.pad(self.taken(x), self.border, constant_values=value)


@st.composite
def moves(draw: st.DrawFn) -> Move:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=5)))
    begin, step, counts = [], [], []
    for n in shape:
        count, each = draw(st.integers(1, n)), draw(st.sampled_from([-2, -1, 1, 1, 1, 2]))
        while (count - 1) * abs(each) >= n:
            count -= 1
        reach = (count - 1) * abs(each)
        first = draw(st.integers(0, n - 1 - reach))
        begin.append(first if each > 0 else first + reach)
        step.append(each)
        counts.append(count)
    permutation = tuple(draw(st.permutations(range(len(shape)))))
    edges = st.tuples(st.integers(0, 2), st.integers(0, 2)) if draw(st.booleans()) else st.just((0, 0))
    border = tuple(draw(edges) for _ in shape)
    return Move(shape, permutation, tuple(begin), tuple(step), tuple(counts[a] for a in permutation), border)


FIVE_APART = Move((2, 3, 2, 3, 2), (4, 3, 2, 1, 0), (0,) * 5, (1,) * 5, (2, 3, 2, 3, 2), ((0, 0),) * 5)
ONE_RUN = Move((3, 4, 5), (0, 1, 2), (0,) * 3, (1,) * 3, (3, 4, 5), ((0, 0),) * 3)


@both_forms
@examples(150)
@given(move=moves(), value=st.integers(-128, 127), seed=seeds)
@example(move=FIVE_APART, value=0, seed=0)
@example(move=ONE_RUN, value=7, seed=0)
def test_copied_codes_are_where_numpy_has_them_and_the_rest_has_the_value(
    form: str, move: Move, value: int, seed: int
) -> None:
    x = random_codes(np.random.default_rng(seed), move.shape)
    views: dict[str, Any] = {"x": x, "y": np.zeros(move.target_shape, np.int8)}
    got = golden_and_c_agree(form, COPY_S8, move.params(value), views)
    np.testing.assert_array_equal(got["y"], move.apply(x, value))


@both_forms
@examples(80)
@given(move=moves(), seed=seeds)
def test_what_is_copied_into_a_tensor_leaves_the_rest_of_it(form: str, move: Move, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, before = random_codes(rng, move.shape), random_codes(rng, move.target_shape)
    got = golden_and_c_agree(form, COPY_INTO_S8, move.params(), {"x": x, "y": before})
    inner = tuple(slice(first, first + n) for (first, _), n in zip(move.border, move.sizes, strict=True))
    expected = before.copy()
    expected[inner] = move.taken(x)
    np.testing.assert_array_equal(got["y"], expected)


@both_forms
@examples(80)
@given(move=moves(), seed=seeds)
@example(move=FIVE_APART, seed=0)
def test_errors_go_back_where_the_elements_came_from_and_are_zero_elsewhere(form: str, move: Move, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = reversed_copy(move.params())
    blocks: dict[str, Any] = {"error": random_block16(rng, move.target_shape), "out": block16(move.shape)}
    floats: dict[str, Any] = {"error": random_floats(rng, move.target_shape), "out": np.zeros(move.shape, np.float32)}
    block = golden_and_c_agree(form, COPY_ERROR_B16, params, blocks)["out"]
    out = golden_and_c_agree(form, COPY_ERROR_F32, params, floats)["out"]
    assert block.exponent[0] == blocks["error"].exponent[0]
    # The index of its source stands in each element of the box: the gradient of a copy is the adjoint of that.
    indices = move.taken(np.arange(math.prod(move.shape)).reshape(move.shape))
    inner = tuple(slice(first, first + n) for (first, _), n in zip(move.border, move.sizes, strict=True))
    for error, got in ((blocks["error"].mantissa, block.mantissa), (floats["error"], out)):
        expected = np.zeros(math.prod(move.shape), error.dtype)
        expected[indices.reshape(-1)] = error[inner].reshape(-1)
        np.testing.assert_array_equal(got.reshape(-1), expected)


def test_dimensions_that_lie_in_one_piece_on_both_sides_become_one() -> None:
    assert ONE_RUN.params().sizes == (1, 1, 1, 1, 60)
    cropped = Move((4, 4, 5), (0, 1, 2), (1, 0, 0), (1, 1, 1), (2, 4, 5), ((0, 0),) * 3)
    assert cropped.params().sizes == (1, 1, 1, 1, 40)
    assert FIVE_APART.params().sizes == (2, 3, 2, 3, 2)


def test_a_copy_of_more_dimensions_than_the_kernel_has_is_an_error() -> None:
    shape, whole = (2,) * 6, Side(0, contiguous((2,) * 6), 64)
    with pytest.raises(ValueError, match="6 dimensions, more than 5"):
        copy_params(shape, whole, Side(0, tuple(reversed(whole.strides)), 64))


INNER = Move((3, 4), (1, 0), (0, 0), (1, 1), (4, 3), ((1, 1), (0, 2)))


@both_forms
@pytest.mark.parametrize(
    "wrong",
    [
        {"size_4": 0},
        {"size_0": -1},
        {"source_start": 1},
        {"source_start": -1},
        {"target_start": 16},
        {"source_elements": 11},
        {"target_elements": 10},
        {"source_stride_3": 2**31 - 1},
        {"target_stride_4": -(2**31)},
        {"size_2": 2**31 - 1},
        {"size_0": 2**31 - 1, "source_stride_0": 2**31 - 1, "size_1": 2**31 - 1, "source_stride_1": 2**31 - 1},
    ],
)
def test_a_copy_that_reaches_outside_a_tensor_is_refused(form: str, wrong: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    params = dataclasses.replace(INNER.params(), **wrong)
    codes: dict[str, Any] = {"x": random_codes(rng, INNER.shape), "y": random_codes(rng, INNER.target_shape)}
    blocks: dict[str, Any] = {"error": random_block16(rng, INNER.shape), "out": block16(INNER.target_shape)}
    floats: dict[str, Any] = {"error": random_floats(rng, INNER.shape), "out": random_floats(rng, INNER.target_shape)}
    assert refused(form, COPY_S8, params, codes)
    assert refused(form, COPY_INTO_S8, params, codes)
    assert refused(form, COPY_ERROR_B16, params, blocks)
    assert refused(form, COPY_ERROR_F32, params, floats)


@both_forms
def test_a_border_that_is_no_code_or_no_error_is_refused(form: str) -> None:
    rng = np.random.default_rng(0)
    codes: dict[str, Any] = {"x": random_codes(rng, INNER.shape), "y": random_codes(rng, INNER.target_shape)}
    blocks: dict[str, Any] = {"error": random_block16(rng, INNER.shape), "out": block16(INNER.target_shape)}
    assert refused(form, COPY_S8, INNER.params(128), codes)
    assert refused(form, COPY_ERROR_B16, INNER.params(1), blocks)


@st.composite
def resizes(draw: st.DrawFn) -> tuple[ResizeNearestParams, list[int], list[int]]:
    """Tables in any order, as a tile or a flip would have them too."""
    height, width, channels = (draw(st.integers(1, 6)) for _ in range(3))
    rows, columns = (draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9)) for n in (height, width))
    if draw(st.booleans()):
        rows, columns = sorted(rows), sorted(columns)
    return ResizeNearestParams(height, width, channels, len(rows), len(columns)), rows, columns


def tables(rows: list[int], columns: list[int]) -> dict[str, Any]:
    return {"rows": np.array(rows, np.int32), "columns": np.array(columns, np.int32)}


@both_forms
@examples(80)
@given(resize=resizes(), seed=seeds)
def test_a_resized_image_has_the_rows_and_columns_of_the_tables(form: str, resize: Any, seed: int) -> None:
    p, rows, columns = resize
    x = random_codes(np.random.default_rng(seed), (p.in_height, p.in_width, p.channels))
    views = {"x": x, **tables(rows, columns), "y": np.zeros((p.out_height, p.out_width, p.channels), np.int8)}
    got = golden_and_c_agree(form, RESIZE_NEAREST_S8, p, views)
    for i, j in np.ndindex(p.out_height, p.out_width):
        np.testing.assert_array_equal(got["y"][i, j], x[rows[i], columns[j]])


@both_forms
@examples(80)
@given(resize=resizes(), seed=seeds)
def test_the_error_of_a_pixel_is_the_sum_of_those_of_its_copies(form: str, resize: Any, seed: int) -> None:
    p, rows, columns = resize
    rng = np.random.default_rng(seed)
    small, large = (p.in_height, p.in_width, p.channels), (p.out_height, p.out_width, p.channels)
    blocks: dict[str, Any] = {"error": random_block16(rng, large), **tables(rows, columns), "sums": block32(small)}
    sums = golden_and_c_agree(form, RESIZE_NEAREST_ERROR_B16, p, blocks)["sums"]
    floats: dict[str, Any] = {"error": random_floats(rng, large), **tables(rows, columns)}
    golden_and_c_agree(form, RESIZE_NEAREST_ERROR_F32, p, {**floats, "out": np.zeros(small, np.float32)})
    assert isinstance(blocks["error"], Block)
    expected = np.zeros(small, np.int64)
    for i, j in np.ndindex(p.out_height, p.out_width):
        expected[rows[i], columns[j]] += blocks["error"].mantissa[i, j]
    np.testing.assert_array_equal(sums.mantissa, expected)
    assert sums.exponent[0] == blocks["error"].exponent[0]


@both_forms
@pytest.mark.parametrize("sign", [-1, 1])
def test_as_many_copies_as_planning_allows_sum_up_within_int32(form: str, sign: int) -> None:
    """65,538 * 32,767 = 2^31 - 2: the most whole mantissas that fit."""
    copies = 65538
    assert copies * (2**15 - 1) <= 2**31 - 1 < (copies + 1) * (2**15 - 1)
    p = ResizeNearestParams(1, 1, 1, 2, copies // 2)
    error = block16((2, copies // 2, 1))
    error.mantissa[...] = sign * (2**15 - 1)
    views: dict[str, Any] = {"error": error, **tables([0, 0], [0] * (copies // 2)), "sums": block32((1, 1, 1))}
    sums = golden_and_c_agree(form, RESIZE_NEAREST_ERROR_B16, p, views)["sums"]
    assert sums.mantissa[0, 0, 0] == sign * copies * (2**15 - 1)


@both_forms
@pytest.mark.parametrize("wrong", [([0, 2], [0, 1]), ([0, -1], [0, 1]), ([0, 1], [1, 3]), ([0, 1], [-(2**31), 0])])
def test_a_table_that_names_what_is_not_there_is_refused(form: str, wrong: tuple[list[int], list[int]]) -> None:
    rng = np.random.default_rng(0)
    p = ResizeNearestParams(2, 3, 2, 2, 2)
    codes: dict[str, Any] = {"x": random_codes(rng, (2, 3, 2)), **tables(*wrong), "y": random_codes(rng, (2, 2, 2))}
    blocks: dict[str, Any] = {"error": random_block16(rng, (2, 2, 2)), **tables(*wrong), "sums": block32((2, 3, 2))}
    assert refused(form, RESIZE_NEAREST_S8, p, codes)
    assert refused(form, RESIZE_NEAREST_ERROR_B16, p, blocks)
    fine = {**codes, **tables([0, 1], [0, 1])}
    for size in ("in_height", "in_width", "channels", "out_height", "out_width"):
        assert refused(form, RESIZE_NEAREST_S8, dataclasses.replace(p, **{size: 0}), fine)
