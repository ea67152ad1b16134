"""Checks of average_pool, max_pool and mean."""

from __future__ import annotations

import math

from mcutrain.errors import UsageError
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
from mcutrain.graph.reductions import reduced_shapes, reduction

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
    axes = op.attributes.axes
    ordered = bool(axes) and tuple(sorted(set(axes))) == axes and axes[0] >= 0 and axes[-1] < len(x.shape)
    require(ordered, f"{op.name}: the axes {axes} are not ascending ones of '{x.name}' {x.shape}")
    kept, dropped = reduced_shapes(x.shape, axes)
    check_shape(op, y, dropped if y.shape == dropped else kept)
    try:
        reduction(x.shape, axes)
    except ValueError as error:
        raise UsageError(f"{op.name}: {error}") from None
    count = math.prod(x.shape[axis] for axis in axes)
    require(count < _MAX_MEAN, f"{op.name}: a mean of {count} values can exceed 32 bits")
    check_rescale(op, 255 * count, x.scale / y.scale / count)


CHECKS: dict[str, Check] = {"average_pool": _average_pool, "max_pool": _max_pool, "mean": _mean}
