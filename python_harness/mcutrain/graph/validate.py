"""Check the invariants of a Graph: what every importer promises and everything downstream relies on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph.model import (
    AddAttributes,
    ConvAttributes,
    Graph,
    MeanAttributes,
    Operator,
    PadAttributes,
    Padding,
    PoolAttributes,
    RequantizeAttributes,
    ReshapeAttributes,
    SoftmaxAttributes,
    Tensor,
)

Shape = tuple[int, ...]

_INT32_MAX = 2**31 - 1
_MAX_SIDE = 1 << 16
_MAX_MEAN = 1 << 23  # values of up to 255
# Tools compute bias scales in float32 or float64 and round them: an exact comparison would be too strict.
_BIAS_SCALE_TOLERANCE = 1e-3
_SAME_SCALE_TOLERANCE = 1e-6


def validate(graph: Graph) -> None:
    """Raise UsageError, naming operator and tensor, where ``graph`` breaks an invariant of ``mcutrain.graph.model``.

    After it: every tensor an operator reads was written before or is a constant or the input; shapes, types, scales and
    clamps are consistent; and no forward accumulator or rescale can leave 32 bits.
    """
    _require(bool(graph.operators), "the network has no operators")
    for name, tensor in graph.tensors.items():
        _require(name == tensor.name, f"tensor '{name}' is stored under another name")
        _check_tensor(tensor)
    _check_wiring(graph)
    for op in graph.operators:
        check = _CHECKS.get(op.kind)
        if check is None:
            raise UsageError(f"{op.name}: unknown kind '{op.kind}'")
        check(graph, op)


def output_side(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Length of one side of the output of a convolution or pool with explicit padding."""
    return (size + before + after - kernel) // stride + 1


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _check_tensor(t: Tensor) -> None:
    where = f"tensor '{t.name}'"
    _require(t.dtype in ("int8", "int32"), f"{where} is {t.dtype}, not int8 or int32")
    _require(bool(t.shape), f"{where} has no dimensions")
    _require(all(0 < n <= _INT32_MAX for n in t.shape), f"{where} has the shape {t.shape}")
    _require(math.prod(t.shape) <= _INT32_MAX, f"{where} of shape {t.shape} is too large")
    if t.data is not None:
        _require(t.data.shape == t.shape, f"{where} has data of shape {t.data.shape}, not {t.shape}")
        _require(str(t.data.dtype) == t.dtype, f"{where} has data of type {t.data.dtype}, not {t.dtype}")
    q = t.quantization
    if q is None:
        raise UsageError(f"{where} has no scale")
    _require(q.scale.ndim == 1 and q.scale.shape == q.zero_point.shape, f"{where} has scales of a wrong shape")
    # The scale of a bias is a product of two scales and may be tiny; nothing divides by it.
    smallest = np.finfo(np.float32).tiny if t.dtype == "int8" else 0.0
    usable = bool(np.all(np.isfinite(q.scale)) and np.all(q.scale >= smallest))
    _require(usable, f"{where} has a scale that is not a positive, finite, normal number")
    if q.axis is None:
        _require(q.scale.size == 1, f"{where} has {q.scale.size} scales but no channel axis")
    else:
        _require(0 <= q.axis < len(t.shape), f"{where} has its scales along axis {q.axis} of {len(t.shape)}")
        _require(q.scale.size == t.shape[q.axis], f"{where} has {q.scale.size} scales for {t.shape[q.axis]} channels")
    if t.data is None:
        _require(t.dtype == "int8", f"{where} is an activation of type {t.dtype}, not int8")
        _require(q.axis is None, f"{where} is an activation with a scale per channel")
        _require(-128 <= t.zero_point <= 127, f"{where} has the zero point {t.zero_point}, outside [-128, 127]")
    else:
        _require(not q.zero_point.any(), f"{where} is a constant with a zero point other than 0")


