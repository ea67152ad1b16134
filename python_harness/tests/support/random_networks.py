"""Random networks as files of two exporters: an int8 .tflite file by our own writer, and an ONNX model by onnxruntime's quantiser.

A walk holds the shape of the last tensor and appends, in each step, an operator that this shape allows, with geometry and axes drawn
at random. Shapes leave the batch out and are in the file's layout: ONNX images are channels-first. One seed, one network::

    network = tflite_network(seed)     # .model: bytes, .input_shape, .steps: what was drawn
    network = onnx_network(seed)       # .model: a QDQ ModelProto

About a third of the networks have powers of two for scales, where ties are many and a code less than exact shows at once.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray

from support.onnx_models import FloatModel, quantize
from support.tflite_builder import ACTIVATIONS, PADDINGS, output_size
from support.tflite_writer import Builder, Option

Shape = tuple[int, ...]
Model = TypeVar("Model")
INT32 = tflite.TensorType.INT32

LONGEST = 4  # operators drawn; each may bring a reshape or a change of scale of its own
MOST_ELEMENTS = 1500  # of a tensor: the networks stay small enough to run by the hundred
CODE_SPREAD = 60.0  # a standard deviation of codes that fills their range


@dataclass(frozen=True)
class RandomNetwork(Generic[Model]):
    """model: the file. input_shape: without the batch, in the file's layout. steps: the operators drawn, for messages. is_classifier: it
    ends with a fully connected layer, and at most a softmax behind it. is_channels_last: an image that the file itself turns first.
    output: name and place of the output to take, where the file has others beside it. alphas: of leaky relus, by output tensor."""

    model: Model
    input_shape: Shape
    steps: tuple[str, ...]
    is_classifier: bool
    is_channels_last: bool = False
    output: tuple[str, int] | None = None
    alphas: Mapping[str, float] = field(default_factory=dict)


def _sides(random: np.random.Generator, count: int, most: int) -> Shape:
    return tuple(int(n) for n in random.integers(1, most + 1, count))


def _factors(random: np.random.Generator, elements: int) -> Shape:
    """A random shape of so many elements."""
    shape: list[int] = []
    while len(shape) < 3 and elements > 1 and random.random() < 0.7:
        shape.append(int(random.choice([n for n in range(1, elements + 1) if elements % n == 0])))
        elements //= shape[-1]
    at = int(random.integers(len(shape) + 1))
    return (*shape[:at], elements, *shape[at:])


@dataclass
class _TfliteWalk:
    """Operators one behind the other; ``x`` is the last tensor, ``earlier`` those that a sum may reach back to."""

    random: np.random.Generator
    powers_of_two: bool
    b: Builder = field(default_factory=Builder)
    steps: list[str] = field(default_factory=list)
    x: int = -1
    shape: Shape = ()
    q: tuple[float, int] = (1.0, 0)
    earlier: list[tuple[int, Shape, tuple[float, int]]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    alphas: dict[str, float] = field(default_factory=dict)
    _count: int = 0

    def start(self) -> int:
        rank = int(self.random.choice([1, 2, 3, 3, 3, 3, 4]))
        most = {1: 40, 2: 16, 3: 9, 4: 4}[rank]
        self.shape = _sides(self.random, rank, most)
        self.q = (self.scale(0.01, 0.1), self.zero_point())
        self.x = self.tensor(self.shape, self.q)
        self.steps.append(f"{list(self.shape)} {self.q}")
        return self.x

    # what is drawn

    def scale(self, low: float, high: float) -> float:
        value = math.exp(self.random.uniform(math.log(low), math.log(high)))
        return float(np.float32(2.0 ** round(math.log2(value)) if self.powers_of_two else value))

    def zero_point(self) -> int:
        return int(self.random.choice([-128, 0, 127, *self.random.integers(-128, 128, 3)]))

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def codes(self, *shape: int) -> NDArray[np.int8]:
        codes: NDArray[np.int8] = self.random.integers(-127, 128, shape).astype(np.int8)
        return codes

    # what is written

    def tensor(self, shape: Sequence[int], q: tuple[float, int]) -> int:
        self._count += 1
        index = self.b.tensor(f"t{self._count}", (1, *shape), quantization=q)
        self.names[index] = f"t{self._count}"
        return index

    def integers(self, values: Any) -> int:
        self._count += 1
        array = np.array(values, np.int32)
        return self.b.tensor(f"c{self._count}", array.shape, "int32", data=array)

    def append(
        self,
        kind: str,
        operands: Sequence[int],
        shape: Sequence[int],
        q: tuple[float, int] | None = None,
        options: Mapping[str, Option] | None = None,
    ) -> None:
        """An operator whose output is the walk's next tensor."""
        self.earlier.append((self.x, self.shape, self.q))
        self.shape, self.q = tuple(int(n) for n in shape), q or self.q
        self.x = self.tensor(self.shape, self.q)
        self.b.operator(kind, operands, [self.x], options)
        drawn = ", ".join(f"{name}={value}" for name, value in (options or {}).items() if value)
        self.steps.append(f"{kind}({drawn}) {list(self.shape)} {self.q}")

    def weighted(
        self, kind: str, weights: NDArray[np.int8], axis: int, terms: int, shape: Shape, options: Mapping[str, Option]
    ) -> None:
        """A layer with weights, of which ``terms`` products make a sum: its output has a scale that the sums fill."""
        outputs = weights.shape[axis]
        several = bool(self.random.random() < 0.6) and (kind != "FULLY_CONNECTED" or bool(self.random.random() < 0.5))
        scales = np.array([self.scale(0.002, 0.02) for _ in range(outputs if several else 1)], np.float32)
        bias_scales = np.float32(self.q[0]) * scales
        spread = float(np.median(bias_scales)) * 73 * 73 * math.sqrt(terms) / CODE_SPREAD
        y = (self.scale(0.5 * spread, 1.5 * spread), self.zero_point())
        largest = int(20 * 73 * math.sqrt(terms)) + 1
        bias = self.random.integers(-largest, largest, (outputs,)).astype(np.int32)
        self._count += 1
        operands = [
            self.x,
            self.b.tensor(f"w{self._count}", weights.shape, quantization=(scales, 0), data=weights, axis=axis),
            self.b.tensor(f"b{self._count}", bias.shape, "int32", quantization=(bias_scales, 0), data=bias),
        ]
        self.append(kind, operands, shape, y, options)

    # operators; each says whether it could be appended

    def window(self, kind: str) -> bool:
        """A convolution or a pool."""
        if len(self.shape) != 3:
            return False
        height, width, channels = self.shape
        is_pool = kind.endswith("POOL_2D")
        padding = self.one_of("SAME", "VALID")
        kernel = (int(self.random.integers(1, 5)), int(self.random.integers(1, 5)))
        dilation = (1, 1) if is_pool else (self.one_of(1, 1, 1, 2, 3), self.one_of(1, 1, 1, 2, 3))
        span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        if padding == "VALID" and (span[0] > height or span[1] > width):
            return False
        # LiteRT dilates only where it does not stride
        stride = (1, 1) if dilation != (1, 1) else (self.one_of(1, 1, 2, 3), self.one_of(1, 1, 2, 3))
        sides = [output_size(n, s, t, padding) for n, s, t in zip((height, width), span, stride, strict=True)]
        options: dict[str, Option] = {
            "Padding": PADDINGS[padding],
            "StrideH": stride[0],
            "StrideW": stride[1],
            "FusedActivationFunction": ACTIVATIONS[self.one_of("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")],
        }
        if is_pool:
            options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
            self.append(kind, [self.x], (*sides, channels), None, options)
            return True
        options |= {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}
        if kind == "DEPTHWISE_CONV_2D":
            multiplier = self.one_of(1, 1, 2, 3)
            outputs, weights = channels * multiplier, self.codes(1, *kernel, channels * multiplier)
            options["DepthMultiplier"] = multiplier
            self.weighted(kind, weights, 3, math.prod(kernel), (*sides, outputs), options)
            return True
        groups = self.one_of(1, 1, *(n for n in range(2, channels + 1) if channels % n == 0))
        outputs = groups * int(self.random.integers(1, 5))
        weights = self.codes(outputs, *kernel, channels // groups)
        self.weighted(kind, weights, 0, math.prod(weights.shape[1:]), (*sides, outputs), options)
        return True

    def sequence_window(self) -> bool:
        """A convolution or pool of a sequence, as Keras writes it: an image of one row in between."""
        if len(self.shape) != 2:
            return False
        length, channels = self.shape
        self.append("EXPAND_DIMS", [self.x, self.integers(1)], (1, length, channels))
        self.window(self.one_of("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"))
        if self.shape[0] != 1:
            return True
        self.append("SQUEEZE", [self.x], self.shape[1:], None, {"SqueezeDims": (1,)})
        return True

    def fully_connected(self) -> bool:
        """Of every row; of the flattened tensor, with or without a reshape in front, that LiteRT does itself."""
        features = int(self.random.integers(1, 9))
        activation = self.one_of("NONE", "NONE", "RELU", "RELU6")
        options: dict[str, Option] = {"FusedActivationFunction": ACTIVATIONS[activation], "KeepNumDims": False}
        way = self.one_of("rows", "reshape", "silent")
        if way == "reshape" and len(self.shape) > 1:
            self.reshape((math.prod(self.shape),))
        terms = self.shape[-1] if way == "rows" else math.prod(self.shape)
        shape: Shape = (features,)
        if way == "rows" and len(self.shape) > 1:
            options["KeepNumDims"] = True
            shape = (*self.shape[:-1], features)
        self.weighted("FULLY_CONNECTED", self.codes(features, terms), 0, terms, shape, options)
        return True

    def head(self) -> bool:
        """A classifier, and often a softmax or the logarithm of one."""
        if len(self.shape) > 1:
            self.reshape((math.prod(self.shape),))
        classes = int(self.random.integers(2, 7))
        weights = self.codes(classes, self.shape[0])
        self.weighted("FULLY_CONNECTED", weights, 0, self.shape[0], (classes,), {"FusedActivationFunction": 0})
        return bool(self.one_of(lambda: True, self.softmax, self.log_softmax)())

    def reshape(self, shape: Shape) -> bool:
        """To a shape that the file states, or computes from the batch of the tensor as Keras does."""
        wanted = self.integers((1, *shape)) if self.random.random() < 0.7 else self.computed_shape(shape)
        self.append("RESHAPE", [self.x, wanted], shape)
        return True

    def computed_shape(self, shape: Shape) -> int:
        """SHAPE, STRIDED_SLICE and PACK: (batch, *shape)."""
        self._count += 1
        found = self.b.tensor(f"s{self._count}", (len(self.shape) + 1,), "int32")
        batch = self.b.tensor(f"n{self._count}", (), "int32")
        packed = self.b.tensor(f"p{self._count}", (len(shape) + 1,), "int32")
        self.b.operator("SHAPE", [self.x], [found], {"OutType": INT32})
        masks = dict.fromkeys(("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask"), 0)
        operands = [found, *(self.integers([n]) for n in (0, 1, 1))]
        self.b.operator("STRIDED_SLICE", operands, [batch], {**masks, "ShrinkAxisMask": 1, "Offset": False})
        parts = [batch, *(self.integers(n) for n in shape)]
        self.b.operator("PACK", parts, [packed], {"ValuesCount": len(parts), "Axis": 0})
        return packed

    def any_reshape(self) -> bool:
        return self.reshape(_factors(self.random, math.prod(self.shape)))

    def expand_dims(self) -> bool:
        if len(self.shape) > 3:
            return False
        at = int(self.random.integers(len(self.shape) + 1))
        shape = (*self.shape[:at], 1, *self.shape[at:])
        self.append("EXPAND_DIMS", [self.x, self.integers(at + 1)], shape)
        return True

    def squeeze(self) -> bool:
        axes = [a + 1 for a, n in enumerate(self.shape) if n == 1]
        if not axes or len(self.shape) == 1:
            return False
        axis = self.one_of(*axes)
        shape = (*self.shape[: axis - 1], *self.shape[axis:])
        self.append("SQUEEZE", [self.x], shape, None, {"SqueezeDims": (axis,)})
        return True

    def elementwise(self, kind: str) -> bool:
        """ADD, MUL or SUB of two tensors or of one and a constant, either of which may be repeated."""
        other, q, shape = self.one_of(self.constant_beside, self.tensor_beside)()
        activation = ACTIVATIONS[self.one_of("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")]
        spread = self.q[0] * q[0] * 73 * 73 / CODE_SPREAD if kind == "MUL" else math.hypot(self.q[0], q[0])
        y = (self.scale(0.5 * spread, 2 * spread), self.zero_point())
        operands = self.one_of([self.x, other], [other, self.x])
        self.append(kind, operands, shape, y, {"FusedActivationFunction": activation})
        return True

    def constant_beside(self) -> tuple[int, tuple[float, int], Shape]:
        """A constant that may be repeated: a single number, one a channel, or any; it may have fewer axes."""
        shape = self.one_of(
            (), (1,), self.shape[-1:], tuple(n if self.random.random() < 0.6 else 1 for n in (1, *self.shape))
        )
        self._count += 1
        q = (self.scale(0.002, 0.05), self.zero_point())
        return self.b.tensor(f"k{self._count}", shape, quantization=q, data=self.codes(*shape)), q, self.shape

    def tensor_beside(self) -> tuple[int, tuple[float, int], Shape]:
        """An earlier tensor or this one."""
        found = list[tuple[int, tuple[float, int], Shape]]()
        for x, shape, q in [*self.earlier, (self.x, self.shape, self.q)]:
            if len(shape) == len(self.shape) and all(
                n == m or 1 in (n, m) for n, m in zip(shape, self.shape, strict=True)
            ):
                found.append((x, q, np.broadcast_shapes(shape, self.shape)))
        fits = [(x, q, shape) for x, q, shape in found if math.prod(shape) <= MOST_ELEMENTS]
        return self.one_of(*fits)  # type: ignore[no-any-return]  # itself among them

    def squeeze_excite(self) -> bool:
        """An image times a gate of each channel, made of its means."""
        if len(self.shape) != 3 or math.prod(self.shape) == 1:
            return False
        image, (_, _, channels), (scale, _) = self.x, self.shape, self.q
        shape = self.shape
        self.reduce("MEAN", (0, 1), keeps=True)
        middle = int(self.random.integers(1, 5))
        options: dict[str, Option] = {"Padding": PADDINGS["SAME"], "StrideH": 1, "StrideW": 1}
        options |= {"DilationHFactor": 1, "DilationWFactor": 1}
        for outputs, activation in ((middle, "RELU"), (channels, "NONE")):
            weights = self.codes(outputs, 1, 1, self.shape[2])
            fused = options | {"FusedActivationFunction": ACTIVATIONS[activation]}
            self.weighted("CONV_2D", weights, 0, self.shape[2], (1, 1, outputs), fused)
        self.table("LOGISTIC")
        y = (self.scale(0.3 * scale, scale), self.zero_point())
        self.append("MUL", self.one_of([image, self.x], [self.x, image]), shape, y, {"FusedActivationFunction": 0})
        return True

    def silu(self) -> bool:
        """x * sigmoid(x)."""
        x, (scale, _) = self.x, self.q
        self.table("LOGISTIC")
        y = (self.scale(0.5 * scale, scale), self.zero_point())
        self.append("MUL", self.one_of([x, self.x], [self.x, x]), self.shape, y, {"FusedActivationFunction": 0})
        return True

    def any_reduction(self, kind: str) -> bool:
        """MEAN or REDUCE_MAX over any axes; half of them over all but the last."""
        rank = len(self.shape)
        axes = tuple(range(rank - 1)) if self.random.random() < 0.5 else self.some_axes()
        keeps = bool(self.random.integers(2))
        if not axes or (len(axes) == rank and not keeps):
            return False
        return self.reduce(kind, axes, keeps)

    def some_axes(self) -> Shape:
        return tuple(a for a in range(len(self.shape)) if self.random.random() < 0.5)

    def reduce(self, kind: str, axes: Shape, keeps: bool) -> bool:
        is_mean = kind == "MEAN"
        y = (self.scale(0.3 * self.q[0], 1.5 * self.q[0]), self.zero_point()) if self.random.random() < 0.7 else self.q
        left = [1 if a in axes else n for a, n in enumerate(self.shape) if keeps or a not in axes]
        stated = [self.one_of(a + 1, a - len(self.shape)) for a in self.random.permutation(axes)]
        self.append(kind, [self.x, self.integers(stated)], left, y if is_mean else None, {"KeepDims": keeps})
        return True

    def table(self, kind: str) -> bool:
        """A function of one number."""
        y = (self.scale(0.25 * self.q[0], 8 * self.q[0]), self.zero_point())
        options: dict[str, Option] | None = None
        if kind == "LOGISTIC":
            y = (1 / 256, -128)
        if kind == "LEAKY_RELU":
            alpha = float(np.float32(self.one_of(0.0, 0.01, 0.25, 0.3, 1.5, -0.5)))
            options, self.alphas[f"t{self._count + 1}"] = {"Alpha": alpha}, alpha
        if kind == "GELU":
            options = {"Approximate": bool(self.random.integers(2))}
        if kind == "SQRT":  # LiteRT stops at negative numbers
            self.append("QUANTIZE", [self.x], self.shape, (self.q[0], -128))
        self.append(kind, [self.x], self.shape, y, options)
        return True

    def requantize(self, kind: str) -> bool:
        y = (self.scale(0.5 * self.q[0], 3 * self.q[0]), self.zero_point())
        self.append(kind, [self.x], self.shape, y)
        return True

    def extreme(self, kind: str) -> bool:
        self._count += 1
        limit = self.codes(1)
        constant = self.b.tensor(f"k{self._count}", (1,), quantization=self.q, data=limit)
        self.append(kind, self.one_of([self.x, constant], [constant, self.x]), self.shape)
        return True

    def prelu(self) -> bool:
        alpha = tuple(n if self.random.random() < 0.6 else 1 for n in self.shape)
        self._count += 1
        q = (self.scale(0.002, 0.02), self.zero_point())
        slopes = self.b.tensor(f"a{self._count}", alpha, quantization=q, data=self.codes(*alpha))
        y = (self.scale(0.5 * self.q[0], 3 * self.q[0]), self.zero_point())
        self.append("PRELU", [self.x, slopes], self.shape, y)
        return True

    def softmax(self) -> bool:
        self.append("SOFTMAX", [self.x], self.shape, (1 / 256, -128), {"Beta": self.one_of(1.0, 1.0, 0.5, 3.0)})
        return True

    def log_softmax(self) -> bool:
        self.append("LOG_SOFTMAX", [self.x], self.shape, (1 / 16, 127))
        return True

    def concatenation(self) -> bool:
        axis = int(self.random.integers(len(self.shape)))
        parts = [(self.x, self.shape[axis])]
        for x, shape, q in [*self.earlier, (self.x, self.shape, self.q)]:
            alike = len(shape) == len(self.shape) and all(
                n == m for a, (n, m) in enumerate(zip(shape, self.shape, strict=True)) if a != axis
            )
            if alike and q == self.q and self.random.random() < 0.7:
                parts.insert(int(self.random.integers(len(parts) + 1)), (x, shape[axis]))
        total = sum(n for _, n in parts)
        shape = tuple(total if a == axis else n for a, n in enumerate(self.shape))
        stated = self.one_of(axis + 1, axis - len(self.shape))
        self.append("CONCATENATION", [x for x, _ in parts], shape, None, {"Axis": stated, "FusedActivationFunction": 0})
        return True

    def slice(self) -> bool:
        begin = [int(self.random.integers(n)) for n in self.shape]
        size = [int(self.random.integers(1, n - at + 1)) for n, at in zip(self.shape, begin, strict=True)]
        self.append("SLICE", [self.x, self.integers([0, *begin]), self.integers([1, *size])], size)
        return True

    def strided_slice(self) -> bool:
        begin, end, stride, shape = [0], [1], [1], list[int]()
        masks = dict.fromkeys(("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"), 0)
        for n in self.shape:
            step = self.one_of(-2, -1, 1, 1, 2)
            first, last = (0, n) if step > 0 else (n - 1, -n - 1)
            if self.random.random() < 0.5:
                first = int(self.random.integers(n))
            if masked := self.random.random() < 0.2:  # what a mask leaves out may be any number
                first, last = (0, n) if step > 0 else (n - 1, -n - 1)
                masks["BeginMask"] |= 1 << len(begin)
                masks["EndMask"] |= 1 << len(begin)
            begin.append(int(self.random.integers(-n, n)) if masked else first)
            end.append(int(self.random.integers(-n, n)) if masked else last)
            stride.append(step)
            shape.append(len(range(*slice(first, last, step).indices(n))))
        operands = [self.x, *(self.integers(values) for values in (begin, end, stride))]
        self.append("STRIDED_SLICE", operands, shape, None, {**masks, "Offset": False})
        return True

    def split(self) -> bool:
        axis = int(self.random.integers(len(self.shape)))
        parts = self.one_of(*(n for n in range(1, self.shape[axis] + 1) if self.shape[axis] % n == 0))
        shape = tuple(n // parts if a == axis else n for a, n in enumerate(self.shape))
        outputs = [self.tensor(shape, self.q) for _ in range(parts)]
        stated = self.one_of(axis + 1, axis - len(self.shape))
        self.b.operator("SPLIT", [self.integers(stated), self.x], outputs, {"NumSplits": parts})
        self.steps.append(f"SPLIT(axis {axis + 1}, {parts}) {list(shape)}")
        order = [int(i) for i in self.random.permutation(parts)]
        self.x, self.shape = outputs[order[0]], shape
        self.earlier += [(outputs[i], shape, self.q) for i in order[1:]]
        return True

    def pad(self, kind: str) -> bool:
        amounts = [[int(n) for n in self.random.integers(0, 3, 2)] for _ in self.shape]
        shape = [n + sum(a) for n, a in zip(self.shape, amounts, strict=True)]
        operands = [self.x, self.integers([[0, 0], *amounts])]
        if kind == "PADV2":
            self._count += 1
            operands.append(self.b.tensor(f"v{self._count}", (1,), quantization=self.q, data=self.codes(1)))
        self.append(kind, operands, shape)
        return True

    def transpose(self) -> bool:
        order = [int(a) for a in self.random.permutation(len(self.shape))]
        permutation = self.integers([0, *(a + 1 for a in order)])
        self.append("TRANSPOSE", [self.x, permutation], [self.shape[a] for a in order])
        return True

    def resize(self) -> bool:
        if len(self.shape) != 3:
            return False
        sides = _sides(self.random, 2, 12)
        options: dict[str, Option] = self.one_of({}, {"AlignCorners": True}, {"HalfPixelCenters": True})
        self.append("RESIZE_NEAREST_NEIGHBOR", [self.x, self.integers(sides)], (*sides, self.shape[2]), None, options)
        return True

    def blocks(self) -> bool:
        if len(self.shape) != 3:
            return False
        height, width, channels = self.shape
        size = self.one_of(2, 3)
        if channels % size**2 == 0:
            shape = (height * size, width * size, channels // size**2)
            self.append("DEPTH_TO_SPACE", [self.x], shape, None, {"BlockSize": size})
        elif height % size == width % size == 0:
            shape = (height // size, width // size, channels * size**2)
            self.append("SPACE_TO_DEPTH", [self.x], shape, None, {"BlockSize": size})
        else:
            return False
        return True

    def tile(self) -> bool:
        repeats = [self.one_of(1, 1, 2, 3) for _ in self.shape]
        shape = [n * r for n, r in zip(self.shape, repeats, strict=True)]
        self.append("TILE", [self.x, self.integers([1, *repeats])], shape)
        return True

    def any_operator(self) -> bool:
        """Half of them layers and pools, as in a network."""
        tables = ("ABS", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "SQRT", "TANH")
        layers: list[Callable[[], bool]] = [
            lambda: self.window("CONV_2D"),
            lambda: self.window("CONV_2D"),
            lambda: self.window("DEPTHWISE_CONV_2D"),
            lambda: self.window(self.one_of("AVERAGE_POOL_2D", "MAX_POOL_2D")),
            self.fully_connected,
            self.sequence_window,
            self.squeeze_excite,
        ]
        others: list[Callable[[], bool]] = [
            self.any_reshape,
            self.blocks,
            self.concatenation,
            self.expand_dims,
            self.log_softmax,
            self.prelu,
            self.resize,
            self.silu,
            self.slice,
            self.softmax,
            self.split,
            self.squeeze,
            self.strided_slice,
            self.tile,
            self.transpose,
            lambda: self.any_reduction(self.one_of("MEAN", "REDUCE_MAX")),
            lambda: self.any_reduction(self.one_of("MEAN", "REDUCE_MAX")),
            lambda: self.elementwise(self.one_of("ADD", "MUL", "SUB")),
            lambda: self.elementwise(self.one_of("ADD", "MUL")),
            lambda: self.extreme(self.one_of("MAXIMUM", "MINIMUM")),
            lambda: self.pad(self.one_of("PAD", "PADV2")),
            lambda: self.requantize(self.one_of("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")),
            lambda: self.table(self.one_of(*tables)),
            lambda: self.table(self.one_of(*tables)),
        ]
        draw = self.one_of(*(layers if self.random.random() < 0.5 else others))
        return bool(draw())


@functools.lru_cache(256)
def tflite_network(seed: int) -> RandomNetwork[bytes]:
    """A .tflite file of one to LONGEST operators; near every second one ends as a classifier."""
    random = np.random.default_rng([seed, 1])
    walk = _TfliteWalk(random, powers_of_two=seed % 3 == 0)
    x = walk.start()
    input_shape, count = walk.shape, int(random.integers(1, LONGEST + 1))
    while count:
        if math.prod(walk.shape) <= MOST_ELEMENTS and walk.any_operator():
            count -= 1
        elif math.prod(walk.shape) > MOST_ELEMENTS:
            break
    is_classifier = bool(random.random() < 0.5)
    if is_classifier:
        walk.head()
    outputs, output = [walk.x], None
    if random.random() < 0.2:
        at = int(random.integers(2))
        others = [other for other, _, _ in walk.earlier if other != x]
        outputs.insert(1 - at, walk.one_of(*(others or [x])))
        output = (walk.names[walk.x], at)
    model = walk.b.build([x], outputs)
    return RandomNetwork(model, input_shape, tuple(walk.steps), is_classifier, output=output, alphas=walk.alphas)


# What the static quantiser leaves in float, and what only moves elements, which it quantises behind codes alone.
_FLOAT_FUNCTIONS = (
    *("Abs", "Celu", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Neg", "Selu", "Softplus", "Softsign", "Tanh"),
    "ThresholdedRelu",
)
POINTWISE = {*_FLOAT_FUNCTIONS, *("Add", "Clip", "Div", "LeakyRelu", "Max", "Min", "Mul", "Relu", "Sigmoid", "Sub")}
_LEFT_IN_FLOAT = {
    *_FLOAT_FUNCTIONS,
    *("DepthToSpace", "Div", "GlobalMaxPool", "LogSoftmax", "Max", "Min", "PRelu", "ReduceMax", "ReduceMean"),
    *("SpaceToDepth", "Sub"),
}
_MOVES = {"Flatten", "Pad", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


@dataclass
class _OnnxWalk:
    """As `_TfliteWalk`, for float nodes: images (channels, height, width), sequences (channels, length), vectors."""

    random: np.random.Generator
    m: FloatModel
    shape: Shape
    x: str = "x"
    steps: list[str] = field(default_factory=list)
    earlier: list[tuple[str, Shape]] = field(default_factory=list)
    alphas: dict[str, float] = field(default_factory=dict)
    is_channels_last: bool = False
    is_in_float: bool = False  # the quantiser gives the last tensor no codes of its own

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def integers(self, values: Sequence[int]) -> str:
        return self.m.constant(np.array(values, np.int64))

    def append(self, kind: str, *operands: str, shape: Sequence[int], **attributes: Any) -> bool:
        if not self.is_in_float:
            self.earlier.append((self.x, self.shape))
        self.is_in_float = kind in _LEFT_IN_FLOAT or (self.is_in_float and kind in _MOVES)
        self.shape = tuple(int(n) for n in shape)
        self.x = self.m.node(kind, *operands, **attributes)
        self.steps.append(f"{kind}({attributes}) {list(self.shape)}")
        return True

    def window(self, kind: str) -> bool:
        """Conv, AveragePool or MaxPool over an image or a sequence, with borders that need not be alike."""
        if len(self.shape) not in (2, 3):
            return False
        channels, *sides = self.shape
        rank = len(sides)
        kernel = [int(n) for n in self.random.integers(1, 5, rank)]
        dilations = [self.one_of(1, 1, 1, 2) if kind == "Conv" else 1 for _ in sides]
        span = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        strides = [self.one_of(1, 1, 2, 3) for _ in sides]
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
        if kind == "Conv":
            attributes["dilations"] = dilations
        # onnxruntime takes no borders that are negative: of kernels smaller than their stride
        is_wide = all(k >= s and d == 1 for k, s, d in zip(kernel, strides, dilations, strict=True))
        if is_wide and self.random.random() < 0.3:
            attributes["auto_pad"] = self.one_of("SAME_UPPER", "SAME_LOWER")
            out = [-(-n // s) for n, s in zip(sides, strides, strict=True)]
        else:
            # onnxruntime wants a pool's borders narrower than its kernel
            most = [min(2, k - 1) if kind != "Conv" else 2 for k in kernel]
            before, behind = ([int(self.random.integers(0, m + 1)) for m in most] for _ in range(2))
            attributes["pads"] = [*before, *behind]
            room = [n + a + b - k for n, a, b, k in zip(sides, before, behind, span, strict=True)]
            if min(room) < 0:
                return False
            out = [r // s + 1 for r, s in zip(room, strides, strict=True)]
            if kind == "AveragePool":
                attributes["count_include_pad"] = int(self.random.integers(2))
        if kind != "Conv":
            return self.append(kind, self.x, shape=(channels, *out), **attributes)
        group = self.one_of(1, 1, channels, *(n for n in range(2, channels + 1) if channels % n == 0))
        outputs = group * int(self.random.integers(1, 4))
        attributes["group"] = group
        weights = self.m.random(outputs, channels // group, *kernel)
        operands = [self.x, weights]
        if self.random.random() < 0.7:
            operands.append(self.m.random(outputs, gain=0.3))
        return self.append("Conv", *operands, shape=(outputs, *out), **attributes)

    def gemm(self) -> bool:
        if len(self.shape) != 1:
            self.reshape((math.prod(self.shape),))
        features, inputs = int(self.random.integers(2, 9)), self.shape[0]
        way = self.one_of("transposed", "plain", "MatMul")
        bias = self.m.random(features, gain=0.3)
        if way == "MatMul":
            return self.append("MatMul", self.x, self._columns(inputs, features), shape=(features,))
        if way == "plain":
            return self.append("Gemm", self.x, self._columns(inputs, features), bias, shape=(features,))
        return self.append("Gemm", self.x, self.m.random(features, inputs), bias, shape=(features,), transB=1)

    def _columns(self, inputs: int, features: int) -> str:
        weights = self.random.standard_normal((inputs, features)) / math.sqrt(inputs)
        return self.m.constant(weights.astype(np.float32))

    def reshape(self, shape: Shape) -> bool:
        if len(shape) == 1 and self.random.random() < 0.5:
            return self.append("Flatten", self.x, shape=shape)
        return self.append("Reshape", self.x, self.integers((self.one_of(0, 1), *shape)), shape=shape)

    def unary(self, kind: str, **attributes: Any) -> bool:
        return self.append(kind, self.x, shape=self.shape, **attributes)

    def leaky_relu(self) -> bool:
        alpha = float(np.float32(self.one_of(0.01, 0.1, 0.3)))
        self.unary("LeakyRelu", alpha=alpha)
        self.alphas[self.x] = alpha
        return True

    def clip(self) -> bool:
        low, high = self.one_of((0.0, 6.0), (-0.7, 0.4), (0.0, 1.0))
        limits = [self.m.constant(np.array(n, np.float32)) for n in (low, high)]
        return self.append("Clip", self.x, *limits, shape=self.shape)

    def softmax(self) -> bool:
        if len(self.shape) not in (1, 3):
            return False
        return self.append("Softmax", self.x, shape=self.shape, axis=1)

    def prelu(self) -> bool:
        slopes = self.random.uniform(-0.5, 1.0, (self.shape[0], *[1] * (len(self.shape) - 1)))
        return self.append("PRelu", self.x, self.m.constant(slopes.astype(np.float32)), shape=self.shape)

    def elementwise(self, kind: str) -> bool:
        """Of two tensors, or of one and a constant, either of which may be repeated."""
        other, shape = self.one_of(self.constant_beside, self.tensor_beside)(kind)
        operands = (self.x, other) if kind == "Div" else self.one_of((self.x, other), (other, self.x))
        return self.append(kind, *operands, shape=shape)

    def constant_beside(self, kind: str) -> tuple[str, Shape]:
        """A single number, one a channel, or, where the quantiser quantises constants, any."""
        channels = (self.shape[0], *[1] * (len(self.shape) - 1))
        shapes: list[Shape] = [(), (1,)]
        if len(self.shape) > 1:
            shapes += [channels, (1, *channels)]
        if kind in ("Add", "Mul"):
            shapes += [tuple(n if self.random.random() < 0.6 else 1 for n in (1, *self.shape)), self.shape]
        shape = self.one_of(*shapes)
        values = self.random.uniform(0.3, 1.5, shape) * self.random.choice([-1.0, 1.0], shape)
        return self.m.constant(np.asarray(values, np.float32)), self.shape

    def tensor_beside(self, kind: str) -> tuple[str, Shape]:
        if kind == "Div":
            return self.constant_beside(kind)
        found = list[tuple[str, Shape]]()
        for x, shape in [*self.earlier, (self.x, self.shape)]:
            if len(shape) == len(self.shape) and all(
                n == m or 1 in (n, m) for n, m in zip(shape, self.shape, strict=True)
            ):
                found.append((x, np.broadcast_shapes(shape, self.shape)))
        fits = [(x, shape) for x, shape in found if math.prod(shape) <= MOST_ELEMENTS]
        return self.one_of(*fits)  # type: ignore[no-any-return]  # itself among them

    def squeeze_excite(self) -> bool:
        """An image or a sequence times a gate of each channel, made of its means."""
        if len(self.shape) not in (2, 3):
            return False
        image, shape = self.x, self.shape
        channels, ones = shape[0], [1] * (len(shape) - 1)
        middle = int(self.random.integers(1, 5))
        self.append("GlobalAveragePool", self.x, shape=(channels, *ones))
        for outputs, inputs in ((middle, channels), (channels, middle)):
            operands = [self.m.random(outputs, inputs, *ones), self.m.random(outputs, gain=0.3)]
            self.append("Conv", self.x, *operands, shape=(outputs, *ones), kernel_shape=ones)
            self.unary("Relu" if inputs == channels and outputs == middle else "Sigmoid")
        return self.append("Mul", *self.one_of((image, self.x), (self.x, image)), shape=shape)

    def silu(self) -> bool:
        """x * sigmoid(x)."""
        x = self.x
        self.unary("Sigmoid")
        return self.append("Mul", *self.one_of((x, self.x), (self.x, x)), shape=self.shape)

    def gelu(self) -> bool:
        """x / 2 * (1 + erf(x / sqrt 2)), of the nodes that PyTorch writes."""
        x, shape = self.x, self.shape
        one, half, root = (self.m.constant(np.array(n, np.float32)) for n in (1.0, 0.5, math.sqrt(2)))
        self.append("Div", x, root, shape=shape)
        self.append("Erf", self.x, shape=shape)
        self.append("Add", self.x, one, shape=shape)
        self.append("Mul", x, self.x, shape=shape)
        return self.append("Mul", self.x, half, shape=shape)

    def extreme(self) -> bool:
        """The larger or smaller of a tensor and a number."""
        limit = self.m.constant(np.array(self.random.uniform(-0.5, 0.5), np.float32))
        kind = self.one_of("Max", "Min")
        return self.append(kind, *self.one_of((self.x, limit), (limit, self.x)), shape=self.shape)

    def batch_normalization(self) -> bool:
        if len(self.shape) not in (2, 3):
            return False
        ranges = ((-1.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.2, 2.0))  # scales, offsets, means, variances
        values = (self.random.uniform(low, high, self.shape[:1]).astype(np.float32) for low, high in ranges)
        return self.append("BatchNormalization", self.x, *map(self.m.constant, values), shape=self.shape)

    def reduction(self) -> bool:
        """Over any axes that stay, with one element each."""
        axes = [a for a in range(len(self.shape)) if self.random.random() < 0.5]
        if not axes:
            return False
        shape = [1 if a in axes else n for a, n in enumerate(self.shape)]
        stated = [self.one_of(a + 1, a - len(self.shape)) for a in self.random.permutation(axes)]
        return self.append(self.one_of("ReduceMax", "ReduceMean"), self.x, shape=shape, axes=stated, keepdims=1)

    def global_pool(self) -> bool:
        if len(self.shape) not in (2, 3):
            return False
        channels, *sides = self.shape
        kind = self.one_of("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean")
        if kind != "ReduceMean":
            return self.append(kind, self.x, shape=(channels, *[1] * len(sides)))
        keeps = int(self.random.integers(2))
        axes = list(range(2, 2 + len(sides)))
        shape = (channels, *[1] * len(sides)) if keeps else (channels,)
        return self.append(kind, self.x, shape=shape, axes=axes, keepdims=keeps)

    def transpose(self) -> bool:
        order = [int(a) for a in self.random.permutation(len(self.shape))]
        shape = [self.shape[a] for a in order]
        self.is_channels_last |= self.x == "x" and order == [2, 0, 1]
        return self.append("Transpose", self.x, shape=shape, perm=[0, *(a + 1 for a in order)])

    def unsqueeze(self) -> bool:
        if len(self.shape) > 2:
            return False
        at = int(self.random.integers(len(self.shape) + 1))
        shape = (*self.shape[:at], 1, *self.shape[at:])
        return self.append("Unsqueeze", self.x, self.integers([at + 1]), shape=shape)

    def squeeze(self) -> bool:
        axes = [a for a, n in enumerate(self.shape) if n == 1]
        if not axes or len(self.shape) == 1:
            return False
        axis = self.one_of(*axes)
        shape = (*self.shape[:axis], *self.shape[axis + 1 :])
        return self.append("Squeeze", self.x, self.integers([axis + 1]), shape=shape)

    def concat(self) -> bool:
        axis = int(self.random.integers(len(self.shape)))
        beside = (self.shape[:axis], self.shape[axis + 1 :])
        others = [
            (x, shape)
            for x, shape in [*self.earlier, (self.x, self.shape)]
            if len(shape) == len(self.shape) and (shape[:axis], shape[axis + 1 :]) == beside
        ]
        parts = [(self.x, self.shape), self.one_of(*others)]
        parts = self.one_of(parts, parts[::-1])
        total = sum(shape[axis] for _, shape in parts)
        shape = tuple(total if a == axis else n for a, n in enumerate(self.shape))
        return self.append("Concat", *(x for x, _ in parts), shape=shape, axis=axis + 1)

    def slice(self) -> bool:
        axes = [int(a) for a in self.random.permutation(len(self.shape))][: int(self.random.integers(1, 3))]
        starts, ends, steps, shape = list[int](), list[int](), list[int](), list(self.shape)
        for axis in axes:
            n, step = self.shape[axis], self.one_of(-2, -1, 1, 1, 2)
            start = int(self.random.integers(n))
            end = 2**31 if step > 0 else -(2**31)
            shape[axis] = len(range(*slice(start, end, step).indices(n)))
            starts.append(start)
            ends.append(end)
            steps.append(step)
        operands = (self.integers(values) for values in (starts, ends, [a + 1 for a in axes], steps))
        return self.append("Slice", self.x, *operands, shape=shape)

    def split(self) -> bool:
        axis = int(self.random.integers(len(self.shape)))
        if self.shape[axis] < 2:
            return False
        first = int(self.random.integers(1, self.shape[axis]))
        sizes = [first, self.shape[axis] - first]
        names = self.m.split(self.x, self.integers(sizes), axis + 1)
        shapes = [tuple(n if a == axis else m for a, m in enumerate(self.shape)) for n in sizes]
        self.steps.append(f"Split(axis {axis + 1}) {sizes}")
        chosen = int(self.random.integers(2))
        self.x, self.shape = names[chosen], shapes[chosen]
        self.earlier.append((names[1 - chosen], shapes[1 - chosen]))
        return True

    def pad(self) -> bool:
        before, behind = ([int(n) for n in self.random.integers(0, 3, len(self.shape))] for _ in range(2))
        shape = [n + a + b for n, a, b in zip(self.shape, before, behind, strict=True)]
        value = self.m.constant(np.array(self.one_of(0.0, 0.0, 0.5), np.float32))
        return self.append("Pad", self.x, self.integers([0, *before, 0, *behind]), value, shape=shape)

    def blocks(self) -> bool:
        if len(self.shape) != 3:
            return False
        channels, height, width = self.shape
        size = self.one_of(2, 3)
        if channels % size**2 == 0:
            shape = (channels // size**2, height * size, width * size)
            return self.append("DepthToSpace", self.x, shape=shape, blocksize=size, mode=self.one_of("DCR", "CRD"))
        if height % size or width % size:
            return False
        shape = (channels * size**2, height // size, width // size)
        return self.append("SpaceToDepth", self.x, shape=shape, blocksize=size)

    def resize(self) -> bool:
        if len(self.shape) != 3:
            return False
        sides = _sides(self.random, 2, 10)
        coordinates = self.one_of("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
        modes = {
            "mode": "nearest",
            "coordinate_transformation_mode": coordinates,
            "nearest_mode": self.one_of("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        }
        sizes = self.integers([1, self.shape[0], *sides])
        return self.append("Resize", self.x, "", "", sizes, shape=(self.shape[0], *sides), **modes)

    def layer(self) -> bool:
        return self.window("Conv") or self.gemm()

    def any_operator(self) -> bool:
        """Half of them layers and pools, as in a network."""
        layers: list[Callable[[], bool]] = [
            self.layer,
            lambda: self.window("Conv"),
            lambda: self.window(self.one_of("AveragePool", "MaxPool")),
            self.gemm,
            self.squeeze_excite,
        ]
        moves: list[Callable[[], bool]] = [
            self.blocks,
            self.pad,
            self.resize,
            self.slice,
            self.squeeze,
            self.transpose,
            self.unsqueeze,
            lambda: self.reshape(_factors(self.random, math.prod(self.shape))),
        ]
        if self.is_in_float:  # what else reads it computes in float too
            return bool(self.one_of(self.layer, *moves)())
        others: list[Callable[[], bool]] = [
            *moves,
            self.batch_normalization,
            self.clip,
            self.concat,
            self.extreme,
            self.gelu,
            self.global_pool,
            self.prelu,
            self.reduction,
            self.silu,
            self.softmax,
            self.split,
            lambda: self.elementwise(self.one_of("Add", "Div", "Mul", "Sub")),
            lambda: self.elementwise(self.one_of("Add", "Mul")),
            self.leaky_relu,
            lambda: self.unary(self.one_of(*_FLOAT_FUNCTIONS)),
            lambda: self.unary(self.one_of("HardSwish", "Sigmoid", "Softplus", "Tanh")),
            lambda: self.unary("Relu"),
            lambda: self.unary("Relu"),
        ]
        draw = self.one_of(*(layers if self.random.random() < 0.5 else others))
        return bool(draw())


@functools.lru_cache(256)
def onnx_network(seed: int) -> RandomNetwork[onnx.ModelProto]:
    """A QDQ file of one to LONGEST operators; near every second one ends as a classifier."""
    random = np.random.default_rng([seed, 2])
    rank = int(random.choice([1, 2, 3, 3, 3]))
    input_shape = _sides(random, rank, {1: 40, 2: 12, 3: 9}[rank])
    walk = _OnnxWalk(random, FloatModel(input_shape, seed), input_shape)
    walk.steps.append(str(list(input_shape)))
    count = int(random.integers(1, LONGEST + 1))
    while walk.x == "x":  # the quantiser gives the input codes for the sake of a layer alone
        walk.layer()
    while count > 1 and math.prod(walk.shape) <= MOST_ELEMENTS:
        count -= walk.any_operator()
    is_classifier = bool(random.random() < 0.5) or walk.is_in_float
    if is_classifier:
        walk.gemm()
        if random.random() < 0.3:
            walk.unary("LogSoftmax" if random.random() < 0.5 else "Softmax", axis=1)
    ends, output = [(walk.x, len(walk.shape) + 1)], None
    others = [(x, len(shape) + 1) for x, shape in walk.earlier if x not in ("x", walk.x)]
    if others and random.random() < 0.2:
        place = int(random.integers(2))
        ends.insert(1 - place, walk.one_of(*others))
        output = (walk.x, place)
    model = walk.m.build(*ends[0], *ends[1:])
    samples = [random.uniform(-1.0, 1.0, input_shape).astype(np.float32) for _ in range(4)]
    per_channel = bool(random.random() < 0.6)
    quantized = quantize(copy.deepcopy(model), samples, per_channel=per_channel)  # which it changes
    if seed % 3 == 0:
        overrides = _powers_of_two(model, quantized)
        quantized = quantize(model, samples, per_channel=False, extra_options={"TensorQuantOverrides": overrides})
    steps, alphas = tuple(walk.steps), _names_of_codes(quantized, walk.alphas)
    return RandomNetwork(quantized, input_shape, steps, is_classifier, walk.is_channels_last, output, alphas)


def _names_of_codes(quantized: onnx.ModelProto, values: Mapping[str, float]) -> dict[str, float]:
    """The same by the outputs of the QuantizeLinear nodes, which the Graph's tensors are called by."""
    quantizers = [node for node in quantized.graph.node if node.op_type == "QuantizeLinear"]
    names = {node.output[0]: node.input[0].removesuffix("_QuantizeLinear_Input") for node in quantizers}
    return {codes: values[name] for codes, name in names.items() if name in values}


def _powers_of_two(model: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """For the quantiser: each tensor's scale, as it chose it, at the next power of two, from the same lowest value."""
    values = {t.name: onnx.numpy_helper.to_array(t) for t in quantized.graph.initializer}
    overrides: dict[str, list[dict[str, Any]]] = {}
    own = {"x", *(name for node in model.graph.node for name in node.output)}  # the quantiser adds others
    for node in quantized.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in own:
            scale, zero_point = float(values[node.input[1]]), int(values[node.input[2]])
            power = 2.0 ** math.ceil(math.log2(scale))
            shifted = round(-128 + (128 + zero_point) * scale / power)
            overrides[node.input[0]] = [
                {"scale": np.array(power, np.float32), "zero_point": np.array(shifted, np.int8)}
            ]
    floats = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            largest = float(np.abs(floats[node.input[1]]).max())
            power = 2.0 ** math.ceil(math.log2(largest / 127))
            overrides[node.input[1]] = [{"scale": np.array(power, np.float32), "zero_point": np.array(0, np.int8)}]
    return overrides
