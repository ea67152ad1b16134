"""Graph, Tensor and Operator: what every importer produces and every method reads.

Conventions
-----------
* Shapes leave the batch out: an image activation is ``(height, width, channels)``, a vector ``(length,)``.
  The device trains with batch 1, so a batch dimension would be 1 everywhere.
* A code ``q`` of a quantised tensor stands for the real value ``scale * (q - zero_point)``.
* Convolution weights are ``(out_channels, kernel_height, kernel_width, in_channels)``, depthwise ones ``(out_channels,
  kernel_height, kernel_width)``, fully connected weights ``(out_features, in_features)``; all int8, symmetric (zero
  point 0), scales per tensor or per output channel.
* Bias is int32 at scale ``input_scale * weight_scale[c]``. Every layer with weights has one (the importer adds zeros
  where the file has none).
* Padding is explicit in every operator: SAME and VALID are resolved by the importer.
* Fused activations are the clamp of the operator that carries them, in output codes.
* An operator's name is its kind and its index among the operators of the file (``conv0``, ``add3``; in ONNX without the
  quantise and dequantise nodes), so that schemes, reports and error messages mean the same operator as the file does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import Attributes


@dataclass(frozen=True)
class Quantization:
    """Affine quantisation: ``real = scale * (code - zero_point)``.

    scale: float32, shape (1,) or (channels,). zero_point: int32, same shape. axis: the channel axis of a per-channel
    quantisation (without the batch), or None for one scale for the whole tensor.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """One tensor. dtype is "int8" or "int32" (bias); data is None for activations."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: NDArray[np.generic] | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def image(self) -> tuple[int, int, int]:
        """(height, width, channels) of an image. A sequence, (length, channels), is an image of height 1."""
        height, width, channels = (1, *self.shape) if len(self.shape) == 2 else self.shape
        return height, width, channels

    @property
    def scale(self) -> float:
        """The scale of a tensor with one scale (float32 value as a Python float)."""
        assert self.quantization is not None and self.quantization.scale.size == 1, self.name
        return float(self.quantization.scale[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor with one scale."""
        assert self.quantization is not None and self.quantization.zero_point.size == 1, self.name
        return int(self.quantization.zero_point[0])


@dataclass(frozen=True)
class Operator:
    """One operator.

    kind is one of: conv2d, depthwise_conv2d, fully_connected, add, average_pool, concatenate, log_softmax, max_pool, mean, multiply, pad,
    prelu, requantize, reshape, resize_nearest, slice, softmax, table, transpose. source is what the file calls it ("CONV_2D",
    "QLinearConv", ...), for messages.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    source: str = ""


@dataclass(frozen=True)
class Graph:
    """A quantised network with one input and one output, operators in execution order.

    input_domain says how a user's array becomes input codes, e.g. "uint8 - 128"; source_sha256 identifies the file. notes: what the
    importer had to change or to choose, a sentence each.
    """

    name: str
    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    input: str
    output: str
    source_format: str
    source_sha256: str
    input_domain: str = "int8 codes"
    notes: tuple[str, ...] = ()

    def producer(self, tensor: str) -> Operator | None:
        """The operator that writes ``tensor``, or None for the input and constants."""
        return next((op for op in self.operators if tensor in op.outputs), None)
