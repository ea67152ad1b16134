"""Whole small classifiers as Graphs, with scales that spread their codes: NetBuilder, some of named structure, and random ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import (
    AddAttributes,
    Attributes,
    ConcatenateAttributes,
    ConvAttributes,
    Graph,
    MeanAttributes,
    MultiplyAttributes,
    Operator,
    PadAttributes,
    Padding,
    PoolAttributes,
    PreluAttributes,
    Quantization,
    RequantizeAttributes,
    ReshapeAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    SoftmaxAttributes,
    Tensor,
    TransposeAttributes,
)
from mcutrain.graph.attributes import dilated
from mcutrain.graph.checks.base import output_side
from mcutrain.graph.validate import validate
from mcutrain.importers import functions
from mcutrain.importers.functions import Function
from mcutrain.importers.tables import real_inputs, table_attributes
from support.graphs import quantization

INPUT_SCALE = 1 / 64  # far from 1/255, so that the input-scale correction shows
SPREAD = 70.0  # standard deviation of a layer's codes; some of them are clamped on either side

Int8Array = NDArray[np.int8]


@dataclass
class NetBuilder:
    """Adds operators one after the other; each method takes and returns names of tensors."""

    seed: int
    input_shape: tuple[int, ...] = (8, 8, 3)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.tensors["x"] = Tensor("x", self.input_shape, "int8", quantization(INPUT_SCALE, 5))

    def conv(
        self, x: str, channels: int, kernel: int = 3, stride: int = 1, *, same: bool = True, relu: bool = False
    ) -> str:
        """A convolution with random weights, one scale a channel."""
        height, width, in_channels = self.tensors[x].shape
        padding = Padding()
        if same:
            rows, columns = (_same(side, kernel, stride) for side in (height, width))
            padding = Padding(rows[0], rows[1], columns[0], columns[1])
        out_height = output_side(height, kernel, stride, padding.top, padding.bottom)
        out_width = output_side(width, kernel, stride, padding.left, padding.right)
        shape = (channels, kernel, kernel, in_channels)
        y_shape = (out_height, out_width, channels)
        return self._layer(
            "conv2d", "conv", x, shape, y_shape, ConvAttributes((-128, 127), (stride, stride), padding), relu
        )

    def depthwise(self, x: str, kernel: int = 3, stride: int = 1, *, outputs: int = 1, relu: bool = False) -> str:
        """A depthwise convolution, SAME, with ``outputs`` output channels for each input channel."""
        height, width, in_channels = self.tensors[x].shape
        rows, columns = (_same(side, kernel, stride) for side in (height, width))
        padding = Padding(rows[0], rows[1], columns[0], columns[1])
        y_shape = (-(-height // stride), -(-width // stride), outputs * in_channels)
        attributes = ConvAttributes((-128, 127), (stride, stride), padding)
        shape = (outputs * in_channels, kernel, kernel)
        return self._layer("depthwise_conv2d", "depthwise", x, shape, y_shape, attributes, relu)

    def windowed(
        self,
        kind: str,
        x: str,
        channels: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: Padding,
        *,
        scale: float | None = None,
        relu: bool = False,
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> str:
        """conv2d, depthwise_conv2d, average_pool or max_pool with sides, strides and borders of their own. channels: of the output."""
        height, width, in_channels = self.tensors[x].image
        span = dilated(kernel, dilation)
        out_height = output_side(height, span[0], stride[0], padding.top, padding.bottom)
        out_width = output_side(width, span[1], stride[1], padding.left, padding.right)
        y_shape: tuple[int, ...] = (out_height, out_width, channels)
        if len(self.tensors[x].shape) == 2:
            y_shape = y_shape[1:]
        if kind in ("average_pool", "max_pool"):
            return self._operator(kind, kind, (x,), y_shape, self._like(x), PoolAttributes(kernel, stride, padding))
        attributes = ConvAttributes((-128, 127), stride, padding, dilation, groups)
        prefix = {"conv2d": "conv", "depthwise_conv2d": "depthwise"}[kind]
        shape = (channels, *kernel) if kind == "depthwise_conv2d" else (channels, *kernel, in_channels // groups)
        return self._layer(kind, prefix, x, shape, y_shape, attributes, relu, scale)

    def dense(self, x: str, features: int, *, relu: bool = False) -> str:
        """A fully connected layer; the last one is the head."""
        shape = (features, self.tensors[x].elements)
        return self._layer("fully_connected", "fully_connected", x, shape, (features,), ConvAttributes(), relu)

    def rows(self, x: str, features: int, *, relu: bool = False) -> str:
        """A fully connected layer of each row by itself: of the last axis."""
        *rows, length = self.tensors[x].shape
        attributes = ConvAttributes()
        return self._layer(
            "fully_connected", "fully_connected", x, (features, length), (*rows, features), attributes, relu
        )

    def add(self, a: str, b: str, *, relu: bool = False) -> str:
        """The residual sum."""
        scale = math.hypot(self.tensors[a].scale, self.tensors[b].scale)
        clamp, zero_point = _clamp(relu, int(self.random.integers(-10, 11)))
        return self._operator(
            "add", "add", (a, b), self.tensors[a].shape, quantization(scale, zero_point), AddAttributes(clamp)
        )

    def constant(self, shape: tuple[int, ...], scale: float, zero_point: int = 0) -> str:
        """A constant operand of random codes."""
        name = f"c{len(self.operators)}"
        codes = self.random.integers(-128, 128, shape).astype(np.int8)
        self.tensors[name] = Tensor(name, shape, "int8", quantization(scale, zero_point), codes)
        return name

    def arithmetic(
        self, kind: str, a: str, b: str, *, subtracts: bool = False, relu: bool = False, coarser: float = 1.0
    ) -> str:
        """add or multiply of operands that broadcast."""
        shape = np.broadcast_shapes(self.tensors[a].shape, self.tensors[b].shape)
        scales = self.tensors[a].scale, self.tensors[b].scale
        clamp, zero_point = _clamp(relu, int(self.random.integers(-10, 11)))
        if kind == "multiply":
            y = quantization(scales[0] * scales[1] * SPREAD, zero_point)
            return self._operator(kind, kind, (a, b), shape, y, MultiplyAttributes(clamp))
        y = quantization(coarser * math.hypot(*scales), zero_point)
        return self._operator(kind, kind, (a, b), shape, y, AddAttributes(clamp, subtracts))

    def pool(self, kind: str, x: str, kernel: int, stride: int, *, same: bool = False) -> str:
        """average_pool or max_pool."""
        height, width, channels = self.tensors[x].shape
        rows, columns = ((_same(side, kernel, stride) if same else (0, 0)) for side in (height, width))
        padding = Padding(rows[0], rows[1], columns[0], columns[1])
        shape = (output_side(height, kernel, stride, *rows), output_side(width, kernel, stride, *columns), channels)
        attributes = PoolAttributes((kernel, kernel), (stride, stride), padding)
        return self._operator(kind, kind, (x,), shape, self._like(x), attributes)

    def average(self, x: str, kernel: int, stride: int, *, finer: float, relu: bool = False) -> str:
        """An average pool with borders whose output has a scale of its own, ``finer`` times that of its input."""
        height, width, channels = self.tensors[x].shape
        rows, columns = _same(height, kernel, stride), _same(width, kernel, stride)
        clamp, zero_point = _clamp(relu, int(self.random.integers(-10, 11)))
        attributes = PoolAttributes((kernel, kernel), (stride, stride), Padding(*rows, *columns), clamp)
        shape = (output_side(height, kernel, stride, *rows), output_side(width, kernel, stride, *columns), channels)
        own = quantization(self.tensors[x].scale * finer, zero_point)
        return self._operator("average_pool", "average_pool", (x,), shape, own, attributes)

    def global_pool(self, x: str) -> str:
        """The mean of the whole image."""
        height, width, channels = self.tensors[x].shape
        attributes = PoolAttributes((height, width), (1, 1))
        return self._operator("average_pool", "average_pool", (x,), (1, 1, channels), self._like(x), attributes)

    def mean(self, x: str) -> str:
        """The mean of the whole image as a vector, at a finer scale."""
        scale = self.tensors[x].scale * 0.4
        channels = self.tensors[x].shape[-1]
        attributes = MeanAttributes(axes=tuple(range(len(self.tensors[x].shape) - 1)))
        return self._operator("mean", "mean", (x,), (channels,), quantization(scale, 7), attributes)

    def mean_over(self, x: str, *axes: int) -> str:
        """The mean over some axes, at a finer scale; these stay, with one element each."""
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(self.tensors[x].shape))
        y = quantization(self.tensors[x].scale * 0.6, -3)
        return self._operator("mean", "mean", (x,), shape, y, MeanAttributes(axes=axes))

    def pad(self, x: str) -> str:
        """One row above, two below, one column to the right."""
        height, width, channels = self.tensors[x].shape
        attributes = PadAttributes(Padding(1, 2, 0, 1))
        return self._operator("pad", "pad", (x,), (height + 3, width + 1, channels), self._like(x), attributes)

    def pad_channels(self, x: str, channels: tuple[int, int], value: int | None = None) -> str:
        """Channels added before and behind, and a row above; all of one code."""
        height, width, inner = self.tensors[x].shape
        attributes = PadAttributes(Padding(top=1), channels, value)
        return self._operator("pad", "pad", (x,), (height + 1, width, inner + sum(channels)), self._like(x), attributes)

    def concatenate(self, *inputs: str, axis: int = 2) -> str:
        """Tensors of one scale, one behind the other."""
        shape = list(self.tensors[inputs[0]].shape)
        shape[axis] = sum(self.tensors[x].shape[axis] for x in inputs)
        attributes = ConcatenateAttributes(axis)
        return self._operator("concatenate", "concatenate", inputs, tuple(shape), self._like(inputs[0]), attributes)

    def slice(self, x: str, begin: tuple[int, ...], shape: tuple[int, ...], step: tuple[int, ...]) -> str:
        """Some of the elements along each axis."""
        return self._operator("slice", "slice", (x,), shape, self._like(x), SliceAttributes(begin, step))

    def transpose(self, x: str, *permutation: int) -> str:
        """The axes in another order."""
        shape = tuple(self.tensors[x].shape[axis] for axis in permutation)
        return self._operator("transpose", "transpose", (x,), shape, self._like(x), TransposeAttributes(permutation))

    def resize(self, x: str, rows: tuple[int, ...], columns: tuple[int, ...]) -> str:
        """Rows and columns repeated or left out."""
        shape = (len(rows), len(columns), self.tensors[x].shape[2])
        attributes = ResizeNearestAttributes(rows, columns)
        return self._operator("resize_nearest", "resize_nearest", (x,), shape, self._like(x), attributes)

    def reshape(self, x: str, *shape: int) -> str:
        """The same codes under another shape."""
        return self._operator("reshape", "reshape", (x,), shape, self._like(x), ReshapeAttributes())

    def relu(self, x: str) -> str:
        """A relu of its own, which changes the scale."""
        scale = self.tensors[x].scale * 0.6
        clamp, zero_point = _clamp(True, 0)
        attributes = RequantizeAttributes(clamp)
        return self._operator(
            "requantize", "requantize", (x,), self.tensors[x].shape, quantization(scale, zero_point), attributes
        )

    def table(self, x: str, function: Function, scale: float, zero_point: int) -> str:
        """A function of one number at an output scale of its own."""
        y = Tensor("", (), "int8", quantization(scale, zero_point))
        real = real_inputs(self.tensors[x]).astype(np.float64)
        steps = function.value(real) / y.scale
        codes = np.copysign(np.floor(np.abs(steps) + 0.5), steps) + y.zero_point
        attributes = table_attributes(function.name, self.tensors[x], y, codes, function.slope(real))
        assert y.quantization is not None
        return self._operator("table", "table", (x,), self.tensors[x].shape, y.quantization, attributes)

    def prelu(self, x: str) -> str:
        """Slopes of either sign, one a channel, below 0; another scale."""
        name, channels = f"a{len(self.operators)}", self.tensors[x].shape[-1]
        codes = self.random.integers(-20000, 30001, channels).astype(np.int32)
        self.tensors[name] = Tensor(name, (channels,), "int32", quantization(2.0**-15, 0), codes)
        y = quantization(self.tensors[x].scale * 0.8, -11)
        return self._operator("prelu", "prelu", (x, name), self.tensors[x].shape, y, PreluAttributes())

    def flatten(self, x: str) -> str:
        """A vector of the same codes."""
        shape = (self.tensors[x].elements,)
        return self._operator("reshape", "reshape", (x,), shape, self._like(x), ReshapeAttributes())

    def in_rows(self, x: str, count: int) -> str:
        """The same codes in so many rows."""
        shape = (count, self.tensors[x].elements // count)
        return self._operator("reshape", "reshape", (x,), shape, self._like(x), ReshapeAttributes())

    def softmax(self, x: str) -> str:
        """The last operator of a classifier's inference."""
        y = quantization(1 / 256, -128)
        return self._operator("softmax", "softmax", (x,), self.tensors[x].shape, y, SoftmaxAttributes())

    def graph(self, output: str) -> Graph:
        """The finished network."""
        graph = Graph(
            f"net{self.seed}",
            self.tensors,
            tuple(self.operators),
            "x",
            output,
            "test",
            f"{self.seed:064x}",
            "int8 codes",
        )
        validate(graph)
        return graph

    def _like(self, x: str) -> Quantization:
        found = self.tensors[x].quantization
        assert found is not None
        return found

    def _layer(
        self,
        kind: str,
        prefix: str,
        x: str,
        shape: tuple[int, ...],
        y_shape: tuple[int, ...],
        attributes: ConvAttributes,
        relu: bool,
        scale: float | None = None,
    ) -> str:
        index = len(self.operators)
        fan_in = int(np.prod(shape[1:]))
        x_scale, y_scale = self.tensors[x].scale, scale or INPUT_SCALE * self.random.uniform(0.7, 1.4)
        typical = y_scale * SPREAD / (x_scale * 58.0 * 60.0 * math.sqrt(fan_in))
        scales = (typical * self.random.uniform(0.6, 1.6, shape[0])).astype(np.float32)
        weights = self.random.integers(-100, 101, shape).astype(np.int8)
        bias = self.random.integers(-4000, 4001, shape[0]).astype(np.int32)
        w_q = Quantization(scales, np.zeros(shape[0], np.int32), 0)
        b_q = Quantization((np.float32(x_scale) * scales).astype(np.float32), np.zeros(shape[0], np.int32), 0)
        self.tensors[f"w{index}"] = Tensor(f"w{index}", shape, "int8", w_q, weights)
        self.tensors[f"b{index}"] = Tensor(f"b{index}", (shape[0],), "int32", b_q, bias)
        clamp, zero_point = _clamp(relu, int(self.random.integers(-10, 11)))
        attributes = replace(attributes, clamp=clamp)
        operands = (x, f"w{index}", f"b{index}")
        return self._operator(kind, prefix, operands, y_shape, quantization(y_scale, zero_point), attributes)

    def _operator(
        self,
        kind: str,
        prefix: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        y: Quantization,
        attributes: Attributes,
    ) -> str:
        index = len(self.operators)
        name = f"t{index}"
        self.tensors[name] = Tensor(name, shape, "int8", y)
        self.operators.append(Operator(f"{prefix}{index}", kind, inputs, (name,), attributes, kind.upper()))
        return name


