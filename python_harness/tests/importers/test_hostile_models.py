"""Whatever a model file holds, importing it gives a valid Graph or one clear line."""

from __future__ import annotations

import os
import resource
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcutrain.errors import UsageError
from mcutrain.graph.validate import validate
from mcutrain.importers import load_model
from support.tflite_builder import Builder, add_weights, conv2d_model, fully_connected_model, softmax_model

MODELS = os.environ.get("MCUTRAIN_MODELS")
RESNET8 = Path(MODELS or "") / "mlperf_tiny" / "pretrainedResnet_quant.tflite"


def small_tflite() -> bytes:
    """A convolution, a residual add, a pool, and a classifier."""
    random = np.random.default_rng(3)
    b = Builder()
    x = b.tensor("x", (1, 4, 4, 2), quantization=(0.1, 3), shape_signature=(-1, 4, 4, 2))
    weights = random.integers(-127, 128, (2, 3, 3, 2)).astype(np.int8)
    bias = np.array([5, -6], np.int32)
    operands = [x, *add_weights(b, weights, bias, input_scale=0.1, weight_scale=[0.01, 0.02], name="conv_")]
    c = b.tensor("c", (1, 4, 4, 2), quantization=(0.2, -4))
    a = b.tensor("a", (1, 4, 4, 2), quantization=(0.2, -4))
    p = b.tensor("p", (1, 2, 2, 2), quantization=(0.2, -4))
    f = b.tensor("f", (1, 8), quantization=(0.2, -4))
    shape = b.tensor("shape", (2,), "int32", data=np.array([1, 8], np.int32))
    y = b.tensor("y", (1, 3), quantization=(0.5, 0))
    s = b.tensor("s", (1, 3), quantization=(1 / 256, -128))
    b.operator("CONV_2D", operands, [c], {"StrideW": 1, "StrideH": 1, "FusedActivationFunction": 1})
    b.operator("ADD", [x, c], [a], {"FusedActivationFunction": 0})
    pool = {"StrideW": 2, "StrideH": 2, "FilterWidth": 2, "FilterHeight": 2}
    b.operator("MAX_POOL_2D", [a], [p], pool)
    b.operator("RESHAPE", [p, shape], [f])
    classifier = random.integers(-127, 128, (3, 8)).astype(np.int8)
    operands = [f, *add_weights(b, classifier, None, input_scale=0.2, weight_scale=0.01, name="fc_")]
    b.operator("FULLY_CONNECTED", operands, [y], {})
    b.operator("SOFTMAX", [y], [s], {"Beta": 1.0})
    return b.build([x], [s])


