"""What the checks of all operators are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import Padding
from mcutrain.graph.model import Graph, Operator, Tensor

Shape = tuple[int, ...]
Check = Callable[[Graph, Operator], None]


INT32_MAX = 2**31 - 1


MAX_SIDE = 1 << 16


SAME_SCALE_TOLERANCE = 1e-6


def output_side(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Length of one side of the output of a convolution or pool with explicit padding."""
    return (size + before + after - kernel) // stride + 1


def require(condition: bool, message: str) -> None:
    """Raise UsageError with ``message`` where ``condition`` does not hold."""
    if not condition:
        raise UsageError(message)


def check_operands(graph: Graph, op: Operator, attributes: type, constants: tuple[bool, ...]) -> list[Tensor]:
    """The tensors of an operator's inputs and, last, of its output; its attributes are of the type ``attributes``.

    constants: of each input, whether it is a constant of the file.
    """
    require(isinstance(op.attributes, attributes), f"{op.name} has {type(op.attributes).__name__}")
    require(len(op.inputs) == len(constants), f"{op.name} has {len(op.inputs)} inputs, not {len(constants)}")
    tensors = [graph.tensors[name] for name in op.inputs]
    for tensor, constant in zip(tensors, constants, strict=True):
        expected = "a constant" if constant else "computed"
        require((tensor.data is not None) == constant, f"{op.name}: input '{tensor.name}' must be {expected}")
    return [*tensors, graph.tensors[op.outputs[0]]]


def check_shape(op: Operator, output: Tensor, expected: Shape) -> None:
    """The output has the shape ``expected``."""
    require(output.shape == expected, f"{op.name}: output '{output.name}' has shape {output.shape}, not {expected}")


def check_clamp(op: Operator, clamp: tuple[int, int]) -> None:
    """The clamp is not empty, and within int8."""
    ordered = -128 <= clamp[0] <= clamp[1] <= 127
    require(ordered, f"{op.name}: the clamp [{clamp[0]}, {clamp[1]}] is empty or outside [-128, 127]")


def check_same_quantization(op: Operator, x: Tensor, y: Tensor) -> None:
    """Input and output have one scale and one zero point."""
    same = math.isclose(x.scale, y.scale, rel_tol=SAME_SCALE_TOLERANCE) and x.zero_point == y.zero_point
    require(same, f"{op.name}: input '{x.name}' and output '{y.name}' have different scales or zero points")


def check_rescale(op: Operator, largest: int, ratio: float) -> None:
    """A sum of magnitude ``largest`` can be multiplied by ``ratio`` within 32 bits."""
    # Rescaling shifts left by the binary exponent of the ratio before it multiplies: that product must fit in 32 bits.
    exponent = math.frexp(ratio)[1]
    fits = largest * 2 ** max(0, exponent) <= INT32_MAX
    require(fits, f"{op.name}: rescaling by {ratio:.6g} can overflow 32 bits; check the scales of the model")


def check_window(op: Operator, padding: Padding, kernel: Shape, stride: Shape, *, inside: bool) -> None:
    """Kernel, stride and padding are within bounds; ``inside``: every window reads at least one element of the input."""
    sides = (*kernel, *stride)
    require(all(0 < n <= MAX_SIDE for n in sides), f"{op.name}: kernel {kernel} or stride {stride} is out of range")
    for pads, k in (((padding.top, padding.bottom), kernel[0]), ((padding.left, padding.right), kernel[1])):
        require(all(0 <= n <= MAX_SIDE for n in pads), f"{op.name}: {padding} is out of range")
        # A window of padding alone would have no average and no maximum.
        require(not inside or max(pads) < k, f"{op.name}: the padding {pads} reaches the kernel's size {k}")


def check_image(op: Operator, t: Tensor) -> tuple[int, int, int]:
    """Height, width and channels of an image, or of a sequence."""
    what = "(height, width, channels) or (length, channels)"
    require(len(t.shape) in (2, 3), f"{op.name}: '{t.name}' has shape {t.shape}, not {what}")
    return t.image


def check_image_shape(op: Operator, x: Tensor, output: Tensor, expected: Shape) -> None:
    """The output has the shape ``expected`` of an image; where ``x`` is a sequence, it is one too."""
    sequence = len(x.shape) == 2 and expected[0] == 1
    check_shape(op, output, expected[1:] if sequence else expected)


def window_shape(image: Shape, channels: int, kernel: Shape, stride: Shape, p: Padding) -> Shape:
    """The shape of what a kernel yields over an image (height, width, ...), with ``channels`` channels."""
    height = output_side(image[0], kernel[0], stride[0], p.top, p.bottom)
    return height, output_side(image[1], kernel[1], stride[1], p.left, p.right), channels
