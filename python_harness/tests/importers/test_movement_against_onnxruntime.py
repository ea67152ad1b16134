"""Operators of an ONNX file that move elements: golden has the codes of onnxruntime, on random shapes, axes and coordinate modes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph, PadAttributes
from mcutrain.importers import load_model
from mcutrain.importers.onnx_values import file_shape, graph_axes
from mcutrain.methods.inference import inference
from support.backward_cases import random_codes
from support.examples import examples
from support.onnx_models import FloatModel, run_onnx
from support.plans import isolated

Shape = tuple[int, ...]
SCALE, ZERO_POINT = 0.1, -7
seeds = st.integers(0, 2**16)
images = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
Network = Callable[[FloatModel, str], str]


def integers(m: FloatModel, *values: int) -> str:
    return m.constant(np.array(values, np.int64))


def qdq(m: FloatModel, x: str, scale: float = SCALE, zero_point: int = ZERO_POINT) -> str:
    q = m.constant(np.array(scale, np.float32)), m.constant(np.array(zero_point, np.int8))
    return m.node("DequantizeLinear", m.node("QuantizeLinear", x, *q), *q)


def model_of(shape: Shape, network: Network, rank: int, *, opset: int = 17, quantized: bool = True) -> onnx.ModelProto:
    """Codes into ``network`` and out of it; not quantized: the input comes as it is, and the network quantises it."""
    m = FloatModel(shape, opset=opset)
    return m.build(qdq(m, network(m, qdq(m, "x") if quantized else "x")), rank)


def load(model: onnx.ModelProto) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return load_model(path)


def to_file(values: NDArray[Any]) -> NDArray[Any]:
    """From the Graph's layout."""
    axes = graph_axes(values.ndim)
    return values.transpose([axes.index(axis) for axis in range(values.ndim)])


def assert_same_codes(
    model: onnx.ModelProto, seed: int = 0, *, codes_apart: int = 0, channels_last: bool = False
) -> Graph:
    graph = load(model)
    x, y = graph.tensors[graph.input], graph.tensors[graph.output]
    codes = random_codes(np.random.default_rng(seed), x.shape)
    executor = GoldenExecutor(isolated(inference(graph)))
    executor.infer(codes.reshape(-1))
    got = to_file(executor.output().reshape(y.shape)).astype(int)
    real = (np.float32(x.scale) * (codes.astype(np.float32) - np.float32(x.zero_point))).astype(np.float32)
    expected = run_onnx(model, [real if channels_last else to_file(real)])[0]
    expected_codes = np.rint(expected / y.scale).astype(int) + y.zero_point
    assert got.shape == expected.shape
    assert np.abs(got - expected_codes).max() <= codes_apart
    return graph


def transposes(graph: Graph) -> int:
    return sum(op.kind == "transpose" for op in graph.operators)


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
@given(st.data(), seeds)
@examples(8)
def test_a_transpose_of_any_rank(rank: int, data: st.DataObject, seed: int) -> None:
    """Between reshapes, which make the rank of an image and back."""
    shape = tuple(data.draw(st.integers(1, 4)) for _ in range(rank - 1))
    permutation = [0, *(a + 1 for a in data.draw(st.permutations(range(rank - 1))))]
    size = int(np.prod(shape))

    def network(m: FloatModel, x: str) -> str:
        turned = m.node("Transpose", m.node("Reshape", x, integers(m, 1, *shape)), perm=permutation)
        return m.node("Reshape", turned, integers(m, 1, size))

    assert_same_codes(model_of((size, 1, 1), network, 2), seed)
    assert_same_codes(model_of((1, size, 1), network, 2), seed)
    if rank == 4:
        assert_same_codes(model_of(shape, network, 2), seed)


