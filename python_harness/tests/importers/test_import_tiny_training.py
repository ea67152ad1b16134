"""The .pkl files of tiny-training: the published networks, and files that are wrong or hostile."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcutrain.errors import UsageError
from mcutrain.graph import ConvAttributes, Graph, Padding
from mcutrain.graph.summary import summarize
from mcutrain.importers import load_model
from mcutrain.methods.classifier_head import trainable_layers
from support.graph_reference import run_graph
from support.tiny_training import residual_conv, small_network, torch_zip

PUBLISHED = Path(os.environ.get("MCUTRAIN_MODELS") or "") / "mcunet"
# The counts of the published schemes, and which layers they pick: first pointwise (1), depthwise (2), second pointwise (3) of a block.
NETWORKS = {
    "mcunet-5fps": (42, 22_613_504, {24: 1, 27: 1, 39: 1}),
    "mbv2-w0.35": (51, 16_758_912, {32: 3, 41: 3, 49: 2, 48: 1}),
    "proxyless-w0.3": (60, 18_715_904, {39: 1, 57: 1}),
}


def load(tmp_path: Path, network: Any) -> Graph:
    path = tmp_path / "net.pkl"
    path.write_bytes(torch_zip(network))
    return load_model(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "net.pkl"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_model(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MCUTRAIN_MODELS does not hold mcunet")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_has_the_layers_that_the_schemes_count(name: str) -> None:
    count, macs, picked = NETWORKS[name]
    graph = load_model(PUBLISHED / f"{name}.pkl")
    layers = trainable_layers(graph)
    assert len(layers) == count
    assert [int(layer.lstrip("convdepthwis")) for layer in layers] == list(range(count))
    assert summarize(graph).macs == macs
    assert graph.input_domain == "uint8 - 128"
    assert graph.tensors[graph.input].shape == (128, 128, 3)
    assert graph.tensors[graph.output].shape == (1000,)
    for number, place in picked.items():
        # One stem, two layers in the first block, three in each of the others.
        assert number % 3 + 1 == place
        assert layers[number].startswith("depthwise" if place == 2 else "conv")


def test_a_network_computes_what_its_fields_say(tmp_path: Path) -> None:
    graph = load(tmp_path, small_network())
    assert [op.name for op in graph.operators] == [
        "conv0", "depthwise1", "conv2", "conv3", "depthwise4", "conv5", "add1", "average_pool", "flatten", "classifier",
    ]  # fmt: skip
    depthwise = next(op for op in graph.operators if op.name == "depthwise1")
    assert depthwise.attributes == ConvAttributes(padding=Padding(2, 2, 2, 2))
    weights = graph.tensors[depthwise.inputs[1]].data
    assert weights is not None
    np.testing.assert_array_equal(weights, small_network()["blocks"][0]["depthwise"]["params"]["weight"][:, 0])
    image = np.random.default_rng(1).integers(-128, 128, (9, 9, 3)).astype(np.int8)
    assert np.unique(run_graph(graph, image)).size > 3


def test_scales_may_be_given_as_effective_scales(tmp_path: Path) -> None:
    network = small_network()
    params = network["first_conv"]["params"]
    scales = params.pop("w_scales")
    params["effective_scale"] = scales.astype(np.float64) * params["x_scale"] / params["y_scale"]
    graph, stated = load(tmp_path, network), load(tmp_path, small_network())
    for made in (graph, stated):
        quantization = made.tensors["conv0_weights"].quantization
        assert quantization is not None
        np.testing.assert_allclose(quantization.scale, scales, rtol=1e-6)


def test_a_residual_may_go_through_a_convolution(tmp_path: Path) -> None:
    network = small_network()
    network["blocks"][1]["residual"] = residual_conv(network)
    graph = load(tmp_path, network)
    add = next(op for op in graph.operators if op.kind == "add")
    shortcut = graph.producer(add.inputs[0])
    assert shortcut is not None and shortcut.name == "conv6"
    assert graph.tensors[add.outputs[0]].scale == pytest.approx(0.09)


def test_a_network_without_classifier_puts_out_its_features(tmp_path: Path) -> None:
    graph = load(tmp_path, {**small_network(), "classifier": None})
    assert graph.output == "features"
    assert graph.tensors["features"].shape == (4,)


def test_a_bias_at_the_end_of_int32_gets_room(tmp_path: Path) -> None:
    network = small_network()
    params = network["first_conv"]["params"]
    params["bias"][1] = -(2**31)
    params["weight"][1] = np.array([127, -3, 1]).reshape(3, 1, 1)
    params["w_scales"][1] = 1e-9
    graph = load(tmp_path, network)
    weights, bias = (graph.tensors[f"conv0_{part}"] for part in ("weights", "bias"))
    assert weights.data is not None and bias.data is not None and weights.quantization is not None
    assert bias.data[1] == -(2**29)
    assert weights.quantization.scale[1] == np.float32(4e-9)
    np.testing.assert_array_equal(weights.data[1, 0, 0], [32, -1, 0])
    np.testing.assert_array_equal(weights.data[0, 0, 0], params["weight"][0, :, 0, 0])


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def changed(path: str, value: Any) -> bytes:
    """The small network with one field changed: "blocks.0.depthwise.stride"."""
    network = small_network()
    *way, last = path.split(".")
    place: Any = network
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return torch_zip(network)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (torch_zip(_Calls(os.system, "true")), "its pickle asks for 'posix.system', which no array needs"),
        (torch_zip(_Calls(eval, "1")), "its pickle asks for '__builtin__.eval', which no array needs"),
        (torch_zip(None, program=b"\x80\x02" + b"r\xff\xff\xff\x7f" + b"N."), "its pickle numbers a value 2147483647"),
        (torch_zip(None, program=b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"N."), "sound pickle"),
        (torch_zip(None, program=pickle.dumps(bytearray(9), 5)), "has the opcode FRAME"),
        (torch_zip({"first_conv": np.zeros(3, object)}), "an array is of type 'O8'"),
        (torch_zip({"first_conv": np.zeros(3, ">i4")}), "an array is not little-endian"),
        (torch_zip([1, 2]), "the network is no dictionary"),
        (torch_zip(small_network(), compression=zipfile.ZIP_DEFLATED), "data.pkl is compressed"),
        (torch_zip(small_network(), name="archive/other.pkl"), "its zip holds 0 files data.pkl"),
        (torch_zip(small_network())[:-40], "its zip cannot be read"),
        (b"\x80\x02N.", "its zip cannot be read"),
        (changed("first_conv.act", "relu6"), "first_conv has the activation 'relu6'"),
        (changed("first_conv.stride", 0), "first_conv has no usable stride"),
        (changed("first_conv.in_shape", 1 << 20), "first_conv has no usable in_shape"),
        (changed("first_conv.params.x_scale", float("nan")), "no usable x_scale"),
        (changed("first_conv.params.y_zero", float("inf")), "no usable y_scale and y_zero"),
        (changed("first_conv.params.weight", [1, 2]), "first_conv has no weight of type int8"),
        (changed("first_conv.params.w_scales", np.zeros(4, np.float32)), "usable scales"),
        (changed("blocks.0.depthwise.kernel_size", [3, 3]), "has a kernel [5, 5] that is even, or not its kernel_size"),
        (changed("blocks.0.depthwise.groups", 2), "2 groups for 4 channels"),
        (changed("blocks.1.se", {"a": 1}), "block 1 has 'se'"),
        (changed("blocks.1.pointwise1.params.x_zero", 99), "does not read its input at the scale it was written with"),
        (changed("blocks.1.residual.params.y_scale", -1.0), "block 1's residual has no usable y_scale"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, content)


def test_values_referred_to_from_everywhere_do_not_unfold(tmp_path: Path) -> None:
    nested: list[Any] = [0]
    for _ in range(20):
        nested = [nested, nested]
    assert "refers to its parts more often" in refusal(tmp_path, torch_zip(nested))


def test_a_pickle_that_holds_itself_is_refused(tmp_path: Path) -> None:
    own: list[Any] = []
    own.append(own)
    assert "nested deeper than" in refusal(tmp_path, torch_zip([own, b"room" * 1000]))


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_loads_or_gives_one_line(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    content = torch_zip(small_network())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        program = archive.read("archive/data.pkl")
    path = tmp_path / "net.pkl"
    outcomes = set()
    for _ in range(250):
        damaged = bytearray(content if random.random() < 0.3 else program)
        for _ in range(int(random.integers(1, 4))):
            damaged[random.integers(len(damaged))] = random.integers(256)
        whole = bytes(damaged)[: int(random.integers(len(damaged))) if random.random() < 0.2 else None]
        path.write_bytes(whole if whole[:2] == b"PK" else torch_zip(None, program=whole))
        try:
            load_model(path)
            outcomes.add("loads")
        except UsageError as error:
            outcomes.add("one line" if "\n" not in str(error) else str(error))
    assert outcomes == {"loads", "one line"}
