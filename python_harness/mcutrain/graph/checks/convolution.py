"""Checks of conv2d, depthwise_conv2d and fully_connected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import ConvAttributes, dilated
from mcutrain.graph.checks.base import (
    INT32_MAX,
    MAX_SIDE,
    Check,
    Shape,
    check_clamp,
    check_image,
    check_image_shape,
    check_operands,
    check_rescale,
    check_shape,
    check_window,
    require,
    window_shape,
)
from mcutrain.graph.model import Graph, Operator, Tensor

# Tools compute bias scales in float32 or float64 and round them: an exact comparison would be too strict.
_BIAS_SCALE_TOLERANCE = 1e-3


def _check_weighted(op: Operator, attributes: ConvAttributes, operands: list[Tensor]) -> None:
    x, weights, bias, y = operands
    assert weights.data is not None
    assert bias.data is not None
    assert weights.quantization is not None
    assert bias.quantization is not None
    check_clamp(op, attributes.clamp)
    outputs = weights.shape[0]
    require(weights.dtype == "int8", f"{op.name}: weights '{weights.name}' are {weights.dtype}, not int8")
    require(
        not weights.quantization.zero_point.any(), f"{op.name}: weights '{weights.name}' have a zero point other than 0"
    )
    require(weights.quantization.axis in (None, 0), f"{op.name}: the scales of '{weights.name}' are not per output")
    require(bias.dtype == "int32", f"{op.name}: bias '{bias.name}' is {bias.dtype}, not int32")
    require(bias.shape == (outputs,), f"{op.name}: bias '{bias.name}' has shape {bias.shape}, not ({outputs},)")
    expected = x.scale * weights.quantization.scale.astype(np.float64)
    agrees = np.allclose(bias.quantization.scale, expected, rtol=_BIAS_SCALE_TOLERANCE, atol=0)
    require(agrees, f"{op.name}: the scale of bias '{bias.name}' is not that of the input times that of the weights")
    largest = _largest_sums(weights.data.reshape(outputs, -1), bias.data, x.zero_point)
    worst = int(largest.argmax())
    fits = int(largest[worst]) <= INT32_MAX
    require(fits, f"{op.name}: the sum of output channel {worst} can exceed 32 bits; check weights and bias")
    for total, ratio in zip(largest, np.broadcast_to(expected / y.scale, largest.shape), strict=True):
        check_rescale(op, int(total), float(ratio))


def _largest_sums(weights: NDArray[np.generic], bias: NDArray[np.generic], zero_point: int) -> NDArray[np.int64]:
    """Per output channel, the largest magnitude that the int32 accumulator can take for any input codes."""
    positive = np.maximum(weights, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(weights, 0).sum(axis=1, dtype=np.int64)
    low, high = -128 - zero_point, 127 - zero_point
    highest = positive * high + negative * low
    lowest = positive * low + negative * high
    # Padding and the order of the terms can leave the bias out or in: bound it apart.
    result: NDArray[np.int64] = np.maximum(highest, -lowest) + np.abs(bias.astype(np.int64))
    return result


def _check_geometry(
    op: Operator, attributes: ConvAttributes, outputs: int, kernel: Shape, x: Tensor, y: Tensor
) -> None:
    """The kernel as its dilation spreads it, its stride and its padding yield the shape of ``y``."""
    dilation = attributes.dilation
    check_window(op, attributes.padding, kernel, attributes.stride, inside=False)
    require(all(0 < n <= MAX_SIDE for n in dilation), f"{op.name}: dilation {dilation} is out of range")
    span = dilated(kernel, dilation)
    require(max(span) <= MAX_SIDE, f"{op.name}: a kernel {kernel} of dilation {dilation} is out of range")
    check_image_shape(op, x, y, window_shape(x.image, outputs, span, attributes.stride, attributes.padding))


def _conv2d(graph: Graph, op: Operator) -> None:
    operands = check_operands(graph, op, ConvAttributes, (False, True, True))
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, _, y = operands
    _, _, channels = check_image(op, x)
    require(len(weights.shape) == 4, f"{op.name}: weights '{weights.name}' have shape {weights.shape}")
    outputs, kernel, depth = weights.shape[0], weights.shape[1:3], weights.shape[3]
    groups = attributes.groups
    whole = groups > 0 and channels % groups == 0 and outputs % groups == 0
    require(whole, f"{op.name}: {groups} groups of {channels} input and {outputs} output channels are not whole")
    taken = f"{depth} channels" if groups == 1 else f"{depth} channels in each of {groups} groups"
    require(depth * groups == channels, f"{op.name}: weights '{weights.name}' take {taken}, the input has {channels}")
    _check_geometry(op, attributes, outputs, kernel, x, y)
    _check_weighted(op, attributes, operands)


def _depthwise_conv2d(graph: Graph, op: Operator) -> None:
    operands = check_operands(graph, op, ConvAttributes, (False, True, True))
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, _, y = operands
    _, _, channels = check_image(op, x)
    require(len(weights.shape) == 3, f"{op.name}: weights '{weights.name}' have shape {weights.shape}")
    outputs, kernel = weights.shape[0], weights.shape[1:]
    whole = outputs % channels == 0
    require(whole, f"{op.name}: {outputs} filters in '{weights.name}' are no multiple of the {channels} channels")
    require(attributes.groups == 1, f"{op.name}: a depthwise convolution has {attributes.groups} groups")
    _check_geometry(op, attributes, outputs, kernel, x, y)
    _check_weighted(op, attributes, operands)


def _fully_connected(graph: Graph, op: Operator) -> None:
    operands = check_operands(graph, op, ConvAttributes, (False, True, True))
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, _, y = operands
    plain = attributes == ConvAttributes(attributes.clamp, half_even=attributes.half_even)
    require(plain, f"{op.name}: a fully connected operator has no stride, padding, dilation or groups")
    require(len(weights.shape) == 2, f"{op.name}: weights '{weights.name}' have shape {weights.shape}")
    length = weights.shape[1]
    require(
        x.shape[-1] == length, f"{op.name}: input '{x.name}' has shape {x.shape}, not ({length},) or (..., {length})"
    )
    check_shape(op, y, (*x.shape[:-1], weights.shape[0]))
    _check_weighted(op, attributes, operands)


CHECKS: dict[str, Check] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "fully_connected": _fully_connected,
}
