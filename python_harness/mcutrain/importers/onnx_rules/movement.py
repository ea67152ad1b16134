"""Operators that move elements: Concat, Pad, Reshape and its kin, Slice, Split, Transpose, blocks, and Resize to the nearest neighbour.

In the Graph a tensor has its channels, the first axis of the file's, last. Where an operator needs the file's order of elements, it is
transposed to it and back; most of these transposes cancel, and are folded away when the Graph is finished.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mcutrain.graph.attributes import (
    ConcatenateAttributes,
    PadAttributes,
    Padding,
    RequantizeAttributes,
    ReshapeAttributes,
    ResizeNearestAttributes,
    TransposeAttributes,
)
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import INT8_RANGE, MAX_TENSORS, UnsupportedError
from mcutrain.importers.movement import Movement, check_resized, onnx_nearest
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import (
    Context,
    codes_operand,
    constant_operand,
    graph_axis,
    image_operand,
    integer_attribute,
    optional_constant,
)
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_values import (
    Codes,
    NetworkInput,
    Pending,
    Real,
    Shape,
    Unknown,
    Value,
    are_same_order,
    file_shape,
    flattened_order,
    graph_axes,
    graph_shape,
)

_IMAGE_TO_FILE = (2, 0, 1)


def _moved(
    context: Context,
    node: FileNode,
    kind: str,
    build: Callable[[Movement], Tensor],
    *,
    output: int = 0,
    order: Shape | None = None,
    rows: bool = False,
) -> Real:
    """What ``build`` makes of codes, as an output of the node: it has their scale, so it is known at once.

    order, rows: of the result, see ``Codes``.
    """
    several = f"_{output}" if len(node.outputs) > 1 else ""
    movement = Movement(context.graph, f"{kind}{node.position}{several}", node.kind)
    last = build(movement)
    y = Tensor(node.outputs[output], last.shape, "int8", last.quantization)
    context.graph.add_tensor(y)
    movement.finish(last, y)
    return Real(Codes(y, order, rows))


def in_file_order(movement: Movement, x: Codes) -> Tensor:
    """A vector whose elements are in the file's order; other tensors as they are."""
    if x.order is None:
        return x.tensor
    channels, height, width = x.order
    image = movement.reshape(x.tensor, (height, width, channels))
    return movement.reshape(movement.transpose(image, _IMAGE_TO_FILE), x.tensor.shape)


def _integers(context: Context, node: FileNode, position: int, what: str) -> list[int] | None:
    """The integers of an operand, or None where the node has none there."""
    given = optional_constant(context, node, position, what)
    if given is None:
        return None
    if given.values.dtype.kind != "i":
        raise UnsupportedError(f"{what} are no integers")
    return [int(n) for n in given.values.reshape(-1)]


def _concat(context: Context, node: FileNode) -> Value:
    operands = [codes_operand(context, name) for name in node.inputs]
    ordered = [
        in_file_order(Movement(context.graph, f"concatenate{node.position}_{place}", node.kind), x)
        for place, x in enumerate(operands)
    ]
    axis = graph_axis(integer_attribute(node, "axis", 1), operands[0])
    if len({(*x.shape[:axis], *x.shape[axis + 1 :]) for x in ordered}) > 1 or len({len(x.shape) for x in ordered}) > 1:
        shapes = ", ".join(str(file_shape(x.shape)) for x in ordered)
        raise UnsupportedError(f"its operands {shapes} differ beside the axis")
    shape = list(ordered[0].shape)
    shape[axis] = sum(x.shape[axis] for x in ordered)
    return Pending(
        f"concatenate{node.position}",
        "concatenate",
        node.kind,
        tuple(x.name for x in ordered),
        tuple(shape),
        None,
        lambda _: ConcatenateAttributes(axis),
        rescales_operands=True,
    )


