"""Train a small MobileNetV2 in PyTorch, quantise it with onnxruntime, write it as ONNX QDQ, and check what mcutrain reads.

python examples/mobilenet/train_mobilenet.py [--output FILE] [--seed N]

Needs torch and onnxruntime beside what mcutrain itself needs. The pictures are scikit-learn's digits: replace
``training_data`` and ``Network`` by your own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mcutrain.compiler.plan import compile_plan
from mcutrain.datasets import Dataset, digits_held_out, digits_shifted, digits_training
from mcutrain.errors import McutrainError, NotAvailableError, UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference

try:
    import onnxruntime
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from torch import nn
except ImportError as missing:
    print(
        f"train_mobilenet.py: {missing.name} is not installed; run pip install torch onnxruntime, or use the "
        "mobilenet.onnx that is shipped",
        file=sys.stderr,
    )
    raise SystemExit(NotAvailableError.exit_code) from None

EPOCHS = 40
BATCH = 32
PEAK_LEARNING_RATE = 8e-3
OPSET = 17
IR_VERSION = 8  # of that opset's time, so that older runtimes load the file too


class ConvBn(nn.Module):
    """Convolution, batch normalisation and, if asked, relu6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = True):
        """Padded so that stride 1 keeps the size."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, height, width)."""
        x = self.norm(self.conv(x))
        return nn.functional.relu6(x) if self.act else x


class InvertedResidual(nn.Module):
    """Pointwise to ``expand`` times the channels, depthwise 3x3, pointwise without activation; a skip where shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expand: int) -> None:
        """``stride`` is the depthwise convolution's."""
        super().__init__()
        wide = inputs * expand
        self.layers = nn.ModuleList(
            [
                ConvBn(inputs, wide, 1),
                ConvBn(wide, wide, 3, stride=stride, groups=wide),
                ConvBn(wide, outputs, 1, act=False),
            ]
        )
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, height, width)."""
        y = x
        for layer in self.layers:
            y = layer(y)
        return x + y if self.skip else y


class Network(nn.Module):
    """Stem, four inverted residuals, a last pointwise convolution, mean, fully connected."""

    def __init__(self) -> None:
        """Layers with torch's default initial weights."""
        super().__init__()
        self.stem = ConvBn(1, 12, 3)
        self.blocks = nn.ModuleList(
            [
                InvertedResidual(12, 12, stride=1, expand=3),
                InvertedResidual(12, 20, stride=2, expand=3),
                InvertedResidual(20, 20, stride=1, expand=4),
                InvertedResidual(20, 28, stride=1, expand=4),
            ]
        )
        self.last = ConvBn(28, 64, 1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of float images (n, 1, 8, 8) in 0..1."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(self.last(x).mean(dim=(2, 3)))
        return logits


def network_input(data: Dataset) -> NDArray[np.float32]:
    """The samples as the network takes them: float32 (n, 1, 8, 8), 0..1."""
    return np.ascontiguousarray(data.samples.transpose(0, 3, 1, 2)).astype(np.float32) * np.float32(data.pixel_scale)


def train(data: Dataset, seed: int) -> Network:
    """Train from scratch with Adam and a one-cycle learning rate."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the order of float sums, hence the result, would depend on the number of threads
    torch.use_deterministic_algorithms(True)
    network = Network()
    images, labels = torch.from_numpy(network_input(data)), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=-(-len(data) // BATCH)
    )
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@dataclass
class OnnxGraph:
    """Nodes and constants of an ONNX graph; each method appends a node and returns the name of its output."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Any node."""
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, values: NDArray[np.float32]) -> str:
        """A float constant."""
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, layer: ConvBn) -> str:
        """A ConvBn with its normalisation folded into weights and bias."""
        conv, norm = layer.conv, layer.norm
        assert norm.running_var is not None and norm.running_mean is not None
        with torch.no_grad():
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weights = (conv.weight * factor[:, None, None, None]).numpy()
            bias = (norm.bias - norm.running_mean * factor).numpy()
        index = len(self.nodes)
        operands = (x, self.constant(f"weight{index}", weights), self.constant(f"bias{index}", bias))
        edge = conv.kernel_size[0] // 2
        y = self.node("Conv", *operands, group=conv.groups, pads=[edge] * 4, strides=list(conv.stride))
        return self.node("Clip", y, "zero", "six") if layer.act else y


