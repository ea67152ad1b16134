"""Write small float ONNX models, and quantise them as a user would: onnxruntime's static quantiser in QDQ form."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

FloatArray = NDArray[np.float32]


@dataclass
class FloatModel:
    """A float network under construction: each method appends one node and returns the name of its output.

    Images are (channels, height, width), without the batch.
    """

    input_shape: tuple[int, ...]
    seed: int = 0
    opset: int = 17
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _constants: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def constant(self, values: NDArray[Any], name: str = "") -> str:
        """Add an initialiser."""
        name = name or f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int, gain: float = 1.0) -> str:
        """Add random weights, scaled so that activations keep their size."""
        spread = gain / math.sqrt(math.prod(shape[1:]))
        return self.constant((spread * self._random.standard_normal(shape)).astype(np.float32))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def quantized(self, x: str, scale: float, zero_point: int) -> str:
        """Append a QuantizeLinear to int8 and its DequantizeLinear."""
        by = (self.constant(np.array(scale, np.float32)), self.constant(np.array(zero_point, np.int8)))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *by), *by)

    def split(self, x: str, sizes: str, axis: int) -> list[str]:
        """Append a Split into two; the names of its outputs."""
        name = f"split_{len(self._nodes)}"
        outputs = [f"{name}_{i}" for i in range(2)]
        self._nodes.append(helper.make_node("Split", [x, sizes], outputs, name=name, axis=axis))
        return outputs

    def conv(self, x: str, outputs: int, inputs: int, kernel: int, **attributes: Any) -> str:
        """Append a Conv with random weights and bias."""
        weights = self.random(outputs, inputs // attributes.get("group", 1), kernel, kernel)
        return self.node("Conv", x, weights, self.random(outputs, gain=0.3), **attributes)

    def build(self, output: str, output_rank: int = 2, *others: tuple[str, int]) -> onnx.ModelProto:
        """The model: input "x" with a symbolic batch, output ``output``; others: further outputs and their ranks."""
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.input_shape])
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *[None] * (rank - 1)])
            for name, rank in ((output, output_rank), *others)
        ]
        graph = helper.make_graph(self._nodes, "net", [x], outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.checker.check_model(model)
        return model


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # the base class is untyped
    def __init__(self, samples: Sequence[FloatArray]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> dict[str, FloatArray] | None:
        sample = next(self._samples, None)
        return None if sample is None else {"x": sample[np.newaxis]}


def quantize(
    model: onnx.ModelProto,
    samples: Sequence[FloatArray],
    *,
    activation: QuantType = QuantType.QInt8,
    per_channel: bool = True,
    extra_options: dict[str, Any] | None = None,
    form: QuantFormat = QuantFormat.QDQ,
) -> onnx.ModelProto:
    """The model in QDQ form, or another, calibrated on ``samples`` (each without the batch)."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "quantized.onnx"
        quantize_static(
            model,
            target,
            _Samples(samples),
            quant_format=form,
            activation_type=activation,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            extra_options=extra_options,
        )
        return onnx.load(target)


def run_onnx(model: onnx.ModelProto, samples: Sequence[FloatArray]) -> FloatArray:
    """The model's outputs, one row per sample, without graph optimisation: every Q and DQ as the file has it."""
    session = session_of(model)
    return np.stack([session.run(None, {"x": sample[np.newaxis]})[0][0] for sample in samples])


def session_of(model: onnx.ModelProto) -> Any:
    """An onnxruntime session that runs every node of the file as it stands."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
