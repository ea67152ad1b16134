"""The part of a .tflite network that its chosen output needs, at batch 1, with its ends as int8 codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tflite import BuiltinOperator

from mcutrain.errors import UsageError
from mcutrain.importers.common import chosen_output, quoted
from mcutrain.importers.tflite_file import FileModel, FileOperator, FileTensor

_SHAPE_TYPES = ("int32", "int64", "bool", "string")


def needed_part(path: Path, model: FileModel, output: str | None) -> FileModel:
    """The model with only the operators and inputs that an output needs: the chosen one, or all of the file.

    output: the name of any tensor that an operator writes. Raises UsageError where there is none of this name.
    """
    outputs = model.outputs
    if output is not None:
        written = {model.names[i]: i for op in model.operators for i in op.outputs if i >= 0}
        outputs = (written[chosen_output(path, output, written)],)
    needed = _needed(model, outputs)
    operators = tuple(op for op in model.operators if needed.intersection(op.outputs))
    inputs = tuple(i for i in model.inputs if i in needed)
    # A network whose output hangs on nothing keeps its inputs, so that messages can name them.
    return replace(model, operators=operators, inputs=inputs or model.inputs, outputs=outputs)


def _needed(model: FileModel, outputs: Iterable[int]) -> set[int]:
    """Indices of the tensors that ``outputs`` depend on, themselves included."""
    writers: dict[int, list[FileOperator]] = {}
    for op in model.operators:
        for i in op.outputs:
            writers.setdefault(i, []).append(op)
    needed: set[int] = set()
    waiting = [i for i in outputs if i >= 0]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += [i for op in writers.get(index, ()) for i in op.inputs if i >= 0]
    return needed


def at_batch_one(path: Path, model: FileModel) -> FileModel:
    """The model whose activations have batch 1, where the file has a dynamic batch or one of N everywhere.

    Raises UsageError where a file of batch N has activations of another leading dimension: samples could mix in them.
    """
    sizes = [model.tensors[i].shape[0] for i in model.inputs if i >= 0 and model.tensors[i].shape]
    batch = sizes[0] if sizes else 1
    tensors = list(model.tensors)
    used = {i for op in model.operators for i in (*op.inputs, *op.outputs)} | {*model.inputs, *model.outputs}
    for index in sorted(i for i in used if i >= 0):
        t = tensors[index]
        if t.data is not None or t.dtype in _SHAPE_TYPES or not t.shape:
            continue
        if batch > 1 and t.shape[0] not in (batch, -1):
            raise UsageError(
                f"{path}: the network has batch {batch}, and tensor {quoted(t.name)} of shape {list(t.shape)} may mix its "
                "samples: export it with batch 1"
            )
        if t.shape[0] in (batch, -1):
            tensors[index] = replace(t, shape=(1, *t.shape[1:]))
    return replace(model, tensors=tuple(tensors))


# Operators that treat rows alike, or work on elements: none of their options names an axis from the front.
_ROWWISE = frozenset(
    {
        "ABS", "ADD", "ELU", "EXP", "FULLY_CONNECTED", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "LOG_SOFTMAX",
        "MAXIMUM", "MINIMUM", "MUL", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "SOFTMAX", "SQRT",
        "SUB", "TANH",
    }
)  # fmt: skip


def with_rows_in_a_sample(model: FileModel) -> FileModel:
    """The model whose tensors of rows have a batch of 1 before them.

    Keras writes a dense layer over the steps of a sequence as one over rows: [1, 12, 6] is reshaped to [12, 6] and back. Only tensors
    that come from one sample by a RESHAPE and meet nothing but row-wise operators are taken so.
    """
    ends = {*model.inputs, *model.outputs}
    readers: dict[int, list[FileOperator]] = {}
    for op in model.operators:
        for i in op.inputs:
            readers.setdefault(i, []).append(op)
    tensors = list(model.tensors)
    lifted: set[int] = set()
    for op in model.operators:
        if op.kind not in _ROWWISE or len(op.outputs) != 1 or op.outputs[0] < 0:
            continue
        y = tensors[op.outputs[0]]
        rows = y.data is None and len(y.shape) >= 2 and y.shape[0] > 1 and y.index not in ends
        if not rows or any(reader.kind not in _ROWWISE for reader in readers.get(y.index, ())):
            continue
        activations = [i for i in op.inputs if i >= 0 and tensors[i].data is None]
        if op.kind == "RESHAPE" or (activations and lifted.issuperset(activations)):
            lifted.add(y.index)
            tensors[y.index] = replace(y, shape=(1, *y.shape))
    return replace(model, tensors=tuple(tensors))


def with_int8_ends(model: FileModel) -> FileModel:
    """The model whose uint8 input and output, where QUANTIZE converts them from and to int8, are int8 (codes - 128).

    QUANTIZE then changes the scale alone, or nothing.
    """
    tensors = list(model.tensors)
    for index, is_input in [*((i, True) for i in model.inputs), *((i, False) for i in model.outputs)]:
        if index < 0 or tensors[index].dtype != "uint8" or tensors[index].data is not None:
            continue
        ops = [op for op in model.operators if index in (op.inputs if is_input else op.outputs)]
        others = [i for op in ops for i in (op.outputs if is_input else op.inputs)]
        quantizes = all(op.code == BuiltinOperator.QUANTIZE and op.is_one_to_one for op in ops)
        if ops and quantizes and all(model.tensors[i].dtype == "int8" for i in others):
            t = tensors[index]
            tensors[index] = replace(t, dtype="int8", zero_point=t.zero_point - 128)
    return replace(model, tensors=tuple(tensors))


def same_quantization(a: FileTensor, b: FileTensor) -> bool:
    """Whether two tensors hold the same codes for the same numbers."""
    one_each = a.scale.size == b.scale.size == a.zero_point.size == b.zero_point.size == 1
    return bool(one_each and a.dtype == b.dtype and a.scale[0] == b.scale[0] and a.zero_point[0] == b.zero_point[0])