def _clamp(relu: bool, zero_point: int) -> tuple[tuple[int, int], int]:
    """(clamp, zero point): a relu clamps at its zero point, which lies low."""
    return ((-60, 127), -60) if relu else ((-128, 127), zero_point)


def _same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after) of SAME padding, the odd one behind."""
    total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return total // 2, total - total // 2


def samples(graph: Graph, count: int, seed: int = 0) -> Int8Array:
    """Random input codes (count, *input shape)."""
    shape = (count, *graph.tensors[graph.input].shape)
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def chain() -> Graph:
    """Four convolutions one after the other, stride 1 and 2, SAME and VALID, 3x3 and 1x1, and a head."""
    net = NetBuilder(1)
    y = net.conv("x", 6)
    y = net.conv(y, 8, stride=2, relu=True)
    y = net.conv(y, 8, kernel=1)
    y = net.conv(y, 5, same=False, relu=True)
    return net.graph(net.softmax(net.dense(net.flatten(y), 4)))


def residual() -> Graph:
    """A block whose both paths hold a convolution, and a relu'd sum."""
    net = NetBuilder(2)
    stem = net.conv("x", 6, relu=True)
    left = net.conv(stem, 8, stride=2)
    right = net.conv(stem, 8, kernel=1, stride=2)
    both = net.add(left, right, relu=True)
    return net.graph(net.dense(net.flatten(net.global_pool(both)), 5))


