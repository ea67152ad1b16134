"""Train a small residual network on scikit-learn's digits, quantise it to int8 and write it as ONNX QDQ.

python examples/digits/train_digits.py [--output FILE] [--seed N]

Needs torch and onnxruntime beside what mcutrain itself needs. Prints the accuracy of the float and of the quantised
network on the held-out digits, clean and under the shift of the deployed domain.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mcutrain.datasets import Dataset, digits_held_out, digits_shifted, digits_training
from mcutrain.errors import McutrainError, NotAvailableError, UsageError

try:
    import onnxruntime
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from torch import nn
except ImportError as missing:
    print(
        f"train_digits.py: {missing.name} is not installed; run pip install torch onnxruntime, or use the digits.onnx "
        "that is shipped",
        file=sys.stderr,
    )
    raise SystemExit(NotAvailableError.exit_code) from None

EPOCHS = 60
BATCH = 32
PEAK_LEARNING_RATE = 6e-3
OPSET = 17
IR_VERSION = 8  # of that opset's time, so that older runtimes load the file too


class DigitsNet(nn.Module):
    """conv 1-16, conv 16-32 with stride 2, a residual conv 32-32, global average pool, fully connected 32-10."""

    def __init__(self) -> None:
        """Layers with torch's default initial weights."""
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.residual = nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of float images (n, 1, 8, 8) in 0..1."""
        x = torch.relu(self.stem(x))
        x = torch.relu(self.down(x))
        x = torch.relu(x + self.residual(x))
        logits: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def network_input(data: Dataset) -> NDArray[np.float32]:
    """The samples as the network takes them: float32 (n, 1, 8, 8), 0..1."""
    return np.ascontiguousarray(data.samples.transpose(0, 3, 1, 2)).astype(np.float32) * np.float32(data.pixel_scale)


def train(data: Dataset, seed: int) -> DigitsNet:
    """Train from scratch with Adam and a one-cycle learning rate."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the order of float sums, hence the result, would depend on the number of threads
    torch.use_deterministic_algorithms(True)
    network = DigitsNet()
    images, labels = torch.from_numpy(network_input(data)), torch.from_numpy(data.labels)
    batches_per_epoch = -(-len(data) // BATCH)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=batches_per_epoch
    )
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return network


def to_onnx(network: DigitsNet) -> onnx.ModelProto:
    """The network as a float ONNX model: input ``image`` (1, 1, 8, 8), output ``logits`` (1, 10)."""
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["image", "stem.weight", "stem.bias"], ["stem"], "stem", pads=pads),
        helper.make_node("Relu", ["stem"], ["stem_relu"], "stem_relu"),
        helper.make_node(
            "Conv", ["stem_relu", "down.weight", "down.bias"], ["down"], "down", pads=pads, strides=[2, 2]
        ),
        helper.make_node("Relu", ["down"], ["down_relu"], "down_relu"),
        helper.make_node(
            "Conv", ["down_relu", "residual.weight", "residual.bias"], ["residual"], "residual", pads=pads
        ),
        helper.make_node("Add", ["down_relu", "residual"], ["sum"], "sum"),
        helper.make_node("Relu", ["sum"], ["sum_relu"], "sum_relu"),
        helper.make_node("GlobalAveragePool", ["sum_relu"], ["pooled"], "pooled"),
        helper.make_node("Flatten", ["pooled"], ["features"], "features"),
        helper.make_node("Gemm", ["features", "head.weight", "head.bias"], ["logits"], "head", transB=1),
    ]
    weights = [numpy_helper.from_array(value.numpy(), name) for name, value in network.state_dict().items()]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        weights,
    )
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


def accuracy(model: bytes, data: Dataset) -> float:
    """Accuracy (a fraction) of a serialised ONNX model, run by onnxruntime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"image": image[np.newaxis]})[0][0] for image in network_input(data)]
    return float(np.mean(np.argmax(logits, axis=1) == data.labels))


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
    """Train, quantise, report, write."""
    parser = argparse.ArgumentParser(description="Train and quantise the digits network.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("digits.onnx"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    training = digits_training()
    model = to_onnx(train(training, arguments.seed))
    quantised = quantise(model, training)
    for name, data in (("clean", digits_held_out()), ("shifted", digits_shifted().test)):
        before, after = accuracy(model.SerializeToString(), data), accuracy(quantised, data)
        print(f"{name:8} {len(data)} images: float {100 * before:.2f} %, int8 {100 * after:.2f} %")
    write_whole(arguments.output, quantised)
    print(f"wrote {arguments.output} ({len(quantised)} bytes)")


if __name__ == "__main__":
    try:
        main()
    except McutrainError as error:
        print(f"train_digits.py: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
