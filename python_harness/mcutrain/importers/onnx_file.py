"""Read an .onnx file into plain values, trusting nothing in it and opening no other file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

from mcutrain.importers.common import MAX_ELEMENTS, MAX_OPERATORS, MAX_RANK, damaged, quoted
from mcutrain.importers.protobuf_size import OutsizedError, check_size

Array = NDArray[np.generic]
AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | Array

_DTYPES: dict[int, np.dtype[np.generic]] = {
    TensorProto.FLOAT: np.dtype("<f4"),
    TensorProto.INT8: np.dtype("<i1"),
    TensorProto.UINT8: np.dtype("<u1"),
    TensorProto.INT32: np.dtype("<i4"),
    TensorProto.INT64: np.dtype("<i8"),
}
_TYPE_NAMES: dict[int, str] = {int(v): k.lower() for k, v in TensorProto.DataType.items()} | {
    TensorProto.FLOAT: "float32"
}


_NO_OPERATORS = frozenset({"QuantizeLinear", "DequantizeLinear", "Constant"})


@dataclass(frozen=True)
class FileNode:
    """A node as the file states it. kind: its operator, with the domain where that is not ONNX's own.

    index: its place in the file, for messages. position: its place without QuantizeLinear, DequantizeLinear and Constant nodes, so that
    an operator is called the same before and after quantisation.
    """

    index: int
    position: int
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]


@dataclass(frozen=True)
class FileValue:
    """An input or output of the network. shape: with the batch, -1 for dynamic dimensions; None where not stated."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class FileModel:
    """The graph of a file. unreadable: of each constant that is not supported, why."""

    opset: int
    nodes: tuple[FileNode, ...]
    constants: Mapping[str, Array]
    unreadable: Mapping[str, str]
    inputs: tuple[FileValue, ...]
    outputs: tuple[FileValue, ...]


def read_onnx(path: Path, content: bytes) -> FileModel:
    """Read ``content``, the bytes of the file ``path``. Raises UsageError where it is not a sound ONNX file."""
    try:
        check_size(content)
        model = onnx.ModelProto.FromString(content)
        return _Reader(model).model()
    except (OutsizedError, _WrongError) as error:
        raise damaged(path, str(error)) from None
    except (DecodeError, UnicodeDecodeError):
        raise damaged(path, "it is not an ONNX protobuf message") from None


class _WrongError(Exception):
    """The file contradicts its format."""


class _UnreadableError(Exception):
    """A constant of a kind that is not supported."""


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._constants: dict[str, Array] = {}
        self._unreadable: dict[str, str] = {}

    def model(self) -> FileModel:
        graph = self._model.graph
        if len(graph.node) > MAX_OPERATORS:
            raise _WrongError(f"it has {len(graph.node)} nodes, more than {MAX_OPERATORS}")
        if not graph.node:
            raise _WrongError("it holds no network")
        for tensor in graph.initializer:
            self._constant(_text(tensor.name), tensor)
        for sparse in graph.sparse_initializer:
            self._unreadable[_text(sparse.values.name)] = "is sparse"
        nodes: list[FileNode] = []
        position = 0
        for index, node in enumerate(graph.node):
            nodes.append(self._node(node, index, position))
            position += node.op_type not in _NO_OPERATORS
        written = {*self._constants, *self._unreadable}
        for name in (name for node in nodes for name in node.outputs if name):
            if name in written:
                raise _WrongError(f"two nodes write {quoted(name)}")
            written.add(name)
        opsets = [o.version for o in self._model.opset_import if o.domain in ("", "ai.onnx")]
        return FileModel(
            opsets[0] if opsets else 0,
            tuple(node for node in nodes if node.outputs),
            self._constants,
            self._unreadable,
            # Old files list the constants among the inputs too.
            tuple(_value(v) for v in graph.input if v.name not in written),
            tuple(_value(v) for v in graph.output),
        )

    def _node(self, node: onnx.NodeProto, index: int, position: int) -> FileNode:
        domain, kind = _text(node.domain), _text(node.op_type)
        kind = kind if domain in ("", "ai.onnx") else f"{domain}.{kind}"
        inputs, outputs = tuple(map(_text, node.input)), tuple(map(_text, node.output))
        if kind == "Constant" and len(outputs) == 1:
            self._constant_node(node, outputs[0])
            outputs = ()
        attributes = {}
        for a in node.attribute if outputs else ():
            value = _attribute(a)
            # A kind of value that no supported operator has: let the check of attribute names refuse it.
            attributes[_text(a.name)] = "" if value is None else value
        printable = "".join(c if c.isprintable() else "?" for c in kind) or "nameless"
        return FileNode(index, position, printable, inputs, outputs, attributes)

    def _constant_node(self, node: onnx.NodeProto, name: str) -> None:
        if len(node.attribute) == 1:
            a = node.attribute[0]
            if a.name == "value":
                self._constant(name, a.t)
                return
            value = _attribute(a)
            if a.name in ("value_int", "value_ints") and isinstance(value, int | tuple):
                self._constants[name] = np.array(value, np.int64)
                return
            if a.name in ("value_float", "value_floats") and isinstance(value, float | tuple):
                self._constants[name] = np.array(value, np.float32)
                return
        self._unreadable[name] = "is a constant of an unsupported kind"

    def _constant(self, name: str, tensor: onnx.TensorProto) -> None:
        if name in self._constants or name in self._unreadable:
            raise _WrongError(f"two constants are called {quoted(name)}")
        try:
            self._constants[name] = _array(name, tensor)
        except _UnreadableError as reason:
            self._unreadable[name] = str(reason)