def identity_residual() -> Graph:
    """A block with a bare skip connection, and one whose input goes into the sum twice."""
    net = NetBuilder(3)
    stem = net.conv("x", 5)
    inner = net.conv(net.conv(stem, 5, relu=True), 5)
    both = net.add(inner, stem)
    twice = net.add(both, both, relu=True)
    return net.graph(net.dense(net.flatten(net.pool("average_pool", twice, 4, 4)), 3))


def pooled() -> Graph:
    """Every operator without weights: pad, relu, overlapping max and average pools, between trained layers."""
    net = NetBuilder(4, (9, 8, 2))
    y = net.conv(net.pad("x"), 5, same=False)
    y = net.pool("max_pool", net.relu(y), 3, 2, same=True)
    y = net.conv(net.pad(y), 6)
    y = net.pool("average_pool", y, 3, 2, same=True)
    y = net.pool("max_pool", y, 2, 1)
    return net.graph(net.softmax(net.dense(net.flatten(y), 6)))


def averaged() -> Graph:
    """Averages at scales of their own: so fine that some saturate, with an activation, and over the whole image."""
    net = NetBuilder(17, (9, 8, 2))
    y = net.conv(net.average("x", 2, 1, finer=1.6), 5)
    y = net.conv(net.average(y, 3, 2, finer=0.3, relu=True), 6)
    return net.graph(net.dense(net.flatten(net.average(y, 5, 5, finer=0.4)), 4))