def _check_wiring(graph: Graph) -> None:
    for end in (graph.input, graph.output):
        _require(end in graph.tensors, f"tensor '{end}' is not defined")
    _require(graph.tensors[graph.input].data is None, f"the network's input '{graph.input}' is a constant")
    repeated = [name for name, count in Counter(op.name for op in graph.operators).items() if count > 1]
    _require(not repeated, f"two operators are called {', '.join(repeated)}")
    written = {graph.input}
    for op in graph.operators:
        for name in (*op.inputs, *op.outputs):
            _require(name in graph.tensors, f"{op.name}: tensor '{name}' is not defined")
        for name in op.inputs:
            ready = name in written or graph.tensors[name].data is not None
            _require(ready, f"{op.name} reads tensor '{name}' before any operator wrote it")
        _require(len(op.outputs) == 1, f"{op.name} has {len(op.outputs)} outputs, not 1")
        output = op.outputs[0]
        _require(graph.tensors[output].data is None, f"{op.name} writes the constant '{output}'")
        _require(output not in written, f"{op.name} writes tensor '{output}', which is already written")
        written.add(output)
    _require(graph.output in written - {graph.input}, f"no operator writes the network's output '{graph.output}'")
    readers = Counter(name for op in graph.operators for name in op.inputs)
    _require(readers[graph.output] == 0, f"the network's output '{graph.output}' is also read inside the network")
    unused = sorted(written - set(readers) - {graph.output})
    _require(not unused, "nothing uses tensor " + ", ".join(f"'{name}'" for name in unused))


def _operands(graph: Graph, op: Operator, attributes: type, constants: tuple[bool, ...]) -> list[Tensor]:
    _require(isinstance(op.attributes, attributes), f"{op.name} has {type(op.attributes).__name__}")
    _require(len(op.inputs) == len(constants), f"{op.name} has {len(op.inputs)} inputs, not {len(constants)}")
    tensors = [graph.tensors[name] for name in op.inputs]
    for tensor, constant in zip(tensors, constants, strict=True):
        expected = "a constant" if constant else "computed"
        _require((tensor.data is not None) == constant, f"{op.name}: input '{tensor.name}' must be {expected}")
    return [*tensors, graph.tensors[op.outputs[0]]]


def _check_shape(op: Operator, output: Tensor, expected: Shape) -> None:
    _require(output.shape == expected, f"{op.name}: output '{output.name}' has shape {output.shape}, not {expected}")


def _check_clamp(op: Operator, clamp: tuple[int, int]) -> None:
    ordered = -128 <= clamp[0] <= clamp[1] <= 127
    _require(ordered, f"{op.name}: the clamp [{clamp[0]}, {clamp[1]}] is empty or outside [-128, 127]")


def _check_same_quantization(op: Operator, x: Tensor, y: Tensor) -> None:
    same = math.isclose(x.scale, y.scale, rel_tol=_SAME_SCALE_TOLERANCE) and x.zero_point == y.zero_point
    _require(same, f"{op.name}: input '{x.name}' and output '{y.name}' have different scales or zero points")


def _check_rescale(op: Operator, largest: int, ratio: float) -> None:
    # Rescaling shifts left by the binary exponent of the ratio before it multiplies: that product must fit in 32 bits.
    exponent = math.frexp(ratio)[1]
    fits = largest * 2 ** max(0, exponent) <= _INT32_MAX
    _require(fits, f"{op.name}: rescaling by {ratio:.6g} can overflow 32 bits; check the scales of the model")


def _check_window(op: Operator, padding: Padding, kernel: Shape, stride: Shape, *, inside: bool) -> None:
    sides = (*kernel, *stride)
    _require(all(0 < n <= _MAX_SIDE for n in sides), f"{op.name}: kernel {kernel} or stride {stride} is out of range")
    for pads, k in (((padding.top, padding.bottom), kernel[0]), ((padding.left, padding.right), kernel[1])):
        _require(all(0 <= n <= _MAX_SIDE for n in pads), f"{op.name}: {padding} is out of range")
        # A window of padding alone would have no average and no maximum.
        _require(not inside or max(pads) < k, f"{op.name}: the padding {pads} reaches the kernel's size {k}")


def _image(op: Operator, t: Tensor) -> tuple[int, int, int]:
    _require(len(t.shape) == 3, f"{op.name}: '{t.name}' has shape {t.shape}, not (height, width, channels)")
    return t.shape[0], t.shape[1], t.shape[2]