def to_onnx(network: Network) -> onnx.ModelProto:
    """The network as a float ONNX model: input ``image`` (1, 1, 8, 8), output ``logits`` (1, 10)."""
    g = OnnxGraph()
    for name, limit in (("zero", 0.0), ("six", 6.0)):
        g.constant(name, np.array(limit, np.float32))
    x = g.conv("image", network.stem)
    for block in network.blocks:
        assert isinstance(block, InvertedResidual)
        y = x
        for layer in block.layers:
            assert isinstance(layer, ConvBn)
            y = g.conv(y, layer)
        x = g.node("Add", x, y) if block.skip else y
    x = g.node("Flatten", g.node("GlobalAveragePool", g.conv(x, network.last)))
    head = network.head.state_dict()
    operands = [g.constant(f"head.{name}", head[name].numpy()) for name in ("weight", "bias")]
    g.nodes.append(helper.make_node("Gemm", [x, *operands], ["logits"], "head", transB=1))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", [1, 1, 8, 8]), ("logits", [1, 10]))
    ]
    graph = helper.make_graph(g.nodes, "mobilenet", ends[:1], ends[1:], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]
    """Feeds onnxruntime's calibration the training images, one at a time."""

    def __init__(self, data: Dataset) -> None:
        """Read from the first image of ``data``."""
        self._images: Iterator[NDArray[np.float32]] = iter(network_input(data))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input, or None after the last."""
        image = next(self._images, None)
        return None if image is None else {"image": image[np.newaxis]}


def quantise(model: onnx.ModelProto, calibration: Dataset) -> bytes:
    """The int8 QDQ model (per channel weights, one scale per activation), serialised."""
    with tempfile.TemporaryDirectory() as folder:
        exported, prepared, quantised = (Path(folder) / f"{stage}.onnx" for stage in ("float", "prepared", "int8"))
        onnx.save(model, exported)
        quant_pre_process(exported, prepared, skip_symbolic_shape=True)  # all shapes are fixed here
        quantize_static(
            prepared,
            quantised,
            CalibrationImages(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return quantised.read_bytes()


def classes_of(model: bytes, data: Dataset) -> NDArray[np.int64]:
    """The classes that onnxruntime finds."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"image": image[np.newaxis]})[0][0] for image in network_input(data)]
    return np.argmax(logits, axis=1)


def classes_on_device(path: Path, data: Dataset) -> NDArray[np.int64]:
    """The classes that mcutrain's golden model finds: the bits of the firmware."""
    executor = GoldenExecutor(compile_plan(inference(load_model(path))))
    codes = (data.samples.astype(np.int16) - 128).astype(np.int8)
    return np.array([executor.infer(sample) for sample in codes])


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}; give another --output") from error


def main() -> None:
    """Train, quantise, write, report."""
    parser = argparse.ArgumentParser(description="Train and quantise a small MobileNetV2.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("mobilenet.onnx"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    training = digits_training()
    model = to_onnx(train(training, arguments.seed))
    quantised = quantise(model, training)
    write_whole(arguments.output, quantised)
    print(f"wrote {arguments.output} ({len(quantised)} bytes)")
    for name, data in (("clean", digits_held_out()), ("shifted", digits_shifted().test)):
        before, after = classes_of(model.SerializeToString(), data), classes_of(quantised, data)
        device = classes_on_device(arguments.output, data)
        right = (100 * np.mean(found == data.labels) for found in (before, after, device))
        print(
            "{:8} {} images: float {:.2f} %, int8 in onnxruntime {:.2f} %, on the device {:.2f} %".format(
                name, len(data), *right
            )
        )
        print(f"         the device and onnxruntime agree on {100 * np.mean(device == after):.2f} %")


if __name__ == "__main__":
    try:
        main()
    except McutrainError as error:
        print(f"train_mobilenet.py: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