def gated() -> Graph:
    """Squeeze and excite with its gate on either side, a square, constants, differences, and a column times a row."""
    net = NetBuilder(19, (6, 5, 3))
    y = net.conv("x", 6, relu=True)
    gate = net.conv(net.global_pool(y), 6, kernel=1)
    y = net.arithmetic("multiply", y, gate, coarser=1.5)
    y = net.arithmetic("multiply", y, net.constant((1, 1, 6), 0.01, 3), coarser=1.5)
    y = net.arithmetic("add", y, net.constant((6,), 0.02, -7), coarser=1.5)
    y = net.arithmetic(
        "add", net.arithmetic("multiply", y, y, coarser=1.5), net.conv(y, 1), subtracts=True, coarser=1.5
    )
    gate = net.conv(net.global_pool(y), 6, kernel=1)
    y = net.arithmetic("add", gate, net.arithmetic("multiply", gate, net.conv(y, 6), coarser=1.5), coarser=1.5)
    y = net.arithmetic("add", net.constant((1, 1, 1), 0.02), y, subtracts=True, coarser=1.5)
    column = net.windowed("average_pool", y, 6, (1, 5), (1, 1), Padding())
    row = net.windowed("max_pool", y, 6, (6, 1), (1, 1), Padding())
    y = net.arithmetic("multiply", column, row, coarser=1.5)
    return net.graph(net.dense(net.flatten(y), 4))