def _flatten(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True, or_rows=True)
    rank, axis = len(x.whole_shape), integer_attribute(node, "axis", 1)
    if not -rank <= axis <= rank:
        raise UnsupportedError(f"its axis is {axis}, of {rank} dimensions")
    first = math.prod(x.whole_shape[: axis + rank if axis < 0 else axis])
    return _reshaped(context, node, x, (first, x.tensor.elements // first))


def _reshape(context: Context, node: FileNode) -> Value:
    target = constant_operand(context, node.inputs[1], "the numbers of its shape").values
    if target.dtype != np.int64 or target.ndim != 1 or not 1 <= target.size <= 8:
        raise UnsupportedError("its shape is not a list of integers")
    x = codes_operand(context, node.inputs[0], or_input=True, or_rows=True)
    before = x.whole_shape
    after = [int(n) for n in target]
    if integer_attribute(node, "allowzero", 0) == 0:
        after = [before[i] if n == 0 and i < len(before) else n for i, n in enumerate(after)]
    known = math.prod(n for n in after if n != -1)
    if after.count(-1) == 1 and known > 0 and x.tensor.elements % known == 0:
        after[after.index(-1)] = x.tensor.elements // known
    if min(after) < 1 or math.prod(after) != x.tensor.elements:
        raise UnsupportedError(f"it makes {list(before)} into {target.tolist()}")
    return _reshaped(context, node, x, tuple(after))


def _squeeze(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True, or_rows=True)
    before, batch = x.whole_shape, 0 if x.rows else 1
    axes = _stated_axes(context, node)
    if axes is None:
        axes = [a for a, n in enumerate(before) if n == 1 and a >= batch]
    chosen = {a % len(before) for a in axes}
    if not all(-len(before) <= a < len(before) and before[a] == 1 and a % len(before) >= batch for a in axes):
        raise UnsupportedError(f"its axes are {axes} of {list(before)}")
    after = tuple(n for a, n in enumerate(before) if a not in chosen)
    if len(after) == batch:
        raise UnsupportedError("nothing but the batch is left")
    return _reshaped(context, node, x, after)


def _unsqueeze(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True, or_rows=True)
    axes = _stated_axes(context, node) or []
    rank = len(x.whole_shape) + len(axes)
    chosen = {a % rank for a in axes}
    if len(chosen) != len(axes) or (0 in chosen and not x.rows) or not all(-rank <= a < rank for a in axes):
        raise UnsupportedError(f"its axes are {axes}")
    rest = iter(x.whole_shape)
    return _reshaped(context, node, x, tuple(1 if a in chosen else next(rest) for a in range(rank)))


def _stated_axes(context: Context, node: FileNode) -> list[int] | None:
    """The axes of a node: an attribute before opset 13, an operand since."""
    stated = node.attributes.get("axes")
    if stated is None:
        return _integers(context, node, 1, "its axes")
    if not isinstance(stated, tuple):
        raise UnsupportedError("its axes are no integers")
    return [a for a in stated if isinstance(a, int)]


def _reshaped(context: Context, node: FileNode, x: Codes, whole: Shape) -> Value:
    """A reshape to ``whole``, in the file's layout, batch included; where elements change places in the Graph's, transposes round it.

    What does not begin with the batch alone becomes rows, see ``Codes``.
    """
    rows = whole[0] != 1 or len(whole) == 1
    after = whole if rows else whole[1:]
    before = file_shape(x.tensor.shape)
    was = flattened_order(before) if len(before) > 1 else x.order
    becomes = flattened_order(after) if len(after) > 1 else was
    order = was if len(after) == 1 else None
    is_input = isinstance(context.value(node.inputs[0]), NetworkInput)
    if not are_same_order(was, becomes) and is_input:
        raise UnsupportedError(f"it makes {before} into {after}, which moves elements before they are quantised")
    if not are_same_order(was, becomes):
        return _moved(context, node, "reshape", lambda m: _reshaped_in_file_order(m, x, after), rows=rows)
    if not is_input:
        return _moved(
            context, node, "reshape", lambda m: m.reshape(x.tensor, graph_shape(after)), order=order, rows=rows
        )
    return Pending(
        f"reshape{node.position}",
        "reshape",
        node.kind,
        (x.tensor.name,),
        graph_shape(after),
        order,
        lambda _: ReshapeAttributes(),
        own=x.tensor.quantization,
        rows=rows,
    )


def _reshaped_in_file_order(movement: Movement, x: Codes, after: Shape) -> Tensor:
    return movement.transpose(movement.reshape(_as_in_file(movement, x), after), graph_axes(len(after)))


def _as_in_file(movement: Movement, x: Codes) -> Tensor:
    """The tensor with the axes of the file's, in its order; without the batch where that has an axis of its own."""
    ordered = in_file_order(movement, x)
    own = graph_axes(len(ordered.shape))
    return movement.transpose(ordered, tuple(own.index(axis) for axis in range(len(own))))


def _transpose(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0], or_input=True, or_rows=True)
    rank = len(x.whole_shape)
    stated = node.attributes.get("perm", tuple(reversed(range(rank))))
    permutation = [a for a in stated if isinstance(a, int)] if isinstance(stated, tuple) else []
    if sorted(permutation) != list(range(rank)):
        raise UnsupportedError(f"its perm {permutation} is none of {rank} dimensions")
    is_input = isinstance(context.value(node.inputs[0]), NetworkInput)
    if x.rows or (permutation[0] != 0 and not is_input):
        return _transposed_with_batch(context, node, x, permutation)
    if permutation[0] != 0:
        raise UnsupportedError(f"its perm {permutation} moves the batch before its input is quantised")
    axes = graph_axes(rank - 1)
    turned = tuple(axes.index(permutation[axis + 1] - 1) for axis in axes)
    written = any(x.tensor.name in op.outputs for op in context.graph.operators)
    if turned == _IMAGE_TO_FILE and not written:
        # The file takes images channels-last and turns them first: the Graph has them so, as their user does.
        context.graph.input_layout = turned
    if not is_input:
        return _moved(context, node, "transpose", lambda m: m.transpose(in_file_order(m, x), turned))
    shape = tuple(x.tensor.shape[axis] for axis in turned)
    attributes, own = TransposeAttributes(turned), x.tensor.quantization
    return Pending(
        f"transpose{node.position}",
        "transpose",
        node.kind,
        (x.tensor.name,),
        shape,
        None,
        lambda _: attributes,
        own=own,
    )


def _transposed_with_batch(context: Context, node: FileNode, x: Codes, permutation: Sequence[int]) -> Value:
    """A transpose of which the batch, one sample, is an axis like others."""
    whole = tuple(x.whole_shape[axis] for axis in permutation)
    rows = whole[0] != 1 or len(whole) == 1
    after = whole if rows else whole[1:]

    def build(m: Movement) -> Tensor:
        moved = m.transpose(m.reshape(_as_in_file(m, x), x.whole_shape), tuple(permutation))
        return m.transpose(m.reshape(moved, after), graph_axes(len(after)))

    return _moved(context, node, "transpose", build, rows=rows)


def _slice(context: Context, node: FileNode) -> Value:
    x = codes_operand(context, node.inputs[0])
    starts, ends, axes, steps = (
        _integers(context, node, place, f"its {what}")
        for place, what in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    assert starts is not None and ends is not None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UnsupportedError(f"its starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit each other")
    rank = len(x.tensor.shape) + 1
    ranges = [range(n) for n in x.tensor.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis in (0, -rank):
            if len(range(*slice(start, end, step).indices(1))) != 1:
                raise UnsupportedError("it takes nothing of the batch")
            continue
        at = graph_axis(axis, x)
        ranges[at] = range(*slice(start, end, step).indices(x.tensor.shape[at]))
    return _moved(context, node, "slice", lambda m: m.slice(in_file_order(m, x), ranges))


def _split(context: Context, node: FileNode) -> tuple[Value, ...]:
    x = codes_operand(context, node.inputs[0])
    axis, parts = graph_axis(integer_attribute(node, "axis", 0), x), len(node.outputs)
    size = x.tensor.shape[axis]
    stated = node.attributes.get("split")
    sizes = _integers(context, node, 1, "its sizes")
    if isinstance(stated, tuple):
        sizes = [n for n in stated if isinstance(n, int)]
    if sizes is None:
        each = -(-size // parts)
        sizes = [each] * (parts - 1) + [size - each * (parts - 1)]
    if len(sizes) != parts or min(sizes) < 1 or sum(sizes) != size:
        raise UnsupportedError(f"it splits {size} elements into {sizes}")
    values: list[Value] = []
    for place, n in enumerate(sizes):
        at = sum(sizes[:place])
        ranges = [range(at, at + n) if a == axis else range(m) for a, m in enumerate(x.tensor.shape)]
        values.append(_part(context, node, x, ranges, place) if context.is_read(node.outputs[place]) else Unknown())
    return tuple(values)


def _gather(context: Context, node: FileNode) -> Value:
    """Of constant indices: one element of an axis, which is left out, or some at even steps."""
    index = constant_operand(context, node.inputs[1], "its indices").values
    if index.dtype.kind != "i" or index.ndim > 1 or not index.size:
        raise UnsupportedError("its indices are no list of integers")
    x = codes_operand(context, node.inputs[0], or_rows=True)
    axis = graph_axis(integer_attribute(node, "axis", 0), x)
    size = x.tensor.shape[axis]
    if index.size > size:
        raise UnsupportedError(f"it takes {index.size} elements of {size}")
    taken = [int(i) for i in index.reshape(-1)]
    if not all(-size <= i < size for i in taken):
        raise UnsupportedError(f"it takes the elements {taken} of {size}")
    taken = [i % size for i in taken]
    step = taken[1] - taken[0] if len(taken) > 1 else 1
    even = range(taken[0], taken[0] + step * len(taken), step) if step else range(0)
    if taken != list(even):
        raise UnsupportedError(f"it takes the elements {taken}, which are not at even steps")
    movement = Movement(context.graph, f"gather{node.position}_slice", node.kind)
    ranges = [even if a == axis else range(n) for a, n in enumerate(x.tensor.shape)]
    part = movement.slice(in_file_order(movement, x), ranges)
    after = list(x.whole_shape)
    at = integer_attribute(node, "axis", 0) % len(after)
    after[at : at + 1] = [] if index.ndim == 0 else [len(taken)]
    return _reshaped(context, node, Codes(part, rows=x.rows), tuple(after))


def _part(context: Context, node: FileNode, x: Codes, ranges: Sequence[range], place: int) -> Real:
    return _moved(context, node, "slice", lambda m: m.slice(in_file_order(m, x), ranges), output=place)


def _pad(context: Context, node: FileNode) -> Value:
    if node.attributes.get("mode", "constant") != "constant":
        raise UnsupportedError(f"its mode is {node.attributes['mode']!r}, not 'constant'")
    amounts = constant_operand(context, node.inputs[1], "the amounts").values
    value = optional_constant(context, node, 2, "the value")
    if value is not None and value.values.size != 1:
        raise UnsupportedError(f"it pads with {value.values.size} values")
    real = 0.0 if value is None else float(value.real().reshape(()))
    x = codes_operand(context, node.inputs[0], or_input=True)
    rank = len(x.tensor.shape) + 1
    axes = optional_constant(context, node, 3, "the axes")
    listed = list(range(rank)) if axes is None else [int(a) % rank for a in axes.values.reshape(-1)]
    if amounts.dtype != np.int64 or amounts.size != 2 * len(listed) or len(set(listed)) != len(listed):
        raise UnsupportedError(f"it has {amounts.size} amounts for {len(listed)} axes")
    flat = [int(n) for n in amounts.reshape(-1)]
    edges = {axis: (flat[i], flat[i + len(listed)]) for i, axis in enumerate(listed)}
    if edges.get(0, (0, 0)) != (0, 0):
        raise UnsupportedError("it pads the batch")
    own = [edges.get(axis + 1, (0, 0)) for axis in graph_axes(rank - 1)]
    if isinstance(context.value(node.inputs[0]), NetworkInput):
        if real != 0.0 or rank not in (3, 4) or min(min(pair) for pair in own) < 0:
            raise UnsupportedError("before it is quantised, an image or a sequence can be padded with zeros alone")
        return _padded_input(node, x, own)
    x = _at_scale_behind(context, node, x) if real != 0.0 else x
    codes = float(np.clip(np.rint(np.float32(real) / np.float32(x.tensor.scale)) + x.tensor.zero_point, -128, 127))
    code = None if real == 0.0 else int(codes)
    return _moved(context, node, "pad", lambda m: m.pad(in_file_order(m, x), own, code))


def _at_scale_behind(context: Context, node: FileNode, x: Codes) -> Codes:
    """The operand at the scale at which the padded tensor is quantised: the border's value may have no code at its own."""
    q, own = context.quantization_behind(node.outputs[0]), x.tensor.quantization
    assert own is not None
    if q is None or (q.scale[0], q.zero_point[0]) == (own.scale[0], own.zero_point[0]):
        return x
    rescaled = Tensor(f"{node.outputs[0]}_unpadded", x.tensor.shape, "int8", q)
    context.graph.add_tensor(rescaled)
    name = f"pad{node.position}_requantize"
    attributes = RequantizeAttributes(INT8_RANGE)
    context.graph.add_operator(name, "requantize", (x.tensor.name,), rescaled.name, attributes, node.kind)
    return Codes(rescaled, x.order)


def _padded_input(node: FileNode, x: Codes, amounts: Sequence[tuple[int, int]]) -> Value:
    """A border round the network's input. amounts: of each axis of the Graph's."""
    shape = tuple(n + sum(edges) for n, edges in zip(x.tensor.shape, amounts, strict=True))
    rows, columns, channels = (*[(0, 0)] * (3 - len(amounts)), *amounts)
    attributes, own = PadAttributes(Padding(*rows, *columns), channels), x.tensor.quantization
    return Pending(
        f"pad{node.position}", "pad", node.kind, (x.tensor.name,), shape, None, lambda _: attributes, own=own
    )


def _space_to_depth(context: Context, node: FileNode) -> Value:
    x = image_operand(context, node.inputs[0]).tensor
    block = integer_attribute(node, "blocksize", 0)
    return _moved(context, node, "space_to_depth", lambda m: m.space_to_depth(x, block))


def _depth_to_space(context: Context, node: FileNode) -> Value:
    x = image_operand(context, node.inputs[0]).tensor
    block, mode = integer_attribute(node, "blocksize", 0), node.attributes.get("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"its mode is {mode!r}")
    innermost = mode == "CRD"
    return _moved(context, node, "depth_to_space", lambda m: m.depth_to_space(x, block, blocks_innermost=innermost))


def _resize(context: Context, node: FileNode) -> Value:
    """Resize with X, roi, scales, sizes; Upsample, and Resize before opset 11, with X, scales."""
    x = image_operand(context, node.inputs[0]).tensor
    mode = node.attributes.get("mode", "nearest")
    if mode != "nearest":
        raise UnsupportedError(f"its mode is {mode!r}, not 'nearest'")
    short = len(node.inputs) == 2
    coordinates = node.attributes.get("coordinate_transformation_mode", "asymmetric" if short else "half_pixel")
    rounding = node.attributes.get("nearest_mode", "floor" if short else "round_prefer_floor")
    scales = optional_constant(context, node, 1 if short else 2, "its scales")
    sizes = _integers(context, node, 3, "its sizes")
    file = (1, *file_shape(x.shape))
    given = None if scales is None or not scales.values.size else [float(s) for s in scales.values.reshape(-1)]
    if sizes is None and given is not None and len(given) == 4 and all(0 < s < 2**16 for s in given):
        sizes = [math.floor(np.float32(n) * np.float32(s)) for n, s in zip(file, given, strict=True)]
    elif sizes is not None and len(sizes) == 4:
        given = [float(np.float32(m) / np.float32(n)) for n, m in zip(file, sizes, strict=True)]
    else:
        raise UnsupportedError("its scales or sizes are not those of 4 dimensions")
    if sizes[:2] != list(file[:2]) or min(sizes) < 1:
        raise UnsupportedError(f"it makes {list(file)} into {sizes}: rows and columns alone can be resized")
    check_resized(sizes[2], sizes[3], x.shape[2])
    if sizes == list(file):  # onnxruntime copies an image that keeps its size, whatever its scales say
        given = [1.0] * 4
    rows, columns = (onnx_nearest(file[a], sizes[a], given[a], str(coordinates), str(rounding)) for a in (2, 3))
    shape, attributes = (len(rows), len(columns), x.shape[2]), ResizeNearestAttributes(rows, columns)
    return _moved(context, node, "resize_nearest", lambda m: m.add("resize_nearest", [x], shape, attributes))


_RESIZE = frozenset({"coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "mode", "nearest_mode"})

RULES: dict[str, Rule] = {
    "Concat": Rule(_concat, (1, MAX_TENSORS), frozenset({"axis"})),
    "DepthToSpace": Rule(_depth_to_space, (1, 1), frozenset({"blocksize", "mode"})),
    "Flatten": Rule(_flatten, (1, 1), frozenset({"axis"})),
    "Gather": Rule(_gather, (2, 2), frozenset({"axis"})),
    "Pad": Rule(_pad, (2, 4), frozenset({"mode"})),
    "Reshape": Rule(_reshape, (2, 2), frozenset({"allowzero"})),
    "Resize": Rule(_resize, (1, 4), _RESIZE | {"extrapolation_value"}),
    "Slice": Rule(_slice, (3, 5)),
    "SpaceToDepth": Rule(_space_to_depth, (1, 1), frozenset({"blocksize"})),
    "Split": Rule(_split, (1, 2), frozenset({"axis", "num_outputs", "split"}), several_outputs=True),
    "Squeeze": Rule(_squeeze, (1, 2), frozenset({"axes"})),
    "Transpose": Rule(_transpose, (1, 1), frozenset({"perm"})),
    "Unsqueeze": Rule(_unsqueeze, (1, 2), frozenset({"axes"})),
    "Upsample": Rule(_resize, (2, 2), frozenset({"mode"})),
}
