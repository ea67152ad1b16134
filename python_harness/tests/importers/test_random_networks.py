"""Random networks of two exporters, imported, planned and run: the bits of LiteRT, the codes of onnxruntime, the gradients of torch.

A few seeds run by default, hundreds with ``-m exhaustive``. A failure names its seed and the operators that were drawn.

onnxruntime computes in float32 between a DequantizeLinear and a QuantizeLinear, and rounds ties to even, so an operator of ours may be one
code off where its real value lies beside a tie, and what reads that code passes it on. Both kinds of difference are told apart by the codes
of every tensor on the way: an operator whose operands are off by e codes may be off by ``gain * e``, its sensitivity, and by the one code
of its own rounding; where its operands agree it is off by one code at most, and by none where float32 computes without an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import (
    AddAttributes,
    ConvAttributes,
    Graph,
    LogSoftmaxAttributes,
    MeanAttributes,
    MultiplyAttributes,
    Operator,
    PoolAttributes,
    PreluAttributes,
    RequantizeAttributes,
    SoftmaxAttributes,
    TableAttributes,
    Tensor,
)
from mcutrain.importers.onnx_values import graph_axes
from mcutrain.methods.classifier_head import find_head, trainable_layers
from mcutrain.methods.inference import inference
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.golden_inference import loaded
from support.host_models import CModel
from support.inference import golden_output
from support.numpy_network import FUNCTIONS, NumpyNetwork
from support.onnx_models import session_of
from support.plans import isolated
from support.random_networks import POINTWISE, RandomNetwork, onnx_network, tflite_network
from support.tflite_builder import run_litert
from support.traced_step import traced_step

Codes = NDArray[np.int8]
Steps = tuple[str, ...]

INPUTS = 3  # of each network
# Of the default run: the first ones, and with them every operator.
TFLITE_SEEDS = (*range(25), 59, 195, 458, 598, 1034, 1623)
ONNX_SEEDS = (*range(40), 44, 47, 49, 51, 60, 65, 117, 142, 153, 171, 236, 334, 467, 485, 489, 504, 595, 1199)
TFLITE_OPERATORS = {
    *("ABS", "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE"),
    *("ELU", "EXP", "EXPAND_DIMS", "FULLY_CONNECTED", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC"),
    *("LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PAD", "PADV2", "PRELU", "QUANTIZE"),
    *("REDUCE_MAX", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR"),
    *("SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQRT", "SQUEEZE", "STRIDED_SLICE", "SUB", "TANH"),
    *("TILE", "TRANSPOSE"),
}
ONNX_OPERATORS = {
    *("Abs", "Add", "AveragePool", "BatchNormalization", "Celu", "Clip", "Concat", "Conv", "DepthToSpace"),
    *("Div", "Elu", "Erf", "Exp", "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid"),
    *("HardSwish", "LeakyRelu", "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu"),
    *("Pad", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Resize", "Selu", "Sigmoid", "Slice", "Softmax"),
    *("Softplus", "Softsign", "SpaceToDepth", "Split", "Squeeze", "Sub", "Tanh", "ThresholdedRelu"),
    *("Transpose", "Unsqueeze"),
}
FLOAT_NOISE = 1e-3  # of a code: what float32 sums of some hundred products are off, at 128 codes and 2^-24


def random_inputs(shape: tuple[int, ...], seed: int, count: int = INPUTS) -> Iterator[Codes]:
    random = np.random.default_rng([seed, 3])
    for _ in range(count):
        yield random.integers(-128, 128, shape).astype(np.int8)


def kernels_of(network: RandomNetwork[bytes]) -> str:
    """LiteRT's reference kernels, or its others where a network has an ELU: there is no reference kernel for that one."""
    has_elu = any(step.startswith("ELU(") for step in network.steps)
    return "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if has_elu else "BUILTIN_REF"


def assert_litert_bits(seed: int) -> tuple[Graph, RandomNetwork[bytes]]:
    """Golden leaves LiteRT's reference bits."""
    network = tflite_network(seed)
    name, place = network.output or (None, 0)
    graph = loaded(network.model, output=name)
    for x in random_inputs(network.input_shape, seed):
        message = f"seed {seed}: {network.steps}"
        expected = run_litert(network.model, x, kernels=kernels_of(network), output=place)
        np.testing.assert_array_equal(golden_output(graph, x), expected, message)
    return graph, network


def assert_host_is_golden(graph: Graph, seed: int, steps: Steps, folder: Path) -> None:
    model = CModel(isolated(inference(graph)), folder)
    for x in random_inputs(graph.tensors[graph.input].shape, seed):
        _, codes = model.infer(x.reshape(-1))
        np.testing.assert_array_equal(codes, golden_output(graph, x).reshape(-1), f"seed {seed}: {steps}")