@given(images, st.data(), seeds)
@examples(12)
def test_an_image_made_into_any_other_shape(shape: Shape, data: st.DataObject, seed: int) -> None:
    rest, target = int(np.prod(shape)), list[int]()
    while rest > 1 and len(target) < 4:
        target.append(data.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0])))
        rest //= target[-1]
    target = [*target, rest]
    assert_same_codes(
        model_of(shape, lambda m, x: m.node("Reshape", x, integers(m, 1, *target)), 1 + len(target)), seed
    )


@given(images, st.data(), seeds)
@examples(12)
def test_concat_rescales_its_operands(shape: Shape, data: st.DataObject, seed: int) -> None:
    axis = data.draw(st.sampled_from([1, 2, 3, -1]))
    scales = data.draw(st.lists(st.sampled_from([SCALE, 0.05, 0.125]), min_size=1, max_size=3))

    def network(m: FloatModel, x: str) -> str:
        return m.node("Concat", *(qdq(m, x, scale, 5) for scale in scales), x, axis=axis)

    assert_same_codes(model_of(shape, network, 4), seed, codes_apart=1)


def test_concat_of_one_scale_is_exact_and_rescales_nothing() -> None:
    graph = assert_same_codes(model_of((3, 2, 4), lambda m, x: m.node("Concat", x, x, axis=1), 4))
    assert [op.kind for op in graph.operators] == ["concatenate"]


def test_a_relu_behind_a_concat_clamps() -> None:
    graph = assert_same_codes(model_of((3, 2, 4), lambda m, x: m.node("Relu", m.node("Concat", x, x, axis=2)), 4))
    assert [op.kind for op in graph.operators] == ["requantize", "requantize", "concatenate"]


@given(images, st.data(), seeds)
@examples(20)
def test_slice_of_any_axes_forwards_and_backwards(shape: Shape, data: st.DataObject, seed: int) -> None:
    starts, ends, axes, steps = [], [], [], []
    for axis in data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3, unique=True)):
        n = shape[axis - 1]
        step = data.draw(st.sampled_from([-2, -1, 1, 2]))
        start, end = (data.draw(st.integers(-n - 1, n + 1)) for _ in range(2))
        if not range(*slice(start, end, step).indices(n)):
            start, end = (0, 2**31) if step > 0 else (n, -(2**31))
        starts.append(start)
        ends.append(end)
        axes.append(axis if data.draw(st.booleans()) else axis - 4)
        steps.append(step)

    def network(m: FloatModel, x: str) -> str:
        return m.node("Slice", x, *(integers(m, *values) for values in (starts, ends, axes, steps)))

    assert_same_codes(model_of(shape, network, 4), seed)


@given(images, st.lists(st.integers(1, 3), min_size=2, max_size=3), st.integers(1, 3), seeds)
@examples(12)
def test_the_outputs_of_a_split_that_are_read(shape: Shape, sizes: list[int], axis: int, seed: int) -> None:
    shape = tuple(sum(sizes) if a == axis - 1 else n for a, n in enumerate(shape))

    def network(m: FloatModel, x: str) -> str:
        names = [f"part{i}" for i in range(len(sizes))]
        m._nodes.append(onnx.helper.make_node("Split", [x, integers(m, *sizes)], names, name="split", axis=axis))
        return m.node("Concat", *(qdq(m, name) for name in reversed(names[1:])), axis=axis)

    graph = assert_same_codes(model_of(shape, network, 4), seed)
    assert sum(op.kind == "slice" for op in graph.operators) == len(sizes) - 1


@pytest.mark.parametrize("value", [0.0, 1.0, -3.14159])
@given(images, st.lists(st.integers(-1, 2), min_size=6, max_size=6), seeds)
@examples(10)
def test_pads_and_cuts_of_any_axis_with_any_value(value: float, shape: Shape, amounts: list[int], seed: int) -> None:
    shape = tuple(n + 2 for n in shape)

    def network(m: FloatModel, x: str) -> str:
        flat = integers(m, 0, *amounts[:3], 0, *amounts[3:])
        return m.node("Pad", x, flat, m.constant(np.array(value, np.float32)))

    assert_same_codes(model_of(shape, network, 4), seed)


