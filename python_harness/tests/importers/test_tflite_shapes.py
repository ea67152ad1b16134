"""Shapes that a .tflite file computes at run time are computed at import, for batch 1."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflite
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.importers.tflite_file import read_tflite
from mcutrain.importers.tflite_folding import FOLDING_OPTIONS, MAX_FOLDED_ELEMENTS, fold_constants
from mcutrain.methods.inference import inference
from support.tflite_builder import Builder, add_weights, run_litert

Q = (0.05, 3)
Operands = Callable[["Shapes"], list[int]]
Options = dict[str, int | float | bool]


def load(tmp_path: Path, model: bytes) -> Graph:
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    return load_model(path)


def assert_bits_are_litert_s(graph: Graph, model: bytes) -> None:
    executor = GoldenExecutor(compile_plan(inference(graph)))
    for seed in range(5):
        shape = graph.tensors[graph.input].shape
        codes = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
        executor.infer(codes)
        np.testing.assert_array_equal(executor.output(), run_litert(model, codes).reshape(-1))


class Shapes(Builder):
    """A builder with a few words for the arithmetic of shapes."""

    def ints(self, name: str, *values: int, dtype: str = "int32") -> int:
        return self.tensor(name, (len(values),), dtype, data=np.array(values, dtype))

    def number(self, name: str, value: int) -> int:
        return self.tensor(name, (), "int32", data=np.array(value, np.int32))

    def batch_of(self, x: int, rank: int) -> int:
        """SHAPE and STRIDED_SLICE: the batch of x, as Keras takes it."""
        shape, batch = self.tensor("shape", (rank,), "int32"), self.tensor("batch", (), "int32")
        self.operator("SHAPE", [x], [shape], {"OutType": tflite.TensorType.INT32})
        ends = [self.ints(n, v) for n, v in (("begin", 0), ("end", 1), ("strides", 1))]
        self.operator("STRIDED_SLICE", [shape, *ends], [batch], {"ShrinkAxisMask": 1})
        return batch


def keras_flatten(batch: int = -1) -> bytes:
    """SHAPE -> STRIDED_SLICE -> PACK -> RESHAPE -> FULLY_CONNECTED, as Keras exports Flatten and Dense."""
    b = Shapes()
    x = b.tensor("x", (1, 3, 4, 2), quantization=Q, shape_signature=(batch, 3, 4, 2))
    rest, target = b.number("rest", 24), b.tensor("target", (2,), "int32")
    b.operator("PACK", [b.batch_of(x, 4), rest], [target], {"ValuesCount": 2, "Axis": 0})
    flat = b.tensor("flat", (1, 24), quantization=Q, shape_signature=(batch, 24))
    b.operator("RESHAPE", [x, target], [flat], {})
    weights = np.random.default_rng(1).integers(-128, 128, (5, 24)).astype(np.int8)
    operands = add_weights(b, weights, np.arange(5, dtype=np.int32) * 99, input_scale=Q[0], weight_scale=0.01)
    y = b.tensor("y", (1, 5), quantization=(0.3, -4), shape_signature=(batch, 5))
    b.operator("FULLY_CONNECTED", [flat, *operands], [y], {})
    return b.build([x], [y])


def test_keras_s_reshape_with_a_computed_shape_is_a_reshape(tmp_path: Path) -> None:
    model = keras_flatten()
    graph = load(tmp_path, model)
    assert [op.name for op in graph.operators] == ["reshape3", "fully_connected4"]
    assert_bits_are_litert_s(graph, model)


def folded(build: Callable[[Shapes], int]) -> NDArray[np.generic] | None:
    """The value that folding finds for the integer tensor that ``build`` makes; None where it leaves it."""
    b = Shapes()
    result = build(b)
    path = Path("model.tflite")
    model = fold_constants(read_tflite(path, b.build([], [result]), FOLDING_OPTIONS))
    t = model.tensors[result]
    return None if t.data is None else np.frombuffer(t.data.tobytes(), t.dtype).reshape(t.shape)


def of(
    kind: str,
    operands: Operands,
    options: Options | None = None,
    shape: tuple[int, ...] = (2,),
) -> Callable[[Shapes], int]:
    """An operator of integer operands, with the output's shape as the file states it."""

    def build(b: Shapes) -> int:
        y = b.tensor("y", shape, "int32")
        b.operator(kind, operands(b), [y], options)
        return y

    return build


def rows(*values: tuple[int, ...]) -> Operands:
    """Vectors of integers."""
    return lambda b: [b.ints(f"i{n}", *row) for n, row in enumerate(values)]


def numbers(*values: int) -> Operands:
    """Single integers."""
    return lambda b: [b.number(f"n{n}", value) for n, value in enumerate(values)]


