"""Fold transposes away: what a change of layout between two frameworks leaves in a file, and in what an importer makes of it.

Each transpose is pushed towards the output through whatever does not mind the order of its elements, until it meets another one, with
which it is merged, or a fully connected layer, whose weights take its order. What is left is executed. No code of the network changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcutrain.graph.attributes import (
    Attributes,
    ConcatenateAttributes,
    PadAttributes,
    Padding,
    ReshapeAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from mcutrain.graph.model import Operator, Tensor

Shape = tuple[int, ...]

# Kinds of one computed operand that treat each element by itself, with the same attributes wherever it lies.
ELEMENTWISE = frozenset({"requantize", "table"})


def fold_transposes(
    tensors: dict[str, Tensor], operators: list[Operator], input: str, output: str, *, layout: Shape | None = None
) -> None:
    """Fold the transposes of a network under construction, in place.

    input, output: its ends; both keep their names. layout: the order of the axes in which the user brings the input; where the network
    begins by bringing it into that order, the input has it.
    """
    _Folding(tensors, operators, input, output).run(layout)


class _Folding:
    def __init__(self, tensors: dict[str, Tensor], operators: list[Operator], input: str, output: str) -> None:
        self.tensors = tensors
        self.operators = operators
        self.input = input
        self.output = output
        # Kept beside the list of operators: a file may have thousands of them.
        self._readers: dict[str, list[Operator]] = {}
        self._writer: dict[str, Operator] = {}
        for op in operators:
            self._enter(op)

    def run(self, layout: Shape | None) -> None:
        if not any(op.kind == "transpose" for op in self.operators):
            return
        self._fold_input(layout)
        # One as far as it goes before the next, from the input on: so each takes along what it meets, and none waits for another.
        for op in [op for op in self.operators if op.kind == "transpose"]:
            at: Operator | None = op
            while at is not None and self._writer.get(at.outputs[0]) is at:  # it is still there
                at = None if self._moves_nothing(at) else self._merged(at) or self._pushed(at)
        self._fold_input(layout)  # a merged one may be it
        used = {name for op in self.operators for name in (*op.inputs, *op.outputs)} | {self.input, self.output}
        for name in [name for name in self.tensors if name not in used]:
            del self.tensors[name]

    def _enter(self, op: Operator) -> None:
        for name in dict.fromkeys(op.inputs):
            self._readers.setdefault(name, []).append(op)
        self._writer |= dict.fromkeys(op.outputs, op)

    def _read_by(self, name: str) -> list[Operator]:
        return self._readers.get(name, [])

    def _sole_reader(self, name: str) -> Operator | None:
        readers = self._read_by(name)
        return readers[0] if len(readers) == 1 and name != self.output else None

    def _transpose_behind(self, name: str) -> Operator | None:
        """The transpose that writes a tensor with one reader."""
        op = self._writer.get(name)
        return op if op is not None and op.kind == "transpose" and self._sole_reader(name) is not None else None

    def _replace(self, op: Operator, *others: Operator) -> None:
        at = list(map(id, self.operators)).index(id(op))
        self.operators[at : at + 1] = others
        for name in dict.fromkeys(op.inputs):
            self._readers[name] = [reader for reader in self._readers[name] if reader is not op]
        for name in op.outputs:
            del self._writer[name]
        for other in others:
            self._enter(other)

    # The rewritings.

    def _moves_nothing(self, op: Operator) -> bool:
        """A transpose that leaves all bytes where they are becomes a reshape."""
        shape = self.tensors[op.inputs[0]].shape
        moved = [axis for axis in permutation_of(op) if shape[axis] > 1]
        if moved == sorted(moved):
            self._replace(op, replace(op, kind="reshape", attributes=ReshapeAttributes()))
        return moved == sorted(moved)

    def _merged(self, op: Operator) -> Operator | None:
        """Transposes that read ``op`` read what it reads, and it goes where nothing else reads it; the first of them."""
        first: Operator | None = None
        for reader in [reader for reader in self._read_by(op.outputs[0]) if reader.kind == "transpose"]:
            composed = tuple(permutation_of(op)[axis] for axis in permutation_of(reader))
            other = replace(reader, inputs=op.inputs, attributes=TransposeAttributes(composed))
            self._replace(reader, other)
            first = first or other
        if op.outputs[0] != self.output and not self._read_by(op.outputs[0]):
            self._replace(op)
        return first

    def _pushed(self, op: Operator) -> Operator | None:
        """The transpose behind what reads ``op``, if it can be there as well."""
        reader = self._sole_reader(op.outputs[0])
        if reader is None:
            return None
        if reader.kind == "reshape":
            behind = self._pushed_through_reshape(op, reader)
            if behind is None and self._next_pulled_before(reader):
                return op
            if behind is None:
                self._into_weights(op, reader)
            return behind
        y = self.tensors[reader.outputs[0]]
        feeding = [self._transpose_behind(name) for name in reader.inputs]
        permutation = permutation_of(op)
        transposes = [other for other in feeding if other is not None and permutation_of(other) == permutation]
        if len(transposes) != len(feeding):
            return None
        same_shape = all(self.tensors[name].shape == y.shape for name in reader.inputs)
        attributes: Attributes = reader.attributes
        if isinstance(attributes, PadAttributes):
            attributes = _permuted_pad(attributes, permutation)
        elif isinstance(attributes, SliceAttributes):
            begin, step = (inverse(n, permutation) for n in (attributes.begin, attributes.step))
            attributes = SliceAttributes(begin, step)
        elif isinstance(attributes, ConcatenateAttributes):
            attributes = ConcatenateAttributes(permutation[attributes.axis])
        elif not same_shape or not (reader.kind in ELEMENTWISE or reader.kind == "add"):
            return None
        inner = replace(y, name=self._new_name(y.name), shape=inverse(y.shape, permutation))
        self.tensors[inner.name] = inner
        inputs = tuple(other.inputs[0] for other in transposes)
        before = replace(reader, inputs=inputs, outputs=(inner.name,), attributes=attributes)
        behind = replace(op, inputs=(inner.name,), outputs=(y.name,))
        self._replace(reader, before, behind)
        for other in {other.name: other for other in transposes}.values():
            self._replace(other)
        return behind

    def _pushed_through_reshape(self, op: Operator, reader: Operator) -> Operator | None:
        """A reshape that splits and merges only axes that the transpose leaves beside each other."""
        x, y = self.tensors[op.inputs[0]], self.tensors[reader.outputs[0]]
        found = behind_reshape(x.shape, permutation_of(op), y.shape)
        if found is None:
            return None
        shape, permutation = found
        inner = replace(x, name=self._new_name(y.name), shape=shape)
        self.tensors[inner.name] = inner
        before = replace(reader, inputs=(x.name,), outputs=(inner.name,))
        behind = replace(op, inputs=(inner.name,), outputs=(y.name,), attributes=TransposeAttributes(permutation))
        self._replace(reader, before, behind)
        self._replace(op)
        return behind

    def _next_pulled_before(self, reshape: Operator) -> bool:
        """Whether the transpose behind a reshape could be put before it, to be merged there."""
        transpose = self._sole_reader(reshape.outputs[0])
        if transpose is None or transpose.kind != "transpose":
            return False
        x, y = self.tensors[reshape.inputs[0]], self.tensors[transpose.outputs[0]]
        permutation = permutation_of(transpose)
        # Seen from the output: it is transposed back, and reshaped to what the reshape reads.
        found = behind_reshape(y.shape, inverse(range(len(permutation)), permutation), x.shape)
        if found is None:
            return False
        shape, back = found
        inner = replace(x, name=self._new_name(y.name), shape=shape)
        self.tensors[inner.name] = inner
        forth = TransposeAttributes(inverse(range(len(back)), back))
        self._replace(reshape, replace(transpose, inputs=(x.name,), outputs=(inner.name,), attributes=forth))
        self._replace(transpose, replace(reshape, inputs=(inner.name,), outputs=(y.name,)))
        return True

    def _into_weights(self, op: Operator, reader: Operator) -> None:
        """Flattened into a fully connected layer: its weights' columns follow the elements."""
        at: Operator | None = reader
        if len(self.tensors[reader.outputs[0]].shape) != 1:
            return
        while at is not None and (at is reader or at.kind in ELEMENTWISE):
            at = self._sole_reader(at.outputs[0])
        if at is None or at.kind != "fully_connected":
            return
        weights = self.tensors[at.inputs[1]]
        if weights.data is None or len(self._read_by(weights.name)) != 1:
            return
        x = self.tensors[op.inputs[0]]
        element = np.arange(x.elements).reshape(x.shape).transpose(permutation_of(op)).reshape(-1)
        data = np.empty_like(weights.data)
        data[:, element] = weights.data
        data.setflags(write=False)
        self.tensors[weights.name] = replace(weights, data=data)
        self._replace(reader, replace(reader, inputs=op.inputs))
        self._replace(op)

    def _fold_input(self, layout: Shape | None) -> None:
        reader = self._sole_reader(self.input)
        if layout is None or reader is None or reader.kind != "transpose" or permutation_of(reader) != layout:
            return
        y = reader.outputs[0]
        if y == self.output:
            return
        self.tensors[self.input] = replace(self.tensors[self.input], shape=self.tensors[y].shape)
        self._replace(reader)
        for op in list(self._read_by(y)):
            inputs = tuple(self.input if name == y else name for name in op.inputs)
            self._replace(op, replace(op, inputs=inputs))

    def _new_name(self, name: str) -> str:
        fresh = f"{name}_moved"
        while fresh in self.tensors:
            fresh += "_"
        return fresh