def reduced() -> Graph:
    """Means over rows, over columns and over channels that scale an image, and a max pool of more than 256 positions."""
    net = NetBuilder(14, (17, 16, 2))
    y = net.conv("x", 3)
    gates = [net.mean_over(y, *axes) for axes in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2))]
    for gate in gates:
        y = net.arithmetic("add", y, gate, coarser=1.6)  # no code reaches the clamp
    largest = net.windowed("max_pool", y, 3, (17, 16), (1, 1), Padding())
    return net.graph(net.dense(net.dense(net.flatten(largest), 6), 4))


def perceptron() -> Graph:
    """Hidden fully connected layers behind a convolution."""
    net = NetBuilder(5, (4, 4, 2))
    y = net.flatten(net.conv("x", 4, relu=True))
    y = net.dense(net.dense(y, 16, relu=True), 12)
    return net.graph(net.dense(y, 4))


def separable() -> Graph:
    """Depthwise convolutions of one and of two outputs a channel, stride 1 and 2, in a residual block, and a mean."""
    net = NetBuilder(6, (9, 8, 3))
    stem = net.conv("x", 4)
    inner = net.conv(net.depthwise(stem, outputs=2, relu=True), 4, kernel=1)
    y = net.depthwise(net.add(inner, stem), 5, stride=2)
    y = net.conv(y, 6, kernel=1, relu=True)
    return net.graph(net.dense(net.mean(y), 4))


