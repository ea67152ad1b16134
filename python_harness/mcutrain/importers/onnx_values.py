"""What a name of an ONNX QDQ file stands for while the importer walks the file.

In QDQ form every operator computes on real numbers between a DequantizeLinear and a QuantizeLinear. A Graph operator
needs both at once: the codes it reads, and the scale of the codes it writes. So a node's result stays Pending until the
QuantizeLinear that follows says what its codes are; a Relu or Clip on the way becomes its clamp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import Attributes
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers.onnx_file import Array

Shape = tuple[int, ...]
Clamp = tuple[int, int]


@dataclass(frozen=True)
class Codes:
    """An int8 tensor of the Graph.

    order: None where a vector's elements are in the order the file has them; (channels, height, width) where it is the
    flattened image of that shape, which is channels-first in the file and channels-last in the Graph.
    """

    tensor: Tensor
    order: Shape | None = None


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
    output (pools: the input's), or None where it can write any. low, high: real-valued limits. awaits_bias: a matrix
    product, to which the next node may add its bias. rescales_operands: every operand is brought to the output's scale
    and clamp first.
    """

    name: str
    kind: str
    source: str
    inputs: tuple[str, ...]
    shape: Shape
    order: Shape | None
    attributes: Callable[[Clamp], Attributes]
    own: Quantization | None = None
    low: float | None = None
    high: float | None = None
    awaits_bias: bool = False
    rescales_operands: bool = False


@dataclass(frozen=True)
class Unknown:
    """The result of a node that is not supported: what reads it is not complained about again."""


Value = Codes | Real | Constant | NetworkInput | Pending | Unknown


def graph_axes(rank: int) -> Shape:
    """Of each axis of a Graph's tensor, which axis of the file it is, both without the batch."""
    return (1, 2, 0) if rank == 3 else tuple(range(rank))


def graph_shape(shape: Shape) -> Shape:
    """A shape of the file without the batch, (channels, height, width) or (length,), in the Graph's layout."""
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else shape


def file_shape(shape: Shape) -> Shape:
    """The inverse of ``graph_shape``."""
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def flattened_order(channels_first: Shape) -> Shape | None:
    """The ``order`` of a flattened (channels, height, width) image; None where both layouts flatten alike."""
    channels, height, width = channels_first
    return None if channels == 1 or height * width == 1 else channels_first