@pytest.mark.parametrize("seed", TFLITE_SEEDS)
def test_a_random_tflite_network_has_litert_s_bits(seed: int) -> None:
    assert_litert_bits(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1000))
def test_many_random_tflite_networks_have_litert_s_bits(seed: int) -> None:
    assert_litert_bits(seed)


def drawn(networks: Iterable[RandomNetwork[Any]]) -> set[str]:
    """The operators of networks."""
    return {step.split("(")[0] for network in networks for step in network.steps[1:]}


def test_each_operator_is_in_a_network_of_the_default_run() -> None:
    assert drawn(map(tflite_network, TFLITE_SEEDS)) == TFLITE_OPERATORS
    assert drawn(map(onnx_network, ONNX_SEEDS)) == ONNX_OPERATORS


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(300))
def test_the_host_has_the_bits_of_random_tflite_networks(seed: int, tmp_path: Path) -> None:
    graph, network = assert_litert_bits(seed)
    if all(op.kind == "reshape" for op in graph.operators):
        pytest.skip("it computes nothing: there is no such model")
    assert_host_is_golden(graph, seed, network.steps, tmp_path)


def to_file(values: NDArray[Any]) -> NDArray[Any]:
    """From the Graph's layout."""
    axes = graph_axes(values.ndim)
    return values.transpose([axes.index(axis) for axis in range(values.ndim)])


def every_code(graph: Graph, x: Codes) -> dict[str, NDArray[np.int64]]:
    """The codes of every tensor of golden's inference, in the Graph's layout."""
    executor = GoldenExecutor(isolated(inference(graph)))
    executor.infer(x.reshape(-1))
    found = {graph.input: x.astype(np.int64)}
    for op in graph.operators:
        y = graph.tensors[op.outputs[0]]
        if op.kind == "reshape":
            found[y.name] = found[op.inputs[0]].reshape(y.shape)
        else:
            step = [s for s in executor.plan.steps if s.layer == op.name and "y" in s.operands][-1]
            codes = np.frombuffer(executor.bytes_of(step.operands["y"]), np.int8)
            found[y.name] = codes.reshape(y.shape).astype(np.int64)
    return found


def largest_magnitude(t: Tensor) -> float:
    """Of the real values that a tensor can have."""
    codes = np.array([-128, 127]) if t.data is None else t.data.astype(np.int64)
    return float(np.abs(codes - t.zero_point).max()) * t.scale


def gain(graph: Graph, op: Operator, e: Mapping[str, float]) -> float:
    """Codes by which the real result of ``op`` may be off, of operands off by ``e`` codes each."""
    a, y = op.attributes, graph.tensors[op.outputs[0]]
    x = graph.tensors[op.inputs[0]]
    off = e[x.name]
    if isinstance(a, ConvAttributes):
        w = graph.tensors[op.inputs[1]]
        assert w.data is not None and w.quantization is not None
        rows = np.abs(w.data.reshape(w.shape[0], -1).astype(np.float64)).sum(1) * w.quantization.scale
        return off * float(rows.max()) * x.scale / y.scale
    if isinstance(a, AddAttributes):
        return sum(e[name] * graph.tensors[name].scale for name in op.inputs) / y.scale
    if isinstance(a, MultiplyAttributes):
        (off_a, largest_a), (off_b, largest_b) = (
            (e[name] * graph.tensors[name].scale, largest_magnitude(graph.tensors[name])) for name in op.inputs
        )
        return (off_a * largest_b + off_b * largest_a + off_a * off_b) / y.scale
    if isinstance(a, PreluAttributes):
        alpha = graph.tensors[op.inputs[1]]
        assert alpha.data is not None
        return off * max(1.0, float(np.abs(alpha.data).max()) * alpha.scale) * x.scale / y.scale
    if isinstance(a, TableAttributes):
        codes, reach = np.array(a.codes, np.int64), int(off)
        return float(max((np.abs(codes[n:] - codes[:-n]).max() for n in range(1, reach + 1)), default=0))
    if isinstance(a, SoftmaxAttributes):
        return off * x.scale / 2 / y.scale  # p (1 - p) <= 1/4, of two logits that move apart
    if isinstance(a, LogSoftmaxAttributes):
        return 2 * off * x.scale / y.scale
    if isinstance(a, MeanAttributes | PoolAttributes | RequantizeAttributes):
        return off * x.scale / y.scale
    return max(e.get(name, 0.0) for name in op.inputs)


