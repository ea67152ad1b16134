"""Read a .tflite file into plain values, trusting nothing in it.

The flatbuffers package checks no bounds beyond those of Python's buffers: an offset outside the file raises some
exception, an offset to the wrong place reads nonsense. So everything is read here, in one guarded place, into plain
values whose sizes are bounded by one budget; what comes out may still be nonsense, but only nonsense of a known type.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from mcutrain.importers.common import MAX_CHANNELS, MAX_OPERATORS, MAX_RANK, MAX_TENSORS, damaged

# Of each operator code whose options matter: the name of their table, and the fields to read.
Options = Mapping[int, tuple[str, tuple[str, ...]]]

_TYPE_NAMES = {v: k.lower() for k, v in vars(tflite.TensorType).items() if isinstance(v, int) and k.isupper()}
_OPERATOR_NAMES = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int) and k.isupper()}


@dataclass(frozen=True)
class FileTensor:
    """A tensor as the file states it. shape: with the batch, -1 for dynamic dimensions; data: raw bytes or None."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    data: NDArray[np.uint8] | None
    variable: bool
    sparse: bool


@dataclass(frozen=True)
class FileOperator:
    """An operator as the file states it. inputs: tensor indices, -1: absent; options: scalar fields by name."""

    index: int
    code: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, float]

    @property
    def is_one_to_one(self) -> bool:
        """Whether it has one input and one output, and both are there."""
        return len(self.inputs) == len(self.outputs) == 1 and min(*self.inputs, *self.outputs) >= 0


@dataclass(frozen=True)
class FileModel:
    """The main subgraph of a file, its first; others run only where an operator of this one calls them."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name of its own for every tensor: that of the file, with its index where several share it."""
        repeated = Counter(t.name for t in self.tensors)
        return tuple(t.name if repeated[t.name] == 1 else f"{t.name}#{t.index}" for t in self.tensors)


def read_tflite(path: Path, content: bytes, options: Options) -> FileModel:
    """Read ``content``, the bytes of the file ``path``.

    options: what to read of the operators' options. Raises UsageError.
    """
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise damaged(path, "it does not carry the mark 'TFL3' of a .tflite file")
    try:
        return _Reader(content, options).model()
    except _WrongError as error:
        raise damaged(path, str(error)) from None
    except (struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError):
        # What the flatbuffers package raises for an offset or a length that leads outside the file.
        raise damaged(path, "an offset in it leads outside the file") from None


class _WrongError(Exception):
    """The file contradicts its format."""


