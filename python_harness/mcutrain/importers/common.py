"""What both importers share: collecting all that is not supported, clamps, padding, building a Graph."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import (
    Attributes,
    ConvAttributes,
    PadAttributes,
    Padding,
    PoolAttributes,
    ReshapeAttributes,
    TableAttributes,
)
from mcutrain.graph.model import Graph, Operator, Quantization, Tensor
from mcutrain.graph.reductions import reduced_shapes, reduction
from mcutrain.graph.validate import validate
from mcutrain.importers.transposes import fold_transposes

INT8_RANGE = (-128, 127)

# Limits that no network for a microcontroller comes near; they bound the time and memory a hostile file can cost.
MAX_TENSORS = 16384
MAX_OPERATORS = 4096
MAX_RANK = 8
MAX_ELEMENTS = 1 << 26
MAX_CHANNELS = 1 << 16

# A message is read by a person: so many problems at once.
MAX_LISTED = 5

HOW_TO_CHOOSE = "choose one by its name, with --output NAME, or 'output: NAME' in an episode"


def damaged(path: Path, why: str) -> UsageError:
    """The error for a file that does not hold what its format promises."""
    return UsageError(f"{path}: damaged or truncated model file: {why}; export or copy the model again")


def quoted(name: str) -> str:
    """A name from a file, made fit for one line of a message: printable, and the telling end of a very long name."""
    printable = "".join(c if c.isprintable() else "?" for c in name)
    return f"'{printable}'" if len(printable) <= 80 else f"'...{printable[-77:]}'"


@dataclass
class Problems:
    """What about a model is not supported, so that the user learns it at once and not one by one.

    found: in the order of the file. operators: of each kind of operator that has no rule, where they stand.
    """

    path: Path
    found: list[str] = field(default_factory=list)
    operators: dict[str, list[str]] = field(default_factory=dict)

    def add(self, problem: str) -> None:
        """Note one problem; repeated ones (a tensor with two readers) are kept once."""
        if problem not in self.found:
            self.found.append(problem)

    def add_operator(self, kind: str, place: str) -> None:
        """Note an operator that has no rule; all of one kind are one problem."""
        self.operators.setdefault(kind, []).append(place)

    def raise_if_any(self) -> None:
        """Raise UsageError with the first few problems on one line, and where it says what is supported."""
        unknown = [
            places[0] + (f" and {len(places) - 1} more {kind}" if len(places) > 1 else "")
            for kind, places in self.operators.items()
        ]
        # Operators first: what they write is often of the wrong type only because of them.
        problems = unknown + self.found
        if not problems:
            return
        rest = len(problems) - MAX_LISTED
        text = "; ".join(problems[:MAX_LISTED]) + (f"; and {rest} more" if rest > 0 else "")
        if unknown:
            text += ". Supported operators: docs/networks.md"
        raise UsageError(f"{self.path}: {len(problems)} unsupported: {text}")


def listed(names: Sequence[str]) -> str:
    """The first few of some names for a message."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(quoted(name) for name in names[:MAX_LISTED]) + more


def one_end(path: Path, what: str, names: Sequence[str]) -> UsageError:
    """The error for a network that has not one ``what`` ("input", "output") but these (none or several)."""
    if not names:
        return UsageError(f"{path}: the network has no {what}")
    advice = HOW_TO_CHOOSE if what == "output" else "only networks of one input can be imported"
    return UsageError(f"{path}: the network has {len(names)} {what}s ({listed(names)}): {advice}")


def chosen_output(path: Path, output: str, names: Collection[str]) -> str:
    """Which of the tensors ``names`` an output is: that of this name or, as messages cut long ones, '...' and the end of one.

    Raises UsageError where there is none; it suggests near ones.
    """
    if output in names:
        return output
    ends = [name for name in names if output.startswith("...") and name.endswith(output[3:])]
    if len(ends) == 1:
        return ends[0]
    near = difflib.get_close_matches(output, names, n=3, cutoff=0.5)
    hint = f"; near it are {', '.join(quoted(name) for name in near)}" if near else ""
    raise UsageError(f"{path}: output {quoted(output)}: no operator of the network writes such a tensor{hint}")


class UnsupportedError(Exception):
    """Raised while one operator is imported; the importer notes it in Problems and goes on with the next operator."""


