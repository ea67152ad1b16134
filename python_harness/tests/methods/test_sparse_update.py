"""What sparse update makes of a network: which errors are computed, which channels train, which constants scale the steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import ConvAttributes, Graph
from mcutrain.methods.channels import largest_channels
from mcutrain.methods.classifier_head import find_head, trainable_layers
from mcutrain.methods.inference import inference
from mcutrain.methods.qas_trainer import reads_input
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.ops.steps import Phase
from support.networks import INPUT_SCALE, NETWORKS, NetBuilder, chain, pooled, residual, samples, separable
from support.traced_step import run_step


def planned(graph: Graph, **options: object) -> Plan:
    return compile_plan(sparse_update(graph, SparseUpdateOptions.model_validate(options)))


def kernels(plan: Plan, phase: Phase) -> list[str]:
    return [step.kernel for step in plan.steps if step.phase is phase]


def layers_of(plan: Plan, phase: Phase) -> set[str]:
    return {step.layer for step in plan.steps if step.phase is phase}


def with_weights(graph: Graph, op_name: str, weights: NDArray[np.int8]) -> Graph:
    op = next(op for op in graph.operators if op.name == op_name)
    tensor = dataclasses.replace(graph.tensors[op.inputs[1]], data=weights)
    return dataclasses.replace(graph, tensors={**graph.tensors, tensor.name: tensor})


def constant(plan: Plan, name: str) -> NDArray[np.float32]:
    data = plan.buffers[name].data
    assert data is not None
    return data


# Dead code


@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_with_the_head_alone_nothing_runs_backward(mode: str) -> None:
    plan = planned(chain(), scheme="head", errors=mode)
    assert kernels(plan, Phase.BACKWARD) == []
    assert kernels(plan, Phase.LOSS) == ["softmax_cross_entropy_f32"]
    assert kernels(plan, Phase.UPDATE) == ["head_update_f32"]
    assert not [name for name in plan.buffers if "error" in name or "inside" in name]


@pytest.mark.parametrize("mode", ["b16", "f32"])
@pytest.mark.parametrize("earliest", [1, 2, 3])
def test_no_error_is_computed_above_the_earliest_trained_layer(earliest: int, mode: str) -> None:
    plan = planned(chain(), scheme=f"b0; {earliest}", errors=mode)
    names = [f"conv{index}" for index in range(earliest, 4)]
    assert layers_of(plan, Phase.BACKWARD) - {"loss", "fully_connected5"} == set(names)
    assert f"conv{earliest}.input_error" not in plan.buffers
    assert {name for name in plan.buffers if name.endswith(".inside")} == {f"{name}.inside" for name in names}


def test_a_branch_without_a_trained_layer_gets_no_error() -> None:
    """conv1 (left) trains; conv2 (right) and the stem above both do not."""
    plan = planned(residual(), scheme="b0; conv1")
    assert layers_of(plan, Phase.BACKWARD) == {"loss", "fully_connected6", "average_pool4", "add3", "conv1"}
    assert "add3.a_error" in plan.buffers
    assert "add3.b_error" not in plan.buffers


def test_only_what_trains_is_trainable_state() -> None:
    plan = planned(chain(), scheme="b2; conv1")
    head = "fully_connected5"
    regions = {name: buffer.region for name, buffer in plan.buffers.items()}
    trained = {name for name, region in regions.items() if region == "trainable"}
    assert trained == {"conv1.weights", "conv2.bias", "conv3.bias", f"{head}.weights", f"{head}.bias"}
    assert {name for name, region in regions.items() if region == "state"} == {"conv1.fraction"}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_in_the_scheme_is_updated_and_no_other(name: str) -> None:
    graph = NETWORKS[name]()
    layers = trainable_layers(graph)
    plan = planned(graph, scheme=f"b1; {layers[0]}")
    updates = sorted(step.name for step in plan.steps if step.phase is Phase.UPDATE)
    assert updates == sorted(
        [f"{layers[0]}.update_weights", f"{layers[-1]}.update_bias", f"{find_head(graph).op.name}.update"]
    )


# Channels


def test_the_channels_with_the_largest_weights_train_and_not_the_first() -> None:
    graph = chain()
    op = graph.operators[1]
    weights = np.ones((8, 3, 3, 6), np.int8)
    weights[..., 4], weights[..., 1], weights[..., 5] = 90, -100, 20
    graph = with_weights(graph, op.name, weights)
    assert largest_channels(graph, op, 2).tolist() == [1, 4]
    assert largest_channels(graph, op, 3).tolist() == [1, 4, 5]


def test_magnitude_counts_in_real_values_and_not_in_codes() -> None:
    """Channel 0 has the larger codes, in an output channel of a tiny scale."""
    graph = chain()
    op = graph.operators[1]
    weights = np.zeros((8, 3, 3, 6), np.int8)
    weights[0, 0, 0, 0], weights[1, 0, 0, 3] = 127, 10
    graph = with_weights(graph, op.name, weights)
    tensor = graph.tensors[op.inputs[1]]
    assert tensor.quantization is not None
    scale = np.array([0.001, 1.0, 1, 1, 1, 1, 1, 1], np.float32)
    scaled = dataclasses.replace(tensor, quantization=dataclasses.replace(tensor.quantization, scale=scale))
    graph = dataclasses.replace(graph, tensors={**graph.tensors, tensor.name: scaled})
    assert largest_channels(graph, op, 1).tolist() == [3]


def test_of_equal_channels_the_lower_ones_train() -> None:
    graph = with_weights(chain(), "conv1", np.ones((8, 3, 3, 6), np.int8))
    assert largest_channels(graph, graph.operators[1], 3).tolist() == [0, 1, 2]


def test_a_share_of_no_channel_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1/4 of the 3 (input )?channels of conv0 is none"):
        planned(chain(), scheme="b0; 0@1/4")


def test_only_the_gathered_channels_are_kept_for_the_weight_gradient() -> None:
    """conv1 reads 6 channels of 8x8: kept whole 384 bytes live until its gradient, at a third 128."""
    whole, third = (planned(chain(), scheme=f"b0; conv1{share}") for share in ("", "@1/3"))

    def bytes_at_the_loss(plan: Plan) -> dict[str, int]:
        loss = next(op for op, step in enumerate(plan.steps) if step.phase is Phase.LOSS)
        return {block.name: block.size_bytes for block in plan.blocks if block.first_op < loss < block.last_op}

    kept_whole, kept_third = bytes_at_the_loss(whole), bytes_at_the_loss(third)
    assert kept_whole["conv0.out"] == 8 * 8 * 6
    assert "conv0.out" not in kept_third
    assert kept_third["conv1.kept"] == 8 * 8 * 2
    assert sum(kept_whole.values()) - sum(kept_third.values()) == 8 * 8 * 4


def test_the_gradient_and_the_fraction_have_only_the_trained_channels() -> None:
    plan = planned(chain(), scheme="b0; conv1@1/3")
    assert plan.buffers["conv1.weight_gradient"].shape == (8, 3, 3, 2)
    assert plan.buffers["conv1.fraction"].shape == (8, 3, 3, 2)
    assert plan.buffers["conv1.weights"].shape == (8, 3, 3, 6)


# The constants of the update


def test_the_input_scale_correction_is_for_the_layer_that_reads_the_input_alone() -> None:
    corrected, plain = (planned(chain(), scheme="full", input_scale_correction=on) for on in (True, False))
    for layer in ("conv1", "conv2", "conv3"):
        np.testing.assert_array_equal(
            constant(corrected, f"{layer}.weight_factor"), constant(plain, f"{layer}.weight_factor")
        )
    ratio = constant(corrected, "conv0.weight_factor") / constant(plain, "conv0.weight_factor")
    np.testing.assert_allclose(ratio, 1 / (255 * INPUT_SCALE) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(constant(corrected, "conv0.bias_factor"), constant(plain, "conv0.bias_factor"))


def test_a_layer_reads_the_input_through_pads_and_reshapes() -> None:
    graph = pooled()
    assert [reads_input(graph, op) for op in graph.operators if op.kind == "conv2d"] == [True, False]
    net = NetBuilder(1)
    behind_a_relu = net.graph(net.dense(net.flatten(net.conv(net.relu("x"), 4)), 3))
    assert not reads_input(behind_a_relu, behind_a_relu.operators[1])


@pytest.mark.parametrize(("scaling", "power"), [("qas", 2), ("none", 0)])
def test_gradients_are_scaled_by_the_square_of_the_scale_or_not_at_all(scaling: str, power: int) -> None:
    graph = chain()
    plan = planned(graph, scheme="full", gradient_scaling=scaling)
    op = graph.operators[1]
    quantization = graph.tensors[op.inputs[1]].quantization
    assert quantization is not None
    scale, x_scale = quantization.scale.astype(np.float64), graph.tensors[op.inputs[0]].scale
    np.testing.assert_allclose(constant(plan, "conv1.weight_factor"), scale**-power, rtol=1e-6)
    np.testing.assert_allclose(constant(plan, "conv1.bias_factor"), (x_scale * scale) ** -power, rtol=1e-6)


def test_scales_whose_factor_leaves_float32_are_refused() -> None:
    graph = chain()
    tensor = graph.tensors["w1"]
    assert tensor.quantization is not None
    tiny = dataclasses.replace(tensor.quantization, scale=np.full(8, 1e-25, np.float32))
    graph = dataclasses.replace(graph, tensors={**graph.tensors, "w1": dataclasses.replace(tensor, quantization=tiny)})
    with pytest.raises(UsageError, match=r"conv1: 1 / scale\^2 of its scales"):
        planned(graph, scheme="b0; conv1")


# The head


def test_the_head_is_the_last_fully_connected_layer() -> None:
    graph = NETWORKS["perceptron"]()
    assert find_head(graph).op is graph.operators[-1]
    assert trainable_layers(graph) == ("conv0", "fully_connected2", "fully_connected3")
    assert find_head(chain()).op.name == "fully_connected5"  # a softmax follows


def test_a_network_without_a_fully_connected_end_is_refused() -> None:
    net = NetBuilder(1)
    convolution = net.graph(net.conv("x", 4))
    with pytest.raises(UsageError, match=r"conv0 \(conv2d\) comes last"):
        find_head(convolution)
    net = NetBuilder(1)
    flattened = net.graph(net.softmax(net.flatten("x")))
    with pytest.raises(UsageError, match="no fully connected layer to train"):
        find_head(flattened)


def test_a_head_with_an_activation_is_refused() -> None:
    net = NetBuilder(1)
    graph = net.graph(net.dense(net.flatten("x"), 4, relu=True))
    assert isinstance(graph.operators[-1].attributes, ConvAttributes)
    with pytest.raises(UsageError, match="fully_connected1 has an activation"):
        find_head(graph)


def test_a_softmax_inside_the_network_is_not_trained_through() -> None:
    net = NetBuilder(1)
    y = net.dense(net.flatten("x"), 6)
    graph = net.graph(net.dense(net.softmax(y), 4))
    with pytest.raises(UsageError, match="a softmax inside the network"):
        planned(graph, scheme="full")


def test_float_weights_of_the_head_start_at_the_values_of_the_file() -> None:
    graph = chain()
    plan = planned(graph, scheme="head")
    x, w, b = (graph.tensors[name] for name in find_head(graph).op.inputs)
    assert w.quantization is not None and w.data is not None and b.data is not None
    scale = w.quantization.scale.astype(np.float64)
    np.testing.assert_array_equal(
        constant(plan, "fully_connected5.weights"), (w.data.astype(np.float64) * scale[:, None]).astype(np.float32)
    )
    np.testing.assert_array_equal(
        constant(plan, "fully_connected5.bias"), (b.data.astype(np.float64) * scale * x.scale).astype(np.float32)
    )


# Inference


def test_inference_runs_forward_alone_and_trains_nothing() -> None:
    plan = compile_plan(inference(chain()))
    assert {step.phase for step in plan.steps} == {Phase.FORWARD}
    assert plan.trainable_bytes == 0
    assert [step.kernel for step in plan.steps] == ["conv2d_s8"] * 5 + ["softmax_s8"]


def test_fully_connected_layers_round_once_and_convolutions_twice_as_litert_does() -> None:
    plan = compile_plan(inference(NETWORKS["perceptron"]()))
    rounding = {step.layer: getattr(step.params, "single_rounding", None) for step in plan.steps}
    assert rounding == {"conv0": 0, "fully_connected2": 1, "fully_connected3": 1, "fully_connected4": 1}


# Depthwise convolutions


def test_depthwise_convolutions_are_layers_that_schemes_count() -> None:
    assert trainable_layers(separable()) == ("conv0", "depthwise1", "conv2", "depthwise4", "conv5")


def test_a_share_of_a_depthwise_convolution_is_of_its_channels_by_magnitude() -> None:
    graph = separable()
    op = graph.operators[1]
    weights = np.ones((8, 3, 3), np.int8)
    weights[[2, 3, 7]] = 100
    chosen = largest_channels(with_weights(graph, op.name, weights), op, 3)
    assert chosen.tolist() == [2, 3, 7]


@pytest.mark.parametrize("rounding", ["master16", "stochastic8", "nearest8"])
@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_only_the_chosen_channels_of_a_depthwise_convolution_train(mode: str, rounding: str) -> None:
    graph = separable()
    plan = planned(graph, scheme="b0; depthwise1@3/8 depthwise4", errors=mode, weights=rounding, step_cap=0.0)
    chosen = largest_channels(graph, graph.operators[1], 3)
    executor = GoldenExecutor(plan)
    executor.seed(5)
    trained = {name: np.frombuffer(executor.bytes_of(f"{name}.weights"), np.int8).copy() for name in SEPARABLE}
    for sample in samples(graph, 3):
        run_step(executor, sample, 1, 300.0)
    for name, before in trained.items():
        after = np.frombuffer(executor.bytes_of(f"{name}.weights"), np.int8)
        changed = np.flatnonzero((after != before).reshape(SEPARABLE[name], -1).any(axis=1))
        assert changed.tolist() == (chosen.tolist() if name == "depthwise1" else list(range(SEPARABLE[name])))


SEPARABLE = {"depthwise1": 8, "depthwise4": 4}


def test_gradient_and_fraction_of_a_depthwise_convolution_have_only_the_trained_channels() -> None:
    graph = separable()
    part, whole = (planned(graph, scheme=f"b0; depthwise1{share}") for share in ("@3/8", ""))
    chosen = largest_channels(graph, graph.operators[1], 3)
    assert part.buffers["depthwise1.weight_gradient"].shape == (3, 3, 3)
    assert part.buffers["depthwise1.fraction"].shape == (3, 3, 3)
    assert part.buffers["depthwise1.weights"].shape == (8, 3, 3)
    assert constant(part, "depthwise1.selected").tolist() == chosen.tolist()
    # Which of the channels train may change from call to call: each has its factor.
    factors = [constant(plan, "depthwise1.weight_factor") for plan in (part, whole)]
    np.testing.assert_array_equal(factors[0], factors[1])
    assert "depthwise1.selected" not in whole.buffers


def one_output_each() -> Graph:
    net = NetBuilder(9, (8, 8, 3))
    return net.graph(net.dense(net.mean(net.depthwise(net.conv("x", 8))), 3))


def test_what_is_kept_of_a_depthwise_convolutions_input_are_the_channels_that_train() -> None:
    graph = one_output_each()
    whole, quarter = (planned(graph, scheme=f"b0; depthwise1{share}") for share in ("", "@1/4"))
    keep = {step.name: step.operands for step in quarter.steps}["depthwise1.keep"]
    assert keep["index"] == "depthwise1.selected"
    assert quarter.buffers["depthwise1.kept"].shape == (8, 8, 2)
    assert "depthwise1.kept" not in whole.buffers


def test_an_input_of_several_trained_outputs_is_kept_once() -> None:
    graph = separable()
    op = graph.operators[1]
    weights = np.ones((8, 3, 3), np.int8)
    weights[[2, 3, 7]] = 100
    plan = planned(with_weights(graph, op.name, weights), scheme="b0; depthwise1@3/8")
    assert constant(plan, "depthwise1.selected").tolist() == [2, 3, 7]
    assert constant(plan, "depthwise1.inputs_read").tolist() == [1, 3]
    assert plan.buffers["depthwise1.kept"].shape == (9, 8, 2)
    weights[[0, 4]] = 90
    plan = planned(with_weights(graph, op.name, weights), scheme="b0; depthwise1@5/8")
    assert "depthwise1.kept" not in plan.buffers, "the chosen five read all four inputs"


def test_the_bias_of_a_depthwise_convolution_may_be_as_large_as_its_few_products_allow() -> None:
    plan = planned(separable(), scheme="biases")
    step = next(step for step in plan.steps if step.name == "depthwise4.update_bias")
    assert step.params.bias_limit == 2**31 - 1 - 255 * 128 * 25  # type: ignore[attr-defined]


def test_the_errors_of_a_wide_depthwise_convolution_keep_all_their_bits() -> None:
    """Its sums have 9 products, where those of a dense convolution would have 9 for each of 1,000 channels."""
    net = NetBuilder(7, (3, 3, 2))
    wide = net.depthwise(net.conv("x", 1000, kernel=1))
    graph = net.graph(net.dense(net.mean(wide), 3))
    plan = planned(graph, scheme="b all; conv0")
    bits = {step.name: step.params.mantissa_bits for step in plan.steps if step.kernel == "error_scale_b16"}  # type: ignore[attr-defined]
    assert bits["depthwise1.scaled_error"] == 11
    dense = NetBuilder(7, (3, 3, 2))
    graph = dense.graph(dense.dense(dense.mean(dense.conv(dense.conv("x", 2, kernel=1), 1000)), 3))
    plan = planned(graph, scheme="b all; conv0")
    bits = {step.name: step.params.mantissa_bits for step in plan.steps if step.kernel == "error_scale_b16"}  # type: ignore[attr-defined]
    assert bits["conv1.scaled_error"] == 10
