"""What the operator of an ONNX node is made from: its attributes and operands, checked and in the Graph's terms."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import Padding
from mcutrain.graph.checks.base import output_side
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers.common import GraphBuilder, Problems, UnsupportedError, quoted, same_padding
from mcutrain.importers.onnx_file import Array, FileNode
from mcutrain.importers.onnx_values import Codes, Constant, NetworkInput, Real, Shape, Unknown, Value


class Context(Protocol):
    """What a rule sees of the import under way."""

    graph: GraphBuilder
    problems: Problems

    def value(self, name: str) -> Value:
        """What a name of the file stands for."""

    def sole_reader(self, name: str) -> FileNode | None:
        """The node that reads a name, where there is exactly one."""

    def is_read(self, name: str) -> bool:
        """Whether a node reads a name, or the network's user."""


class UnknownInputError(Exception):
    """An operand comes from a node that has already been complained about."""


def integer_attribute(node: FileNode, name: str, default: int) -> int:
    """An integer attribute of a node."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise UnsupportedError(f"its {name} is not an integer")
    return value


def integer_attributes(node: FileNode, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute that is a list of as many integers as ``default``."""
    value = node.attributes.get(name, default)
    if not isinstance(value, tuple) or len(value) != len(default):
        raise UnsupportedError(f"its {name} are not {len(default)} integers")
    integers = tuple(v for v in value if isinstance(v, int))
    if len(integers) != len(default):
        raise UnsupportedError(f"its {name} are not integers")
    return integers


def positive_pair(node: FileNode, name: str, default: tuple[int, int]) -> tuple[int, int]:
    """An attribute that is two positive integers."""
    first, second = integer_attributes(node, name, default)
    if min(first, second) < 1:
        raise UnsupportedError(f"its {name} are {first} and {second}")
    return first, second


def constant_operand(context: Context, name: str, what: str) -> Constant:
    """The constant behind an operand; ``what`` says in a message what the operand is."""
    value = context.value(name)
    if isinstance(value, Unknown):
        raise UnknownInputError
    if not isinstance(value, Constant):
        raise UnsupportedError(f"{what} {quoted(name)} are not constant")
    return value


def codes_operand(context: Context, name: str, *, or_input: bool = False) -> Codes:
    """The codes behind an operand.

    or_input: allow the network's input before its QuantizeLinear, for operators that only move values and so may as well
    come after it; its tensor has no quantisation yet.
    """
    value = context.value(name)
    if or_input and isinstance(value, NetworkInput) and value.dtype == "float32":
        return Codes(Tensor(value.name, value.shape, "int8"))
    if isinstance(value, Unknown):
        raise UnknownInputError
    if isinstance(value, Constant):
        raise UnsupportedError(f"operand {quoted(name)} is a constant")
    if not isinstance(value, Real):
        raise UnsupportedError(
            f"operand {quoted(name)} is not quantised: no QuantizeLinear and DequantizeLinear before it"
        )
    return value.codes


def image_operand(context: Context, name: str, *, or_input: bool = False) -> Codes:
    """The codes behind an operand that is an image; ``or_input`` as in ``codes_operand``."""
    x = codes_operand(context, name, or_input=or_input)
    if len(x.tensor.shape) != 3:
        raise UnsupportedError(f"operand {quoted(name)} has {len(x.tensor.shape) + 1} dimensions, not 4")
    return x


