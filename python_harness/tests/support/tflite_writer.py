"""Builder: writes a .tflite file from tensors and operators, right or wrong; see ``support.tflite_builder``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import ArrayLike, NDArray

Option = int | float | bool | tuple[int, ...]

_DTYPES: dict[str, int] = {
    "float16": tflite.TensorType.FLOAT16,
    "float32": tflite.TensorType.FLOAT32,
    "int16": tflite.TensorType.INT16,
    "int4": tflite.TensorType.INT4,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "int8": tflite.TensorType.INT8,
    "string": tflite.TensorType.STRING,
    "uint8": tflite.TensorType.UINT8,
}

# Operator name of the schema -> its options table, and the operator version whose kernel takes int8 operands.
_OPERATORS: dict[str, tuple[str | None, int]] = {
    "ABS": (None, 2),
    "ADD": ("AddOptions", 2),
    "ASSIGN_VARIABLE": ("AssignVariableOptions", 1),
    "AVERAGE_POOL_2D": ("Pool2DOptions", 2),
    "BROADCAST_ARGS": ("BroadcastToOptions", 1),
    "CAST": ("CastOptions", 1),
    "CONCATENATION": ("ConcatenationOptions", 2),
    "CONV_2D": ("Conv2DOptions", 3),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 3),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", 1),
    "DEQUANTIZE": ("DequantizeOptions", 2),
    "ELU": (None, 1),
    "EXP": ("ExpOptions", 2),
    "EXPAND_DIMS": ("ExpandDimsOptions", 1),
    "FILL": ("FillOptions", 1),
    "FLOOR_DIV": ("FloorDivOptions", 1),
    "FULLY_CONNECTED": ("FullyConnectedOptions", 4),
    "GATHER": ("GatherOptions", 2),
    "GELU": ("GeluOptions", 2),
    "HARD_SWISH": (None, 1),
    "LEAKY_RELU": ("LeakyReluOptions", 2),
    "LOG": (None, 2),
    "LOGISTIC": (None, 2),
    "LOG_SOFTMAX": ("LogSoftmaxOptions", 2),
    "MAXIMUM": ("MaximumMinimumOptions", 2),
    "MAX_POOL_2D": ("Pool2DOptions", 2),
    "MEAN": ("ReducerOptions", 2),
    "MINIMUM": ("MaximumMinimumOptions", 2),
    "MIRROR_PAD": ("MirrorPadOptions", 2),
    "MUL": ("MulOptions", 2),
    "PACK": ("PackOptions", 2),
    "PAD": ("PadOptions", 2),
    "PADV2": ("PadV2Options", 2),
    "PRELU": (None, 1),
    "QUANTIZE": ("QuantizeOptions", 2),
    "RANGE": ("RangeOptions", 1),
    "REDUCE_MAX": ("ReducerOptions", 2),
    "REDUCE_MIN": ("ReducerOptions", 2),
    "REDUCE_PROD": ("ReducerOptions", 1),
    "RELU": (None, 2),
    "RELU6": (None, 2),
    "RELU_0_TO_1": (None, 1),
    "RELU_N1_TO_1": (None, 1),
    "RESHAPE": ("ReshapeOptions", 1),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", 3),
    "RSQRT": (None, 2),
    "SHAPE": ("ShapeOptions", 1),
    "SLICE": ("SliceOptions", 2),
    "SOFTMAX": ("SoftmaxOptions", 2),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", 2),
    "SPLIT": ("SplitOptions", 2),
    "SPLIT_V": ("SplitVOptions", 2),
    "SQRT": (None, 2),
    "SQUEEZE": ("SqueezeOptions", 1),
    "STRIDED_SLICE": ("StridedSliceOptions", 2),
    "SUB": ("SubOptions", 2),
    "SUM": ("ReducerOptions", 2),
    "SVDF": ("SVDFOptions", 3),
    "TANH": (None, 2),
    "TILE": ("TileOptions", 2),
    "TRANSPOSE": ("TransposeOptions", 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("UnidirectionalSequenceLSTMOptions", 1),
    "WHILE": ("WhileOptions", 1),
}


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...] | None
    dtype: str
    scale: NDArray[np.float32] | None
    zero_point: NDArray[np.int64]
    axis: int
    data: bytes


@dataclass(frozen=True)
class _Operator:
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option] | None


@dataclass
class Builder:
    """Collects tensors and operators, then writes the file. Nothing is checked: tests need wrong files too."""

    _tensors: list[_Tensor] = field(default_factory=list)
    _operators: list[_Operator] = field(default_factory=list)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "int8",
        *,
        quantization: tuple[ArrayLike, ArrayLike] | None = None,
        axis: int = 0,
        data: NDArray[np.generic] | None = None,
        shape_signature: Sequence[int] | None = None,
    ) -> int:
        """Add a tensor and return its index.

        quantization: (scale, zero point), each a number or one per channel of ``axis``. data makes it a constant.
        shape_signature: the shape with -1 for dynamic dimensions.
        """
        scale: NDArray[np.float32] | None = None
        zero_point = np.zeros(1, np.int64)
        if quantization is not None:
            scale = np.atleast_1d(np.asarray(quantization[0], np.float32))
            zero_point = np.broadcast_to(np.asarray(quantization[1], np.int64), scale.shape)
        signature = None if shape_signature is None else tuple(shape_signature)
        content = b"" if data is None else np.ascontiguousarray(data).tobytes()
        self._tensors.append(_Tensor(name, tuple(shape), signature, dtype, scale, zero_point, axis, content))
        return len(self._tensors) - 1

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Option] | None = None,
    ) -> None:
        """Add an operator: its name in the schema ("CONV_2D"), tensor indices (-1: absent), and its options.

        A custom operator is called "CUSTOM:" and its own name. Without options their table is left out.

        options: by the field names of the schema's accessors, e.g. {"StrideW": 2, "StrideH": 2, "Padding": 0}.
        """
        self._operators.append(_Operator(kind, tuple(inputs), tuple(outputs), options))

    def build(
        self, inputs: Sequence[int], outputs: Sequence[int], *, identifier: bytes = b"TFL3", empty_subgraphs: int = 0
    ) -> bytes:
        """The .tflite file: a subgraph with these inputs and outputs, and behind it as many empty ones as said."""
        fb = flatbuffers.Builder(1024)
        # Buffer 0 is empty by convention: every tensor without data refers to it.
        blobs = [b""] + [t.data for t in self._tensors if t.data]
        buffers = [_table(fb, "Buffer", {"Data": _bytes(fb, blob)} if blob else {}) for blob in blobs]
        buffer_vector = _offsets(fb, buffers)

        next_buffer = 1
        tensors = []
        for t in self._tensors:
            tensors.append(_write_tensor(fb, t, next_buffer if t.data else 0))
            next_buffer += bool(t.data)
        kinds = sorted({op.kind for op in self._operators})
        operators = _offsets(fb, [_write_operator(fb, op, kinds.index(op.kind)) for op in self._operators])
        fields = {
            "Tensors": _offsets(fb, tensors),
            "Inputs": _int32s(fb, inputs),
            "Outputs": _int32s(fb, outputs),
            "Operators": operators,
            "Name": fb.CreateString("main"),
        }
        others = [_table(fb, "SubGraph", {}) for _ in range(empty_subgraphs)]
        subgraphs = _offsets(fb, [_table(fb, "SubGraph", fields), *others])
        codes = _offsets(fb, [_write_code(fb, kind) for kind in kinds])
        description = fb.CreateString("mcutrain test model")
        model = _table(
            fb,
            "Model",
            {
                "Version": 3,
                "OperatorCodes": codes,
                "Subgraphs": subgraphs,
                "Description": description,
                "Buffers": buffer_vector,
            },
        )
        fb.Finish(model, identifier)
        return bytes(fb.Output())


def _module(table: str) -> Any:
    # The package's top level re-exports every helper under one name; the table's own module is the unambiguous one.
    return importlib.import_module(f"tflite.{table}")


def _table(fb: flatbuffers.Builder, table: str, fields: Mapping[str, int | float | bool]) -> int:
    module = _module(table)
    getattr(module, f"{table}Start")(fb)
    for name, value in fields.items():
        getattr(module, f"{table}Add{name}")(fb, value)
    return int(getattr(module, f"{table}End")(fb))


def _bytes(fb: flatbuffers.Builder, content: bytes) -> int:
    # LiteRT reads constants in place and wants them on 16 bytes.
    fb.StartVector(1, len(content), 16)
    fb.head -= len(content)
    fb.Bytes[fb.head : fb.head + len(content)] = content
    return int(fb.EndVector())


def _offsets(fb: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    fb.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        fb.PrependUOffsetTRelative(offset)
    return int(fb.EndVector())


def _int32s(fb: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(fb.CreateNumpyVector(np.asarray(values, np.int32)))


def _write_tensor(fb: flatbuffers.Builder, t: _Tensor, buffer: int) -> int:
    fields: dict[str, int | float | bool] = {"Shape": _int32s(fb, t.shape)}
    if t.shape_signature is not None:
        fields["ShapeSignature"] = _int32s(fb, t.shape_signature)
    fields |= {"Name": fb.CreateString(t.name), "Type": _DTYPES[t.dtype], "Buffer": buffer}
    if t.scale is not None:
        quantization = {
            "Scale": fb.CreateNumpyVector(t.scale),
            "ZeroPoint": fb.CreateNumpyVector(t.zero_point),
            "QuantizedDimension": t.axis,
        }
        fields["Quantization"] = _table(fb, "QuantizationParameters", quantization)
    return _table(fb, "Tensor", fields)


def _write_operator(fb: flatbuffers.Builder, op: _Operator, code: int) -> int:
    options_table, _ = _OPERATORS.get(op.kind, (None, 1))
    fields: dict[str, int | float | bool] = {
        "OpcodeIndex": code,
        "Inputs": _int32s(fb, op.inputs),
        "Outputs": _int32s(fb, op.outputs),
    }
    if options_table is not None and op.options is not None:
        options = {n: _int32s(fb, v) if isinstance(v, tuple) else v for n, v in op.options.items()}
        fields["BuiltinOptions"] = _table(fb, options_table, options)
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, options_table)
    return _table(fb, "Operator", fields)


def _write_code(fb: flatbuffers.Builder, kind: str) -> int:
    if kind.startswith("CUSTOM:"):
        name = fb.CreateString(kind.removeprefix("CUSTOM:"))
        custom = tflite.BuiltinOperator.CUSTOM
        return _table(fb, "OperatorCode", {"DeprecatedBuiltinCode": custom, "BuiltinCode": custom, "CustomCode": name})
    code = getattr(tflite.BuiltinOperator, kind)
    version = _OPERATORS[kind][1]
    # Readers take the larger of both code fields; the first one has a single byte.
    return _table(
        fb, "OperatorCode", {"DeprecatedBuiltinCode": min(code, 127), "BuiltinCode": code, "Version": version}
    )
