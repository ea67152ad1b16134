"""Transposes are folded away where they cancel or vanish into weights, and the network means the same to the code wherever they go."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.graph import Graph, PadAttributes, Padding, TransposeAttributes
from mcutrain.graph.validate import validate
from mcutrain.importers.transposes import behind_reshape, fold_transposes
from support.examples import examples
from support.graph_reference import run_graph
from support.networks import NetBuilder, samples

Shape = tuple[int, ...]


def folded(graph: Graph, layout: Shape | None = None) -> Graph:
    tensors, operators = dict(graph.tensors), list(graph.operators)
    fold_transposes(tensors, operators, graph.input, graph.output, layout=layout)
    made = replace(graph, tensors=tensors, operators=tuple(operators))
    validate(made)
    return made


def transposes(graph: Graph) -> int:
    return sum(op.kind == "transpose" for op in graph.operators)


def assert_folds_to(graph: Graph, left: int) -> Graph:
    made = folded(graph)
    x = samples(graph, 1)[0]
    np.testing.assert_array_equal(run_graph(made, x), run_graph(graph, x))
    assert transposes(made) == left
    return made


def net() -> NetBuilder:
    return NetBuilder(21, (4, 3, 2))


def test_a_pair_that_cancels_is_gone() -> None:
    n = net()
    y = n.transpose(n.transpose("x", 2, 0, 1), 1, 2, 0)
    assert_folds_to(n.graph(n.conv(y, 3)), 0)


def test_a_pair_that_does_not_cancel_is_one() -> None:
    n = net()
    y = n.transpose(n.transpose("x", 2, 0, 1), 2, 0, 1)
    made = assert_folds_to(n.graph(n.conv(y, 3)), 1)
    assert made.operators[0].attributes == TransposeAttributes((1, 2, 0))


THROUGH: dict[str, Callable[[NetBuilder, str], str]] = {
    "relu": lambda n, y: n.relu(y),
    "pad": lambda n, y: n.pad(y),
    "pad of channels": lambda n, y: n.pad_channels(y, (1, 2), 9),
    "slice": lambda n, y: n.slice(y, (1, 3, 0), (1, 2, 3), (1, -2, 1)),
    "units": lambda n, y: n.reshape(n.relu(n.reshape(y, 1, 2, 4, 1, 3)), 2, 4, 3),
    "merged and split": lambda n, y: n.reshape(n.reshape(y, 2, 12), 2, 4, 3),
    "twice into an add": lambda n, y: n.add(y, y),
    "twice into a concatenation": lambda n, y: n.concatenate(y, y, axis=1),
    "two readers": lambda n, y: n.transpose(n.transpose(y, 1, 2, 0), 2, 0, 1),
}


@pytest.mark.parametrize("name", THROUGH)
def test_a_pair_cancels_through_what_does_not_mind_the_order(name: str) -> None:
    n = net()
    y = THROUGH[name](n, n.transpose("x", 2, 0, 1))  # channels, height, width
    assert_folds_to(n.graph(n.conv(n.transpose(y, 1, 2, 0), 3)), 0)


@pytest.mark.parametrize("join", ["add", "concatenate"])
def test_branches_that_join_in_the_same_order_cancel_with_what_follows(join: str) -> None:
    n = net()
    left, right = n.transpose(n.relu("x"), 2, 0, 1), n.relu(n.transpose(n.relu("x"), 2, 0, 1))
    y = n.add(left, right) if join == "add" else n.concatenate(left, right, axis=0)
    if join == "concatenate":  # of one scale, as both are relus of the same
        right_scale = n.tensors[right].quantization
        n.tensors[left] = replace(n.tensors[left], quantization=right_scale)
        n.tensors[n.operators[0].outputs[0]] = replace(n.tensors[n.operators[0].outputs[0]], quantization=right_scale)
        n.tensors[y] = replace(n.tensors[y], quantization=right_scale)
    assert_folds_to(n.graph(n.conv(n.transpose(y, 1, 2, 0), 3)), 0)


def test_branches_that_join_in_different_orders_stay() -> None:
    n = NetBuilder(22, (3, 3, 3))
    y = n.add(n.transpose("x", 2, 0, 1), n.transpose("x", 1, 0, 2))
    assert_folds_to(n.graph(n.conv(n.transpose(y, 1, 2, 0), 3)), 3)


@pytest.mark.parametrize("relu", [False, True])
def test_a_transpose_that_is_flattened_into_a_layer_goes_into_its_weights(relu: bool) -> None:
    n = net()
    y = n.flatten(n.transpose(n.conv("x", 5), 2, 0, 1))
    made = assert_folds_to(n.graph(n.dense(n.relu(y) if relu else y, 6)), 0)
    assert made.operators[1].kind == "reshape"


def test_weights_that_another_layer_reads_too_stay_as_they_are() -> None:
    n = NetBuilder(23, (4, 3, 2))
    y = n.flatten(n.transpose("x", 2, 0, 1))
    first = n.dense(y, 6)
    beside = n.dense(n.flatten("x"), 6)
    operators = [
        replace(op, inputs=(op.inputs[0], *n.operators[2].inputs[1:])) if op.outputs == (beside,) else op
        for op in n.operators
    ]
    n.operators[:] = operators
    kept = n.tensors[n.operators[2].inputs[1]].data
    made = assert_folds_to(n.graph(n.add(first, beside)), 1)
    np.testing.assert_array_equal(made.tensors[made.operators[2].inputs[1]].data, kept)


def test_one_that_moves_only_axes_of_one_element_is_a_reshape() -> None:
    n = NetBuilder(24, (1, 6, 1))
    made = assert_folds_to(n.graph(n.dense(n.flatten(n.transpose("x", 2, 1, 0)), 3)), 0)
    assert made.operators[0].kind == "reshape"


def test_what_cannot_cancel_is_executed_at_either_end() -> None:
    n = net()
    y = n.conv(n.transpose("x", 1, 0, 2), 3)
    assert_folds_to(n.graph(n.relu(n.transpose(y, 2, 0, 1))), 2)


def test_an_input_in_the_layout_of_its_user_needs_no_transpose() -> None:
    n = net()
    graph = n.graph(n.conv(n.transpose("x", 2, 0, 1), 3))
    made = folded(graph, layout=(2, 0, 1))
    assert transposes(made) == 0
    assert made.tensors["x"].shape == (2, 4, 3)
    x = samples(graph, 1)[0]
    np.testing.assert_array_equal(run_graph(made, x.transpose(2, 0, 1)), run_graph(graph, x))
    assert transposes(folded(graph, layout=(1, 2, 0))) == 1


def test_a_file_full_of_transposes_takes_no_longer_than_one_without() -> None:
    """As many operators as a file may have: a chain in which each pair waits for the one before it, and branches that never join."""
    n = NetBuilder(25, (2, 3, 2))
    y = "x"
    for _ in range(600):
        y = n.relu(n.transpose(n.relu(y), 2, 0, 1))
    ends = [n.transpose("x", *order) for order in ((2, 0, 1), (0, 2, 1)) * 300]
    for end in ends:
        y = n.add(n.flatten(y), n.flatten(end))
    tensors, operators = dict(n.tensors), list(n.operators)
    begin = time.process_time()
    fold_transposes(tensors, operators, "x", y)
    assert time.process_time() - begin < 5
    assert sum(op.kind == "transpose" for op in operators) <= 601


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple), st.data())
@examples(60)
def test_a_reshape_before_the_transpose_does_what_one_behind_it_did(shape: Shape, data: st.DataObject) -> None:
    permutation = tuple(data.draw(st.permutations(range(len(shape)))))
    rest, target = math.prod(shape), data.draw(st.sampled_from([[], [1]]))
    while rest > 1:
        size = data.draw(st.sampled_from([n for n in range(2, rest + 1) if rest % n == 0]))
        target = [*target, size, *data.draw(st.sampled_from([[], [], [1]]))]
        rest //= size
    x = np.arange(math.prod(shape)).reshape(shape)
    found = behind_reshape(shape, permutation, tuple(target or [1]))
    if found is None:
        # Then some run of the result steps as no axis that could have been split or merged before it does.
        assert len([n for n in shape if n > 1]) > 1
        return
    before, after = found
    np.testing.assert_array_equal(x.reshape(before).transpose(after), x.transpose(permutation).reshape(target or [1]))


@pytest.mark.parametrize(
    ("shape", "permutation", "target", "expected"),
    [
        ((4, 3, 2), (2, 0, 1), (2, 12), ((12, 2), (1, 0))),
        ((4, 3, 2), (2, 0, 1), (24,), None),
        ((4, 3, 6), (2, 0, 1), (2, 3, 4, 3), ((4, 3, 2, 3), (2, 3, 0, 1))),
        ((4, 1, 2), (2, 1, 0), (2, 4), ((4, 2), (1, 0))),
        ((4, 3, 2), (1, 0, 2), (3, 8), None),
    ],
)
def test_which_reshapes_a_transpose_can_pass(shape: Shape, permutation: Shape, target: Shape, expected: object) -> None:
    assert behind_reshape(shape, permutation, target) == expected


def test_a_border_turns_with_the_axes() -> None:
    n = net()
    y = n.pad(n.transpose("x", 2, 0, 1))
    made = folded(n.graph(n.transpose(y, 1, 2, 0)))
    assert made.operators[0].attributes == PadAttributes(Padding(0, 1, 0, 0), (1, 2))
