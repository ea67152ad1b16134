"""Import int8 .tflite files.

This module walks the operators and turns the file's tensors into those of the Graph; the operators themselves are in
``tflite_rules``.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tflite import BuiltinOperator

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import Attributes
from mcutrain.graph.model import Graph, Quantization, Tensor
from mcutrain.importers.common import (
    MAX_ELEMENTS,
    GraphBuilder,
    Problems,
    UnsupportedError,
    damaged,
    is_usable_scale,
    one_end,
    quoted,
)
from mcutrain.importers.tflite_file import FileModel, FileOperator, FileTensor, Options, read_tflite
from mcutrain.importers.tflite_folding import FOLDING_OPTIONS, fold_constants
from mcutrain.importers.tflite_kinds import what_else_it_is
from mcutrain.importers.tflite_part import (
    at_batch_one,
    needed_part,
    same_quantization,
    with_int8_ends,
    with_rows_in_a_sample,
)
from mcutrain.importers.tflite_rules import RULES

_CONSTANT_DTYPES: dict[str, np.dtype[np.generic]] = {
    "int8": np.dtype("<i1"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
}


def import_tflite(path: Path, content: bytes, output: str | None = None) -> Graph:
    """The Graph of an int8 .tflite file whose bytes are ``content``, up to the tensor named ``output`` (the file's own: None).

    Raises UsageError (damaged or unsupported).
    """
    model = needed_part(path, read_tflite(path, content, _options()), output)
    kind = what_else_it_is(model)
    if kind is not None:
        raise UsageError(f"{path}: {kind}")
    for what, ends in (("input", model.inputs), ("output", model.outputs)):
        if len(ends) != 1 or ends[0] < 0:
            raise one_end(path, what, [model.names[i] for i in ends if i >= 0])
    prepared = with_rows_in_a_sample(fold_constants(with_int8_ends(at_batch_one(path, model))))
    return _Import(path, content, prepared, model).run()


def _options() -> Options:
    """The options that rules and folding read."""
    options = {code: rule.options for code, rule in RULES.items() if rule.options is not None}
    for code, (table, fields) in FOLDING_OPTIONS.items():
        known = options.get(code, (table, ()))[1]
        options[code] = (table, tuple(dict.fromkeys((*known, *fields))))
    return options


class _Import:
    """One import under way: the file's model, the problems found so far, and the Graph as far as it is built.

    stated: the model before its ends were taken as int8.
    """

    def __init__(self, path: Path, content: bytes, model: FileModel, stated: FileModel) -> None:
        self.path = path
        self.model = model
        self.problems = Problems(path)
        self.graph = GraphBuilder()
        self._stated = stated
        self._sha256 = hashlib.sha256(content).hexdigest()
        self._names = model.names

    def run(self) -> Graph:
        first, last, domain, operators = self._strip_ends()
        for op in operators:
            self._import_operator(op)
        for index in (first, last):
            complaint = self._complaint(index)
            if complaint is not None:
                self.problems.add(complaint)
            elif self.model.tensors[index].data is not None:
                self.problems.add(f"tensor {self.label(index)} is a constant, but the network's input or output")
        self.problems.raise_if_any()
        return self.graph.finish(
            self.path,
            input=self.activation(first).name,
            output=self.activation(last).name,
            source_format="tflite",
            sha256=self._sha256,
            domain=domain,
        )

    def _strip_ends(self) -> tuple[int, int, str, list[FileOperator]]:
        """Leave out the conversions between the user's numbers and int8 codes at both ends of the network."""
        operators = list(self.model.operators)
        first, last = self.model.inputs[0], self.model.outputs[0]
        domain = "uint8 - 128" if self._stated.tensors[first].dtype == "uint8" else "int8 codes"
        readers = [op for op in operators if first in op.inputs]
        if len(readers) == 1 and readers[0].code == BuiltinOperator.QUANTIZE and readers[0].is_one_to_one:
            source, target = (self.model.tensors[i] for i in (first, readers[0].outputs[0]))
            is_real = source.dtype == "float32" and _is_int8(target)
            if is_real or same_quantization(source, target):
                domain = f"float32 / {target.scale[0]:.9g} + {target.zero_point[0]}" if is_real else domain
                first = target.index
                operators.remove(readers[0])
        writers = [op for op in operators if last in op.outputs]
        if len(writers) == 1 and writers[0].is_one_to_one:
            source, target = (self.model.tensors[i] for i in (writers[0].inputs[0], last))
            to_float = writers[0].code == BuiltinOperator.DEQUANTIZE and target.dtype == "float32"
            to_uint8 = writers[0].code == BuiltinOperator.QUANTIZE and same_quantization(source, target)
            if source.dtype == "int8" and (to_float or to_uint8):
                last = source.index
                operators.remove(writers[0])
        return first, last, domain, operators

    def _import_operator(self, op: FileOperator) -> None:
        sound = True
        for index in (*op.inputs, *op.outputs):
            complaint = self._complaint(index)
            if complaint is not None:
                self.problems.add(complaint)
                sound = False
        rule = RULES.get(op.code)
        if rule is None:
            self.problems.add_operator(op.kind, self.place(op))
        elif sound:
            try:
                outputs = len(op.outputs)
                counted = outputs == 1 or (rule.several_outputs and outputs > 1)
                if not rule.inputs[0] <= len(op.inputs) <= rule.inputs[1] or not counted:
                    raise UnsupportedError(f"{len(op.inputs)} inputs and {len(op.outputs)} outputs")
                if min(*op.inputs[: rule.inputs[0]], *op.outputs) < 0:
                    raise UnsupportedError("an operand is missing")
                rule.function(self, op)
            except UnsupportedError as reason:
                self.problems.add(f"{self.place(op)}: {reason}")

    def _complaint(self, index: int) -> str | None:
        """What is unsupported about a tensor, whatever reads or writes it."""
        if index < 0:
            return None
        t = self.model.tensors[index]
        where = f"tensor {self.label(index)}"
        if t.variable or t.sparse:
            return f"{where} is {'a variable' if t.variable else 'sparse'}"
        if any(n < 0 for n in t.shape):
            return f"{where} has the dynamic shape {list(t.shape)}"
        if any(n == 0 for n in t.shape) or math.prod(t.shape) > MAX_ELEMENTS:
            return f"{where} has the shape {list(t.shape)}"
        if t.data is not None:
            return None if t.dtype in _CONSTANT_DTYPES else f"{where} is {t.dtype}"
        if t.dtype != "int8":
            return f"{where} is {t.dtype}, not int8"
        if len(t.shape) < 2 or t.shape[0] != 1:
            return f"{where} of shape {list(t.shape)} does not have batch 1"
        if t.scale.size != 1 or t.zero_point.size != 1:
            return f"{where} has {t.scale.size} scales and {t.zero_point.size} zero points, where one each is needed"
        if not is_usable_scale(t.scale):
            return f"{where} has the scale {t.scale[0]}, not a positive, finite, normal number"
        if not -128 <= t.zero_point[0] <= 127:
            return f"{where} has the zero point {t.zero_point[0]}, outside [-128, 127]"
        return None

    def label(self, index: int) -> str:
        """A tensor's name and index for a message."""
        return f"{quoted(self.model.tensors[index].name)} (#{index})" if index >= 0 else "none"

    def place(self, op: FileOperator) -> str:
        """An operator's kind, index and output for a message."""
        names = [quoted(self.model.tensors[i].name) for i in op.outputs if i >= 0]
        outputs = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names)
        return f"{op.kind} #{op.index} (output {outputs or 'none'})"

    def activation(self, index: int) -> Tensor:
        """The Graph's tensor for an activation of the file (whose soundness has been checked), without the batch."""
        t = self.model.tensors[index]
        if t.data is not None:
            raise UnsupportedError(f"operand {self.label(index)} is a constant")
        quantization = Quantization(t.scale.astype(np.float32), t.zero_point.astype(np.int32))
        tensor = Tensor(self._names[index], t.shape[1:], "int8", quantization)
        self.graph.add_tensor(tensor)
        return tensor

    def values(self, index: int, *dtypes: str) -> NDArray[np.generic]:
        """A constant of the file as an array of its shape."""
        t = self.model.tensors[index]
        if t.data is None:
            raise UnsupportedError(f"operand {self.label(index)} is not constant")
        if t.dtype not in dtypes:
            raise UnsupportedError(f"operand {self.label(index)} is {t.dtype}, not {' or '.join(dtypes)}")
        dtype = _CONSTANT_DTYPES[t.dtype]
        if len(t.data) != math.prod(t.shape) * dtype.itemsize:
            raise damaged(self.path, f"tensor {self.label(index)} has {len(t.data)} bytes of data for its shape")
        values: NDArray[np.generic] = np.frombuffer(t.data.tobytes(), dtype).reshape(t.shape).astype(dtype.name)
        return values

    def weights(self, op: FileOperator, x: Tensor, output_axis: int = 0) -> tuple[str, str]:
        """Add the weights and the bias of an operator with inputs (x, weights[, bias]); their names.

        output_axis: the file's axis of output channels; where it is not the first, that one, of length 1, is left out.
        """
        index = op.inputs[1]
        t = self.model.tensors[index]
        data = self.values(index, "int8")
        if output_axis > 0:
            data = np.ascontiguousarray(np.moveaxis(data[0], output_axis - 1, 0))
        if not data.ndim or t.scale.size not in (1, len(data)) or (t.scale.size > 1 and t.axis != output_axis):
            raise UnsupportedError(f"weights {self.label(index)} have {t.scale.size} scales along axis {t.axis}")
        if t.zero_point.any():
            raise UnsupportedError(
                f"weights {self.label(index)} have a zero point other than 0; quantise weights symmetrically"
            )
        zeros = np.zeros(t.scale.shape, np.int32)
        axis = None if t.scale.size == 1 else 0
        name = self.graph.constant(self._names[index], data, Quantization(t.scale, zeros, axis))

        with np.errstate(over="ignore", under="ignore"):
            bias_scale = np.float32(x.scale) * t.scale
        bias_name, bias = f"{self._names[op.outputs[0]]}_bias", np.zeros(len(data), np.int32)
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            b = self.model.tensors[op.inputs[2]]
            bias = self.values(op.inputs[2], "int32").astype(np.int32)
            stated = b.scale.size in (0, 1, bias_scale.size) and not b.zero_point.any()
            if stated and (not b.scale.size or np.allclose(b.scale, bias_scale, rtol=1e-3, atol=0)):
                bias_name = self._names[op.inputs[2]]
            elif bias.any():
                # Zeros mean the same at any scale, and writers share one constant of them between operators.
                raise UnsupportedError(f"the scale of bias {self.label(b.index)} is not that of input times weights")
        return name, self.graph.constant(bias_name, bias, Quantization(bias_scale, zeros, axis))

    def emit(self, op: FileOperator, kind: str, inputs: tuple[str, ...], output: str, attributes: Attributes) -> None:
        """Add the Graph operator for ``op``."""
        short = {"conv2d": "conv", "depthwise_conv2d": "depthwise"}.get(kind, kind)
        self.graph.add_operator(f"{short}{op.index}", kind, inputs, output, attributes, op.kind)


def _is_int8(t: FileTensor) -> bool:
    """Whether a tensor holds int8 codes of one scale."""
    return t.dtype == "int8" and t.scale.size == t.zero_point.size == 1