def dilated_and_grouped() -> Graph:
    """Convolutions with dilated taps, in groups, and both, dense and depthwise, in a residual block too; strides that meet the dilation."""
    net = NetBuilder(8, (10, 9, 3))
    stem = net.windowed("conv2d", "x", 6, (3, 2), (1, 1), Padding(2, 2, 1, 1), dilation=(2, 2))
    inner = net.windowed("conv2d", stem, 6, (3, 3), (1, 1), Padding(1, 1, 1, 1), relu=True, groups=3)
    y = net.add(net.windowed("conv2d", inner, 6, (2, 3), (1, 1), Padding(3, 0, 2, 2), dilation=(3, 2), groups=2), stem)
    y = net.windowed("depthwise_conv2d", y, 12, (3, 3), (2, 1), Padding(2, 1, 2, 2), dilation=(2, 2), relu=True)
    y = net.windowed("conv2d", y, 8, (1, 1), (1, 1), Padding(), groups=4)
    return net.graph(net.dense(net.mean(y), 4))


def sequence() -> Graph:
    """(length, channels): convolutions with strides, dilation and groups, depthwise too, pools, and rows of fully connected layers."""
    net = NetBuilder(9, (26, 3))
    y = net.windowed("conv2d", "x", 6, (1, 5), (1, 1), Padding(0, 0, 2, 1), relu=True)
    y = net.add(net.windowed("conv2d", y, 6, (1, 3), (1, 1), Padding(0, 0, 4, 0), dilation=(1, 2), groups=2), y)
    y = net.windowed("max_pool", y, 6, (1, 3), (1, 2), Padding(0, 0, 1, 0))
    y = net.windowed("depthwise_conv2d", net.rows(y, 5, relu=True), 5, (1, 3), (1, 1), Padding(0, 0, 1, 1))
    y = net.windowed("average_pool", net.rows(y, 7), 7, (1, 2), (1, 2), Padding())
    return net.graph(net.dense(net.mean(y), 4))


def curved() -> Graph:
    """Functions of one number between trained layers, on one path and on two, one of them cut off at both ends."""
    net = NetBuilder(9, (6, 5, 2))
    stem = net.table(net.conv("x", 5), functions.SILU, 0.04, -100)
    left = net.table(net.prelu(net.conv(stem, 6)), functions.TANH, 0.9 / 128, 3)
    right = net.table(net.conv(stem, 6, kernel=1), functions.SOFTPLUS, 0.03, -110)
    both = net.table(net.add(left, right), functions.SIGMOID, 1 / 256, -128)
    return net.graph(net.dense(net.flatten(net.global_pool(both)), 5))


def shuffled() -> Graph:
    """Everything that moves elements, between trained layers: channels shuffled and padded, rows flipped, one branch both repeated and cut.

    One concatenation has an input twice.
    """
    net = NetBuilder(9)
    stem = net.conv("x", 6, relu=True)
    grouped = net.transpose(net.reshape(stem, 8, 8, 2, 3), 0, 1, 3, 2)
    y = net.conv(net.reshape(grouped, 8, 8, 6), 4, stride=2)
    flipped = net.slice(y, (3, 0, 0), (4, 2, 3), (-1, 2, 1))
    wide = net.resize(flipped, (0, 0, 1, 3), (1, 0, 1, 0))
    both = net.concatenate(net.slice(y, (0, 0, 3), (4, 4, 1), (1, 1, 1)), wide, wide)
    y = net.conv(net.pad_channels(both, (1, 2), 40), 5)
    y = net.conv(net.concatenate(net.slice(y, (0, 0, 0), (2, 4, 5), (1, 1, 1)), y, axis=0), 5, stride=2)
    return net.graph(net.dense(net.flatten(net.transpose(y, 2, 0, 1)), 4))