def _window_shape(image: Shape, channels: int, kernel: Shape, stride: Shape, p: Padding) -> Shape:
    height = output_side(image[0], kernel[0], stride[0], p.top, p.bottom)
    return height, output_side(image[1], kernel[1], stride[1], p.left, p.right), channels


def _check_weighted(op: Operator, attributes: ConvAttributes, operands: list[Tensor]) -> None:
    x, weights, bias, y = operands
    assert weights.data is not None
    assert bias.data is not None
    assert weights.quantization is not None
    assert bias.quantization is not None
    _check_clamp(op, attributes.clamp)
    outputs = weights.shape[0]
    _require(weights.dtype == "int8", f"{op.name}: weights '{weights.name}' are {weights.dtype}, not int8")
    _require(weights.quantization.axis in (None, 0), f"{op.name}: the scales of '{weights.name}' are not per output")
    _require(bias.dtype == "int32", f"{op.name}: bias '{bias.name}' is {bias.dtype}, not int32")
    _require(bias.shape == (outputs,), f"{op.name}: bias '{bias.name}' has shape {bias.shape}, not ({outputs},)")
    expected = x.scale * weights.quantization.scale.astype(np.float64)
    agrees = np.allclose(bias.quantization.scale, expected, rtol=_BIAS_SCALE_TOLERANCE, atol=0)
    _require(agrees, f"{op.name}: the scale of bias '{bias.name}' is not that of the input times that of the weights")
    largest = _largest_sums(weights.data.reshape(outputs, -1), bias.data, x.zero_point)
    worst = int(largest.argmax())
    fits = int(largest[worst]) <= _INT32_MAX
    _require(fits, f"{op.name}: the sum of output channel {worst} can exceed 32 bits; check weights and bias")
    for total, ratio in zip(largest, np.broadcast_to(expected / y.scale, largest.shape), strict=True):
        _check_rescale(op, int(total), float(ratio))


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


def _conv2d(graph: Graph, op: Operator) -> None:
    operands = _operands(graph, op, ConvAttributes, (False, True, True))
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, _, y = operands
    height, width, channels = _image(op, x)
    _require(len(weights.shape) == 4, f"{op.name}: weights '{weights.name}' have shape {weights.shape}")
    outputs, kernel, depth = weights.shape[0], weights.shape[1:3], weights.shape[3]
    _require(depth == channels, f"{op.name}: weights '{weights.name}' take {depth} channels, the input has {channels}")
    _check_window(op, attributes.padding, kernel, attributes.stride, inside=False)
    expected = _window_shape((height, width), outputs, kernel, attributes.stride, attributes.padding)
    _check_shape(op, y, expected)
    _check_weighted(op, attributes, operands)


def _depthwise_conv2d(graph: Graph, op: Operator) -> None:
    operands = _operands(graph, op, ConvAttributes, (False, True, True))
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, _, y = operands
    height, width, channels = _image(op, x)
    _require(len(weights.shape) == 3, f"{op.name}: weights '{weights.name}' have shape {weights.shape}")
    outputs, kernel = weights.shape[0], weights.shape[1:]
    whole = outputs % channels == 0
    _require(whole, f"{op.name}: {outputs} filters in '{weights.name}' are no multiple of the {channels} channels")
    _check_window(op, attributes.padding, kernel, attributes.stride, inside=False)
    expected = _window_shape((height, width), outputs, kernel, attributes.stride, attributes.padding)
    _check_shape(op, y, expected)
    _check_weighted(op, attributes, operands)


def _fully_connected(graph: Graph, op: Operator) -> None:
    operands = _operands(graph, op, ConvAttributes, (False, True, True))
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, _, y = operands
    plain = attributes.stride == (1, 1) and attributes.padding == Padding()
    _require(plain, f"{op.name}: a fully connected operator has no stride and no padding")
    _require(len(weights.shape) == 2, f"{op.name}: weights '{weights.name}' have shape {weights.shape}")
    length = (weights.shape[1],)
    _require(x.shape == length, f"{op.name}: input '{x.name}' has shape {x.shape}, not {length}")
    _check_shape(op, y, (weights.shape[0],))
    _check_weighted(op, attributes, operands)