@dataclass
class GraphBuilder:
    """Collects the tensors and operators of a Graph under construction.

    input_layout: the order of the axes in which the user brings the input, where that is not the Graph's (see `fold_transposes`).
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    input_layout: tuple[int, ...] | None = None

    def add_tensor(self, tensor: Tensor) -> str:
        """Add a tensor (again: no change) and return its name."""
        self.tensors.setdefault(tensor.name, tensor)
        return tensor.name

    def constant(self, name: str, data: NDArray[np.generic], quantization: Quantization) -> str:
        """Add a constant and return its name; the data is copied and made read-only.

        Operators may share one. Raises UnsupportedError where they read it in two layouts or at two scales.
        """
        values = np.array(data)
        values.setflags(write=False)
        known = self.tensors.get(name)
        if known is not None and not _same_constant(known, values, quantization):
            raise UnsupportedError(
                f"constant {quoted(name)} is shared with an operator that reads it in another layout or at another scale"
            )
        return self.add_tensor(Tensor(name, values.shape, str(values.dtype), quantization, values))

    def with_room(
        self, layer: str, codes: NDArray[np.generic], bias: NDArray[np.float64], scales: NDArray[np.float32]
    ) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
        """Weights, bias and scales with room in int32 for the sum of products beside the bias.

        codes: int8, (outputs, ...). bias: in units of input scale times weight scale, (outputs,). scales: (1,) or (outputs,). A filter
        whose bias passes 2^30 gets a scale that is a power of two wider. Such filters are what pruning or a clamp left dead, at scales
        so small that their weights count for nothing beside the bias. Raises UnsupportedError where a bias is no finite number.
        """
        if not np.isfinite(bias).all():
            raise UnsupportedError("its bias does not fit any scale of input times weights")
        full = np.abs(bias) > 2**30
        if not full.any():
            return codes.astype(np.int8), np.rint(bias).astype(np.int32), scales
        exponent = np.ceil(np.log2(np.where(full, np.abs(bias), 2.0**29))).astype(int) - 29
        self.notes.append(
            f"{layer}: the bias of {int(full.sum())} of {full.size} filters does not fit 32 bits beside the products; "
            "their weights were rounded to wider scales"
        )
        wide = exponent.reshape(-1, *[1] * (codes.ndim - 1))
        with np.errstate(over="ignore"):
            wider = np.ldexp(np.broadcast_to(scales, exponent.shape), exponent).astype(np.float32)
        rounded = np.rint(np.ldexp(codes.astype(np.float64), -wide)).astype(np.int8)
        return rounded, np.rint(np.ldexp(bias, -exponent)).astype(np.int32), wider

    def add_operator(
        self, name: str, kind: str, inputs: tuple[str, ...], output: str, attributes: Attributes, source: str
    ) -> None:
        """Append an operator. A layer some of whose windows would lie in its padding alone gets it from a pad operator before it."""
        if isinstance(attributes, ConvAttributes) and attributes.padding != Padding() and output in self.tensors:
            inputs, attributes = self._padded_apart(name, inputs, output, attributes, source)
        self.operators.append(Operator(name, kind, inputs, (output,), attributes, source))

    def _padded_apart(
        self, name: str, inputs: tuple[str, ...], output: str, attributes: ConvAttributes, source: str
    ) -> tuple[tuple[str, ...], ConvAttributes]:
        """Inputs and attributes of a layer; the kernels need at least one tap of each window inside the image."""
        x, weights, p = self.tensors[inputs[0]], self.tensors[inputs[1]], attributes.padding
        if (attributes.dilation, attributes.groups) != ((1, 1), 1):  # these kernels take windows anywhere
            return inputs, attributes
        sides = zip(
            x.image[:2],
            weights.shape[1:3],
            attributes.stride,
            self.tensors[output].image[:2],
            (p.top, p.left),
            strict=True,
        )
        if all(pad < kernel and (out - 1) * stride - pad < side for side, kernel, stride, out, pad in sides):
            return inputs, attributes
        height, width, channels = x.image
        whole = (height + p.top + p.bottom, width + p.left + p.right, channels)
        shape = whole[-len(x.shape) :]
        padded = self.add_tensor(Tensor(f"{output}_padded", shape, "int8", x.quantization))
        self.operators.append(Operator(f"pad_of_{name}", "pad", (x.name,), (padded,), PadAttributes(p), source))
        return (padded, *inputs[1:]), replace(attributes, padding=Padding())

    def finish(self, path: Path, *, input: str, output: str, source_format: str, sha256: str, domain: str) -> Graph:
        """The validated Graph. Raises UsageError with the file's name where it breaks an invariant."""
        fold_transposes(self.tensors, self.operators, input, output, layout=self.input_layout)
        graph = Graph(
            path.stem,
            self.tensors,
            tuple(self.operators),
            input,
            output,
            source_format,
            sha256,
            input_domain=domain,
            notes=tuple(self.notes),
        )
        try:
            validate(graph)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        return graph


def _same_constant(known: Tensor, values: NDArray[np.generic], quantization: Quantization) -> bool:
    """Whether a tensor of the graph is this very constant."""
    own = known.quantization
    return (
        known.data is not None
        and own is not None
        and known.dtype == str(values.dtype)
        and np.array_equal(known.data, values)
        and np.array_equal(own.scale, quantization.scale)
        and np.array_equal(own.zero_point, quantization.zero_point)
        and own.axis == quantization.axis
    )