# kind, operands, options, what TensorFlow defines the result to be
CASES: list[tuple[str, Operands, Options | None, object]] = [
    ("ADD", rows((1, 2), (3, 4)), {}, [4, 6]),
    ("SUB", rows((1, 2), (3, 5)), {}, [-2, -3]),
    ("MUL", rows((7, -2), (3, 4)), {}, [21, -8]),
    ("MAXIMUM", rows((7, -2), (3, 4)), {}, [7, 4]),
    ("MINIMUM", rows((7, -2), (3, 4)), {}, [3, -2]),
    ("FLOOR_DIV", rows((7, -7), (2, 2)), {}, [3, -4]),
    ("CONCATENATION", rows((1, 2), (3,)), {"Axis": 0}, [1, 2, 3]),
    ("PACK", rows((1, 2), (3, 4)), {"Axis": 1}, [[1, 3], [2, 4]]),
    ("GATHER", rows((5, 6, 7), (2, 0)), {"Axis": 0}, [7, 5]),
    ("REDUCE_PROD", rows((5, 6, 7), (0,)), {"KeepDims": 1}, [210]),
    ("REDUCE_PROD", rows((5, 6, 7), (0,)), {"KeepDims": 0}, 210),
    ("SLICE", rows((5, 6, 7), (1,), (-1,)), None, [6, 7]),
    ("SLICE", rows((5, 6, 7), (0,), (2,)), None, [5, 6]),
    ("STRIDED_SLICE", rows((5, 6, 7, 8), (1,), (3,), (1,)), {}, [6, 7]),
    ("STRIDED_SLICE", rows((5, 6, 7, 8), (3,), (0,), (-2,)), {"EndMask": 1}, [8, 6]),
    ("STRIDED_SLICE", rows((5, 6, 7, 8), (-1,), (0,), (1,)), {"ShrinkAxisMask": 1}, 8),
    ("BROADCAST_ARGS", rows((1, 4), (3, 1)), {}, [3, 4]),
    ("EXPAND_DIMS", numbers(9, 0), None, [9]),
    ("FILL", lambda b: [b.ints("shape", 3), b.number("value", 7)], {}, [7, 7, 7]),
    ("RANGE", numbers(1, 7, 2), None, [1, 3, 5]),
    ("SQUEEZE", rows((9,)), None, 9),
    ("CAST", lambda b: [b.ints("long", 4, 5, dtype="int64")], None, [4, 5]),
]


@pytest.mark.parametrize(("kind", "operands", "options", "expected"), CASES)
def test_an_operator_over_constant_integers_is_computed(
    kind: str, operands: Operands, options: Options | None, expected: object
) -> None:
    # The shape that the file states is a stand-in where the shape was dynamic: the value's own counts.
    shape = (5,) if kind in ("SQUEEZE", "EXPAND_DIMS", "RESHAPE") else (2,)
    value = folded(of(kind, operands, options, shape))
    assert value is not None
    assert value.tolist() == expected


HOSTILE: list[tuple[str, Operands, Options | None]] = [
    ("FILL", lambda b: [b.ints("shape", 1 << 20, 1 << 20), b.number("value", 7)], {}),
    ("FILL", lambda b: [b.ints("shape", -1), b.number("value", 7)], {}),
    ("RANGE", numbers(0, 1 << 30, 1), None),
    ("RANGE", numbers(0, 0, 0), None),
    ("GATHER", rows((5, 6, 7), (3,)), {"Axis": 0}),
    ("GATHER", rows((5, 6, 7), (-1,)), {"Axis": 0}),
    ("PACK", rows((5, 6), (7,)), {"Axis": 0}),
    ("PACK", rows((5, 6), (7, 8)), {"Axis": 9}),
    ("FLOOR_DIV", rows((5, 6), (0, 2)), {}),
    ("MUL", rows((1 << 30, 6), (4, 2)), {}),
    ("MUL", lambda b: [b.ints(n, 1 << 40, 3, dtype="int64") for n in "ab"], {}),
    ("REDUCE_PROD", rows((1 << 30, 1 << 30, 1 << 30), (0,)), {"KeepDims": 1}),
    ("ADD", rows((1, 2)), {}),
    ("STRIDED_SLICE", rows((5, 6), (0,), (2,), (0,)), {}),
    ("STRIDED_SLICE", rows((5, 6), (9,), (2,), (1,)), {"ShrinkAxisMask": 1}),
    ("STRIDED_SLICE", rows((5, 6), (1,), (1,), (1,)), {}),
    ("CONCATENATION", lambda b: [b.ints(f"i{n}", *range(MAX_FOLDED_ELEMENTS)) for n in range(2)], {"Axis": 0}),
]


@pytest.mark.parametrize(("kind", "operands", "options"), HOSTILE)
def test_what_is_no_shape_or_too_large_is_left_alone(kind: str, operands: Operands, options: Options | None) -> None:
    assert folded(of(kind, operands, options)) is None


