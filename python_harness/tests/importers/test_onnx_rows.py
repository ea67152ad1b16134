"""Layers along the last axis of sequences and images, as torch's nn.Linear is exported, and tensors without an axis for the batch alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph
from mcutrain.importers import load_model
from mcutrain.importers.onnx_values import graph_axes
from mcutrain.methods.inference import inference
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.graph_reference import quantized
from support.host_models import CModel
from support.inference import golden_output
from support.numpy_network import NumpyNetwork
from support.onnx_models import FloatArray, FloatModel, quantize, run_onnx
from support.plans import isolated
from support.traced_step import traced_step

IMAGE, SEQUENCE = (3, 5, 3), (7, 4)  # means of odd counts have no ties
Network = Callable[[FloatModel], str]


def samples(shape: tuple[int, ...], count: int = 16) -> list[FloatArray]:
    random = np.random.default_rng(3)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def load(tmp_path: Path, model: onnx.ModelProto) -> Graph:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_model(path)


def integers(m: FloatModel, *values: int) -> str:
    return m.constant(np.array(values, np.int64))


def linear(m: FloatModel, x: str, inputs: int, outputs: int) -> str:
    return m.node("MatMul", x, m.random(inputs, outputs))


def reshaped(m: FloatModel, x: str, *shape: int) -> str:
    return m.node("Reshape", x, integers(m, *shape))


def gemm_of_rows(m: FloatModel, x: str, inputs: int, outputs: int, *back: int) -> str:
    """What PyTorch's exporter makes of nn.Linear with a bias: rows, Gemm, and the shape there was."""
    y = m.node("Gemm", reshaped(m, x, -1, inputs), m.random(outputs, inputs), m.random(outputs), transB=1)
    return reshaped(m, y, *back, outputs)


def head(m: FloatModel, x: str, inputs: int) -> str:
    return m.node("Gemm", x, m.random(inputs, 7), m.random(7))


# Images.


def channels_last_and_back(m: FloatModel) -> str:
    x = m.node("Relu", linear(m, m.node("Transpose", m.conv("x", 6, 3, 1), perm=[0, 2, 3, 1]), 6, 8))
    return m.node("GlobalAveragePool", m.node("Transpose", x, perm=[0, 3, 1, 2]))


def channels_last_rows(m: FloatModel) -> str:
    x = m.node("Transpose", m.conv("x", 6, 3, 1), perm=[0, 2, 3, 1])
    return m.node("Softmax", gemm_of_rows(m, x, 6, 8, 1, 5, 3), axis=-1)


def channels_last_mlp(m: FloatModel) -> str:
    """A layer whose function is a table stands between two layers: nothing is transposed."""
    x = linear(m, m.node("Transpose", m.conv("x", 6, 3, 1), perm=[0, 2, 3, 1]), 6, 8)
    x = linear(m, m.node("HardSwish", x), 8, 5)
    return head(m, m.node("ReduceMean", x, axes=[1, 2], keepdims=0), 5)


def over_columns(m: FloatModel) -> str:
    """nn.Linear on (N, C, H, W) itself: along the columns."""
    return m.conv(linear(m, "x", 3, 6), 2, 3, 1)


def features_by_channel(m: FloatModel) -> str:
    """Flatten with axis 2 makes rows of channels; a batch norm on them is of their columns."""
    x = m.node("Flatten", "x", axis=2)
    x = m.node("Gemm", x, m.random(15, 5), m.random(5))
    x = m.node("BatchNormalization", x, *(m.constant(np.linspace(0.5, 1.5, 5).astype(np.float32)) for _ in range(4)))
    return reshaped(m, m.node("Relu", x), 1, -1)


def flattened_channels_last(m: FloatModel) -> str:
    x = m.node("Transpose", m.conv("x", 6, 3, 1), perm=[0, 2, 3, 1])
    return head(m, m.node("Flatten", m.node("Relu", linear(m, x, 6, 3)), axis=1), 45)


# Sequences of 7 steps and 4 features.


def steps(m: FloatModel) -> str:
    x = linear(m, m.node("Relu", linear(m, "x", 4, 8)), 8, 5)
    return head(m, m.node("ReduceMean", x, axes=[1], keepdims=0), 5)


def steps_of_rows(m: FloatModel) -> str:
    x = m.node("Relu", gemm_of_rows(m, "x", 4, 8, 1, 7))
    return head(m, m.node("ReduceMax", x, axes=[1], keepdims=0), 8)


def last_step(m: FloatModel) -> str:
    x = m.node("Relu", linear(m, "x", 4, 8))
    return head(m, m.node("Gather", x, m.constant(np.array(-1)), axis=1), 8)


def every_other_step(m: FloatModel) -> str:
    x = m.node("Gather", linear(m, "x", 4, 8), integers(m, 5, 3, 1), axis=1)
    return head(m, m.node("Flatten", x), 24)