class _Reader:
    def __init__(self, content: bytes, options: Options) -> None:
        self._content = content
        self._options = options
        # Identical constants may share a buffer; without a limit a small file could unfold into an enormous model.
        self._budget_bytes = 4 * len(content)

    def model(self) -> FileModel:
        root = tflite.Model.GetRootAs(self._content, 0)
        if root.Version() != 3:
            raise _WrongError(f"its schema version is {root.Version()}, not 3")
        if root.SubgraphsLength() < 1:
            raise _WrongError("it holds no subgraph")
        graph = root.Subgraphs(0)
        tensors = self._count(graph.TensorsLength(), MAX_TENSORS, "tensors")
        operators = self._count(graph.OperatorsLength(), MAX_OPERATORS, "operators")
        codes = self._codes(root)
        return FileModel(
            tuple(self._tensor(root, graph.Tensors(i), i) for i in range(tensors)),
            tuple(self._operator(graph.Operators(i), i, codes, tensors) for i in range(operators)),
            self._indices(graph.InputsLength(), graph.InputsAsNumpy, tensors),
            self._indices(graph.OutputsLength(), graph.OutputsAsNumpy, tensors),
        )

    def _count(self, length: int, limit: int, what: str) -> int:
        if length > limit:
            raise _WrongError(f"it claims {length} {what}, more than {limit}")
        return length

    def _take(self, size_bytes: int) -> None:
        self._budget_bytes -= size_bytes
        if self._budget_bytes < 0:
            raise _WrongError("its parts overlap or are longer than the file")

    def _codes(self, root: Any) -> list[tuple[int, str]]:
        codes = []
        for i in range(self._count(root.OperatorCodesLength(), MAX_OPERATORS, "operator codes")):
            entry = root.OperatorCodes(i)
            # Codes over 127 live in the newer, wider field; older writers fill only the narrow one.
            code = max(entry.DeprecatedBuiltinCode(), entry.BuiltinCode())
            kind = _OPERATOR_NAMES.get(code, f"operator code {code}")
            if code == tflite.BuiltinOperator.CUSTOM:
                kind = f"custom operator {self._text(entry.CustomCode())}"
            codes.append((code, kind))
        return codes

    def _text(self, raw: bytes | None) -> str:
        raw = raw or b""
        self._take(len(raw))
        return "".join(c if c.isprintable() else "?" for c in raw.decode("utf-8", "replace"))

    def _indices(self, length: int, read: Any, tensors: int) -> tuple[int, ...]:
        if length == 0:
            return ()
        self._take(4 * length)
        indices = tuple(int(i) for i in read())
        for i in indices:
            if not -1 <= i < tensors:
                raise _WrongError(f"it refers to tensor {i} of {tensors}")
        return indices

    def _tensor(self, root: Any, t: Any, index: int) -> FileTensor:
        signature = self._shape(t.ShapeSignatureLength(), t.ShapeSignatureAsNumpy)
        shape = self._shape(t.ShapeLength(), t.ShapeAsNumpy)
        # Only the signature shows a dynamic dimension; the shape holds a stand-in for it.
        if len(signature) == len(shape):
            shape = tuple(-1 if s == -1 else n for s, n in zip(signature, shape, strict=True))
        name = self._text(t.Name())
        q = t.Quantization()
        scale = np.zeros(0, np.float32)
        zero_point = np.zeros(0, np.int64)
        axis = 0
        if q is not None:
            scale = self._numbers(q.ScaleLength(), 4, q.ScaleAsNumpy, scale)
            zero_point = self._numbers(q.ZeroPointLength(), 8, q.ZeroPointAsNumpy, zero_point)
            axis = q.QuantizedDimension()
        return FileTensor(
            index,
            name or f"tensor{index}",
            _TYPE_NAMES.get(t.Type(), f"type {t.Type()}"),
            shape,
            scale,
            zero_point,
            axis,
            self._data(root, t.Buffer()),
            bool(t.IsVariable()),
            t.Sparsity() is not None,
        )

    def _shape(self, length: int, read: Any) -> tuple[int, ...]:
        if length == 0:
            return ()
        self._count(length, MAX_RANK, "dimensions of a tensor")
        self._take(4 * length)
        return tuple(int(n) for n in read())

    def _numbers(self, length: int, size_bytes: int, read: Any, empty: NDArray[Any]) -> NDArray[Any]:
        if length == 0:
            return empty
        self._count(length, MAX_CHANNELS, "scales of a tensor")
        self._take(size_bytes * length)
        return np.array(read())

    def _data(self, root: Any, index: int) -> NDArray[np.uint8] | None:
        if not 0 <= index < root.BuffersLength():
            raise _WrongError(f"it refers to buffer {index} of {root.BuffersLength()}")
        if index == 0:
            return None
        buffer = root.Buffers(index)
        if buffer.Offset() > 1:
            raise _WrongError("it keeps data outside its flatbuffer, as only files over 2 GB do")
        length = buffer.DataLength()
        if length == 0:
            return None
        self._take(length)
        data: NDArray[np.uint8] = buffer.DataAsNumpy()
        return data

    def _operator(self, op: Any, index: int, codes: list[tuple[int, str]], tensors: int) -> FileOperator:
        if not 0 <= op.OpcodeIndex() < len(codes):
            raise _WrongError(f"operator {index} has code {op.OpcodeIndex()} of {len(codes)}")
        code, kind = codes[op.OpcodeIndex()]
        inputs = self._indices(op.InputsLength(), op.InputsAsNumpy, tensors)
        outputs = self._indices(op.OutputsLength(), op.OutputsAsNumpy, tensors)
        return FileOperator(index, code, kind, inputs, outputs, self._read_options(op, index, code))

    def _read_options(self, op: Any, index: int, code: int) -> Mapping[str, float]:
        if code not in self._options:
            return {}
        table, fields = self._options[code]
        raw = op.BuiltinOptions()
        if raw is None and op.BuiltinOptionsType() == tflite.BuiltinOptions.NONE:
            # LiteRT takes options that the writer left out as all zero, whatever the schema's defaults.
            return dict.fromkeys(fields, 0)
        if raw is None or op.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, table):
            raise _WrongError(f"operator {index} has no {table}")
        options = getattr(tflite, table)()
        options.Init(raw.Bytes, raw.Pos)
        return {name: getattr(options, name)() for name in fields}