def test_a_constant_that_is_read_many_times_does_not_fill_the_memory() -> None:
    tracemalloc.start()
    assert folded(of("CONCATENATION", lambda b: [b.ints("i", *range(1000))] * 10_000, {"Axis": 0})) is None
    # 10,000 times 1,000 elements of 8 bytes are 80 MB.
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_shape_that_depends_on_the_input_s_values_is_refused(tmp_path: Path) -> None:
    b = Shapes()
    x = b.tensor("x", (1, 4), quantization=Q)
    target, y = b.tensor("target", (2,), "int32"), b.tensor("y", (1, 4), quantization=Q)
    b.operator("CAST", [x], [target], {})
    b.operator("RESHAPE", [x, target], [y], {})
    with pytest.raises(UsageError, match="CAST #0"):
        load(tmp_path, b.build([x], [y]))


@pytest.mark.parametrize("kind", ["SQUEEZE", "EXPAND_DIMS"])
def test_a_dimension_of_one_that_comes_or_goes_is_a_reshape(tmp_path: Path, kind: str) -> None:
    b = Shapes()
    short, long = (1, 5, 3), (1, 5, 1, 3)
    x = b.tensor("x", short if kind == "EXPAND_DIMS" else long, quantization=Q)
    a, y = (b.tensor(n, long if kind == "EXPAND_DIMS" else short, quantization=Q) for n in "ay")
    if kind == "EXPAND_DIMS":
        b.operator(kind, [x, b.number("axis", 2)], [a])
    else:
        b.operator(kind, [x], [a], {"SqueezeDims": (2,)})
    b.operator("RELU", [a], [y])
    model = b.build([x], [y])
    graph = load(tmp_path, model)
    assert [op.kind for op in graph.operators] == ["reshape", "requantize"]
    assert graph.tensors["y"].shape == (long if kind == "EXPAND_DIMS" else short)[1:]
    assert_bits_are_litert_s(graph, model)


def test_a_reshape_whose_open_dimension_is_no_batch_takes_it_from_the_operand(tmp_path: Path) -> None:
    b = Shapes()
    x = b.tensor("x", (1, 6, 2), quantization=Q, shape_signature=(-1, 6, 2))
    a = b.tensor("a", (1, 3, 1), quantization=Q, shape_signature=(-1, 3, -1))
    y = b.tensor("y", (1, 12), quantization=Q, shape_signature=(-1, 12))
    b.operator("RESHAPE", [x, b.ints("wanted", 1, 3, -1)], [a], {})
    flat = b.tensor("flat", (1, 12), quantization=Q)
    b.operator("RESHAPE", [a, b.ints("all", 1, 12)], [flat], {})
    b.operator("RELU", [flat], [y])
    assert load(tmp_path, b.build([x], [y])).tensors["a"].shape == (3, 4)


def test_a_reshape_of_a_whole_batch_keeps_each_sample(tmp_path: Path) -> None:
    b = Shapes()
    x, flat, y = (
        b.tensor(n, (4, *shape), quantization=Q) for n, shape in (("x", (3, 8)), ("flat", (24,)), ("y", (24,)))
    )
    b.operator("RESHAPE", [x, b.ints("wanted", 4, -1)], [flat], {})
    b.operator("RELU", [flat], [y])
    assert load(tmp_path, b.build([x], [y])).tensors["flat"].shape == (24,)


def test_a_network_of_reshapes_is_read_but_not_planned(tmp_path: Path) -> None:
    b = Shapes()
    x, y = b.tensor("x", (1, 6, 2), quantization=Q), b.tensor("y", (1, 12), quantization=Q)
    b.operator("RESHAPE", [x, b.ints("flat", 1, 12)], [y], {})
    graph = load(tmp_path, b.build([x], [y]))
    assert [op.kind for op in graph.operators] == ["reshape"]
    with pytest.raises(UsageError, match="the network computes nothing"):
        compile_plan(inference(graph))


def rows_between(kind: str, options: Options | None = None) -> bytes:
    """[1, 3, 4] reshaped to rows [3, 4], one operator on them, and back."""
    b = Shapes()
    x, y = (b.tensor(n, (1, 3, 4), quantization=Q) for n in "xy")
    before, after = (b.tensor(n, (3, 4), quantization=Q) for n in ("before", "after"))
    b.operator("RESHAPE", [x, b.ints("rows", 3, 4)], [before], {})
    operands = [before] if kind == "RELU" else [before, b.ints("axis", 0)]
    b.operator(kind, operands, [after], options)
    b.operator("RESHAPE", [after, b.ints("back", 1, 3, 4)], [y], {})
    return b.build([x], [y])


def test_rows_of_one_sample_get_a_batch_of_their_own(tmp_path: Path) -> None:
    model = rows_between("RELU")
    graph = load(tmp_path, model)
    assert graph.tensors["before"].shape == graph.tensors["after"].shape == (3, 4)
    assert_bits_are_litert_s(graph, model)


def test_an_operator_with_an_axis_among_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tensor 'before' \(#2\) of shape \[3, 4\] does not have batch 1"):
        load(tmp_path, rows_between("MEAN", {"KeepDims": 1}))