def siamese(*, shared: bool = True) -> Graph:
    """Two convolutions of the same input by the same weights and the same bias; not shared: by copies of these."""
    net = NetBuilder(7)
    stem = net.conv("x", 6, relu=True)
    left, right = net.conv(stem, 8), net.conv(stem, 8)
    graph = net.graph(net.dense(net.flatten(net.global_pool(net.add(left, right))), 5))
    twin, own = graph.operators[1], graph.operators[2]
    tensors = dict(graph.tensors)
    for name, other in zip(own.inputs[1:], twin.inputs[1:], strict=True):
        if shared:
            del tensors[name]
        else:
            tensors[name] = replace(tensors[other], name=name)
    inputs = twin.inputs if shared else own.inputs
    operators = (*graph.operators[:2], replace(own, inputs=inputs), *graph.operators[3:])
    made = replace(graph, tensors=tensors, operators=operators)
    validate(made)
    return made


def autoencoder() -> Graph:
    """As many values out as in, through a narrow middle."""
    net = NetBuilder(8, (2, 3, 4))
    y = net.dense(net.flatten("x"), 10, relu=True)
    y = net.dense(y, 4)
    return net.graph(net.dense(net.dense(y, 10, relu=True), 24))


def regression() -> Graph:
    """One value of an image."""
    net = NetBuilder(9)
    y = net.conv(net.conv("x", 6, relu=True), 8, stride=2, relu=True)
    return net.graph(net.dense(net.mean(y), 1))


def convolutional_head(kernel: int = 1) -> Graph:
    """A classifier whose last layer is a convolution over all of its input, with a reshape and a softmax behind it."""
    net = NetBuilder(10)
    y = net.conv(net.conv("x", 6, relu=True), 8, stride=2, relu=True)
    y = net.global_pool(y) if kernel == 1 else net.conv(y, 5, kernel=4 - kernel + 1, same=False)
    return net.graph(net.softmax(net.flatten(net.conv(y, 4, kernel=kernel, same=False))))


def averaged_classes() -> Graph:
    """A classifier that says its classes of each pixel, and averages them."""
    net = NetBuilder(11)
    y = net.conv(net.conv("x", 6, relu=True), 8, stride=2, relu=True)
    return net.graph(net.softmax(net.flatten(net.global_pool(net.conv(y, 4, kernel=1)))))


def class_map() -> Graph:
    """A class of each pixel."""
    net = NetBuilder(12)
    return net.graph(net.conv(net.conv("x", 6, relu=True), 4, kernel=1))


def two_heads() -> Graph:
    """One layer of six outputs that are two classifiers of three."""
    net = NetBuilder(13)
    y = net.dense(net.mean(net.conv("x", 6, relu=True)), 6)
    return net.graph(net.softmax(net.in_rows(y, 2)))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "chain": chain,
    "gated": gated,
    "residual": residual,
    "identity residual": identity_residual,
    "averaged": averaged,
    "curved": curved,
    "pooled": pooled,
    "perceptron": perceptron,
    "reduced": reduced,
    "separable": separable,
    "dilated and grouped": dilated_and_grouped,
    "sequence": sequence,
    "shuffled": shuffled,
}


def random_network(seed: int) -> Graph:
    """Any order of operators, residual blocks among them."""
    random = np.random.default_rng(1000 + seed)
    net = NetBuilder(1000 + seed, (int(random.integers(5, 9)), int(random.integers(5, 9)), int(random.integers(1, 4))))
    y = net.conv("x", int(random.integers(3, 7)))
    for _ in range(int(random.integers(2, 6))):
        y = _random_block(net, y, random)
    if random.random() < 0.5:
        y = net.global_pool(y)
    y = net.flatten(y)
    if random.random() < 0.4:
        y = net.dense(y, int(random.integers(4, 12)), relu=True)
    return net.graph(net.dense(y, int(random.integers(2, 6))))