def permutation_of(op: Operator) -> Shape:
    """The permutation of a transpose."""
    assert isinstance(op.attributes, TransposeAttributes)
    return op.attributes.permutation


def inverse(values: Sequence[int], permutation: Shape) -> Shape:
    """What has ``values`` along its axes behind the transpose, along those before it."""
    before = [0] * len(values)
    for value, axis in zip(values, permutation, strict=True):
        before[axis] = value
    return tuple(before)


def _permuted_pad(attributes: PadAttributes, permutation: Shape) -> PadAttributes:
    own = attributes.amounts[-len(permutation) :]  # a sequence has no rows
    before, behind = (inverse(edges, permutation) for edges in zip(*own, strict=True))
    rows, columns, channels = (*[(0, 0)] * (3 - len(own)), *zip(before, behind, strict=True))
    return PadAttributes(Padding(*rows, *columns), channels, attributes.value)


def behind_reshape(shape: Shape, permutation: Shape, target: Shape) -> tuple[Shape, Shape] | None:
    """A reshape and a transpose that do what transposing ``shape`` and reshaping it to ``target`` does, or None.

    Both shapes fall into groups, from the outermost on, of equally many elements. A group of axes that lay beside each other, in this
    order, before the transpose can be reshaped before it. Axes of one element lie anywhere.
    """
    axes = [axis for axis in permutation if shape[axis] > 1]  # the axes before, in their order behind the transpose
    sizes, wanted = [shape[axis] for axis in axes], [a for a, n in enumerate(target) if n > 1]
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(axes):
        own, other = [axes[i]], [wanted[j]]
        left, right, i, j = sizes[i], target[wanted[j]], i + 1, j + 1
        while left != right:
            if left < right:
                own.append(axes[i])
                left, i = left * sizes[i], i + 1
            else:
                other.append(wanted[j])
                right, j = right * target[wanted[j]], j + 1
        groups.append((own, other))
    before = [axis for axis in range(len(shape)) if shape[axis] > 1]
    for own, _ in groups:
        first = before.index(own[0])
        if before[first : first + len(own)] != own:
            return None
    # The groups in their order before the transpose; the target's axes of one element last.
    order = [a for _, other in sorted(groups, key=lambda group: group[0][0]) for a in other]
    order += [a for a, n in enumerate(target) if n == 1]
    return tuple(target[a] for a in order), tuple(order.index(a) for a in range(len(target)))
