"""Operators of a .tflite file that move elements: golden has the bits of LiteRT's reference kernels, on random shapes, axes and scales."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from support.backward_cases import random_codes
from support.examples import examples
from support.graph_reference import run_graph
from support.plans import isolated
from support.tflite_builder import Builder, add_weights, run_litert

Q = (0.125, -3)
Shape = tuple[int, ...]
seeds = st.integers(0, 2**16)
images = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
tensors = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def load(model: bytes) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        return load_model(path)


def assert_same_codes(model: bytes, shape: Shape, seed: int = 0) -> Graph:
    """Golden, what the Graph means, and LiteRT agree in every code."""
    graph = load(model)
    x = random_codes(np.random.default_rng(seed), shape)
    executor = GoldenExecutor(isolated(inference(graph)))
    executor.infer(x.reshape(-1))
    expected = run_litert(model, x)
    np.testing.assert_array_equal(executor.output().reshape(expected.shape), expected)
    np.testing.assert_array_equal(run_graph(graph, x), expected)
    return graph


class Model:
    """A file of one input; each operator of int32 constants takes and returns tensors."""

    def __init__(self, shape: Shape) -> None:
        self.b = Builder()
        self.shape = shape
        self.x = self.b.tensor("x", (1, *shape), quantization=Q)
        self._count = 0

    def tensor(self, shape: Sequence[int]) -> int:
        self._count += 1
        return self.b.tensor(f"t{self._count}", (1, *shape), quantization=Q)

    def integers(self, *values: int) -> int:
        self._count += 1
        return self.b.tensor(f"c{self._count}", (len(values),), "int32", data=np.array(values, np.int32))

    def op(
        self, kind: str, inputs: Sequence[int], shape: Sequence[int], options: dict[str, int | bool] | None = None
    ) -> int:
        y = self.tensor(shape)
        self.b.operator(kind, inputs, [y], options)
        return y

    def build(self, y: int) -> bytes:
        return self.b.build([self.x], [y])

    def assert_same_codes(self, y: int, seed: int = 0) -> Graph:
        return assert_same_codes(self.build(y), self.shape, seed)


@given(tensors, st.data(), seeds)
@examples(10)
def test_concatenation(shape: Shape, data: st.DataObject, seed: int) -> None:
    """Of the input, of parts of it, in any order and more than once."""
    axis, count = data.draw(st.integers(0, len(shape) - 1)), data.draw(st.integers(1, 4))
    m = Model(shape)
    parts, total = [], 0
    for _ in range(count):
        size = list(shape)
        size[axis] = data.draw(st.integers(1, shape[axis]))
        total += size[axis]
        begin, end = m.integers(*[0] * (len(shape) + 1)), m.integers(1, *size)
        whole = size[axis] == shape[axis]
        parts.append(m.x if whole else m.op("SLICE", [m.x, begin, end], size))
    stated = axis + 1 if data.draw(st.booleans()) else axis - len(shape)
    y_shape = [total if a == axis else n for a, n in enumerate(shape)]
    m.assert_same_codes(m.op("CONCATENATION", parts, y_shape, {"Axis": stated, "FusedActivationFunction": 0}), seed)


@given(tensors, st.data(), seeds)
@examples(25)
def test_strided_slice_with_any_masks_and_negative_strides(shape: Shape, data: st.DataObject, seed: int) -> None:
    begin, end, stride = [0], [1], [1]
    taken: list[int] = []
    begin_mask = end_mask = shrink_mask = 0
    for a, n in enumerate(shape, start=1):
        step = data.draw(st.sampled_from([-2, -1, 1, 1, 2, 3]))
        first, last = (data.draw(st.integers(-n - 1, n + 1)) for _ in range(2))
        open_begin, open_end = data.draw(st.booleans()), data.draw(st.booleans())
        shrinks = data.draw(st.sampled_from([False, False, True])) and len(shape) > 1 and len(taken) < 3
        if shrinks:
            first, step, open_begin, open_end = data.draw(st.integers(-n, n - 1)), 1, False, False
            last = (first + n) % n + 1
        elif not range(*slice(None if open_begin else first, None if open_end else last, step).indices(n)):
            open_begin = open_end = True
        begin_mask |= open_begin << a
        end_mask |= open_end << a
        shrink_mask |= shrinks << a
        begin.append(first)
        end.append(last)
        stride.append(step)
        chosen = slice(None if open_begin else first, None if open_end else last, step)
        taken.append(1 if shrinks else len(range(*chosen.indices(n))))
    kept = [n for a, n in enumerate(taken, start=1) if not shrink_mask >> a & 1] or None
    if kept is None:  # the batch alone is no tensor of a network
        shrink_mask, kept = 0, taken
    m = Model(shape)
    masks = {"BeginMask": begin_mask, "EndMask": end_mask, "ShrinkAxisMask": shrink_mask}
    options: dict[str, int | bool] = {**masks, "EllipsisMask": 0, "NewAxisMask": 0, "Offset": False}
    constants = [m.integers(*values) for values in (begin, end, stride)]
    m.assert_same_codes(m.op("STRIDED_SLICE", [m.x, *constants], kept, options), seed)


@given(tensors, st.data(), seeds)
@examples(10)
def test_slice(shape: Shape, data: st.DataObject, seed: int) -> None:
    begin = [data.draw(st.integers(0, n - 1)) for n in shape]
    size = [data.draw(st.integers(1, n - b)) for n, b in zip(shape, begin, strict=True)]
    stated = [-1 if data.draw(st.booleans()) and b + s == n else s for n, b, s in zip(shape, begin, size, strict=True)]
    m = Model(shape)
    m.assert_same_codes(m.op("SLICE", [m.x, m.integers(0, *begin), m.integers(1, *stated)], size), seed)


@pytest.mark.parametrize("kind", ["SPLIT", "SPLIT_V"])
@given(tensors, st.data(), seeds)
@examples(10)
def test_the_outputs_of_a_split_become_slices(kind: str, shape: Shape, data: st.DataObject, seed: int) -> None:
    """Put together again in the reverse order, without the first."""
    axis = data.draw(st.integers(0, len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    if kind == "SPLIT":
        sizes = [sizes[0]] * len(sizes)
    shape = tuple(sum(sizes) if a == axis else n for a, n in enumerate(shape))
    m = Model(shape)
    outputs = [m.tensor([size if a == axis else n for a, n in enumerate(shape)]) for size in sizes]
    stated = m.b.tensor("axis", (), "int32", data=np.array(axis + 1, np.int32))
    inputs = [stated, m.x] if kind == "SPLIT" else [m.x, m.integers(*sizes), stated]
    m.b.operator(kind, inputs, outputs, {"NumSplits": len(sizes)})
    kept = [sum(sizes[1:]) if a == axis else n for a, n in enumerate(shape)]
    options: dict[str, int | bool] = {"Axis": axis + 1, "FusedActivationFunction": 0}
    graph = m.assert_same_codes(m.op("CONCATENATION", outputs[:0:-1], kept, options), seed)
    assert sum(op.kind == "slice" for op in graph.operators) == len(sizes) - 1


@pytest.mark.parametrize("value", [None, -128, 77])
@given(tensors, st.data(), seeds)
@examples(10)
def test_pad_of_any_axis_with_any_value(value: int | None, shape: Shape, data: st.DataObject, seed: int) -> None:
    amounts = [(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))) for _ in shape]
    m = Model(shape)
    flat = np.array([(0, 0), *amounts], np.int32)
    inputs = [m.x, m.b.tensor("amounts", flat.shape, "int32", data=flat)]
    if value is not None:
        inputs.append(m.b.tensor("value", (1,), quantization=Q, data=np.array([value], np.int8)))
    y_shape = [n + sum(edges) for n, edges in zip(shape, amounts, strict=True)]
    m.assert_same_codes(m.op("PAD" if value is None else "PADV2", inputs, y_shape), seed)


@given(tensors, st.randoms(use_true_random=False), seeds)
@examples(12)
def test_transpose(shape: Shape, random: object, seed: int) -> None:
    permutation = np.random.default_rng(seed).permutation(len(shape))
    m = Model(shape)
    y_shape = [shape[a] for a in permutation]
    m.assert_same_codes(m.op("TRANSPOSE", [m.x, m.integers(0, *(int(a) + 1 for a in permutation))], y_shape), seed)


@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True), (True, True)])
@given(images, st.integers(1, 15), st.integers(1, 15), seeds)
@examples(10)
def test_resize_to_the_nearest_neighbour(
    align: bool, half: bool, shape: Shape, height: int, width: int, seed: int
) -> None:
    m = Model(shape)
    options: dict[str, int | bool] = {"AlignCorners": align, "HalfPixelCenters": half}
    size = m.integers(height, width)
    m.assert_same_codes(m.op("RESIZE_NEAREST_NEIGHBOR", [m.x, size], (height, width, shape[2]), options), seed)


@pytest.mark.parametrize("block", [2, 3])
@given(images, seeds)
@examples(8)
def test_space_to_depth_and_back(block: int, shape: Shape, seed: int) -> None:
    rows, columns, channels = shape
    wide, deep = (rows * block, columns * block, channels), (rows, columns, channels * block * block)
    m = Model(wide)
    m.assert_same_codes(m.op("SPACE_TO_DEPTH", [m.x], deep, {"BlockSize": block}), seed)
    m = Model(deep)
    m.assert_same_codes(m.op("DEPTH_TO_SPACE", [m.x], wide, {"BlockSize": block}), seed)


@given(tensors, st.data(), seeds)
@examples(10)
def test_tile(shape: Shape, data: st.DataObject, seed: int) -> None:
    repeats = [data.draw(st.integers(1, 3)) for _ in shape]
    m = Model(shape)
    y_shape = [n * k for n, k in zip(shape, repeats, strict=True)]
    m.assert_same_codes(m.op("TILE", [m.x, m.integers(1, *repeats)], y_shape), seed)


def shuffled(m: Model) -> int:
    """Channels in two groups, dealt out in turn."""
    height, width, channels = m.shape
    split = m.op("RESHAPE", [m.x, m.integers(1, height, width, 2, channels // 2)], (height, width, 2, channels // 2))
    dealt = m.op("TRANSPOSE", [split, m.integers(0, 1, 2, 4, 3)], (height, width, channels // 2, 2))
    return m.op("RESHAPE", [dealt, m.integers(1, *m.shape)], m.shape)


def test_a_channel_shuffle() -> None:
    m = Model((3, 4, 6))
    m.assert_same_codes(shuffled(m))


def test_a_network_that_was_exported_channels_first_has_one_transpose_at_its_input() -> None:
    """Back and forth round a convolution and an activation; the last one goes into the weights of the fully connected layer."""
    rng = np.random.default_rng(4)
    m = Model((2, 4, 5))
    b = m.b
    last = m.op("TRANSPOSE", [m.x, m.integers(0, 2, 3, 1)], (4, 5, 2))
    weights, bias = random_codes(rng, (3, 3, 3, 2)), rng.integers(-900, 900, 3).astype(np.int32)
    conv = [last, *add_weights(b, weights, bias, input_scale=Q[0], weight_scale=0.013, name="conv_")]
    options = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    y = b.tensor("conv", (1, 4, 5, 3), quantization=(0.4, 5))
    b.operator("CONV_2D", conv, [y], {**options, "FusedActivationFunction": 0})
    first = b.tensor("first", (1, 3, 4, 5), quantization=(0.4, 5))
    b.operator("TRANSPOSE", [y, m.integers(0, 3, 1, 2)], [first])
    relu = b.tensor("relu", (1, 3, 4, 5), quantization=(0.3, -128))
    b.operator("RELU", [first], [relu])
    flat = b.tensor("flat", (1, 60), quantization=(0.3, -128))
    b.operator("RESHAPE", [relu, m.integers(1, 60)], [flat])
    dense, dense_bias = random_codes(rng, (7, 60)), rng.integers(-900, 900, 7).astype(np.int32)
    operands = [flat, *add_weights(b, dense, dense_bias, input_scale=0.3, weight_scale=0.0171, name="dense_")]
    end = b.tensor("end", (1, 7), quantization=(5.7, 1))
    b.operator("FULLY_CONNECTED", operands, [end], {"FusedActivationFunction": 0})
    model = m.build(end)
    graph = load(model)
    assert [op.kind for op in graph.operators] == ["transpose", "conv2d", "requantize", "reshape", "fully_connected"]
    for seed in range(5):
        x = random_codes(np.random.default_rng(seed), m.shape)
        executor = GoldenExecutor(isolated(inference(graph)))
        executor.infer(x.reshape(-1))
        np.testing.assert_array_equal(executor.output(), run_litert(model, x))


def refused(make: Callable[[Model], int], shape: Shape = (4, 4, 2)) -> str:
    m = Model(shape)
    with pytest.raises(UsageError) as error:
        load(m.build(make(m)))
    text = str(error.value)
    assert "\n" not in text
    return text


def test_what_moves_the_batch_is_refused_with_its_reason() -> None:
    one = {"FusedActivationFunction": 0}
    axis = refused(lambda m: m.op("CONCATENATION", [m.x, m.x], (4, 4, 2), {"Axis": 0, **one}))
    assert "CONCATENATION #0 (output 't1'): its axis is 0, the batch" in axis
    turned = refused(lambda m: m.op("TRANSPOSE", [m.x, m.integers(1, 0, 2, 3)], (4, 4, 2)))
    assert "moves the batch" in turned
    amounts = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], np.int32)
    padded = refused(lambda m: m.op("PAD", [m.x, m.b.tensor("p", (4, 2), "int32", data=amounts)], (4, 4, 2)))
    assert "it pads the batch" in padded


def test_a_mirrored_border_is_refused_by_name() -> None:
    amounts = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)

    def mirrored(m: Model) -> int:
        return m.op("MIRROR_PAD", [m.x, m.b.tensor("p", (4, 2), "int32", data=amounts)], (6, 6, 2), {"Mode": 0})

    assert "MIRROR_PAD #0" in refused(mirrored)


def test_operands_of_other_scales_and_fused_activations_are_refused_as_in_litert() -> None:
    other = Builder()
    x, y = (other.tensor(name, (1, 4, 4, 2), quantization=q) for name, q in (("x", Q), ("y", (0.25, -3))))
    other.operator("SPACE_TO_DEPTH", [x], [y], {"BlockSize": 1})
    with pytest.raises(UsageError, match="different scales or zero points"):
        load(other.build([x], [y]))
    fused: dict[str, int | bool] = {"Axis": 3, "FusedActivationFunction": 1}
    assert "fused activation" in refused(lambda m: m.op("CONCATENATION", [m.x, m.x], (4, 4, 4), fused))


@pytest.mark.parametrize(
    ("begin", "size", "reason"),
    [([0, 3, 0, 0], [1, 2, 4, 2], "reach outside"), ([0, -1, 0, 0], [1, 1, 4, 2], "reach outside")],
)
def test_a_slice_outside_its_input_is_refused(begin: list[int], size: list[int], reason: str) -> None:
    assert reason in refused(lambda m: m.op("SLICE", [m.x, m.integers(*begin), m.integers(*size)], size[1:]))
