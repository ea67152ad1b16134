"""The attributes of every kind of operator of a Graph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Padding:
    """Rows and columns added round an image."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


@dataclass(frozen=True)
class Attributes:
    """Base of the attributes of an operator."""


@dataclass(frozen=True)
class ConvAttributes(Attributes):
    """conv2d, depthwise_conv2d and fully_connected (which has clamp alone; the others stay at their defaults).

    dilation: rows and columns from one tap of the kernel to the next. groups: of a conv2d, whose output channels read the input
    channels of their own group alone, in_channels / groups; weights are (out_channels, height, width, in_channels / groups).
    A fully_connected acts on the last axis: what stands before it are rows of their own.
    Output channel o of a depthwise_conv2d reads input channel ``o // (out_channels / in_channels)`` alone; its groups stay 1.
    inputs: (x, weights, bias). clamp: lowest and highest output code (fused activation), within [-128, 127].
    half_even: a sum that lies between two codes goes to the even one, as in onnxruntime; else away from zero, as in LiteRT.
    """

    clamp: tuple[int, int] = (-128, 127)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    half_even: bool = False


def dilated(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, int]:
    """Height and width that a kernel spans with its taps ``dilation`` apart."""
    height, width = ((taps - 1) * apart + 1 for taps, apart in zip(kernel, dilation, strict=True))
    return height, width


@dataclass(frozen=True)
class AddAttributes(Attributes):
    """add. inputs: (a, b), whose shapes broadcast as NumPy's do; both are rescaled to the output's scale. One may be a constant.

    subtracts: a - b.
    """

    clamp: tuple[int, int] = (-128, 127)
    subtracts: bool = False


@dataclass(frozen=True)
class LogSoftmaxAttributes(Attributes):
    """log_softmax over the last axis, at an output scale of at most 1/16. It ends a network: training replaces it by the loss."""


@dataclass(frozen=True)
class PoolAttributes(Attributes):
    """average_pool and max_pool; global pools have the kernel of the whole image.

    Padding never counts into an average and never wins a maximum. An average may have an output scale of its own, to which its sum is
    rounded once; then its clamp counts too. Input and output of a max_pool share scale and zero point: a fused activation or a change of
    scale is a ``requantize`` operator after it.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = Padding()
    clamp: tuple[int, int] = (-128, 127)


@dataclass(frozen=True)
class MeanAttributes(Attributes):
    """mean: over ``axes`` (ascending), at a scale of its own; of an image over rows and columns unless they say other.

    The output has these axes with one element each, or lacks them.
    """

    clamp: tuple[int, int] = (-128, 127)
    axes: tuple[int, ...] = (0, 1)


@dataclass(frozen=True)
class MultiplyAttributes(Attributes):
    """multiply. inputs: (a, b), whose shapes broadcast as NumPy's do. One may be a constant. half_even: as in ConvAttributes."""

    clamp: tuple[int, int] = (-128, 127)
    half_even: bool = False


@dataclass(frozen=True)
class PadAttributes(Attributes):
    """pad: a border round an image.

    channels: added before and behind those of every pixel. value: the border's code; None: the input's zero point (real value 0).
    """

    padding: Padding
    channels: tuple[int, int] = (0, 0)
    value: int | None = None

    @property
    def amounts(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(before, behind) of rows, columns and channels."""
        p = self.padding
        return (p.top, p.bottom), (p.left, p.right), self.channels


@dataclass(frozen=True)
class ConcatenateAttributes(Attributes):
    """concatenate: any number of tensors one behind the other along ``axis``, all of the output's scale and zero point."""

    axis: int


@dataclass(frozen=True)
class SliceAttributes(Attributes):
    """slice: along each axis the elements begin, begin + step, ...; as many as the output has. A step may be negative, but not 0."""

    begin: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True)
class TransposeAttributes(Attributes):
    """transpose: axis a of the output is axis ``permutation[a]`` of the input."""

    permutation: tuple[int, ...]


@dataclass(frozen=True)
class ResizeNearestAttributes(Attributes):
    """resize_nearest: output row i is input row ``rows[i]``, output column j is input column ``columns[j]``."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class PreluAttributes(Attributes):
    """prelu: x above 0, alpha x from 0 down, at the output's scale.

    inputs: (x, alpha); alpha is int32, at most 2^15 - 1 in magnitude, with one scale and zero point 0, and broadcasts to the shape of x.
    """


@dataclass(frozen=True)
class RequantizeAttributes(Attributes):
    """requantize: int8 to int8 with another scale, and the clamp of a stand-alone relu, relu6 or clip.

    float32_quotient: the multiplier is of the float32 quotient of the scales (LiteRT's stand-alone relu), not of the exact one.
    """

    clamp: tuple[int, int] = (-128, 127)
    float32_quotient: bool = False


@dataclass(frozen=True)
class ReshapeAttributes(Attributes):
    """reshape and flatten: the same bytes under another shape."""


@dataclass(frozen=True)
class SoftmaxAttributes(Attributes):
    """softmax over the last axis, at any output scale."""

    beta: float = 1.0


@dataclass(frozen=True)
class TableAttributes(Attributes):
    """table: a function of one number, written out: sigmoid, tanh, hard swish, leaky relu and all others that read one tensor alone.

    function: its name, for messages. codes: the output code of every input code, from that of -128 to that of 127. slopes: d output
    code / d input code of each; 0 where the code is cut off at -128 or 127.
    """

    function: str
    codes: tuple[int, ...]
    slopes: tuple[float, ...]
