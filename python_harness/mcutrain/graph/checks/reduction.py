"""Checks of average_pool, max_pool and mean."""

from __future__ import annotations

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
from mcutrain.graph.model import Graph, Operator

_MAX_MEAN = 1 << 23  # values of up to 255


def _pool(graph: Graph, op: Operator) -> None:
    x, y = check_operands(graph, op, PoolAttributes, (False,))
    assert isinstance(op.attributes, PoolAttributes)
    kernel, stride, padding = op.attributes.kernel, op.attributes.stride, op.attributes.padding
    height, width, channels = check_image(op, x)
    check_window(op, padding, kernel, stride, inside=True)
    check_image_shape(op, x, y, window_shape((height, width), channels, kernel, stride, padding))
    check_same_quantization(op, x, y)


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


CHECKS: dict[str, Check] = {"average_pool": _pool, "max_pool": _pool, "mean": _mean}