def small_onnx() -> bytes:
    """A Gemm on a quantised vector, with an int32 bias, ended by a Softmax."""
    random = np.random.default_rng(4)
    constants = {
        "xs": np.float32(0.1), "xz": np.int8(3), "ys": np.float32(0.5), "yz": np.int8(-7), "ws": np.float32(0.02),
        "w": random.integers(-127, 128, (3, 6)).astype(np.int8), "wz": np.int8(0),
        "b": np.array([5, -6, 7], np.int32), "bs": np.float32(0.1) * np.float32(0.02), "bz": np.int32(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"]),
        helper.make_node("Gemm", ["xd", "wd", "bd"], ["g"], transB=1),
        helper.make_node("QuantizeLinear", ["g", "ys", "yz"], ["gq"]),
        helper.make_node("DequantizeLinear", ["gq", "ys", "yz"], ["gd"]),
        helper.make_node("Softmax", ["gd"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def truncations(content: bytes, random: np.random.Generator) -> bytes:
    return content[: int(random.integers(0, len(content)))]


def bit_flips(content: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for at in random.integers(0, len(content), int(random.integers(1, 9))):
        damaged[at] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def words(content: bytes, random: np.random.Generator) -> bytes:
    """Extreme 32-bit words in place of lengths, offsets and scales."""
    damaged = bytearray(content)
    extremes = [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000, 0x7FC00000, 0x00000001, 0x10000]
    for at in random.integers(0, len(content) // 4, int(random.integers(1, 3))):
        damaged[4 * at : 4 * at + 4] = int(random.choice(extremes)).to_bytes(4, "little")
    return bytes(damaged)


def outcome(path: Path, content: bytes) -> str:
    """ "loaded" or the message of the UsageError; anything else escapes and fails the test."""
    path.write_bytes(content)
    try:
        graph = load_model(path)
    except UsageError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert message.isprintable()
        return message
    validate(graph)
    return "loaded"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damage", [truncations, bit_flips, words])
@pytest.mark.parametrize(("make", "suffix"), [(small_tflite, ".tflite"), (small_onnx, ".onnx")])
def test_a_damaged_file_loads_or_gives_one_line(
    tmp_path: Path,
    make: Callable[[], bytes],
    suffix: str,
    damage: Callable[[bytes, np.random.Generator], bytes],
) -> None:
    path = tmp_path / f"model{suffix}"
    content = make()
    assert outcome(path, content) == "loaded"
    random = np.random.default_rng(11)
    outcomes = [outcome(path, damage(content, random)) for _ in range(150)]
    assert len(set(outcomes)) > 1
    assert damage is not truncations or "loaded" not in outcomes


@pytest.mark.skipif(not MODELS, reason="MCUTRAIN_MODELS does not name the folder of published models")
@pytest.mark.filterwarnings("error")
def test_a_damaged_published_network_loads_or_gives_one_line(tmp_path: Path) -> None:
    content = RESNET8.read_bytes()
    random = np.random.default_rng(12)
    outcomes = [
        outcome(tmp_path / "model.tflite", damage(content, random))
        for damage in (truncations, bit_flips, words)
        for _ in range(40)
    ]
    assert len(set(outcomes)) > 10


def test_any_byte_of_the_structure_may_be_wrong(tmp_path: Path) -> None:
    content = small_tflite()
    path = tmp_path / "model.tflite"
    messages = {
        outcome(path, content[:i] + bytes([content[i] ^ 0x80]) + content[i + 1 :]) for i in range(0, len(content), 3)
    }
    assert any("leads outside the file" in message for message in messages)


def replaced(at: bytes, by: bytes, content: bytes) -> bytes:
    assert content.count(at) >= 1
    return content.replace(at, by)


def float32(value: float) -> bytes:
    return struct.pack("<f", value)


def wrong_files() -> Iterator[tuple[str, str, bytes, str]]:
    conv = conv2d_model(
        (4, 4, 1), np.full((1, 3, 3, 1), 7, np.int8), np.array([9], np.int32),
        input=(0.26, 3), weight_scale=0.125, output=(2.1, 4),
    )  # fmt: skip
    dense = fully_connected_model(
        np.full((2, 4), 127, np.int8), np.array([2**31 - 1, 0], np.int32), input=(1, 0), weight_scale=1, output=(9e8, 0)
    )
    yield "empty", ".tflite", b"", "does not carry the mark 'TFL3'"
    yield "text", ".tflite", b"hello, I am not a network", "does not carry the mark 'TFL3'"
    yield "text", ".onnx", b"hello, I am not a network", "damaged or truncated"
    yield "text", ".h5", b"hello, I am not a network", "give a .tflite, .onnx or .pkl file"
    yield "nan", ".tflite", replaced(float32(2.1), float32(float("nan")), conv), "has the scale nan"
    yield "infinite", ".tflite", replaced(float32(0.26), float32(float("inf")), conv), "has the scale inf"
    yield "zero", ".tflite", replaced(float32(2.1), float32(0.0), conv), "has the scale 0.0"
    yield "negative", ".tflite", replaced(float32(0.26), float32(-0.25), conv), "has the scale -0.25"
    yield "tiny", ".tflite", replaced(float32(2.1), float32(1e-30), conv), "can overflow 32 bits"
    yield "sum", ".tflite", dense, "the sum of output channel 0 can exceed 32 bits"
    yield (
        "beta",
        ".tflite",
        replaced(float32(1.5), float32(-1.0), softmax_model((4,), input=(0.1, 0), beta=1.5)),
        "beta",
    )


@pytest.mark.parametrize(
    ("case", "suffix", "content", "reason"), list(wrong_files()), ids=lambda v: v if type(v) is str else ""
)
def test_a_wrong_file_is_refused_with_the_reason(
    tmp_path: Path, case: str, suffix: str, content: bytes, reason: str
) -> None:
    assert reason in outcome(tmp_path / f"{case}{suffix}", content)


def test_operators_out_of_order_are_refused(tmp_path: Path) -> None:
    b = Builder()
    x, a, y = (b.tensor(name, (1, 4), quantization=(0.5, 3)) for name in "xay")
    b.operator("RELU", [a], [y])
    b.operator("RELU", [x], [a])
    assert "reads tensor 'a' before any operator wrote it" in outcome(tmp_path / "m.tflite", b.build([x], [y]))


def test_more_operators_than_any_network_has_are_refused(tmp_path: Path) -> None:
    b = Builder()
    x, y = (b.tensor(name, (1, 4), quantization=(0.5, 3)) for name in "xy")
    for _ in range(4097):
        b.operator("RELU", [x], [y])
    assert "it claims 4097 operators, more than 4096" in outcome(tmp_path / "m.tflite", b.build([x], [y]))


def test_a_constant_as_the_output_of_the_network_is_refused(tmp_path: Path) -> None:
    b = Builder()
    x, y = (b.tensor(name, (1, 4), quantization=(0.5, 3)) for name in "xy")
    c = b.tensor("c", (1, 4), quantization=(0.5, 3), data=np.zeros((1, 4), np.int8))
    b.operator("RELU", [x], [y])
    assert "tensor 'c' (#2) is a constant" in outcome(tmp_path / "m.tflite", b.build([x], [c]))


def test_weights_that_two_operators_read_in_two_layouts_are_refused(tmp_path: Path) -> None:
    b = Builder()
    x, a = (b.tensor(name, (1, 2, 2, 4), quantization=(0.5, 3)) for name in "xa")
    y = b.tensor("y", (1, 2, 2, 1), quantization=(0.5, 3))
    weights = add_weights(b, np.ones((1, 1, 1, 4), np.int8), None, input_scale=0.5, weight_scale=0.1)
    window = {"StrideH": 1, "StrideW": 1}
    b.operator("DEPTHWISE_CONV_2D", [x, *weights], [a], window)
    b.operator("CONV_2D", [a, *weights], [y], window)
    said = outcome(tmp_path / "m.tflite", b.build([x], [y]))
    assert "constant 'weights' is shared with an operator that reads it in another layout" in said


def test_a_constant_with_too_little_data_for_its_shape_is_refused(tmp_path: Path) -> None:
    b = Builder()
    x, y = b.tensor("x", (1, 4), quantization=(0.5, 3)), b.tensor("y", (1, 3), quantization=(0.5, 3))
    w = b.tensor("w", (3, 4), quantization=(0.1, 0), data=np.ones(11, np.int8))
    b.operator("FULLY_CONNECTED", [x, w], [y], {})
    assert "tensor 'w' (#2) has 11 bytes of data" in outcome(tmp_path / "m.tflite", b.build([x], [y]))


def test_a_file_over_the_limit_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: reading all of it would exhaust the memory
    with pytest.raises(UsageError, match="larger than the limit of 1000 bytes"):
        load_model(path, max_bytes=1000)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the model: No such file"):
        load_model(tmp_path / "absent.tflite")
    with pytest.raises(UsageError, match="not a regular file"):
        load_model(tmp_path)
    os.mkfifo(tmp_path / "pipe.tflite")  # opening it would wait for a writer for ever
    with pytest.raises(UsageError, match="not a regular file"):
        load_model(tmp_path / "pipe.tflite")


def test_a_small_onnx_file_that_unfolds_into_millions_of_nodes_is_refused(tmp_path: Path) -> None:
    empty_nodes = b"\x0a\x00" * 500_000
    length = len(empty_nodes)
    varint = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
    content = b"\x3a" + varint + empty_nodes
    assert len(onnx.ModelProto.FromString(content).graph.node) == 500_000
    assert "more than 300000 parts" in outcome(tmp_path / "bomb.onnx", content)


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


@pytest.mark.parametrize(("kind", "field"), [(TensorProto.INT8, 5), (TensorProto.INT64, 7)])
@pytest.mark.parametrize(
    ("count", "said"), [(1 << 25, "numbers of changing length"), (1 << 20, "has 1048576 numbers for the shape [2]")]
)
def test_zeros_that_are_packed_cost_no_more_than_a_modest_multiple(
    kind: int, field: int, count: int, said: str, tmp_path: Path
) -> None:
    zeros = varint(field << 3 | 2) + varint(count) + bytes(count)
    tensor = b"\x08\x02" + b"\x10" + varint(kind) + b"\x42\x01w" + zeros  # shape (2,), type, name
    node = b"\x0a\x0c" + b"\x0a\x01x\x12\x01y\x22\x04Relu"
    graph = node + b"\x2a" + varint(len(tensor)) + tensor
    content = b"\x3a" + varint(len(graph)) + graph
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert said in outcome(tmp_path / "zeros.onnx", content)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
