"""Kernel: one C function and its golden NumPy twin.

A Step of a plan names a kernel, its parameters, and which buffer plays which role. The golden executor calls ``Kernel.golden`` with
views of the buffers; code generation prints ``mct_<kernel>(&params, inputs..., outputs...)`` in the order of the roles. So a kernel
is described once, here, and both runners follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import McutrainError


class NotFiniteError(McutrainError):
    """An update step was NaN or infinite: the golden twin of MCT_ERROR_NOT_FINITE."""


@dataclass(frozen=True)
class Window:
    """mct_window: a window that slides over an image (height x width x channels)."""

    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    pad_top: int
    pad_left: int


_SIDE_LIMIT = 1 << 15


def window_problem(window: Window) -> str | None:
    """Why the kernels refuse a window, or None where they take it: mct_window_valid in Python."""
    w = window
    if w.in_channels < 1 or w.out_channels < 1:
        return f"{w.in_channels} input and {w.out_channels} output channels"
    for name, side, out, kernel, stride, pad in (
        ("rows", w.in_height, w.out_height, w.kernel_height, w.stride_height, w.pad_top),
        ("columns", w.in_width, w.out_width, w.kernel_width, w.stride_width, w.pad_left),
    ):
        largest = max(side, out, kernel, stride)
        if min(side, out, kernel, stride) < 1 or largest >= _SIDE_LIMIT:
            return (
                f"{side} {name}, {out} of the output, a kernel of {kernel} and a stride of {stride}; the kernels take 1 to "
                f"{_SIDE_LIMIT - 1}"
            )
        if not 0 <= pad < kernel or (out - 1) * stride - pad >= side:
            return (
                f"a window of {kernel} {name} lies in the padding alone ({side} {name}, padding {pad}, stride {stride}, "
                f"{out} windows)"
            )
    return None


@dataclass(frozen=True)
class Params:
    """Base of kernel parameters. Field names and order are those of the C struct.

    int -> int32_t, float -> float, Window -> mct_window, Broadcast -> mct_broadcast.
    """


@dataclass
class Block:
    """View of a mct_b16, mct_b32 or mct_b64: value = mantissa * 2**exponent[0].

    exponent: int32, shape (1,). mantissa: int16, int32 or int64, the tensor's shape. Both are views: write into them.
    """

    exponent: NDArray[np.int32]
    mantissa: NDArray[Any]


@dataclass
class RuntimeQuantization:
    """View of a mct_quantization: real = scale[0] * (code - zero_point[0]). scale: float32, zero_point: int32, both of shape (1,)."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]


@dataclass
class IndexList:
    """View of a mct_index: the first count[0] elements of ``index`` (int32, as many as it can hold) are the list, ascending."""

    count: NDArray[np.int32]
    index: NDArray[np.int32]

    @property
    def listed(self) -> NDArray[np.int32]:
        """The list: what a kernel computes, and all that it costs."""
        return self.index[: int(self.count[0])]


# What golden kernels receive: a typed array view of the buffer in its shape, or one of the above; masks are uint32 words (see pack_mask).
View = NDArray[Any] | Block | RuntimeQuantization | IndexList


def view_of(raw: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> View:
    """The bytes ``raw`` of a buffer as what its dtype and shape say. Writing into the view writes the bytes."""
    if dtype in _BLOCKS:
        header, mantissa = _BLOCKS[dtype]
        return Block(raw[:4].view(np.int32), raw[header:].view(mantissa).reshape(shape))
    if dtype == "quantization":
        return RuntimeQuantization(raw[:4].view(np.float32), raw[4:8].view(np.int32))
    if dtype == "index":
        return IndexList(raw[:4].view(np.int32), raw[4:].view(np.int32).reshape(shape))
    return raw.view(_ARRAYS[dtype]).reshape(shape)


def dtype_bytes(dtype: str, elements: int) -> int:
    """Bytes of a buffer of so many elements, with the exponent of block floating point and the count of a list."""
    if dtype in _BLOCKS:
        header, mantissa = _BLOCKS[dtype]
        return header + elements * mantissa.itemsize
    if dtype == "quantization":
        return 8
    if dtype == "index":
        return 4 + 4 * elements
    return elements * _ARRAYS[dtype].itemsize


# Where the mantissas begin, and what they are: int64 has to lie at a multiple of eight.
_BLOCKS: dict[str, tuple[int, np.dtype[Any]]] = {
    "b16": (4, np.dtype(np.int16)),
    "b32": (4, np.dtype(np.int32)),
    "b64": (8, np.dtype(np.int64)),
}
_ARRAYS: dict[str, np.dtype[Any]] = {
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "int32": np.dtype(np.int32),
    "uint32": np.dtype(np.uint32),
    "float32": np.dtype(np.float32),
    "mask": np.dtype(np.uint32),
    "scratch": np.dtype(np.uint8),
}


@dataclass(frozen=True)
class Role:
    """One pointer argument of a kernel.

    dtype: int8, uint8, int32, uint32, float32, mask, b16, b32, b64, quantization, index or scratch.
    """

    name: str
    dtype: str
    optional: bool = False


@dataclass(frozen=True)
class Kernel:
    """One C function ``mct_<name>`` and its golden twin.

    params: the dataclass whose C twin is ``c_params``. inputs and outputs: roles in the order of the C arguments (after the params, inputs
    first, then outputs, scratch being the first of these; a buffer that is both read and written is an output that is also listed in
    ``updates``). golden(params, views): reads and writes ``views[role]``; absent optional roles are not in the mapping.
    in_place: (input role, output role) pairs that may begin at the same address, with params for which in_place_where says so.
    in_place_behind(params, distance_bytes): whether the output of such a pair may also begin that far behind the input. macs(params):
    multiply-accumulates. scratch_bytes(params): size of the scratch role.
    """

    name: str
    c_params: str
    params: type[Params]
    inputs: tuple[Role, ...]
    outputs: tuple[Role, ...]
    golden: Callable[[Any, Mapping[str, Any]], None]
    in_place: tuple[tuple[str, str], ...] = ()
    in_place_where: Callable[[Any], bool] = lambda params: True
    in_place_behind: Callable[[Any, int], bool] = lambda params, distance_bytes: False
    updates: tuple[str, ...] = ()
    macs: Callable[[Any], int] = lambda params: 0
    scratch_bytes: Callable[[Any], int] = lambda params: 0


def mask_words(elements: int) -> int:
    """uint32 words of a clip mask over ``elements`` elements."""
    return (elements + 31) // 32


def pack_mask(inside: NDArray[np.bool_], words: NDArray[np.uint32]) -> None:
    """Write a boolean array (any shape, C order) into mask words; spare bits of the last word are 0."""
    bits = np.zeros(words.size * 32, dtype=np.uint8)
    bits[: inside.size] = inside.reshape(-1)
    words[...] = np.packbits(bits, bitorder="little").view("<u4")


def unpack_mask(words: NDArray[np.uint32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The boolean array of ``shape`` that pack_mask wrote."""
    elements = int(np.prod(shape, dtype=np.int64))
    return np.unpackbits(words.view(np.uint8), bitorder="little")[:elements].astype(np.bool_).reshape(shape)
