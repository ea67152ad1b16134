"""What a name of an ONNX QDQ file stands for while the importer walks the file.

In QDQ form every operator computes on real numbers between a DequantizeLinear and a QuantizeLinear. A Graph operator
needs both at once: the codes it reads, and the scale of the codes it writes. So a node's result stays Pending until the
QuantizeLinear that follows says what its codes are; a Relu or Clip on the way becomes its clamp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import Attributes
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers.onnx_file import Array

Shape = tuple[int, ...]
Clamp = tuple[int, int]

_MOVES = frozenset({"max_pool", "pad", "reshape", "slice", "transpose"})


@dataclass(frozen=True)
class Codes:
    """An int8 tensor of the Graph.

    order: None where a vector's elements are in the order the file has them; (channels, height, width) where it is the
    flattened image of that shape, which is channels-first in the file and channels-last in the Graph. A tensor of two dimensions
    is a sequence, (channels, length) in the file and (length, channels) in the Graph.
    rows: whether the file's tensor has no axis for the batch alone, but the batch and others in one, or not in front: (36, 8) of a batch
    of 1 x 36 x 8. In the Graph it lies as (1, 36, 8) of the file would.
    """

    tensor: Tensor
    order: Shape | None = None
    rows: bool = False

    @property
    def whole_shape(self) -> Shape:
        """The shape of the file's tensor, batch 1 included."""
        shape = file_shape(self.tensor.shape)
        return shape if self.rows else (1, *shape)


@dataclass(frozen=True)
class Real:
    """The real values of codes: what a DequantizeLinear of an activation yields."""

    codes: Codes


@dataclass(frozen=True)
class Constant:
    """A constant: float values or shape integers, or the codes of a quantised constant with their quantisation."""

    name: str
    values: Array
    quantization: Quantization | None = None

    def real(self) -> NDArray[np.float64]:
        """The real values of a constant with one scale."""
        values = self.values.astype(np.float64)
        if self.quantization is None:
            return values
        zero_point, scale = self.quantization.zero_point[0], self.quantization.scale[0]
        result: NDArray[np.float64] = (values - float(zero_point)) * float(scale)
        return result


@dataclass(frozen=True)
class NetworkInput:
    """The network's input, in the Graph's layout, before its quantisation is known."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class Pending:
    """The real-valued result of an operator whose output codes are not known yet.

    attributes: makes the operator's attributes from its clamp. own: the quantisation that the operator itself gives its
    output (pools: the input's), or None where it can write any. unstated: the quantisation of its codes where it can write
    any, but the file ends without one, from the operator's range. low, high: real-valued limits. awaits_bias: a matrix
    product, to which the next node may add its bias. rescales_operands: every operand is brought to the output's scale
    and clamp first. clamps: whether the operator can limit its output itself. shape, order, rows: of the result, as in
    ``Codes``. turned: how what the operator writes is transposed to have this shape; None: not at all. written: the shape
    that the operator writes, where a reshape brings it to this one; else None. times: the result is so many times what the
    operator computes: a sum, of a mean.
    """

    name: str
    kind: str
    source: str
    inputs: tuple[str, ...]
    shape: Shape
    order: Shape | None
    attributes: Callable[[Clamp], Attributes]
    own: Quantization | None = None
    unstated: Quantization | None = None
    low: float | None = None
    high: float | None = None
    awaits_bias: bool = False
    rescales_operands: bool = False
    clamps: bool = True
    rows: bool = False
    turned: Shape | None = None
    written: Shape | None = None
    times: int = 1

    @property
    def is_limited_codes(self) -> bool:
        """Whether its elements are those of a tensor of codes, within limits: known to every reader, however it is quantised."""
        return self.kind == "requantize"

    @property
    def is_moved(self) -> bool:
        """Whether its elements are those of its operand, moved or picked: they keep their codes."""
        return self.own is not None and self.kind in _MOVES and (self.low, self.high) == (None, None)


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Real values that depend on one tensor's codes alone, and are not quantised yet: what a table will hold.

    codes: the tensor. values, slopes: of each of its codes, from -128 to 127, the value and d value / d real value of the tensor, (256,).
    name, source: of the operator to be. function: what it is called in messages. unstated: as in ``Pending``.
    """

    name: str
    source: str
    function: str
    codes: Codes
    values: NDArray[np.float32]
    slopes: NDArray[np.float64]
    unstated: Quantization | None = None


@dataclass(frozen=True)
class Unknown:
    """The result of a node that is not supported: what reads it is not complained about again."""


Value = Codes | Real | Constant | NetworkInput | Pending | Pointwise | Unknown


def graph_axes(rank: int) -> Shape:
    """Of each axis of a Graph's tensor, which axis of the file it is, both without the batch."""
    return (*range(1, rank), 0)


def graph_shape(shape: Shape) -> Shape:
    """A shape of the file without the batch in the Graph's layout, whose channels are last.

    (channels, height, width) of an image, (channels, length) of a sequence; a vector is the same in both.
    """
    return (*shape[1:], shape[0])


def file_shape(shape: Shape) -> Shape:
    """The inverse of ``graph_shape``."""
    return (shape[-1], *shape[:-1])


def flattened_order(channels_first: Shape) -> Shape | None:
    """The ``order`` of a flattened tensor of this shape, (channels, ...), as that of an image: (channels, rows, columns).

    None where both layouts flatten alike.
    """
    channels, *sides = channels_first
    pixels = math.prod(sides)
    return None if channels == 1 or pixels == 1 else (channels, pixels // sides[-1], sides[-1])


def are_same_order(a: Shape | None, b: Shape | None) -> bool:
    """Whether elements that are flattened from these shapes lie in the same order: whatever the rows of the images are."""
    return a == b or (a is not None and b is not None and (a[0], math.prod(a)) == (b[0], math.prod(b)))
