"""Run a Graph in NumPy with real-valued rescaling: what a Graph means, independent of every kernel of the project.

Sums are exact; ties are rounded away from 0, or to even as onnxruntime does. An operator's result differs from an integer
implementation by one code at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import (
    AddAttributes,
    Attributes,
    ConcatenateAttributes,
    ConvAttributes,
    LogSoftmaxAttributes,
    MeanAttributes,
    MultiplyAttributes,
    PadAttributes,
    Padding,
    PoolAttributes,
    PreluAttributes,
    RequantizeAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    SoftmaxAttributes,
    TableAttributes,
    TransposeAttributes,
)
from mcutrain.graph.model import Graph, Operator, Tensor

Codes = NDArray[np.int8]
Real = NDArray[np.float64]
Rounding = Callable[[Real], Real]


def half_away(values: Real) -> Real:
    """Round to the nearest integer, ties away from 0, as LiteRT's kernels do."""
    result: Real = np.sign(values) * np.floor(np.abs(values) + 0.5)
    return result


def half_even(values: Real) -> Real:
    """Round to the nearest integer, ties to even, as onnxruntime does."""
    result: Real = np.rint(values)
    return result


def run_graph(graph: Graph, codes: Codes, rounding: Rounding = half_away) -> Codes:
    """The output codes for input ``codes``, both int8, channels last, without the batch."""
    values: dict[str, Codes] = {graph.input: codes}
    for op in graph.operators:
        y = graph.tensors[op.outputs[0]]
        operands = [values[name] for name in op.inputs if name in values]
        if isinstance(op.attributes, AddAttributes | MultiplyAttributes):
            operands = [values.get(name, np.asarray(graph.tensors[name].data)) for name in op.inputs]
        values[y.name] = _run(graph, op, operands, y, rounding).reshape(y.shape)
    return values[graph.output]


def dequantized(tensor: Tensor, codes: Codes) -> Real:
    """The real values of ``codes``."""
    return tensor.scale * (codes.astype(np.float64) - tensor.zero_point)


def quantized(tensor: Tensor, real: NDArray[np.floating[Any]]) -> Codes:
    """The codes of real values, half to even as onnxruntime has it."""
    codes: Codes = np.clip(np.rint(real / np.float32(tensor.scale)) + tensor.zero_point, -128, 127).astype(np.int8)
    return codes