def steps_first(m: FloatModel) -> str:
    """(N, L, C) to (L, N, C) and back, as attention layers and recurrent ones want it."""
    x = m.node("Relu", linear(m, m.node("Transpose", linear(m, "x", 4, 8), perm=[1, 0, 2]), 8, 5))
    return head(m, m.node("Flatten", m.node("Transpose", x, perm=[1, 0, 2])), 35)


def features_first(m: FloatModel) -> str:
    """(N, L, C) to (C, N, L), whose layer is along the steps, and to (N, L, C) again."""
    x = m.node("Transpose", linear(m, "x", 4, 6), perm=[2, 0, 1])
    return linear(m, m.node("Transpose", linear(m, x, 7, 5), perm=[1, 2, 0]), 6, 3)


def mixed(m: FloatModel) -> str:
    """An MLP-mixer's block: a layer along the steps, and one along the features, each added to what it reads."""
    x = linear(m, "x", 4, 8)
    along = linear(m, m.node("Transpose", x, perm=[0, 2, 1]), 7, 7)
    x = m.node("Add", x, m.node("Transpose", along, perm=[0, 2, 1]))
    return m.node("LogSoftmax", m.node("Add", x, linear(m, x, 8, 8)), axis=-1)


def without_batch(m: FloatModel) -> str:
    """Squeezed to (L, C), and unsqueezed again."""
    x = m.node("Relu", linear(m, m.node("Flatten", "x", axis=2), 4, 8))
    return m.node("ReduceMean", m.node("Unsqueeze", x, integers(m, 0)), axes=[2], keepdims=0)


def scaled_features(m: FloatModel) -> str:
    """A float gain and offset for each feature: of an axis that is not the Graph's last."""
    gain, offset = (m.constant(np.array(v, np.float32)) for v in ([0.3, -1.2, 2, 0.7], [0.1, 0, -0.4, 1]))
    return linear(m, m.node("Add", m.node("Mul", "x", gain), offset), 4, 5)


IMAGES: list[Network] = [
    channels_last_and_back, channels_last_rows, channels_last_mlp, over_columns, features_by_channel,
    flattened_channels_last,
]  # fmt: skip
SEQUENCES: list[Network] = [
    steps, steps_of_rows, last_step, every_other_step, steps_first, features_first, mixed, without_batch, scaled_features,
]  # fmt: skip
VARIANTS = [(QuantType.QInt8, True, 17), (QuantType.QUInt8, False, 13)]


def import_of(
    tmp_path: Path, network: Network, activation: QuantType, per_channel: bool, opset: int
) -> tuple[Graph, onnx.ModelProto, list[FloatArray]]:
    shape = IMAGE if network in IMAGES else SEQUENCE
    m, inputs = FloatModel(shape, opset=opset), samples(shape)
    output = network(m)
    ranks: dict[Network, int] = {
        channels_last_and_back: 4,
        channels_last_rows: 4,
        over_columns: 4,
        features_first: 3,
        mixed: 3,
        scaled_features: 3,
    }
    model = quantize(
        m.build(output, ranks.get(network, 2)),
        inputs,
        activation=activation,
        per_channel=per_channel,
        extra_options={"ForceQuantizeNoInputCheck": True},
    )
    return load(tmp_path, model), model, inputs