def test_a_border_that_has_no_code_at_its_operand_s_scale_has_one_at_the_output_s() -> None:
    """The operand reaches to 13.4, the output to 26.8."""

    def network(m: FloatModel, x: str) -> str:
        return m.node("Pad", x, integers(m, 0, 1, 0, 2, 0, 0, 1, 0), m.constant(np.array(20.0, np.float32)))

    m = FloatModel((3, 4, 2))
    graph = assert_same_codes(m.build(qdq(m, network(m, qdq(m, "x")), 0.2, -7), 4), codes_apart=1)
    (op,) = (op for op in graph.operators if op.kind == "pad")
    assert isinstance(op.attributes, PadAttributes)
    assert op.attributes.value == 93


@pytest.mark.parametrize(
    ("kind", "move"),
    [
        ("Tanh", lambda m, x: m.node("Flatten", x)),
        (
            "Tanh",
            lambda m, x: m.node(
                "Slice", m.node("Reshape", x, integers(m, 1, -1)), *(integers(m, n) for n in (1, 9, 1))
            ),
        ),
        ("Relu", lambda m, x: m.node("Transpose", x, perm=[0, 2, 3, 1])),
        ("PRelu", lambda m, x: m.node("MaxPool", x, kernel_shape=[2, 2])),
        ("GlobalAveragePool", lambda m, x: m.node("Flatten", x)),
    ],
)
def test_what_is_quantised_behind_a_move_has_those_codes_before_it(kind: str, move: Network) -> None:
    """The quantiser leaves such operators, and what moves their results, in float."""
    m = FloatModel((3, 4, 2))
    slopes = [m.constant(np.array([[[0.25]], [[-0.5]], [[0.1]]], np.float32))] if kind == "PRelu" else []
    moved = move(m, m.node(kind, qdq(m, "x"), *slopes))
    rank = 2 if kind in ("Tanh", "GlobalAveragePool") else 4
    assert_same_codes(m.build(qdq(m, moved, 0.05, 3), rank), codes_apart=1)


def test_the_border_of_a_sequence_turns_with_it() -> None:
    def network(m: FloatModel, x: str) -> str:
        turned = m.node("Transpose", x, perm=[0, 2, 1])
        padded = m.node("Pad", turned, integers(m, 0, 1, 0, 0, 2, 3))
        return m.node("Transpose", padded, perm=[0, 2, 1])

    assert transposes(assert_same_codes(model_of((3, 4), network, 3))) == 0


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@given(images, st.integers(2, 3), seeds)
@examples(6)
def test_depth_to_space_and_space_to_depth(mode: str, shape: Shape, block: int, seed: int) -> None:
    channels, height, width = shape
    deep, wide = (channels * block * block, height, width), (channels, height * block, width * block)
    assert_same_codes(model_of(deep, lambda m, x: m.node("DepthToSpace", x, blocksize=block, mode=mode), 4), seed)
    assert_same_codes(model_of(wide, lambda m, x: m.node("SpaceToDepth", x, blocksize=block), 4), seed)


COORDINATES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")
ROUNDINGS = ("ceil", "floor", "round_prefer_ceil", "round_prefer_floor")


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@given(images, st.integers(1, 9), st.integers(1, 9), st.booleans(), seeds)
@examples(6)
def test_resize_to_the_nearest_neighbour(
    coordinates: str, rounding: str, shape: Shape, height: int, width: int, by_scales: bool, seed: int
) -> None:
    opset = 17 if coordinates != "tf_half_pixel_for_nn" else 11

    def network(m: FloatModel, x: str) -> str:
        given = [1.0, 1.0, height / 2, width / 3]
        roi = "" if opset > 12 else m.constant(np.zeros(0, np.float32))
        if by_scales and min(int(n * s) for n, s in zip(shape[1:], given[2:], strict=True)) > 0:
            operands = [roi, m.constant(np.array(given, np.float32))]
        else:
            operands = [roi, roi, integers(m, 1, shape[0], height, width)]
        modes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        return m.node("Resize", x, *operands, mode="nearest", **modes)

    assert_same_codes(model_of(shape, network, 4, opset=opset), seed)


