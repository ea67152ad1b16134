"""What the operator of an ONNX node is made from: its attributes and operands, checked and in the Graph's terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import Padding, dilated
from mcutrain.graph.checks.base import output_side
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers.common import GraphBuilder, Problems, UnsupportedError, quoted, same_padding
from mcutrain.importers.onnx_file import Array, FileNode
from mcutrain.importers.onnx_values import (
    Codes,
    Constant,
    NetworkInput,
    Pointwise,
    Real,
    Shape,
    Unknown,
    Value,
    graph_axes,
)


class Context(Protocol):
    """What a rule sees of the import under way."""

    graph: GraphBuilder
    opset: int
    tables: dict[str, Pointwise]  # the tables of the Graph so far, by output
    problems: Problems

    def value(self, name: str) -> Value:
        """What a name of the file stands for."""

    def settled(self, name: str) -> Value:
        """What a name stands for; elements that were only moved and not quantised again are Real."""

    def sole_reader(self, name: str) -> FileNode | None:
        """The node that reads a name, where there is exactly one."""

    def is_read(self, name: str) -> bool:
        """Whether a node reads a name, or the network's user."""

    def quantization_behind(self, name: str) -> Quantization | None:
        """How the elements of a name are quantised, at once or when they have moved, where nothing else reads them; else None."""


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


def sides_attribute(node: FileNode, name: str, x: Codes, default: tuple[int, int]) -> tuple[int, int]:
    """An attribute with a positive integer for each side of the image ``x``; of a sequence it is one, and that of the height is 1."""
    if len(x.tensor.shape) == 3:
        return positive_pair(node, name, default)
    (length,) = integer_attributes(node, name, default[1:])
    if length < 1:
        raise UnsupportedError(f"its {name} are {length}")
    return 1, length


def softmax_axis(context: Context, node: FileNode, x: Codes) -> int:
    """The Graph's axis over which a softmax of ``x`` is.

    Up to opset 12 it is over all axes from the stated one on. Axes of length 1 do not matter.
    """
    coerces = context.opset < 13
    rank = len(x.whole_shape)
    axis = integer_attribute(node, "axis", 1 if coerces else -1)
    graph_axis(axis, x)  # no other than those of a sample
    over = range(axis % rank, rank if coerces else axis % rank + 1)
    long = [a for a in over if x.whole_shape[a] > 1] or [axis % rank]
    if len(long) > 1:
        raise UnsupportedError(f"it is over the axes {long} at once; put a Flatten before it")
    return graph_axis(long[0], x)


def constant_operand(context: Context, name: str, what: str) -> Constant:
    """The constant behind an operand; ``what`` says in a message what the operand is."""
    value = context.value(name)
    if isinstance(value, Unknown):
        raise UnknownInputError
    if not isinstance(value, Constant):
        raise UnsupportedError(f"{what} {quoted(name)} are not constant")
    return value


def codes_operand(context: Context, name: str, *, or_input: bool = False, or_rows: bool = False) -> Codes:
    """The codes behind an operand.

    or_input: allow the network's input before its QuantizeLinear, for operators that only move values and so may as well
    come after it; its tensor has no quantisation yet. or_rows: allow a tensor without an axis for the batch alone.
    """
    value = context.settled(name)
    if or_input and isinstance(value, NetworkInput) and value.dtype == "float32":
        return Codes(Tensor(value.name, value.shape, "int8"))
    if isinstance(value, Unknown):
        raise UnknownInputError
    if isinstance(value, Constant):
        raise UnsupportedError(f"operand {quoted(name)} is a constant")
    if not isinstance(value, Real):
        raise UnsupportedError(
            f"operand {quoted(name)} is not quantised: no QuantizeLinear and DequantizeLinear before it; quantise the output of what "
            "writes it too (onnxruntime: its kind in op_types_to_quantize)"
        )
    if value.codes.rows and not or_rows:
        raise UnsupportedError(
            f"operand {quoted(name)} of shape {list(value.codes.whole_shape)} has the batch and others in one axis; "
            "reshape it to [batch, ...] first"
        )
    return value.codes


def graph_axis(axis: int, x: Codes) -> int:
    """The Graph's axis of an axis of the file, counted from the batch on."""
    rank = len(x.whole_shape)
    batch = 0 if x.rows else 1
    if not -rank <= axis < rank or axis % rank < batch:
        raise UnsupportedError(f"its axis is {axis}, the batch or outside the {rank} dimensions")
    return graph_axes(rank - batch).index(axis % rank - batch)


def image_operand(context: Context, name: str, *, or_input: bool = False) -> Codes:
    """The codes behind an operand that is an image or a sequence; ``or_input`` as in ``codes_operand``."""
    x = codes_operand(context, name, or_input=or_input)
    if len(x.tensor.shape) not in (2, 3):
        raise UnsupportedError(f"operand {quoted(name)} has {len(x.tensor.shape) + 1} dimensions, not 4 or 3")
    return x


def window(
    node: FileNode, x: Codes, kernel: tuple[int, int]
) -> tuple[tuple[int, int], Padding, Shape, tuple[int, int]]:
    """Stride, explicit padding, the output's (height, width) or (length,), and dilation of a convolution or pool."""
    dilation = sides_attribute(node, "dilations", x, (1, 1))
    kernel = dilated(kernel, dilation)
    stride = sides_attribute(node, "strides", x, (1, 1))
    size = x.tensor.image[:2]
    is_sequence = len(x.tensor.shape) == 2
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        pads = integer_attributes(node, "pads", (0, 0) if is_sequence else (0, 0, 0, 0))
        top, left, bottom, right = (0, pads[0], 0, pads[1]) if is_sequence else pads
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
    return stride, padding, sides[1:] if is_sequence else sides, dilation