def has_exact_sums(graph: Graph, op: Operator) -> bool:
    """Whether float32 holds what ``op`` rounds: sums and products of powers of two. Both round it half to even."""
    if not isinstance(op.attributes, ConvAttributes | MultiplyAttributes):
        return False
    scales = [graph.tensors[name].quantization for name in (*op.inputs[:2], *op.outputs)]
    return all(q is not None and bool(np.all(np.frexp(q.scale)[0] == 0.5)) for q in scales)


MOVES = {"concatenate", "max_pool", "pad", "reshape", "resize_nearest", "slice", "transpose"}


def onnxruntime_codes(
    model: onnx.ModelProto, graph: Graph, x: NDArray[np.float32], place: int = 0
) -> dict[str, NDArray[np.int64]]:
    """The codes behind the QuantizeLinear nodes whose outputs are tensors of the Graph, and those of the output at ``place``; all in the
    file's layout."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    quantized = [
        n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.output[0] in graph.tensors
    ]
    end = model.graph.output[place].name
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in quantized)
    results = session_of(watched).run([end, *quantized], {"x": x[np.newaxis]})
    found = {name: codes[0].astype(np.int64) for name, codes in zip(quantized, results[1:], strict=True)}
    y = graph.tensors[graph.output]
    codes = np.rint(results[0][0].astype(np.float64) / y.scale) + y.zero_point
    found[graph.output] = np.clip(codes, -128, 127).astype(np.int64)
    return found


def assert_onnxruntime_codes(seed: int) -> tuple[int, int]:
    """Golden has onnxruntime's codes. Returns how many inputs were compared, and for how many the output is right."""
    network = onnx_network(seed)
    name, place = network.output or (None, 0)
    graph = loaded(network.model.SerializeToString(), ".onnx", name)
    t = graph.tensors[graph.input]
    alike = 0
    for x in random_inputs(t.shape, seed):
        real = (np.float32(t.scale) * (x.astype(np.float32) - np.float32(t.zero_point))).astype(np.float32)
        theirs = onnxruntime_codes(network.model, graph, real if network.is_channels_last else to_file(real), place)
        ours = every_code(graph, x)
        off = {name: 0.0 for name, tensor in graph.tensors.items() if tensor.data is not None} | {graph.input: 0.0}
        flattened: set[str] = set()  # their elements are in the Graph's order
        for op in graph.operators:
            name = op.outputs[0]
            exact = op.kind in MOVES or (has_exact_sums(graph, op) and not any(off[operand] for operand in op.inputs))
            most = gain(graph, op, off) + (0 if exact else 1)
            off[name] = np.floor(most + FLOAT_NOISE)
            y = graph.tensors[name]
            if len(y.shape) == 1 and (op.kind == "reshape" or flattened & set(op.inputs)):
                flattened.add(name)
            if op.kind in ("fully_connected", "transpose"):
                flattened.discard(name)
            if name in theirs and (name not in flattened or name == graph.output):
                found = np.abs(to_file(ours[name]).reshape(theirs[name].shape) - theirs[name]).max()
                message = f"seed {seed}, {name}: {found} codes off, {off[name]} at most: {network.steps}"
                assert found <= off[name], message
                off[name] = float(found)
        result, expected = to_file(ours[graph.output]).reshape(-1), theirs[graph.output].reshape(-1)
        is_same_class = expected[np.argmax(result)] == expected.max()  # of equal ones, any
        alike += int(is_same_class and np.abs(result - expected).max() <= 1)
    return INPUTS, alike


def assert_onnxruntime_s_result(seeds: Iterable[int]) -> None:
    """The output is within a code of onnxruntime's, and its class the same, for 99 of 100 inputs at least.

    What is off by one code on the way a layer may double: where float32 is not exact, a value beside a tie is rounded either way.
    """
    counts = [assert_onnxruntime_codes(seed) for seed in seeds]
    inputs, alike = (sum(column) for column in zip(*counts, strict=True))
    assert alike >= 0.99 * inputs, f"{alike} of {inputs} inputs"


def test_random_onnx_networks_have_onnxruntime_s_codes() -> None:
    assert_onnxruntime_s_result(ONNX_SEEDS)


@pytest.mark.exhaustive
def test_many_random_onnx_networks_have_onnxruntime_s_codes() -> None:
    assert_onnxruntime_s_result(range(1200))


# What both oracles of gradients have, beside tables of one function.
DIFFERENTIABLE = (
    *("add", "average_pool", "concatenate", "conv2d", "depthwise_conv2d", "fully_connected", "max_pool", "mean"),
    *("multiply", "pad", "prelu", "requantize", "reshape", "resize_nearest", "slice", "table", "transpose"),
)


