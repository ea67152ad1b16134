"""validate() accepts a sound Graph and names what is wrong in every other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mcutrain.errors import UsageError
from mcutrain.graph import (
    AddAttributes,
    ConcatenateAttributes,
    ConvAttributes,
    Graph,
    LogSoftmaxAttributes,
    Operator,
    PadAttributes,
    Padding,
    PoolAttributes,
    RequantizeAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    SoftmaxAttributes,
    TableAttributes,
    Tensor,
    TransposeAttributes,
)
from mcutrain.graph.attributes import Attributes
from mcutrain.graph.validate import validate
from support.graphs import quantization, small_graph

CONV_PADDING = Padding(top=1, bottom=1, left=0, right=1)


def with_tensor(name: str, /, **changes: Any) -> Graph:
    graph = small_graph()
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **changes)})


def with_operator(index: int, **changes: Any) -> Graph:
    graph = small_graph()
    operators = list(graph.operators)
    operators[index] = replace(operators[index], **changes)
    return replace(graph, operators=tuple(operators))


def of_one(kind: str, attributes: Attributes, x: Tensor, y: Tensor, *others: Tensor) -> Graph:
    op = Operator(f"{kind}0", kind, (x.name, *(t.name for t in others)), (y.name,), attributes)
    return Graph("one", {t.name: t for t in (x, y, *others)}, (op,), x.name, y.name, "test", "0" * 64)


def activation(name: str, *shape: int, scale: float = 0.5, zero_point: int = 3) -> Tensor:
    return Tensor(name, shape, "int8", quantization(scale, zero_point))


def complaint(graph: Graph) -> str:
    with pytest.raises(UsageError) as error:
        validate(graph)
    return str(error.value)


def test_a_sound_graph_is_accepted() -> None:
    validate(small_graph())


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (replace(small_graph(), operators=()), "no operators"),
        (replace(small_graph(), input="nowhere"), "tensor 'nowhere' is not defined"),
        (replace(small_graph(), output="f"), "'f' is also read inside the network"),
        (with_tensor("y", name="z"), "tensor 'y' is stored under another name"),
        (with_tensor("c", shape=(4, 3, 6)), "conv0: output 'c' has shape (4, 3, 6), not (4, 3, 5)"),
        (with_tensor("c", shape=()), "tensor 'c' has no dimensions"),
        (with_tensor("c", dtype="float32"), "tensor 'c' is float32, not int8 or int32"),
        (with_tensor("c", dtype="int32"), "tensor 'c' is an activation of type int32"),
        (with_tensor("c", quantization=None), "tensor 'c' has no scale"),
        (with_tensor("c", quantization=quantization(2.0, 128)), "tensor 'c' has the zero point 128"),
        (with_tensor("c", quantization=quantization(float("nan"))), "tensor 'c' has a scale that is not"),
        (with_tensor("c", quantization=quantization([1.0] * 5, 0, 2)), "'c' is an activation with a scale per channel"),
        (with_tensor("c", quantization=quantization([1.0] * 5)), "'c' has 5 scales but no channel axis"),
        (with_tensor("conv_weights", quantization=quantization([0.1] * 4, 0, 0)), "has 4 scales for 5 channels"),
        (with_tensor("conv_weights", quantization=quantization([0.1] * 2, 0, 3)), "are not per output"),
        (with_tensor("conv_weights", quantization=quantization(0.1, 1)), "a zero point other than 0"),
        (with_tensor("conv_weights", quantization=quantization(0.1)), "the scale of bias 'conv_bias' is not"),
        (with_tensor("dense_weights", data=np.zeros((7, 4), np.int8)), "has data of shape (7, 4), not (7, 5)"),
        (with_tensor("dense_weights", data=np.zeros((7, 5), np.int16)), "has data of type int16, not int8"),
        (with_tensor("p", quantization=quantization(1e-12)), "average_pool1: rescaling by"),
        (with_tensor("p", quantization=quantization(2.0, 8)), "reshape2: input 'p' and output 'f' have different"),
        (with_tensor("y", quantization=quantization(1e-12)), "fully_connected3: rescaling by"),
        (with_tensor("dense_bias", data=np.full(7, 2**31 - 1, np.int32)), "the sum of output channel"),
        (with_operator(0, kind="dance"), "conv0: unknown kind 'dance'"),
        (with_operator(0, attributes=AddAttributes()), "conv0 has AddAttributes"),
        (with_operator(0, attributes=ConvAttributes((-129, 127), padding=CONV_PADDING)), "conv0: the clamp [-129, 127]"),
        (with_operator(0, attributes=ConvAttributes((4, 3), padding=CONV_PADDING)), "conv0: the clamp [4, 3] is empty"),
        (with_operator(0, attributes=ConvAttributes(stride=(0, 1))), "conv0: kernel (3, 2) or stride (0, 1)"),
        (with_operator(0, attributes=ConvAttributes(padding=Padding(top=-1))), "is out of range"),
        (with_operator(0, inputs=("x", "conv_weights")), "conv0 has 2 inputs, not 3"),
        (with_operator(0, inputs=("x", "x", "conv_bias")), "conv0: input 'x' must be a constant"),
        (with_operator(0, outputs=("c", "p")), "conv0 has 2 outputs, not 1"),
        (with_operator(1, attributes=PoolAttributes((4, 3), (1, 1), Padding(top=4))), "reaches the kernel's size 4"),
        (with_operator(1, inputs=("p",)), "average_pool1 reads tensor 'p' before any operator wrote it"),
        (with_operator(1, outputs=("c",)), "average_pool1 writes tensor 'c', which is already written"),
        (with_operator(1, name="conv0"), "two operators are called conv0"),
        (with_operator(3, attributes=ConvAttributes(stride=(2, 2))), "has no stride, padding, dilation or groups"),
        (with_operator(3, attributes=ConvAttributes(dilation=(1, 2))), "has no stride, padding, dilation or groups"),
        (with_operator(0, attributes=ConvAttributes(dilation=(0, 1))), "conv0: dilation (0, 1) is out of range"),
        (with_operator(0, attributes=ConvAttributes(dilation=(1, 65536))), "of dilation (1, 65536) is out of range"),
        (with_operator(0, attributes=ConvAttributes(dilation=(1, 2), padding=CONV_PADDING)), "not (4, 2, 5)"),
        (with_operator(0, attributes=ConvAttributes(groups=0)), "conv0: 0 groups of"),
        (with_operator(0, attributes=ConvAttributes(groups=2)), "groups of 2 input and 5 output channels are not whole"),
    ],
)  # fmt: skip
def test_a_graph_that_breaks_an_invariant_is_refused_with_the_place(graph: Graph, reason: str) -> None:
    assert reason in complaint(graph)


def test_a_result_that_nothing_reads_is_refused() -> None:
    graph = small_graph()
    extra = Operator("requantize4", "requantize", ("c",), ("lost",), RequantizeAttributes())
    tensors = {**graph.tensors, "lost": activation("lost", 4, 3, 5)}
    assert "nothing uses tensor 'lost'" in complaint(
        replace(graph, tensors=tensors, operators=(*graph.operators, extra))
    )


def test_a_max_pool_has_no_scale_and_no_clamp_of_its_own() -> None:
    x, y = activation("x", 4, 4, 2), activation("y", 1, 1, 2)
    window = PoolAttributes((4, 4), (1, 1))
    validate(of_one("max_pool", window, x, y))
    assert "different scales" in complaint(of_one("max_pool", window, x, activation("y", 1, 1, 2, scale=0.4)))
    assert "no clamp of its own" in complaint(of_one("max_pool", replace(window, clamp=(0, 127)), x, y))
    validate(of_one("average_pool", replace(window, clamp=(0, 127)), x, activation("y", 1, 1, 2, scale=0.4)))


def test_an_add_of_shapes_that_do_not_broadcast_is_refused() -> None:
    x, y = activation("x", 4, 4, 2), activation("y", 4, 4, 2)
    graph = of_one("add", AddAttributes(), x, y, x)
    validate(graph)
    pool = Operator("pool", "average_pool", ("x",), ("small",), PoolAttributes((4, 4), (1, 1)))
    add = Operator("add0", "add", ("x", "small"), ("y",), AddAttributes())
    tensors = {**graph.tensors, "small": activation("small", 1, 1, 2)}
    validate(replace(graph, tensors=tensors, operators=(pool, add)))
    pool = replace(pool, attributes=PoolAttributes((2, 4), (2, 1)))
    tensors |= {"small": activation("small", 2, 1, 2)}
    assert "broadcast" in complaint(replace(graph, tensors=tensors, operators=(pool, add)))


def test_an_add_whose_output_scale_is_far_below_its_inputs_is_refused() -> None:
    x = activation("x", 4)
    assert "add0: the scale of 'y' is too small" in complaint(
        of_one("add", AddAttributes(), x, activation("y", 4, scale=0.5e-6), x)
    )


def test_the_output_of_pad_is_larger_by_the_padding() -> None:
    attributes = PadAttributes(Padding(1, 2, 3, 4))
    validate(of_one("pad", attributes, activation("x", 5, 5, 2), activation("y", 8, 12, 2)))
    assert "pad0: output 'y' has shape (8, 11, 2), not (8, 12, 2)" in complaint(
        of_one("pad", attributes, activation("x", 5, 5, 2), activation("y", 8, 11, 2))
    )


def test_the_output_of_log_softmax_has_a_scale_that_its_fixed_point_reaches() -> None:
    x = activation("x", 6)
    validate(of_one("log_softmax", LogSoftmaxAttributes(), x, activation("y", 6, scale=1 / 16, zero_point=127)))
    coarse = activation("y", 6, scale=0.07, zero_point=127)
    assert "above 1/16; end the model before" in complaint(of_one("log_softmax", LogSoftmaxAttributes(), x, coarse))


def test_a_table_has_a_code_and_a_slope_for_every_input_code() -> None:
    x, y = activation("x", 6), activation("y", 6)
    codes, slopes = tuple(range(-128, 128)), (1.0,) * 256
    validate(of_one("table", TableAttributes("f", codes, slopes), x, y))
    for wrong, reason in (
        (TableAttributes("f", codes[1:], slopes), "255 codes and 256 slopes, not 256"),
        (TableAttributes("f", (128, *codes[1:]), slopes), "a code is outside"),
        (TableAttributes("f", codes, (math.inf, *slopes[1:])), "a slope is not finite"),
    ):
        assert reason in complaint(of_one("table", wrong, x, y))


def test_a_softmax_whose_beta_is_0_is_refused() -> None:
    fixed = activation("y", 6, scale=1 / 256, zero_point=-128)
    validate(of_one("softmax", SoftmaxAttributes(), activation("x", 6), fixed))
    assert "is too small" in complaint(of_one("softmax", SoftmaxAttributes(0.0), activation("x", 6), fixed))


def test_a_requantize_whose_ratio_shifts_out_of_32_bits_is_refused() -> None:
    x, tiny = activation("x", 6), activation("y", 6, scale=1e-9)
    assert "requantize0: rescaling by 5e+08 can overflow" in complaint(
        of_one("requantize", RequantizeAttributes(), x, tiny)
    )


def x_and_y(*y_shape: int) -> tuple[Tensor, Tensor]:
    return activation("x", 4, 3, 2), activation("y", *y_shape)


MOVED: list[tuple[Graph, str]] = [
    (of_one("concatenate", ConcatenateAttributes(3), *x_and_y(4, 3, 2)), "concatenate0: axis 3 of 3"),
    (of_one("concatenate", ConcatenateAttributes(2), *x_and_y(4, 3, 5)), "have 2 elements along axis 2, not 5"),
    (of_one("concatenate", ConcatenateAttributes(2), *x_and_y(5, 3, 2)), "differ beside axis 2"),
    (
        of_one("concatenate", ConcatenateAttributes(0), activation("x", 4, scale=0.1), activation("y", 4)),
        "different scales or zero points",
    ),
    (
        of_one("pad", PadAttributes(Padding(), (1, 0)), *x_and_y(4, 3, 2)),
        "output 'y' has shape (4, 3, 2), not (4, 3, 3)",
    ),
    (of_one("pad", PadAttributes(Padding(), (0, -1)), *x_and_y(4, 3, 1)), "(0, -1) channels are out of range"),
    (of_one("pad", PadAttributes(Padding(), (1, 0), 200), *x_and_y(4, 3, 3)), "the border's code 200 is outside"),
    (
        of_one("resize_nearest", ResizeNearestAttributes((0, 4), (0,)), *x_and_y(2, 1, 2)),
        "a row lies outside the 4 of 'x'",
    ),
    (of_one("resize_nearest", ResizeNearestAttributes((0,), (-1,)), *x_and_y(1, 1, 2)), "a column lies outside the 3"),
    (of_one("resize_nearest", ResizeNearestAttributes((0,), (0,)), *x_and_y(2, 1, 2)), "not (1, 1, 2)"),
    (
        of_one("resize_nearest", ResizeNearestAttributes((0,) * 257, (0,) * 256), *x_and_y(257, 256, 2)),
        "65792 copies of one element are more than the sum of their errors has room for",
    ),
    (of_one("slice", SliceAttributes((0, 0, 0), (1, 1, 0)), *x_and_y(4, 3, 2)), "slice0: begin"),
    (of_one("slice", SliceAttributes((0, 0, 0), (1, 1, 2)), *x_and_y(4, 3, 2)), "it reaches outside 'x' (4, 3, 2)"),
    (of_one("slice", SliceAttributes((1, 0, 0), (-1, 1, 1)), *x_and_y(3, 3, 2)), "it reaches outside 'x' (4, 3, 2)"),
    (of_one("transpose", TransposeAttributes((0, 1, 1)), *x_and_y(4, 3, 3)), "is no permutation of the axes"),
    (of_one("transpose", TransposeAttributes((2, 1, 0)), *x_and_y(4, 3, 2)), "not (2, 3, 4)"),
    (
        of_one(
            "transpose", TransposeAttributes((5, 4, 3, 2, 1, 0)), activation("x", *[2] * 6), activation("y", *[2] * 6)
        ),
        "'x' has 6 dimensions, more than 5",
    ),
]


@pytest.mark.parametrize(("graph", "reason"), MOVED)
def test_an_operator_that_would_move_what_is_not_there_is_refused(graph: Graph, reason: str) -> None:
    assert reason in complaint(graph)


def test_as_many_copies_of_an_element_as_their_errors_have_room_for_are_accepted() -> None:
    validate(of_one("resize_nearest", ResizeNearestAttributes((0,) * 256, (0,) * 256), *x_and_y(256, 256, 2)))