def _add(graph: Graph, op: Operator) -> None:
    a, b, y = _operands(graph, op, AddAttributes, (False, False))
    assert isinstance(op.attributes, AddAttributes)
    _check_clamp(op, op.attributes.clamp)
    _require(a.shape == b.shape, f"{op.name}: '{a.name}' {a.shape} and '{b.name}' {b.shape} would need broadcasting")
    _check_shape(op, y, a.shape)
    # Operands are widened by 20 bits and halved: the output's multiplier 2 max(s_a, s_b) / (2^20 s_y) must be below 1.
    smallest = 2 * max(a.scale, b.scale) / 2**20
    _require(y.scale > smallest, f"{op.name}: the scale of '{y.name}' is too small for those of its operands")


def _pool(graph: Graph, op: Operator) -> None:
    x, y = _operands(graph, op, PoolAttributes, (False,))
    assert isinstance(op.attributes, PoolAttributes)
    kernel, stride, padding = op.attributes.kernel, op.attributes.stride, op.attributes.padding
    height, width, channels = _image(op, x)
    _check_window(op, padding, kernel, stride, inside=True)
    _check_shape(op, y, _window_shape((height, width), channels, kernel, stride, padding))
    _check_same_quantization(op, x, y)


def _mean(graph: Graph, op: Operator) -> None:
    x, y = _operands(graph, op, MeanAttributes, (False,))
    assert isinstance(op.attributes, MeanAttributes)
    _check_clamp(op, op.attributes.clamp)
    height, width, channels = _image(op, x)
    _check_shape(op, y, (channels,) if len(y.shape) == 1 else (1, 1, channels))
    _require(height * width < _MAX_MEAN, f"{op.name}: a mean of {height}x{width} values can exceed 32 bits")
    _check_rescale(op, 255 * height * width, x.scale / y.scale / (height * width))


def _pad(graph: Graph, op: Operator) -> None:
    x, y = _operands(graph, op, PadAttributes, (False,))
    assert isinstance(op.attributes, PadAttributes)
    height, width, channels = _image(op, x)
    p = op.attributes.padding
    edges = (p.top, p.bottom, p.left, p.right)
    _require(all(0 <= n <= _MAX_SIDE for n in edges), f"{op.name}: {p} is out of range")
    _check_shape(op, y, (height + p.top + p.bottom, width + p.left + p.right, channels))
    _check_same_quantization(op, x, y)


def _requantize(graph: Graph, op: Operator) -> None:
    x, y = _operands(graph, op, RequantizeAttributes, (False,))
    assert isinstance(op.attributes, RequantizeAttributes)
    _check_clamp(op, op.attributes.clamp)
    _check_shape(op, y, x.shape)
    _check_rescale(op, 255, x.scale / y.scale)


def _reshape(graph: Graph, op: Operator) -> None:
    x, y = _operands(graph, op, ReshapeAttributes, (False,))
    same = math.prod(x.shape) == math.prod(y.shape)
    _require(same, f"{op.name}: input '{x.name}' {x.shape} and output '{y.name}' {y.shape} differ in elements")
    _check_same_quantization(op, x, y)


def _softmax(graph: Graph, op: Operator) -> None:
    x, y = _operands(graph, op, SoftmaxAttributes, (False,))
    assert isinstance(op.attributes, SoftmaxAttributes)
    _check_shape(op, y, x.shape)
    fixed = math.isclose(y.scale, 1 / 256, rel_tol=1e-3) and y.zero_point == -128
    _require(fixed, f"{op.name}: output '{y.name}' must have scale 1/256 and zero point -128")
    # The fixed-point exponential multiplies differences by beta * scale * 2^26, which must exceed 1 and fit.
    multiplier = op.attributes.beta * x.scale * 2**26
    _require(1 < multiplier < math.inf, f"{op.name}: beta {op.attributes.beta:g} times the input's scale is too small")


_CHECKS: dict[str, Callable[[Graph, Operator], None]] = {
    "add": _add,
    "average_pool": _pool,
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "fully_connected": _fully_connected,
    "max_pool": _pool,
    "mean": _mean,
    "pad": _pad,
    "requantize": _requantize,
    "reshape": _reshape,
    "softmax": _softmax,
}
