"""Import ONNX networks in QDQ form, as onnxruntime's static quantiser writes them.

This module walks the nodes, turns QuantizeLinear and DequantizeLinear into tensors, and emits Graph operators; the
operators between them are in ``onnx_rules``. Images become channels-last, uint8 activations int8 (zero point - 128).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import (
    Attributes,
    ConvAttributes,
    MultiplyAttributes,
    RequantizeAttributes,
    ReshapeAttributes,
    TableAttributes,
    TransposeAttributes,
)
from mcutrain.graph.model import Graph, Quantization, Tensor
from mcutrain.importers.common import (
    INT8_RANGE,
    GraphBuilder,
    Problems,
    UnsupportedError,
    activation_clamp,
    damaged,
    is_a_code,
    is_usable_scale,
    one_end,
    quoted,
)
from mcutrain.importers.movement import Movement
from mcutrain.importers.onnx_constants import fold, fold_shape
from mcutrain.importers.onnx_file import FileModel, FileNode, FileValue, read_onnx
from mcutrain.importers.onnx_kinds import what_else_it_is
from mcutrain.importers.onnx_operands import range_of, weighted_sum_range
from mcutrain.importers.onnx_part import needed_part
from mcutrain.importers.onnx_qoperator import in_qdq_form
from mcutrain.importers.onnx_rules import RULES
from mcutrain.importers.onnx_rules.movement import in_file_order
from mcutrain.importers.onnx_rules.pointwise import folded_into_table, quantized_table
from mcutrain.importers.onnx_values import (
    Codes,
    Constant,
    NetworkInput,
    Pending,
    Pointwise,
    Real,
    Unknown,
    Value,
    file_shape,
    graph_shape,
)
from mcutrain.importers.transposes import inverse

# QuantizeLinear came with 10; the operators used here keep their meaning up to the last one checked.
_OPSETS = range(10, 26)
# Each value they write is one that they read or a constant: they commute with a QuantizeLinear.
_MOVES = frozenset(
    {
        *("DepthToSpace", "Flatten", "GlobalMaxPool", "MaxPool", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    }
)


def import_onnx(path: Path, content: bytes, output: str | None = None) -> Graph:
    """The Graph of an ONNX QDQ file whose bytes are ``content``, up to the tensor named ``output`` (the file's own: None).

    Raises UsageError (damaged or unsupported).
    """
    model = needed_part(path, in_qdq_form(read_onnx(path, content)), output)
    kind = what_else_it_is(model)
    if kind is not None:
        raise UsageError(f"{path}: {kind}")
    for what, ends in (("input", model.inputs), ("output", model.outputs)):
        if len(ends) != 1:
            raise one_end(path, what, [end.name for end in ends])
    return _Import(path, content, model).run()


class _Import:
    """One import under way. It is the ``Context`` that the rules see."""

    def __init__(self, path: Path, content: bytes, model: FileModel) -> None:
        self.graph = GraphBuilder()
        self.opset = model.opset
        self.problems = Problems(path)
        self._path = path
        self._sha256 = hashlib.sha256(content).hexdigest()
        self._model = model
        self._domain = "int8 codes"
        self._input_name = ""
        self._values: dict[str, Value] = {name: Constant(name, a) for name, a in model.constants.items()}
        self._values |= {name: Unknown() for name in model.unreadable}
        self._readers = Counter(name for node in model.nodes for name in node.inputs)
        self._constant_names = _constant_names(model)
        self.tables: dict[str, Pointwise] = {}
        self._quantized: dict[str, Codes] = {}

    def run(self) -> Graph:
        for name, reason in self._model.unreadable.items():
            self.problems.add(f"tensor {quoted(name)} {reason}")
        if self._model.opset not in _OPSETS:
            self.problems.add(f"opset {self._model.opset}, outside {_OPSETS.start} to {_OPSETS.stop - 1}")
        (end,) = self._model.inputs
        self._values[end.name] = self._network_input(end)
        for node in self._model.nodes:
            self._import_node(node)
        end = self._model.outputs[0]
        output = ""
        try:
            output = self._output(end)
        except UnsupportedError as reason:
            self.problems.add(f"output {quoted(end.name)}: {reason}")
        self.problems.raise_if_any()
        self._drop_unread(output)
        return self.graph.finish(
            self._path,
            input=self._input_name,
            output=output,
            source_format="onnx",
            sha256=self._sha256,
            domain=self._domain,
        )

    def value(self, name: str) -> Value:
        """What a name stands for. Raises UsageError where nothing before has defined it."""
        if name not in self._values:
            raise damaged(self._path, f"{quoted(name)} is read before any node writes it")
        return self._values[name]

    def sole_reader(self, name: str) -> FileNode | None:
        """The node that reads ``name``, where there is exactly one."""
        if self._readers[name] != 1:
            return None
        return next(node for node in self._model.nodes if name in node.inputs)

    def is_read(self, name: str) -> bool:
        """Whether a node reads ``name``, or the network's user."""
        return self._readers[name] > 0 or any(end.name == name for end in self._model.outputs)

    def settled(self, name: str) -> Value:
        """What a name stands for; a result that is read before any QuantizeLinear is Real where its codes are known all the same.

        They are where elements were only moved, or limited to one of their codes: these keep the codes they had. Where a result is moved
        before it is quantised, the QuantizeLinear behind the moves says what its codes are. And a function of one tensor has a range,
        which its 256 codes cover.
        """
        value = self.value(name)
        q: Quantization | None = None
        if isinstance(value, Pending) and value.is_moved:
            q = None if self._waits_for_input(value) else value.own
        elif isinstance(value, Pending | Pointwise):
            q = self.quantization_behind(name)
            moved_to = self._moved_to(name)
            if q is None and self._readers[moved_to] == 0 and self.is_read(moved_to):
                q = self._own_range(value, moved_to)  # the file ends without a QuantizeLinear
        if q is None and isinstance(value, Pending) and not value.is_moved:
            q = self._exact(value)
        if q is None and isinstance(value, Pointwise):
            q = range_of(value)
            self.graph.notes.append(
                f"{quoted(name)} is not quantised in the file; its int8 codes have the scale {q.scale[0]:.6g}, that of its range"
            )
        if q is not None and isinstance(value, Pending):
            value = self._values[name] = Real(self._emit(value, q, name))
        elif q is not None and isinstance(value, Pointwise):
            value = self._values[name] = Real(self._emit_table(value, q, name))
        return value

    def _exact(self, p: Pending) -> Quantization | None:
        """The quantisation in whose codes a result can be written without rounding; None where there is none."""
        q = p.own
        if p.kind in ("concatenate", "requantize"):
            first, *others = (self.graph.tensors[name].quantization for name in p.inputs)
            q = first if first is not None and all(_same(other, first) for other in others) else None
        if q is None or self._waits_for_input(p):
            return None
        return q if all(limit is None or is_a_code(limit, q) for limit in (p.low, p.high)) else None

    def quantization_behind(self, name: str) -> Quantization | None:
        """How the elements of ``name`` are quantised, at once or when they have moved, where nothing else reads them; else None."""
        reader = self.sole_reader(self._moved_to(name))
        if reader is None or reader.kind != "QuantizeLinear":
            return None
        return self._activation_quantization(reader, None)[0]

    def _moved_to(self, name: str) -> str:
        """The name of the elements of ``name`` behind all nodes that only move them, as long as nothing else reads them."""
        for _ in self._model.nodes:
            reader = self.sole_reader(name)
            if reader is None or reader.kind not in _MOVES or reader.inputs[0] != name or len(reader.outputs) != 1:
                break
            name = reader.outputs[0]
        return name

    def _network_input(self, end: FileValue) -> Value:
        where = f"input {quoted(end.name)}"
        shape = end.shape
        if end.dtype not in ("float32", "int8", "uint8"):
            self.problems.add(f"{where} is {end.dtype}")
        elif shape is None or any(n < 1 for n in shape[1:]):
            self.problems.add(f"{where} has the dynamic shape {list(shape or ())}")
        elif len(shape) not in (2, 3, 4):
            self.problems.add(f"{where} has {len(shape)} dimensions, not 2 (vector), 3 (sequence) or 4 (image)")
        elif shape[0] not in (1, -1):
            self.problems.add(f"{where} has batch {shape[0]}, not 1")
        else:
            return NetworkInput(end.name, end.dtype, graph_shape(shape[1:]))
        return Unknown()

    def _import_node(self, node: FileNode) -> None:
        result: Value | tuple[Value, ...] = Unknown()
        try:
            several = node.kind in RULES and RULES[node.kind].several_outputs
            if len(node.outputs) != 1 and not (several and node.outputs):
                raise UnsupportedError(f"it has {len(node.outputs)} outputs")
            if (known := self._fold(node)) is not None:
                result = known
            elif node.kind == "QuantizeLinear":
                result = self._quantize(node)
            elif node.kind == "DequantizeLinear":
                result = self._dequantize(node)
            elif (folded := folded_into_table(self, node)) is not None:
                result = folded
            elif node.kind in RULES:
                result = self._apply(node)
            else:
                self.problems.add_operator(node.kind, _place(node))
        except UnsupportedError as reason:
            self.problems.add(f"{_place(node)}: {reason}")
        for place, name in enumerate(node.outputs):
            self._values[name] = result[place] if isinstance(result, tuple) else result

    def _fold(self, node: FileNode) -> Constant | None:
        """The constant that a node writes, where it reads nothing but constants or asks for a shape."""
        if node.kind in ("Shape", "Size") and node.inputs:
            shape = self._shape_of(self.value(node.inputs[0]))
            return None if shape is None else fold_shape(node, shape)
        operands = [self.value(name) if name else None for name in node.inputs]
        if not all(operand is None or isinstance(operand, Constant) for operand in operands):
            return None
        return fold(node, [operand for operand in operands if operand is None or isinstance(operand, Constant)])

    def _shape_of(self, value: Value) -> tuple[int, ...] | None:
        """The shape of a value in the file's layout, batch 1 included."""
        if isinstance(value, Constant):
            return value.values.shape
        if isinstance(value, NetworkInput | Pending):
            rows = isinstance(value, Pending) and value.rows
            return file_shape(value.shape) if rows else (1, *file_shape(value.shape))
        if isinstance(value, Pointwise | Real):
            value = value.codes
        if isinstance(value, Codes):
            return value.whole_shape
        return None

    def _apply(self, node: FileNode) -> Value | tuple[Value, ...]:
        """The value of an operator. One that only moves elements may stand between a QuantizeLinear and its DequantizeLinear."""
        codes = {n: v for n in node.inputs if isinstance(v := self._values.get(n), Codes)}
        self._values |= {name: Real(value) for name, value in codes.items()}
        try:
            result = RULES[node.kind].apply(self, node)
        finally:
            self._values |= codes
        if not codes or isinstance(result, Unknown):
            return result
        if isinstance(result, Pending) and result.is_moved:
            assert result.own is not None
            return self._emit(result, result.own, node.outputs[0])
        if isinstance(result, Real):
            return result.codes
        if isinstance(result, tuple):
            return tuple(part.codes if isinstance(part, Real) else part for part in result)
        raise UnsupportedError("its input is quantised, but not dequantised before it")

    def _waits_for_input(self, p: Pending) -> bool:
        """Whether a move stands before the QuantizeLinear of the network's input."""
        return isinstance(self._values.get(p.inputs[0]), NetworkInput) and p.inputs[0] not in self._quantized

    def _quantization(self, node: FileNode, dtype: str | None) -> tuple[Quantization, str]:
        """The quantisation that a Q or DQ node states, and the type of its codes."""
        if node.attributes.get("block_size", 0) != 0:
            raise UnsupportedError("it is quantised in blocks")
        if not 2 <= len(node.inputs) <= 3:
            raise UnsupportedError(f"it has {len(node.inputs)} inputs")
        scale = self.value(node.inputs[1])
        zero_point = self.value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        if isinstance(scale, Unknown) or isinstance(zero_point, Unknown):
            raise UnsupportedError("its scale or its zero point cannot be read")
        if not isinstance(scale, Constant) or not (zero_point is None or isinstance(zero_point, Constant)):
            raise UnsupportedError("its scale and zero point are not constant")
        scales = scale.values.astype(np.float32)
        zeros = zero_point.values if zero_point is not None else np.zeros(scales.shape, dtype or "uint8")
        if scale.values.dtype != np.float32 or scales.ndim > 1 or scales.size != zeros.size or not scales.size:
            raise UnsupportedError("its scale is not float32, or its zero points are not as many as its scales")
        if not is_usable_scale(scales):
            raise UnsupportedError("its scale is not a positive, finite, normal number")
        stated = node.attributes.get("axis", 1)
        axis = stated if scales.size > 1 and isinstance(stated, int) else None
        return Quantization(scales.reshape(-1), zeros.reshape(-1).astype(np.int32), axis), str(zeros.dtype)

    def _activation_quantization(self, node: FileNode, dtype: str | None) -> tuple[Quantization, int]:
        """The quantisation of an activation as int8, and what was taken off its codes."""
        q, stated = self._quantization(node, dtype)
        if stated not in ("int8", "uint8"):
            raise UnsupportedError(f"its codes are {stated}; quantise activations to QInt8 or QUInt8")
        if q.scale.size != 1:
            raise UnsupportedError(f"an activation has {q.scale.size} scales")
        shift = 128 if stated == "uint8" else 0
        return Quantization(q.scale, (q.zero_point - shift).astype(np.int32)), shift

    def _quantize(self, node: FileNode) -> Value:
        q, _ = self._activation_quantization(node, None)
        name, source = node.outputs[0], self.value(node.inputs[0])
        if isinstance(source, Unknown):
            return source
        known = self._quantized.get(node.inputs[0])
        if known is not None and not isinstance(source, Real):
            # onnxruntime can give every reader a Q and DQ of its own.
            if not _same(known.tensor.quantization, q):
                raise UnsupportedError("its input is already quantised with another scale")
            return known
        if isinstance(source, Pending) and source.awaits_bias and self._is_biased_later(name):
            return source
        if isinstance(source, Pending) and not (source.is_moved or source.is_limited_codes):
            readers = [n for n in self._model.nodes if node.inputs[0] in n.inputs]
            if any(n.kind != "QuantizeLinear" for n in readers):
                source = self.settled(node.inputs[0])
            if isinstance(source, Pending) and any(n.kind != "QuantizeLinear" for n in readers):
                raise UnsupportedError("its input is also read before it is quantised")
        if isinstance(source, Pending):
            codes = self._emit(source, q, name)
        elif isinstance(source, Pointwise):
            codes = self._emit_table(source, q, name)
        elif isinstance(source, Real):
            if _same(source.codes.tensor.quantization, q):
                return source.codes
            tensor = Tensor(name, source.codes.tensor.shape, "int8", q)
            self._add_requantize(f"quantize{node.index}", source.codes.tensor.name, tensor, INT8_RANGE, node.kind)
            codes = replace(source.codes, tensor=tensor)
        elif isinstance(source, NetworkInput) and source.dtype == "float32":
            codes = self._quantize_input(source, name, q)
        else:
            raise UnsupportedError("its input is no float")
        self._quantized[node.inputs[0]] = codes
        return codes

    def _is_biased_later(self, quantized: str) -> bool:
        """Whether nothing but the addition of a constant reads a matrix product, through its Q and DQ."""
        reader = self.sole_reader(quantized)
        if reader is None or reader.kind != "DequantizeLinear" or not reader.outputs:
            return False
        addition = self.sole_reader(reader.outputs[0])
        return addition is not None and addition.kind == "Add" and not self._constant_names.isdisjoint(addition.inputs)

    def _dequantize(self, node: FileNode) -> Value:
        source = self.value(node.inputs[0]) if node.inputs else Unknown()
        if isinstance(source, Unknown | Pending):
            return source
        if isinstance(source, Constant):
            q, _ = self._quantization(node, str(source.values.dtype))
            whole = source.values.dtype.kind in "iu" and source.values.dtype != np.int64
            if not whole or source.quantization is not None:
                raise UnsupportedError(f"it dequantises a constant of {source.values.dtype}")
            return Constant(source.name, source.values, q)
        if isinstance(source, NetworkInput):
            q, shift = self._activation_quantization(node, source.dtype)
            if source.dtype != ("uint8" if shift else "int8"):
                raise UnsupportedError(f"its input is {source.dtype}, its zero point is not")
            self._domain = "uint8 - 128" if shift else "int8 codes"
            codes = self._quantized.get(source.name) or self._set_input(Tensor(source.name, source.shape, "int8", q))
            self._quantized[source.name] = codes
        elif isinstance(source, Codes):
            q, _ = self._activation_quantization(node, None)
            codes = source
        else:
            raise UnsupportedError("its input is not quantised")
        if not _same(codes.tensor.quantization, q):
            raise UnsupportedError("its scale is not the one its input was quantised with")
        return Real(codes)

    def _quantize_input(self, source: NetworkInput, name: str, q: Quantization) -> Codes:
        self._domain = f"float32 / {q.scale[0]:.9g} + {q.zero_point[0]}"
        return self._set_input(Tensor(name, source.shape, "int8", q))

    def _set_input(self, tensor: Tensor) -> Codes:
        self._input_name = self.graph.add_tensor(tensor)
        return Codes(tensor)

    def _emit(self, p: Pending, q: Quantization, name: str) -> Codes:
        """Add the operator of a pending result, whose codes are quantised by ``q``, as the tensor ``name``."""
        source = self._values.get(p.inputs[0])
        if isinstance(source, NetworkInput) and p.inputs[0] not in self._quantized:
            # The operator moves values of the input before they are quantised: the same as moving their codes.
            self._quantized[source.name] = self._quantize_input(source, source.name, q)
            p = replace(p, own=q)
        if p.turned is not None or p.written is not None:
            return self._emit_moved(p, q, name)
        if p.times != 1:
            return self._emit_multiple(p, q, name)
        tensor = Tensor(name, p.shape, "int8", q)
        clamp = activation_clamp(p.low, p.high, tensor.scale, tensor.zero_point, half_even=True)
        if p.rescales_operands:
            p = replace(p, inputs=tuple(self._rescaled(p, place, q, clamp) for place in range(len(p.inputs))))
        if p.own is None and not p.clamps and clamp != INT8_RANGE:
            p = replace(p, own=q)  # it is limited afterwards, at the same scale
        if p.own is None:
            self.graph.add_tensor(tensor)
            attributes = p.attributes(clamp)
            if isinstance(attributes, ConvAttributes | MultiplyAttributes):
                attributes = replace(attributes, half_even=True)
            self.graph.add_operator(p.name, p.kind, p.inputs, name, attributes, p.source)
            return Codes(tensor, p.order, p.rows)
        if _same(p.own, q) and clamp == INT8_RANGE:
            # The operator's own scale is the exact one; the stated one may differ in its last digit.
            tensor = Tensor(name, p.shape, "int8", p.own)
            self.graph.add_tensor(tensor)
            self.graph.add_operator(p.name, p.kind, p.inputs, name, p.attributes(INT8_RANGE), p.source)
            return Codes(tensor, p.order, p.rows)
        raw = Tensor(f"{name}_before", p.shape, "int8", p.own)
        self.graph.add_tensor(raw)
        self.graph.add_operator(p.name, p.kind, p.inputs, raw.name, p.attributes(INT8_RANGE), p.source)
        suffix = "clamp" if _same(p.own, q) else "requantize"
        self._add_requantize(f"{p.name}_{suffix}", raw.name, tensor, clamp, p.source)
        return Codes(tensor, p.order, p.rows)

    def _emit_moved(self, p: Pending, q: Quantization, name: str) -> Codes:
        """As `_emit`, of an operator whose result is transposed or reshaped."""
        written = inverse(p.shape, p.turned) if p.turned is not None else p.written
        assert written is not None
        own = replace(p, shape=written, turned=None, written=None)
        inner = self._emit(own, q, f"{name}_as_written").tensor
        y = replace(inner, name=name, shape=p.shape)
        self.graph.add_tensor(y)
        kind = "reshape" if p.turned is None else "transpose"
        attributes: Attributes = ReshapeAttributes() if p.turned is None else TransposeAttributes(p.turned)
        self.graph.add_operator(f"{p.name}_{kind}", kind, (inner.name,), name, attributes, p.source)
        return Codes(y, p.order, p.rows)

    def _emit_multiple(self, p: Pending, q: Quantization, name: str) -> Codes:
        """As `_emit`, of a multiple of what an operator computes: the same codes, of so many times the scale."""
        low, high = (None if limit is None else limit / p.times for limit in (p.low, p.high))
        part = Quantization((q.scale.astype(np.float64) / p.times).astype(np.float32), q.zero_point)
        if not is_usable_scale(part.scale):
            raise UnsupportedError(f"its scale {q.scale[0]:g} is too small for a sum of {p.times} elements")
        inner = self._emit(replace(p, low=low, high=high, times=1), part, f"{name}_divided").tensor
        y = replace(inner, name=name, quantization=q)
        self.graph.add_tensor(y)
        same = TableAttributes(f"{p.times} times", tuple(range(-128, 128)), (1.0,) * 256)
        self.graph.add_operator(f"{p.name}_multiple", "table", (inner.name,), name, same, p.source)
        return Codes(y, p.order, p.rows)

    def _emit_table(self, p: Pointwise, q: Quantization, name: str) -> Codes:
        """Add the table of a function of one tensor, whose codes are quantised by ``q``, as the tensor ``name``."""
        y = Tensor(name, p.codes.tensor.shape, "int8", q)
        attributes, self.tables[name] = quantized_table(p, y)
        self.graph.add_tensor(y)
        self.graph.add_operator(p.name, "table", (p.codes.tensor.name,), name, attributes, p.source)
        return replace(p.codes, tensor=y)

    def _drop_unread(self, output: str) -> None:
        """Leave out the tables that have become part of others, and the weights that have taken a gain into new ones."""
        for op in reversed(self.graph.operators):
            name = op.outputs[0]
            if (
                op.kind == "table"
                and name != output
                and not any(name in other.inputs for other in self.graph.operators)
            ):
                self.graph.operators.remove(op)
                del self.graph.tensors[name]
        read = {name for op in self.graph.operators for name in op.inputs}
        for name in [name for name, t in self.graph.tensors.items() if t.data is not None and name not in read]:
            del self.graph.tensors[name]

    def _rescaled(self, p: Pending, place: int, q: Quantization, clamp: tuple[int, int]) -> str:
        """An operand with the scale ``q``, within a clamp; it keeps its codes where it has them already."""
        x = self.graph.tensors[p.inputs[place]]
        if _same(x.quantization, q) and clamp == INT8_RANGE:
            return x.name
        y = Tensor(f"{p.name}_operand{place}", x.shape, "int8", q)
        self._add_requantize(f"{p.name}_requantize{place}", x.name, y, clamp, p.source)
        return y.name

    def _add_requantize(self, name: str, x: str, y: Tensor, clamp: tuple[int, int], source: str) -> None:
        self.graph.add_tensor(y)
        self.graph.add_operator(name, "requantize", (x,), y.name, RequantizeAttributes(clamp), source)

    def _output(self, end: FileValue) -> str:
        value = self._values.get(end.name)
        if value is None:
            raise damaged(self._path, f"no node writes the output {quoted(end.name)}")
        if isinstance(value, Pending):
            value = self._unquantized_output(value, end.name)
        if isinstance(value, Pointwise):
            value = self._emit_table(value, value.unstated or range_of(value), end.name)
        if isinstance(value, Real):
            value = value.codes
        if isinstance(value, Codes):
            ordered = Movement(self.graph, f"{end.name}_in_file_order", "output")
            return in_file_order(ordered, value).name
        if not isinstance(value, Unknown):
            self.problems.add(f"output {quoted(end.name)} is not quantised")
        return ""

    def _unquantized_output(self, p: Pending, name: str) -> Value:
        """The codes of an output that the file leaves without a QuantizeLinear, at a scale of our own where it needs one."""
        q = self._own_range(p, name)
        return p if q is None else self._emit(p, q, name)

    def _own_range(self, p: Pending | Pointwise, name: str) -> Quantization | None:
        """A quantisation for the output ``name``, for which the file states none: of what the operator can put out."""
        if isinstance(p, Pointwise):
            return p.unstated or range_of(p)
        if p.own is not None or p.unstated is not None:
            return p.own or p.unstated
        q: Quantization | None = None
        if p.kind in ("conv2d", "depthwise_conv2d", "fully_connected"):
            q = weighted_sum_range(*(self.graph.tensors[operand] for operand in p.inputs))
        elif p.kind in ("average_pool", "mean"):
            operand = self.graph.tensors[p.inputs[0]].quantization
            assert operand is not None
            with np.errstate(over="ignore"):
                q = Quantization(operand.scale * np.float32(p.times), operand.zero_point)
            if not is_usable_scale(q.scale):
                raise UnsupportedError(f"the scale {operand.scale[0]:g} is too large for a sum of {p.times} elements")
        if q is not None:
            self.graph.notes.append(
                f"the output {quoted(name)} is not quantised in the file; its int8 codes have the scale {q.scale[0]:.6g}"
            )
        return q


def _constant_names(model: FileModel) -> frozenset[str]:
    """Every name that stands for a constant: stated in the file, or computed from constants alone."""
    names = set(model.constants)
    for node in model.nodes:
        if node.inputs and all(name in names for name in node.inputs if name):
            names.update(node.outputs)
    return frozenset(names)


def _same(a: Quantization | None, b: Quantization) -> bool:
    if a is None or a.scale.size != 1 or b.scale.size != 1:
        return False
    return bool(np.isclose(a.scale[0], b.scale[0], rtol=1e-6, atol=0) and a.zero_point[0] == b.zero_point[0])


def _place(node: FileNode) -> str:
    return f"{node.kind} #{node.index} (output {', '.join(quoted(n) for n in node.outputs) or 'none'})"