def is_trainable(graph: Graph) -> bool:
    """Whether the oracles have every operator in front of the head, and one of these has weights."""
    body = graph.operators[: find_head(graph).index]
    tables = [op.attributes.function for op in body if isinstance(op.attributes, TableAttributes)]
    known = all(name in FUNCTIONS or name == "leaky_relu" for name in tables)
    return known and all(op.kind in DIFFERENTIABLE for op in body) and bool(trainable_layers(graph))


def has_known_tables(graph: Graph, network: RandomNetwork[Any]) -> bool:
    """Whether every table is of one node: the importer folds functions of functions, and their sums and products, into one."""
    nodes = [step.split("(")[0] for step in network.steps[1:]]
    return sum(node in POINTWISE for node in nodes) <= 1 or all(op.kind != "table" for op in graph.operators)


def trainable(seeds: Iterable[int], exporter: str = "tflite") -> Iterator[tuple[int, Graph, RandomNetwork[Any]]]:
    """The classifiers among an exporter's networks that can be compared."""
    for seed in seeds:
        network: RandomNetwork[Any]
        network = tflite_network(seed) if exporter == "tflite" else onnx_network(seed)
        if network.is_classifier:
            model = network.model if isinstance(network.model, bytes) else network.model.SerializeToString()
            graph = loaded(model, f".{exporter}", network.output and network.output[0])
            if is_trainable(graph) and (exporter == "tflite" or has_known_tables(graph, network)):
                yield seed, graph, network


def assert_gradients(graph: Graph, seed: int, steps: Steps, alphas: Mapping[str, float]) -> bool:
    """Every gradient of a training step is within the float32 bound of torch's.

    False where there is none: a value lies on the edge of a clamp, or every one of some layer is clamped.
    """
    from support.torch_network import TorchNetwork

    (x,) = random_inputs(graph.tensors[graph.input].shape, seed, 1)
    options = SparseUpdateOptions.model_validate({"scheme": "full", "errors": "f32", "loss": "cross_entropy"})
    ours = traced_step(isolated(sparse_update(graph, options)), x, 1)
    try:
        bounds = NumpyNetwork(graph, ours.activations, alphas=alphas).bounds(x, 1)
        theirs = TorchNetwork(graph, ours.activations, alphas=alphas, twice=True).gradients(x, 1)
    except AssertionError as error:
        if "edge of the clamp" in str(error):
            return False
        raise
    found = {**ours.weights, "head": ours.head_weights}
    expected = {**theirs.weights, "head": theirs.head_weights}
    within = {**bounds.weights, "head": bounds.head_weights}
    for name, gradient in found.items():
        difference = np.abs(gradient - expected[name].reshape(gradient.shape))
        assert (difference <= within[name].reshape(gradient.shape)).all(), f"seed {seed}, {name}: {steps}"
    for name, gradient in ours.biases.items():
        assert (np.abs(gradient - theirs.biases[name]) <= bounds.biases[name]).all(), f"seed {seed}, {name}: {steps}"
    return all(bool(gradient.any()) for gradient in theirs.weights.values())


def assert_all_gradients(seeds: Iterable[int], fewest: int, exporter: str = "tflite") -> None:
    pytest.importorskip("torch", reason="torch is not installed: install requirements-torch.txt for this oracle")
    compared = [assert_gradients(graph, seed, n.steps, n.alphas) for seed, graph, n in trainable(seeds, exporter)]
    assert sum(compared) >= fewest


def test_the_gradients_of_random_tflite_classifiers_are_those_of_torch() -> None:
    assert_all_gradients(range(60), 5)


def test_the_gradients_of_random_onnx_classifiers_are_those_of_torch() -> None:
    assert_all_gradients(ONNX_SEEDS[:40], 5, "onnx")


@pytest.mark.exhaustive
def test_the_gradients_of_many_random_tflite_classifiers_are_those_of_torch() -> None:
    assert_all_gradients(range(3000), 300)


@pytest.mark.exhaustive
def test_the_gradients_of_many_random_onnx_classifiers_are_those_of_torch() -> None:
    assert_all_gradients(range(800), 300, "onnx")


def assert_keras_bits(seeds: range) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed: it writes Keras's networks")
    from support.random_keras import keras_network

    for seed in seeds:
        network = keras_network(seed)
        graph = loaded(network.model)
        for x in random_inputs(network.input_shape, seed):
            message = f"seed {seed}: {network.steps}"
            np.testing.assert_array_equal(golden_output(graph, x), run_litert(network.model, x), message)


def test_random_keras_networks_have_litert_s_bits() -> None:
    assert_keras_bits(range(3))


@pytest.mark.exhaustive
def test_many_random_keras_networks_have_litert_s_bits() -> None:
    assert_keras_bits(range(3, 148))
