"""Which loss a network trains by, and what is refused as no classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator, Padding, ReshapeAttributes, Tensor
from mcutrain.methods.inference import InferenceOptions, inference
from mcutrain.methods.loss import chosen_loss
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.ops.steps import Phase
from support.networks import (
    NETWORKS,
    NetBuilder,
    autoencoder,
    averaged_classes,
    chain,
    class_map,
    convolutional_head,
    regression,
    two_heads,
)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_of_classes_trains_by_cross_entropy(name: str) -> None:
    assert chosen_loss(NETWORKS[name](), "auto") == "cross_entropy"


@pytest.mark.parametrize("network", [autoencoder, regression, class_map, two_heads])
def test_what_puts_out_values_trains_by_their_squared_error(network: Callable[[], Graph]) -> None:
    assert chosen_loss(network(), "auto") == "mse"


def test_a_head_of_values_has_the_kernel_of_the_squared_error_and_as_many_targets() -> None:
    for loss, kernel, values in (("auto", "softmax_cross_entropy_f32", 0), ("mse", "mean_squared_error_f32", 5)):
        training = sparse_update(NETWORKS["residual"](), SparseUpdateOptions.model_validate({"loss": loss}))
        assert [step.kernel for step in training.steps if step.phase is Phase.LOSS] == [kernel]
        assert training.target_values == values


@pytest.mark.parametrize(
    ("network", "loss", "message"),
    [
        (regression, "cross_entropy", "net9 is no classifier: it puts out one value for a sample; leave loss: cross_entropy out"),
        (class_map, "cross_entropy", "no classifier: it puts out 8 x 8 x 4 values for a sample, 64 rows of 4"),
        (two_heads, "cross_entropy", "no classifier: it puts out 2 x 3 values for a sample, 2 rows of 3"),
        (class_map, "auto", r"needs a last layer of one row of outputs.* but conv1 \(conv2d\) comes last and puts out 8 x 8 x 4; new_head"),
        (two_heads, "auto", r"softmax4 \(softmax\) puts out probabilities: train them by loss: cross_entropy"),
        (chain, "mse", r"softmax6 \(softmax\) puts out probabilities: train them by loss: cross_entropy"),
        (averaged_classes, "auto", r"average_pool3 \(average_pool\) averages what conv2 says of each pixel.*; new_head: CLASSES"),
    ],
)  # fmt: skip
def test_what_cannot_train_so_is_refused_in_one_line(network: Callable[[], Graph], loss: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        sparse_update(network(), SparseUpdateOptions.model_validate({"loss": loss}))
    assert "\n" not in str(refusal.value)


def test_two_classifiers_that_are_flattened_again_are_no_classifier() -> None:
    graph = two_heads()
    last = graph.tensors[graph.output]
    flat = Tensor("flat", (6,), "int8", last.quantization)
    flatten = Operator("reshape5", "reshape", (last.name,), ("flat",), ReshapeAttributes(), "RESHAPE")
    made = replace(graph, tensors={**graph.tensors, "flat": flat}, operators=(*graph.operators, flatten), output="flat")
    assert chosen_loss(made, "auto") == "mse"
    with pytest.raises(UsageError, match=r"softmax4 \(softmax\) makes 2 classifiers of its 6 outputs"):
        chosen_loss(made, "cross_entropy")


def test_inference_of_what_is_no_classifier_measures_values_too() -> None:
    assert inference(class_map()).target_values == 8 * 8 * 4
    with pytest.raises(UsageError, match="no classifier"):
        inference(class_map(), InferenceOptions(loss="cross_entropy"))


@pytest.mark.parametrize("kernel", [1, 4])
def test_a_convolution_over_all_of_its_input_is_a_head(kernel: int) -> None:
    graph = convolutional_head(kernel)
    training = sparse_update(graph, SparseUpdateOptions(scheme="full"))
    assert training.classes == 4 and training.loss == "cross_entropy"
    head = next(step for step in training.steps if step.kernel == "head_f32")
    layer = next(op for op in graph.operators if op.name == head.layer)
    assert layer.kind == "conv2d" and training.buffers[head.operands["x"]].elements == head.params.features  # type: ignore[attr-defined]


def test_a_convolution_of_one_window_that_lies_across_its_input_is_no_head() -> None:
    # As many weights as a fully connected layer has, but one tap of four meets a pixel; the others are on the border.
    net = NetBuilder(14, (4, 1, 3))
    y = net.windowed("conv2d", "x", 2, (1, 4), (4, 1), Padding(left=3))
    graph = net.graph(net.flatten(y))
    assert graph.tensors[graph.operators[0].inputs[1]].elements == graph.tensors["x"].elements * 2
    with pytest.raises(UsageError, match=r"conv0 \(conv2d\) comes last"):
        sparse_update(graph, SparseUpdateOptions())