def _run(graph: Graph, op: Operator, values: list[Codes], y: Tensor, rounding: Rounding) -> Codes:
    x = graph.tensors[op.inputs[0]]
    attributes = op.attributes
    if isinstance(attributes, ConvAttributes):
        w, b = graph.tensors[op.inputs[1]], graph.tensors[op.inputs[2]]
        assert w.data is not None
        assert b.data is not None
        assert w.quantization is not None
        centred = values[0].astype(np.float64) - x.zero_point
        weights = w.data.astype(np.float64)
        if op.kind == "fully_connected":
            sums: Any = centred @ weights.T
        else:
            centred = centred.reshape(x.image)
            kernel = (w.shape[1], w.shape[2])
            patches = _patches(centred, kernel, attributes.stride, attributes.padding, 0.0, attributes.dilation)
            groups = x.shape[-1] if op.kind == "depthwise_conv2d" else attributes.groups
            patches = patches.reshape(*patches.shape[:4], groups, -1)
            filters = weights.reshape(groups, w.shape[0] // groups, *kernel, -1)
            sums = np.einsum("hwijgc,goijc->hwgo", patches, filters).reshape(*patches.shape[:2], w.shape[0])
        return _codes(
            (sums + b.data) * (x.scale * w.quantization.scale.astype(np.float64)), y, attributes.clamp, rounding
        )
    if isinstance(attributes, AddAttributes):
        left, right = (dequantized(graph.tensors[n], v) for n, v in zip(op.inputs, values, strict=True))
        total: Real = left - right if attributes.subtracts else left + right
        return _codes(total, y, attributes.clamp, rounding)
    if isinstance(attributes, MultiplyAttributes):
        left, right = (dequantized(graph.tensors[n], v) for n, v in zip(op.inputs, values, strict=True))
        product: Real = left * right
        return _codes(product, y, attributes.clamp, rounding)
    if isinstance(attributes, PoolAttributes):
        image = values[0].astype(np.float64).reshape(x.image)
        patches = _patches(image, attributes.kernel, attributes.stride, attributes.padding, np.nan)
        if op.kind == "average_pool" and (x.scale, x.zero_point) != (y.scale, y.zero_point):
            return _codes((np.nanmean(patches, (2, 3)) - x.zero_point) * x.scale, y, attributes.clamp, rounding)
        pooled = np.nanmean(patches, (2, 3)) if op.kind == "average_pool" else np.nanmax(patches, (2, 3))
        if rounding is half_even:
            # onnxruntime rounds the average of the real values, so a tie is even with the zero point taken off.
            return (rounding(pooled - x.zero_point) + x.zero_point).astype(np.int8)
        return rounding(pooled).astype(np.int8)
    if isinstance(attributes, MeanAttributes):
        return _codes(dequantized(x, values[0]).mean(attributes.axes), y, attributes.clamp, rounding)
    if isinstance(attributes, MOVING):
        return moved(attributes, values, y.shape, border_code(attributes, x))
    if isinstance(attributes, RequantizeAttributes):
        return _codes(dequantized(x, values[0]), y, attributes.clamp, rounding)
    if isinstance(attributes, LogSoftmaxAttributes):
        real = dequantized(x, values[0])
        real = real - real.max(axis=-1, keepdims=True)
        return _codes(real - np.log(np.exp(real).sum(axis=-1, keepdims=True)), y, (-128, 127), rounding)
    if isinstance(attributes, TableAttributes):
        return np.array(attributes.codes, np.int8)[values[0].astype(np.int64) + 128]
    if isinstance(attributes, PreluAttributes):
        alpha = graph.tensors[op.inputs[1]]
        assert alpha.data is not None
        real = dequantized(x, values[0])
        return _codes(
            np.where(real > 0, real, real * alpha.data.astype(np.float64) * alpha.scale), y, (-128, 127), rounding
        )
    if isinstance(attributes, SoftmaxAttributes):
        scaled = attributes.beta * dequantized(x, values[0])
        exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return _codes(exponentials / exponentials.sum(axis=-1, keepdims=True), y, (-128, 127), rounding)
    assert op.kind == "reshape", op.kind
    return values[0]


MOVING = (ConcatenateAttributes, PadAttributes, ResizeNearestAttributes, SliceAttributes, TransposeAttributes)


def border_code(attributes: Attributes, x: Tensor) -> int:
    """The code that comes from no element of ``x``."""
    given = attributes.value if isinstance(attributes, PadAttributes) else None
    return x.zero_point if given is None else given


def moved(attributes: Attributes, values: list[NDArray[Any]], shape: tuple[int, ...], border: float) -> NDArray[Any]:
    """What an operator that only moves elements makes of any values; ``border`` is what comes from none of them."""
    x = values[0]
    if isinstance(attributes, ConcatenateAttributes):
        return np.concatenate(values, attributes.axis)
    if isinstance(attributes, PadAttributes):
        image = x if x.ndim == 3 else x.reshape(1, *x.shape)
        return np.pad(image, attributes.amounts, constant_values=border).reshape(shape)
    if isinstance(attributes, ResizeNearestAttributes):
        return x[list(attributes.rows)][:, list(attributes.columns)]
    if isinstance(attributes, SliceAttributes):
        for axis, (begin, step) in enumerate(zip(attributes.begin, attributes.step, strict=True)):
            x = np.take(x, [begin + i * step for i in range(shape[axis])], axis)
        return x
    assert isinstance(attributes, TransposeAttributes)
    return x.transpose(attributes.permutation)


def _patches(
    image: Real,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    p: Padding,
    fill: float,
    dilation: tuple[int, int] = (1, 1),
) -> Real:
    padded = np.pad(image, ((p.top, p.bottom), (p.left, p.right), (0, 0)), constant_values=fill)
    span = tuple((taps - 1) * apart + 1 for taps, apart in zip(kernel, dilation, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, (0, 1))
    return windows[:: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]].transpose(0, 1, 3, 4, 2)


def _codes(real: Real, y: Tensor, clamp: tuple[int, int], rounding: Rounding) -> Codes:
    codes: Codes = np.clip(rounding(real / y.scale) + y.zero_point, *clamp).astype(np.int8)
    return codes
