"""Random geometries, errors and gradients, and the check that every backward and update kernel must pass: C gives golden's bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.ops.base import Block, IndexList, Kernel, Params, RuntimeQuantization, View, Window, mask_words, pack_mask
from mcutrain.status import status_number
from support.ckernels import block16, block32, block64, call, index_list, quantization

OK, ERROR_ARGUMENT, ERROR_NOT_FINITE = map(status_number, ("MCT_OK", "MCT_ERROR_ARGUMENT", "MCT_ERROR_NOT_FINITE"))
_BLOCKS = {"int16": block16, "int32": block32, "int64": block64}
_STALE = 0x5A  # what outputs hold before they are written

# Below, at and above the blocks that the kernels work in: 4 and 16 input channels, 2 and 4 output channels; and the chunks of the DSP form.
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 16, 19, 66)

seeds = st.integers(0, 2**32 - 1)


@st.composite
def windows(draw: st.DrawFn, pool: bool = False, channels: tuple[int, ...] = CHANNELS) -> Window:
    """Any kernel, stride, padding and size, with every window touching the image."""

    def axis() -> tuple[int, int, int, int, int]:
        kernel, stride, out = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
        pad = draw(st.integers(0, kernel - 1))
        touching = max(1, (out - 1) * stride - pad + 1)
        return touching + draw(st.integers(0, kernel + stride)), out, kernel, stride, pad

    rows, columns = axis(), axis()
    in_channels = draw(st.sampled_from(channels))
    out_channels = in_channels if pool else draw(st.sampled_from(channels))
    return Window(
        *(rows[0], columns[0], in_channels),
        *(rows[1], columns[1], out_channels),
        *(rows[2], columns[2]),
        *(rows[3], columns[3]),
        *(rows[4], columns[4]),
    )


def random_block16(rng: np.random.Generator, shape: tuple[int, ...], bits: int = 15) -> Block:
    """Mantissas of up to ``bits`` magnitude bits, some of them 0 or at either end."""
    block = block16(shape)
    limit = 2**bits - 1
    block.exponent[0] = rng.integers(-40, 20)
    block.mantissa[...] = with_extremes(rng, rng.integers(-limit, limit + 1, shape), (-limit, 0, limit))
    return block


def random_codes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """int8 codes, some of them at either end."""
    return with_extremes(rng, rng.integers(-128, 128, shape), (-128, 127)).astype(np.int8)


def random_floats(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32 values of many magnitudes, some of them 0."""
    values = rng.standard_normal(shape) * np.exp2(rng.integers(-12, 12, shape))
    return with_extremes(rng, values, (0.0,)).astype(np.float32)


def random_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
    """A clip mask as booleans and as words."""
    inside = rng.random(shape) < 0.6
    words = np.zeros(mask_words(inside.size), np.uint32)
    pack_mask(inside, words)
    return inside, words


def with_extremes(rng: np.random.Generator, values: NDArray[Any], extremes: tuple[float, ...]) -> NDArray[Any]:
    """``values`` with about a fifth of them replaced by extremes."""
    return np.where(rng.random(values.shape) < 0.2, rng.choice(np.array(extremes), values.shape), values)


def copied(view: View) -> View:
    """A copy in memory of its own."""
    if isinstance(view, IndexList):
        return index_list(view.index, int(view.count[0]))
    if isinstance(view, RuntimeQuantization):
        return quantization(float(view.scale[0]), int(view.zero_point[0]))
    if not isinstance(view, Block):
        return view.copy()
    block = _BLOCKS[view.mantissa.dtype.name](view.mantissa.shape)
    block.exponent[...] = view.exponent
    block.mantissa[...] = view.mantissa
    return block


def same_bits(a: View, b: View) -> bool:
    """Equal in every bit: -0 is not +0, and a NaN is itself."""
    if isinstance(a, Block) and isinstance(b, Block):
        return same_bits(a.exponent, b.exponent) and same_bits(a.mantissa, b.mantissa)
    if isinstance(a, IndexList) and isinstance(b, IndexList):
        return same_bits(a.count, b.count) and same_bits(a.index, b.index)
    if isinstance(a, RuntimeQuantization) and isinstance(b, RuntimeQuantization):
        return same_bits(a.scale, b.scale) and same_bits(a.zero_point, b.zero_point)
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def golden_and_c_agree(form: str, kernel: Kernel, params: Params, views: Mapping[str, View]) -> Mapping[str, Any]:
    """Run both on their own copies, assert equal bits of every buffer and untouched inputs; the views as golden left them."""
    written = [role for role in kernel.outputs if role.dtype != "scratch"]
    stale = [role.name for role in written if role.name not in kernel.updates]
    expected, actual = ({name: copied(view) for name, view in views.items()} for _ in range(2))
    for name in stale:
        _fill(expected[name], _STALE)
        _fill(actual[name], _STALE)
    kernel.golden(params, expected)
    assert call(form, kernel, params, actual) == OK
    for role in (*kernel.inputs, *kernel.outputs):
        if role.name in views:
            assert same_bits(actual[role.name], expected[role.name]), (
                f"{form} {kernel.name}: {role.name} differs, {params}"
            )
    for role in kernel.inputs:
        if role.name in views:
            assert same_bits(actual[role.name], views[role.name]), f"{kernel.name} changed its input {role.name}"
    return expected


def refused(form: str, kernel: Kernel, params: Params, views: Mapping[str, View], status: int = ERROR_ARGUMENT) -> bool:
    """Whether the C kernel returns ``status`` and leaves every buffer as it was."""
    actual = {name: copied(view) for name, view in views.items()}
    returned = call(form, kernel, params, actual)
    return returned == status and all(same_bits(actual[name], view) for name, view in views.items())


def random_list(rng: np.random.Generator, channels: int, most: int) -> NDArray[np.int32]:
    """A random list of at most ``most`` channels, ascending: none and one of them as often as all other numbers."""
    count = min(most, int(rng.choice(np.array([0, 1, *rng.integers(0, most, 2, endpoint=True), most]))))
    return np.sort(rng.choice(channels, count, replace=False)).astype(np.int32)


def hostile_lists(channels: int, most: int) -> list[IndexList]:
    """Lists that a kernel has to refuse, of a layer with so many channels and room for ``most`` of them, at least 2."""
    too_many = list(range(most + 1))
    return [
        index_list([1, 0]),
        index_list([1, 1]),
        index_list([-1, 0]),
        index_list([0, channels]),
        index_list([0, 1], -1),
        index_list([0, 1], -(2**31)),
        index_list(too_many, most + 1),
        index_list(too_many, 2**31 - 1),
    ]


def _fill(view: View, byte: int) -> None:
    assert isinstance(view, Block | np.ndarray)
    arrays = (view.exponent, view.mantissa) if isinstance(view, Block) else (view,)
    for array in arrays:
        array.reshape(-1).view(np.uint8)[...] = byte