def add_maximum(graph: GraphBuilder, name: str, x: Tensor, y: Tensor, axes: tuple[int, ...], source: str) -> None:
    """Add the maximum of ``x`` over ``axes`` as the tensor ``y``: a max pool whose windows tile an image of the same bytes."""
    if y.shape not in reduced_shapes(x.shape, axes):
        raise UnsupportedError(f"its output {list(y.shape)} is not {list(x.shape)} without the axes {list(axes)}")
    graph.add_tensor(y)
    try:
        n = reduction(x.shape, axes)
    except ValueError as error:
        raise UnsupportedError(str(error)) from None
    wide = n.run == 1
    image = (n.outer * n.pixels, 1, n.channels) if wide else (n.outer * n.pixels, n.channels * n.run, 1)
    pooled = (n.outer, 1, n.channels) if wide else (n.outer, n.channels, 1)
    if len(x.shape) == 3 and axes == (0, 1):
        image, pooled, kernel = (x.shape[0], x.shape[1], x.shape[2]), (1, 1, x.shape[2]), x.shape[:2]
    else:
        kernel = (n.pixels, n.run)
    operand, result = x.name, y.name
    if image != x.shape:
        operand = graph.add_tensor(Tensor(f"{y.name}_image", image, "int8", x.quantization))
        graph.add_operator(f"{name}_image", "reshape", (x.name,), operand, ReshapeAttributes(), source)
    if pooled != y.shape:
        result = graph.add_tensor(Tensor(f"{y.name}_pooled", pooled, "int8", x.quantization))
    attributes = PoolAttributes((kernel[0], kernel[1]), (kernel[0], kernel[1]))
    graph.add_operator(name, "max_pool", (operand,), result, attributes, source)
    if pooled != y.shape:
        graph.add_operator(f"{name}_shape", "reshape", (result,), y.name, ReshapeAttributes(), source)


def add_minimum(graph: GraphBuilder, name: str, x: Tensor, y: Tensor, axes: tuple[int, ...], source: str) -> None:
    """Add the minimum of ``x`` over ``axes`` as the tensor ``y``: the maximum of the negated, negated; codes have exact negatives."""
    q = x.quantization
    assert q is not None
    negated = Quantization(q.scale, -1 - q.zero_point)
    opposite = TableAttributes("neg", tuple(range(127, -129, -1)), (-1.0,) * 256)
    operand = Tensor(f"{y.name}_negated_operand", x.shape, "int8", negated)
    highest = Tensor(f"{y.name}_negated", y.shape, "int8", negated)
    graph.add_tensor(operand)
    graph.add_operator(f"{name}_negation", "table", (x.name,), operand.name, opposite, source)
    add_maximum(graph, f"{name}_max_pool", operand, highest, axes, source)
    graph.add_tensor(y)
    graph.add_operator(name, "table", (highest.name,), y.name, opposite, source)


def activation_clamp(
    low: float | None, high: float | None, scale: float, zero_point: int, *, half_even: bool = False
) -> tuple[int, int]:
    """The int8 codes of a real-valued clamp, as LiteRT (round half away, in float32) or ONNX (half to even) has it."""

    def code(limit: float) -> int:
        # Limits far outside the codes (6 at a scale of 1e-30) must not overflow the conversion to an integer.
        with np.errstate(over="ignore"):
            steps = float(np.clip(np.float32(limit) / np.float32(scale), -1e6, 1e6))
        return zero_point + (round(steps) if half_even else math.floor(abs(steps) + 0.5) * (1 if steps > 0 else -1))

    lowest, highest = INT8_RANGE
    first = lowest if low is None else min(max(lowest, code(low)), highest)
    last = highest if high is None else max(min(highest, code(high)), lowest)
    return first, last


def is_a_code(limit: float, q: Quantization) -> bool:
    """Whether a real number is that of an int8 code, to a thousandth of a step, or lies outside all of them."""
    code = limit / float(q.scale[0]) + int(q.zero_point[0])
    return abs(code - round(code)) < 1e-3 or not INT8_RANGE[0] < code < INT8_RANGE[1]


def is_usable_scale(scale: NDArray[np.float32]) -> bool:
    """Whether all scales are positive, finite, normal numbers."""
    return bool(np.all(np.isfinite(scale)) and np.all(scale >= np.finfo(np.float32).tiny))


def same_padding(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], *, extra_first: bool = False
) -> Padding:
    """SAME as explicit padding; the odd row or column goes to the bottom and right unless ``extra_first``."""
    edges = []
    for n, k, s in zip(size, kernel, stride, strict=True):
        total = max(0, (-(-n // s) - 1) * s + k - n)
        before = (total + 1) // 2 if extra_first else total // 2
        edges += [before, total - before]
    return Padding(*edges)