def input_codes(graph: Graph, sample: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    x = graph.tensors[graph.input]
    codes: np.ndarray[tuple[int, ...], np.dtype[np.int8]] = quantized(x, sample.transpose(graph_axes(sample.ndim)))
    assert codes.shape == x.shape
    return codes


@pytest.mark.parametrize(("activation", "per_channel", "opset"), VARIANTS)
@pytest.mark.parametrize("network", IMAGES + SEQUENCES)
def test_layers_along_the_last_axis_have_the_codes_of_onnxruntime(
    tmp_path: Path, network: Network, activation: QuantType, per_channel: bool, opset: int
) -> None:
    if network is channels_last_mlp and opset < 14:
        opset = 14  # which HardSwish came with
    graph, model, inputs = import_of(tmp_path, network, activation, per_channel, opset)
    y = graph.tensors[graph.output]
    ours = np.stack([golden_output(graph, input_codes(graph, i)) for i in inputs]).astype(int)
    found = run_onnx(model, inputs)
    axes = [0, *(axis + 1 for axis in graph_axes(found.ndim - 1))]
    theirs = quantized(y, found.transpose(axes)).astype(int)
    assert ours.shape == theirs.shape
    assert np.ptp(theirs) > 100
    # One code where float32 sums fall to the other side of a tie; a softmax makes up to 4 of a logit that is off by one code of 1/16.
    assert np.abs(ours - theirs).max() <= (4 if network is channels_last_rows else 1)
    assert (ours == theirs).mean() > 0.8
    by_class = [v.reshape(len(inputs), -1) for v in (ours, theirs)]
    first, second = np.sort(by_class[1], axis=1)[:, -1], np.sort(by_class[1], axis=1)[:, -2]
    clear = first - second > 2
    assert np.array_equal(*(v.argmax(axis=1)[clear] for v in by_class))


@pytest.mark.parametrize("network", [channels_last_mlp, channels_last_and_back, flattened_channels_last])
def test_a_layer_of_the_channels_of_an_image_moves_nothing(tmp_path: Path, network: Network) -> None:
    graph, _, _ = import_of(tmp_path, network, QuantType.QInt8, True, 17)
    kinds = [op.kind for op in graph.operators]
    assert "fully_connected" in kinds
    assert "transpose" not in kinds


@pytest.mark.parametrize("network", [channels_last_rows, mixed, features_by_channel])
def test_the_host_has_golden_s_bits(tmp_path: Path, network: Network) -> None:
    graph, _, inputs = import_of(tmp_path, network, QuantType.QInt8, True, 17)
    model = CModel(isolated(inference(graph)), tmp_path)
    for sample in inputs[:4]:
        codes = input_codes(graph, sample)
        _, ours = model.infer(codes.reshape(-1))
        np.testing.assert_array_equal(ours, golden_output(graph, codes).reshape(-1))


def lowest_step(m: FloatModel) -> str:
    x = linear(m, m.node("Relu", linear(m, "x", 4, 8)), 8, 5)
    return head(m, m.node("ReduceMin", x, axes=[1], keepdims=0), 5)


@pytest.mark.parametrize("network", [steps, steps_of_rows, lowest_step, flattened_channels_last])
def test_gradients_through_rows_are_those_of_torch(tmp_path: Path, network: Network) -> None:
    pytest.importorskip("torch", reason="torch is not installed: install requirements-torch.txt for this oracle")
    from support.torch_network import TorchNetwork

    graph, _, inputs = import_of(tmp_path, network, QuantType.QInt8, True, 17)
    options = SparseUpdateOptions.model_validate({"scheme": "full", "errors": "f32"})
    x = input_codes(graph, inputs[1])
    ours = traced_step(isolated(sparse_update(graph, options)), x, 1)
    bounds = NumpyNetwork(graph, ours.activations).bounds(x, 1)
    theirs = TorchNetwork(graph, ours.activations).gradients(x, 1)
    assert len(ours.weights) == sum(isinstance(op.attributes, ConvAttributes) for op in graph.operators) - 1
    for name, gradient in ours.weights.items():
        expected = theirs.weights[name].reshape(gradient.shape)
        assert expected.any()
        assert (np.abs(gradient - expected) <= bounds.weights[name].reshape(gradient.shape)).all()
    for name, gradient in ours.biases.items():
        assert (np.abs(gradient - theirs.biases[name]) <= bounds.biases[name]).all()


@pytest.mark.parametrize("opset", [11, 13])
def test_a_vector_has_a_batch_norm_of_its_own(tmp_path: Path, opset: int) -> None:
    m, inputs = FloatModel((3, 2, 2), opset=opset), samples((3, 2, 2))
    parameters = [np.linspace(a, b, 12).astype(np.float32) for a, b in ((-1, 2), (0.5, -0.5), (-0.3, 0.2), (0.4, 3))]
    x = m.node("Relu", m.node("Flatten", m.node("Relu", m.conv("x", 3, 3, 1))))
    x = m.node("BatchNormalization", x, *(m.constant(p) for p in parameters))
    model = quantize(m.build(head(m, x, 12)), inputs, per_channel=opset > 12)
    graph = load(tmp_path, model)
    assert "depthwise_conv2d" in [op.kind for op in graph.operators]
    ours = np.stack([golden_output(graph, input_codes(graph, i)) for i in inputs]).astype(int)
    theirs = quantized(graph.tensors[graph.output], run_onnx(model, inputs)).astype(int)
    assert np.ptp(theirs) > 100
    assert np.abs(ours - theirs).max() <= 1


def refusal(tmp_path: Path, m: FloatModel, output: str, rank: int = 2) -> str:
    with pytest.raises(UsageError) as error:
        load(tmp_path, quantize(m.build(output, rank), samples(m.input_shape), per_channel=False))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_read_rows_says_so(tmp_path: Path) -> None:
    m = FloatModel(IMAGE)
    rows = reshaped(m, m.conv("x", 4, 3, 1), 2, 2, 5, 3)  # 2 samples out of the channels of one
    message = refusal(tmp_path, m, m.conv(rows, 2, 2, 1), 4)
    assert "of shape [2, 2, 5, 3] has the batch and others in one axis; reshape it to [batch, ...] first" in message


@pytest.mark.parametrize(
    ("indices", "reason"),
    [
        ([0, 1, 3], "it takes the elements [0, 1, 3], which are not at even steps"),
        ([2, 2], "it takes the elements [2, 2], which are not at even steps"),
        ([0] * 8, "it takes 8 elements of 7"),
    ],
)
def test_indices_at_odd_steps_are_refused(tmp_path: Path, indices: list[int], reason: str) -> None:
    m = FloatModel(SEQUENCE)
    x = m.node("Gather", linear(m, "x", 4, 8), integers(m, *indices), axis=1)
    assert reason in refusal(tmp_path, m, x, 3)