def test_a_channel_shuffle_is_one_transpose() -> None:
    def network(m: FloatModel, x: str) -> str:
        groups = m.node("Reshape", x, integers(m, 0, 2, 3, 4, 5))
        return m.node("Reshape", m.node("Transpose", groups, perm=[0, 2, 1, 3, 4]), integers(m, 0, 6, 4, 5))

    assert transposes(assert_same_codes(model_of((6, 4, 5), network, 4))) == 1


def test_squeeze_and_unsqueeze() -> None:
    def network(m: FloatModel, x: str) -> str:
        return m.node("Unsqueeze", m.node("Squeeze", x, integers(m, 2)), integers(m, -1))

    assert_same_codes(model_of((3, 1, 4), network, 4))


def test_an_output_that_is_a_flattened_image_is_in_the_order_of_the_file() -> None:
    assert transposes(assert_same_codes(model_of((3, 2, 4), lambda m, x: m.node("Flatten", x), 2))) == 1


def test_a_flattened_image_that_is_cut_is_in_the_order_of_the_file() -> None:
    def network(m: FloatModel, x: str) -> str:
        return m.node("Slice", m.node("Flatten", x), *(integers(m, n) for n in (2, 19, 1, 3)))

    assert_same_codes(model_of((3, 2, 4), network, 2))


def test_the_slopes_of_a_flattened_image_follow_its_elements() -> None:
    slopes = np.linspace(-1, 1, 24, dtype=np.float32)
    assert_same_codes(
        model_of((3, 2, 4), lambda m, x: m.node("PRelu", qdq(m, m.node("Flatten", x)), m.constant(slopes)), 2),
        codes_apart=1,
    )


def test_an_image_that_comes_channels_last_is_taken_as_it_comes() -> None:
    def network(m: FloatModel, x: str) -> str:
        first = qdq(m, m.node("Transpose", x, perm=[0, 3, 1, 2]))
        return m.node("Pad", first, integers(m, 0, 0, 1, 0, 0, 0, 0, 2))

    for quantized in (False, True):
        model = model_of((4, 5, 3), network, 4, quantized=quantized)
        graph = assert_same_codes(model, channels_last=True)
        assert graph.tensors[graph.input].shape == (4, 5, 3)
        assert transposes(graph) == 0


def test_what_moves_the_batch_is_refused_with_its_reason() -> None:
    cases: list[tuple[Network, str]] = [
        (lambda m, x: m.node("Concat", x, x, axis=0), "its axis is 0, the batch"),
        (lambda m, x: m.node("Pad", x, integers(m, 1, 0, 0, 0, 0, 0, 0, 0)), "it pads the batch"),
        (lambda m, x: m.node("Slice", x, *(integers(m, n) for n in (1, 2, 0))), "it takes nothing of the batch"),
        (
            lambda m, x: m.node("Resize", x, "", m.constant(np.array([1, 2, 1, 1], np.float32))),
            "rows and columns alone",
        ),
        (
            lambda m, x: m.node("Pad", x, integers(m, 0, 0, 1, 0, 0, 0, 0, 0), mode="reflect"),
            "'reflect', not 'constant'",
        ),
    ]
    for network, reason in cases:
        with pytest.raises(UsageError, match=reason) as error:
            load(model_of((3, 2, 4), network, 4))
        assert "\n" not in str(error.value)


def test_shapes_of_the_file_and_of_the_graph_have_the_same_axes() -> None:
    for shape in ((3,), (3, 4), (3, 4, 5), (2, 3, 4, 5)):
        own = tuple(shape[axis] for axis in graph_axes(len(shape)))
        assert file_shape(own) == shape
