"""Checks of average_pool, max_pool and mean."""

from __future__ import annotations

import math

from mcutrain.graph.attributes import MeanAttributes, PoolAttributes
from mcutrain.graph.checks.base import (
    Check,
    check_clamp,
    check_image,
    check_image_shape,
    check_operands,
    check_rescale,
    check_same_quantization,
    check_shape,
    check_window,
    require,
    window_shape,
)
from mcutrain.graph.model import Graph, Operator, Tensor

_MAX_MEAN = 1 << 23  # values of up to 255


def _pool(graph: Graph, op: Operator) -> tuple[Tensor, Tensor]:
    x, y = check_operands(graph, op, PoolAttributes, (False,))
    assert isinstance(op.attributes, PoolAttributes)
    kernel, stride, padding = op.attributes.kernel, op.attributes.stride, op.attributes.padding
    height, width, channels = check_image(op, x)
    check_window(op, padding, kernel, stride, inside=True)
    check_image_shape(op, x, y, window_shape((height, width), channels, kernel, stride, padding))
    check_clamp(op, op.attributes.clamp)
    return x, y


def _max_pool(graph: Graph, op: Operator) -> None:
    x, y = _pool(graph, op)
    check_same_quantization(op, x, y)
    assert isinstance(op.attributes, PoolAttributes)
    require(op.attributes.clamp == (-128, 127), f"{op.name}: a max pool has no clamp of its own")


def _average_pool(graph: Graph, op: Operator) -> None:
    x, y = _pool(graph, op)
    assert isinstance(op.attributes, PoolAttributes)
    pixels = math.prod(op.attributes.kernel)
    require(pixels < _MAX_MEAN, f"{op.name}: a mean of {pixels} values can exceed 32 bits")
    check_rescale(op, 255 * pixels, x.scale / y.scale / pixels)
    # A window cut to one pixel by the image's border has the largest multiplier.
    check_rescale(op, 255, x.scale / y.scale)


def _mean(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, MeanAttributes, (False,))
    assert isinstance(op.attributes, MeanAttributes)
    check_clamp(op, op.attributes.clamp)
    height, width, channels = check_image(op, x)
    if len(y.shape) == 1:
        check_shape(op, y, (channels,))
    else:
        check_image_shape(op, x, y, (1, 1, channels))
    require(height * width < _MAX_MEAN, f"{op.name}: a mean of {height}x{width} values can exceed 32 bits")
    check_rescale(op, 255 * height * width, x.scale / y.scale / (height * width))


CHECKS: dict[str, Check] = {"average_pool": _average_pool, "max_pool": _max_pool, "mean": _mean}
