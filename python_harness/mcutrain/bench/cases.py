"""Case: one call of a kernel to bench, and the pseudo-random data that it takes, always the same."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Block, Params
from mcutrain.ops.steps import Phase

Data = NDArray[Any]

INPUT_ZERO_POINT, OUTPUT_ZERO_POINT = -5, 3

_ERROR_BITS = 13


@dataclass(frozen=True)
class Output:
    """A role that the kernel writes: its shape (mask: in words) without initial values."""

    shape: tuple[int, ...]


Operand = Data | Block | Output


@dataclass(frozen=True)
class Case:
    """One call of a kernel.

    shape: how tables name it. operands: by role; an array is an input, constant in flash (a quantisation by its scale and zero point), or
    the initial contents of a role that the kernel updates. Of block floating point an array is the mantissas, and the exponent is 0; a
    Block says both. elements: what cycles are divided by where the kernel has no MACs.
    """

    kernel: str
    shape: str
    params: Params
    phase: Phase
    operands: Mapping[str, Operand]
    elements: int


def generator(name: str) -> np.random.Generator:
    """Numbers that are always the same for a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def codes(shape: tuple[int, ...], name: str, low: int = -128) -> Data:
    """Random int8 codes from ``low`` to 127."""
    return generator(name).integers(low, 128, shape).astype(np.int8)


def mantissas(shape: tuple[int, ...], name: str) -> Data:
    """Random int16 mantissas of 13 bits and a sign."""
    limit = 1 << _ERROR_BITS
    return generator(name).integers(-limit, limit, shape).astype(np.int16)