def window(node: FileNode, x: Codes, kernel: tuple[int, int]) -> tuple[tuple[int, int], Padding, Shape]:
    """Stride, explicit padding, and the output's (height, width) of a convolution or pool."""
    if integer_attributes(node, "dilations", (1, 1)) != (1, 1):
        raise UnsupportedError("it is dilated")
    stride = positive_pair(node, "strides", (1, 1))
    size = (x.tensor.shape[0], x.tensor.shape[1])
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        top, left, bottom, right = integer_attributes(node, "pads", (0, 0, 0, 0))
        padding = Padding(top, bottom, left, right)
    elif auto == "VALID":
        padding = Padding()
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        padding = same_padding(size, kernel, stride, extra_first=auto == "SAME_LOWER")
    else:
        raise UnsupportedError(f"its auto_pad is {auto!r}")
    if min(padding.top, padding.bottom, padding.left, padding.right) < 0:
        raise UnsupportedError("its padding is negative")
    edges = ((padding.top, padding.bottom), (padding.left, padding.right))
    sides = tuple(output_side(n, k, s, *e) for n, k, s, e in zip(size, kernel, stride, edges, strict=True))
    if min(sides) < 1:
        raise UnsupportedError(f"its kernel {kernel} is larger than its padded input {size}")
    whole = all((n + sum(e) - k) % s == 0 for n, k, s, e in zip(size, kernel, stride, edges, strict=True))
    if integer_attribute(node, "ceil_mode", 0) != 0 and not whole:
        raise UnsupportedError("its ceil_mode makes it reach past its input")
    return stride, padding, sides


def optional_constant(context: Context, node: FileNode, position: int, what: str) -> Constant | None:
    """The constant behind the operand at ``position``, or None where the node has none there."""
    if len(node.inputs) <= position or not node.inputs[position]:
        return None
    return constant_operand(context, node.inputs[position], what)


def add_weights(
    context: Context, node: FileNode, weights: Constant, codes: Array, axis: int, x: Codes, bias: Constant | None
) -> tuple[str, str]:
    """Add weights (in the Graph's layout) and bias; ``axis``: the file's axis of output channels."""
    q = weights.quantization
    if q is None or codes.dtype != np.int8:
        raise UnsupportedError(f"weights {quoted(weights.name)} are not int8 codes; quantise weights to QInt8")
    if q.zero_point.any():
        raise UnsupportedError(f"weights {quoted(weights.name)} have a zero point other than 0")
    outputs = codes.shape[0]
    stated = q.axis if q.axis is None or q.axis >= 0 else q.axis + weights.values.ndim
    if stated not in (None, axis) or q.scale.size not in (1, outputs):
        raise UnsupportedError(f"weights {quoted(weights.name)} have {q.scale.size} scales along axis {stated}")
    per_channel = None if q.scale.size == 1 else 0
    name = context.graph.constant(weights.name, codes, Quantization(q.scale, q.zero_point, per_channel))

    with np.errstate(over="ignore", under="ignore"):
        scale = np.float32(x.tensor.scale) * q.scale
    values = np.zeros(outputs, np.int32) if bias is None else bias_codes(bias, scale, outputs)
    # One name for each operator: files may share a bias between layers of different scales.
    bias_name = f"{node.outputs[0]}_bias" if bias is None else f"{bias.name}_of_{node.index}"
    return name, context.graph.constant(bias_name, values, Quantization(scale, q.zero_point, per_channel))


def bias_codes(bias: Constant, scale: NDArray[np.float32], outputs: int) -> Array:
    """The int32 codes of a bias at ``scale``, from such codes or from real values."""
    values, q = bias.values, bias.quantization
    if values.size != outputs:
        raise UnsupportedError(f"bias {quoted(bias.name)} has {values.size} elements for {outputs} outputs")
    if q is not None and values.dtype == np.int32:
        exact = q.scale.size in (1, scale.size) and np.allclose(q.scale, scale, rtol=1e-3, atol=0)
        if not exact or q.zero_point.any():
            raise UnsupportedError(f"the scale of bias {quoted(bias.name)} is not that of input times weights")
        return values.reshape(outputs)
    if q is not None and q.scale.size != 1:
        raise UnsupportedError(f"bias {quoted(bias.name)} has {q.scale.size} scales")
    with np.errstate(all="ignore"):
        codes = np.rint(bias.real().reshape(outputs) / scale)
    if not np.all(np.abs(codes) < 2**31):
        raise UnsupportedError(f"bias {quoted(bias.name)} does not fit 32 bits at the scale of input times weights")
    return codes.astype(np.int32)