def _random_block(net: NetBuilder, x: str, random: np.random.Generator) -> str:
    height, width, channels = net.tensors[x].shape
    roomy = min(height, width) >= 3
    kind = random.choice(["conv", "strided", "valid", "residual", "skip", "max", "average", "pad", "relu"])
    if kind == "strided" and roomy:
        return net.conv(x, int(random.integers(3, 8)), stride=2, relu=bool(random.integers(2)))
    if kind == "valid" and roomy:
        return net.conv(x, int(random.integers(3, 8)), same=False)
    if kind == "residual":
        other = int(random.integers(3, 8))
        return net.add(net.conv(x, other), net.conv(x, other, kernel=1, relu=True))
    if kind == "skip":
        return net.add(net.conv(x, channels), x, relu=True)
    if kind in ("max", "average") and roomy:
        return net.pool(
            f"{kind}_pool", x, int(random.integers(2, 4)), int(random.integers(1, 3)), same=bool(random.integers(2))
        )
    if kind == "pad":
        return net.pad(x)
    if kind == "relu":
        return net.relu(x)
    return net.conv(x, int(random.integers(3, 8)), relu=bool(random.integers(2)))


FAR_APART = 24.0
"""How many times the scale of one input of an add is that of the other, in an uneven network."""


def uneven_network(seed: int) -> Graph:
    """Any order of operators whose heights and widths, strides, borders and scales have nothing in common."""
    random = np.random.default_rng(2000 + seed)
    net = NetBuilder(
        2000 + seed, (int(random.integers(6, 11)), int(random.integers(6, 11)), int(random.integers(1, 4)))
    )
    y = net.windowed("conv2d", "x", int(random.integers(3, 6)), (2, 3), (1, 1), Padding(1, 0, 0, 2))
    for _ in range(int(random.integers(2, 5))):
        y = _uneven_block(net, y, random)
    if random.random() < 0.5:
        y = net.mean(y)
    else:
        y = net.flatten(y)
        y = net.dense(y, int(random.integers(4, 12)), relu=True)
    return net.graph(net.dense(y, int(random.integers(2, 6))))


def _uneven_block(net: NetBuilder, x: str, random: np.random.Generator) -> str:
    kind = str(
        random.choice(["conv2d", "depthwise_conv2d", "average_pool", "max_pool", "residual", "twice", "pad", "relu"])
    )
    height, width, channels = net.tensors[x].shape
    if kind == "pad":
        return net.pad(x)
    if kind == "relu":
        return net.relu(x)
    if kind == "twice":
        return net.add(x, x, relu=bool(random.integers(2)))
    scale = INPUT_SCALE * 2.0 ** random.uniform(-4, 4)
    if kind == "residual":
        sides = ((1, 1), (1, 1), Padding())
        far = net.windowed(
            "conv2d", x, channels, *sides, scale=net.tensors[x].scale * FAR_APART ** random.choice([-1, 1])
        )
        return net.add(far, x) if random.random() < 0.5 else net.add(x, far, relu=True)
    kernel = (int(random.integers(1, min(height, 4) + 1)), int(random.integers(1, min(width, 4) + 1)))
    stride = (int(random.integers(1, 4)), int(random.integers(1, 4)))
    border = Padding(*(int(random.integers(0, side)) for side in kernel for _ in range(2)))
    out_channels = int(random.integers(3, 7))
    if kind == "depthwise_conv2d":
        out_channels = channels * int(random.integers(1, 3))
    if kind.endswith("_pool"):
        out_channels = channels
    return net.windowed(kind, x, out_channels, kernel, stride, border, scale=scale, relu=bool(random.integers(2)))


def with_power_of_two_scales(graph: Graph) -> Graph:
    """The same codes under scales that are powers of two, the nearest ones: every quotient of scales is exact, and ties are common."""
    tensors = {}
    for name, tensor in graph.tensors.items():
        assert tensor.quantization is not None
        scale = np.exp2(np.rint(np.log2(tensor.quantization.scale.astype(np.float64)))).astype(np.float32)
        tensors[name] = replace(tensor, quantization=replace(tensor.quantization, scale=scale))
    for op in graph.operators:
        if isinstance(op.attributes, ConvAttributes):
            x, w, b = (tensors[name] for name in op.inputs)
            assert w.quantization is not None and b.quantization is not None
            product = (np.float32(x.scale) * w.quantization.scale).astype(np.float32)
            tensors[b.name] = replace(b, quantization=replace(b.quantization, scale=product))
    rounded = replace(graph, tensors=tensors)
    validate(rounded)
    return rounded