def listed_axes(context: Context, node: FileNode, rank: int, default: tuple[int, ...] = ()) -> list[int]:
    """The axes, of ``rank`` with the batch, that a node names by an attribute or, in later opsets, its second input; ascending."""
    given = optional_constant(context, node, 1, "the axes")
    stated = node.attributes.get("axes", default) if given is None else tuple(int(a) for a in given.values.reshape(-1))
    if not isinstance(stated, tuple) or not all(isinstance(a, int) and -rank <= a < rank for a in stated):
        raise UnsupportedError(f"its axes are {stated}, of {rank} dimensions")
    return sorted(int(a) % rank for a in stated)


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
        raise UnsupportedError(
            f"weights {quoted(weights.name)} have a zero point other than 0; quantise weights symmetrically"
        )
    outputs = codes.shape[0]
    stated = q.axis if q.axis is None or q.axis >= 0 else q.axis + weights.values.ndim
    if stated not in (None, axis) or q.scale.size not in (1, outputs):
        raise UnsupportedError(f"weights {quoted(weights.name)} have {q.scale.size} scales along axis {stated}")
    with np.errstate(over="ignore", under="ignore"):
        scale = np.float32(x.tensor.scale) * q.scale
    exact = np.zeros(outputs) if bias is None else bias_codes(bias, scale, outputs)
    codes, values, scales = context.graph.with_room(f"{node.kind} #{node.index}", codes, exact, q.scale)
    quantization = Quantization(scales, np.zeros(scales.shape, np.int32), None if scales.size == 1 else 0)
    # A layer whose weights had to be changed has them for itself.
    own = "" if scales is q.scale else f"_of_{node.index}"
    name = context.graph.constant(f"{weights.name}{own}", codes, quantization)
    with np.errstate(over="ignore", under="ignore"):
        quantization = replace(quantization, scale=np.float32(x.tensor.scale) * scales)
    # One name for each operator: files may share a bias between layers of different scales.
    bias_name = f"{node.outputs[0]}_bias" if bias is None else f"{bias.name}_of_{node.index}"
    return name, context.graph.constant(bias_name, values, quantization)


def bias_codes(bias: Constant, scale: NDArray[np.float32], outputs: int) -> NDArray[np.float64]:
    """A bias in units of ``scale``, shape (outputs,), from such codes or from real values; rounded, but in no range."""
    values, q = bias.values, bias.quantization
    if values.size != outputs:
        raise UnsupportedError(f"bias {quoted(bias.name)} has {values.size} elements for {outputs} outputs")
    if q is not None and values.dtype == np.int32:
        exact = q.scale.size in (1, scale.size) and np.allclose(q.scale, scale, rtol=1e-3, atol=0)
        if not exact or q.zero_point.any():
            raise UnsupportedError(f"the scale of bias {quoted(bias.name)} is not that of input times weights")
        return values.reshape(outputs).astype(np.float64)
    if q is not None and q.scale.size != 1:
        raise UnsupportedError(f"bias {quoted(bias.name)} has {q.scale.size} scales")
    with np.errstate(all="ignore"):
        codes: NDArray[np.float64] = np.rint(bias.real().reshape(outputs) / scale)
    if not np.isfinite(codes).all():
        raise UnsupportedError(f"bias {quoted(bias.name)} is no finite number of steps of input times weights")
    return codes


def weighted_sum_range(x: Tensor, weights: Tensor, bias: Tensor) -> Quantization:
    """A quantisation for the sums of a layer that the file does not quantise: int8, one scale, from what the sums can reach.

    x: codes; weights: (outputs, ...); bias: (outputs,). The range is that of all sums, or, where narrower, eight standard deviations of the
    sums of independent codes, each equally likely, about their mean: sums of many codes do not come near their bounds.
    """
    assert weights.data is not None and bias.data is not None and weights.quantization is not None
    w = weights.data.reshape(len(weights.data), -1).astype(np.float64)
    low, high = -128.0 - x.zero_point, 127.0 - x.zero_point
    smallest = np.minimum(w * low, w * high).sum(axis=1)
    largest = np.maximum(w * low, w * high).sum(axis=1)
    mean = w.sum(axis=1) * (low + high) / 2
    reach = 8 * np.sqrt((w**2).sum(axis=1) * (256**2 - 1) / 12)
    unit = x.scale * np.broadcast_to(weights.quantization.scale, (len(w),)).astype(np.float64)
    first = float(((np.maximum(smallest, mean - reach) + bias.data) * unit).min())
    last = float(((np.minimum(largest, mean + reach) + bias.data) * unit).max())
    return _covering(first, last)


def range_of(function: Pointwise) -> Quantization:
    """A quantisation whose codes cover every value of a function of one tensor's codes."""
    finite = function.values[np.isfinite(function.values)]
    if not finite.size:
        raise UnsupportedError(f"{function.function} of its operand is no finite number")
    return _covering(float(finite.min()), float(finite.max()))


def _covering(first: float, last: float) -> Quantization:
    """int8 codes from ``first`` to ``last``, and 0 among them."""
    first, last = min(first, 0.0), max(last, 0.0)
    scale = max((last - first) / 255, float(np.finfo(np.float32).tiny))
    zero_point = int(np.clip(round(-128 - first / scale), -128, 127))
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))