def _text(name: object) -> str:
    # protobuf hands out the raw bytes of a string that is not UTF-8.
    if not isinstance(name, str):
        raise _WrongError("a name in it is not text")
    return name


def _attribute(a: onnx.AttributeProto) -> AttributeValue | None:
    if a.type == AttributeProto.INT:
        return int(a.i)
    if a.type == AttributeProto.FLOAT:
        return float(a.f)
    if a.type == AttributeProto.STRING:
        return bytes(a.s).decode("utf-8", "replace")
    if a.type == AttributeProto.INTS:
        return tuple(int(i) for i in a.ints)
    if a.type == AttributeProto.FLOATS:
        return tuple(float(f) for f in a.floats)
    return None


def _array(name: str, t: onnx.TensorProto) -> Array:
    # Following the reference would let a model name any file of this machine.
    if t.data_location == TensorProto.EXTERNAL or t.external_data:
        raise _UnreadableError("keeps its data in another file; save the model as one file")
    dtype = _DTYPES.get(t.data_type)
    if dtype is None:
        raise _UnreadableError(f"is {_TYPE_NAMES.get(t.data_type, f'type {t.data_type}')}")
    shape = tuple(t.dims)
    elements = math.prod(shape)
    if len(shape) > MAX_RANK or any(n < 0 for n in shape) or elements > MAX_ELEMENTS:
        raise _WrongError(f"constant {quoted(name)} has the shape {list(shape)[:MAX_RANK]}")
    if t.raw_data:
        raw = t.raw_data
    else:
        is_float, is_long = t.data_type == TensorProto.FLOAT, t.data_type == TensorProto.INT64
        numbers = t.float_data if is_float else t.int64_data if is_long else t.int32_data
        if len(numbers) != elements:
            raise _WrongError(f"constant {quoted(name)} has {len(numbers)} numbers for the shape {list(shape)}")
        values = np.fromiter(numbers, np.float32 if is_float else np.int64 if is_long else np.int32, elements)
        typed = values.astype(dtype)
        if not is_float and np.any(typed != values):
            raise _WrongError(f"constant {quoted(name)} has values outside its type")
        raw = typed.tobytes()
    if len(raw) != elements * dtype.itemsize:
        raise _WrongError(f"constant {quoted(name)} has {len(raw)} bytes of data for its shape")
    array: Array = np.frombuffer(raw, dtype).reshape(shape).astype(dtype.name)
    return array


def _value(v: onnx.ValueInfoProto) -> FileValue:
    t = v.type.tensor_type
    shape = None
    if t.HasField("shape") and len(t.shape.dim) <= MAX_RANK:
        shape = tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in t.shape.dim)
    return FileValue(_text(v.name), _TYPE_NAMES.get(t.elem_type, f"type {t.elem_type}"), shape)
