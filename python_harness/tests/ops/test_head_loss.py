"""The float32 head and the loss: golden and both C forms agree to the bit, and both compute what they should."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcutrain.ops.arithmetic import exp_f32, half_even_f32, log_f32, sum_ascending
from mcutrain.ops.base import NotFiniteError
from mcutrain.ops.head import (
    HEAD_ACCUMULATE_F32,
    HEAD_ERROR_F32,
    HEAD_F32,
    HEAD_STEP_F32,
    HEAD_UPDATE_F32,
    KERNELS,
    HeadF32Params,
)
from mcutrain.ops.loss import (
    MEAN_SQUARED_ERROR_F32,
    SOFTMAX_CROSS_ENTROPY_F32,
    MeanSquaredErrorF32Params,
    SoftmaxCrossEntropyF32Params,
)
from support.ckernels import call, forms, quantization, run_everywhere
from support.examples import examples
from support.forward_cases import generators, random_codes, rubbish, scales, zero_points

F32 = np.float32


def floats(*values: float) -> Any:
    return np.array(values, F32)


def random_floats(generator: np.random.Generator, shape: tuple[int, ...]) -> Any:
    # Magnitudes over many binades, so that a sum in another order has other bits.
    return (generator.normal(size=shape) * 2.0 ** generator.integers(-12, 4, shape)).astype(F32)


class Head:
    """A random head with its operands."""

    def __init__(self, features: int, classes: int, scale: float, zero_point: int, g: np.random.Generator) -> None:
        self.params = HeadF32Params(features, classes)
        self.scale, self.zero_point = scale, zero_point
        self.quantization = quantization(scale, zero_point)
        self.x = random_codes(g, (features,))
        self.weights, self.bias = random_floats(g, (classes, features)), random_floats(g, (classes,))
        self.gradient, self.learning_rate = random_floats(g, (classes,)), random_floats(g, (1,))
        self.generator = g

    def real_features(self) -> Any:
        return (self.x.astype(np.float64) - self.zero_point) * self.scale


heads = st.builds(Head, st.integers(1, 70), st.integers(1, 12), scales(), zero_points, generators)


@given(heads)
@examples(60)
def test_logits_are_the_affine_map_of_the_features(head: Head) -> None:
    inputs = {"x": head.x, "x_quantization": head.quantization, "weights": head.weights, "bias": head.bias}
    outputs = {"logits": rubbish(head.generator, head.bias.shape, np.float32), "prediction": np.full(1, 99, np.int32)}
    got = run_everywhere(HEAD_F32, head.params, inputs, outputs)
    products = head.weights.astype(np.float64) * head.real_features()
    bound = 2.0**-23 * (head.params.features + 2) * (np.abs(products).sum(axis=1) + np.abs(head.bias))
    assert (np.abs(got["logits"] - (products.sum(axis=1) + head.bias)) <= bound).all()
    assert got["prediction"][0] == got["logits"].argmax()


def test_the_prediction_of_equal_logits_is_the_first() -> None:
    params = HeadF32Params(1, 4)
    inputs = {
        "x_quantization": quantization(1.0, 0),
        "x": np.ones(1, np.int8),
        "weights": floats(1, 2, 2, 2),
        "bias": floats(0, 0, 0, -1),
    }
    outputs = {"logits": np.zeros(4, F32), "prediction": np.zeros(1, np.int32)}
    assert run_everywhere(HEAD_F32, params, inputs, outputs)["prediction"][0] == 1


def test_a_sum_runs_in_ascending_order_without_fusing() -> None:
    # 1 is lost beside 2^24 unless the large numbers cancel first; the fused product would keep 2^-24.
    one_and_a_bit = 1.0 + 2.0**-12
    params = HeadF32Params(3, 2)
    weights = np.array([[2.0**24, 1.0, -(2.0**24)], [one_and_a_bit, 0.0, 0.0]], F32)
    inputs = {
        "x": np.ones(3, np.int8),
        "x_quantization": quantization(1.0, 0),
        "weights": weights,
        "bias": floats(0, 0),
    }
    outputs = {"logits": np.ones(2, F32), "prediction": np.zeros(1, np.int32)}
    assert run_everywhere(HEAD_F32, params, inputs, outputs)["logits"].tolist() == [0.0, one_and_a_bit]

    scaled, by = replace(params, features=1, classes=1), quantization(one_and_a_bit, 0)
    inputs = {"x": np.ones(1, np.int8), "x_quantization": by, "weights": floats(one_and_a_bit), "bias": floats(-1.0)}
    logits = run_everywhere(HEAD_F32, scaled, inputs, {"logits": np.ones(1, F32), "prediction": np.zeros(1, np.int32)})
    assert logits["logits"][0] == F32(one_and_a_bit * one_and_a_bit) - F32(1)
    assert logits["logits"][0] != F32(one_and_a_bit * one_and_a_bit - 1)


@given(heads)
@examples(60)
def test_the_head_error_is_the_transposed_map_of_the_gradient(head: Head) -> None:
    inputs = {"weights": head.weights, "gradient": head.gradient, "x_quantization": head.quantization}
    outputs = {"error": rubbish(head.generator, (head.params.features,), np.float32)}
    got = run_everywhere(HEAD_ERROR_F32, head.params, inputs, outputs)["error"]
    products = head.weights.astype(np.float64) * head.gradient[:, np.newaxis].astype(np.float64)
    bound = 2.0**-23 * (head.params.classes + 2) * np.abs(products).sum(axis=0) * head.scale
    assert (np.abs(got - products.sum(axis=0) * head.scale) <= bound).all()


@given(heads)
@examples(60)
def test_the_head_update_is_a_step_against_the_gradient(head: Head) -> None:
    inputs = {
        "x": head.x,
        "x_quantization": head.quantization,
        "gradient": head.gradient,
        "learning_rate": head.learning_rate,
    }
    got = run_everywhere(HEAD_UPDATE_F32, head.params, inputs, {"weights": head.weights, "bias": head.bias})
    step = float(head.learning_rate[0]) * head.gradient.astype(np.float64)
    expected = head.weights - step[:, np.newaxis] * head.real_features()
    np.testing.assert_allclose(got["bias"], head.bias - step, rtol=1e-6, atol=1e-6 * np.abs(step).max() + 1e-9)
    change = np.abs(step[:, np.newaxis] * head.real_features()).max()
    np.testing.assert_allclose(got["weights"], expected, rtol=1e-6, atol=1e-6 * change + 1e-9)


@given(heads, st.integers(1, 4))
@examples(60)
def test_a_minibatch_of_the_head_sums_its_samples_gradients(head: Head, batch: int) -> None:
    shapes = {"weight_gradient": head.weights.shape, "bias_gradient": head.bias.shape}
    sums = {name: np.zeros(shape, F32) for name, shape in shapes.items()}
    exact = {name: np.zeros(shape) for name, shape in shapes.items()}
    largest = dict.fromkeys(shapes, 0.0)
    for _ in range(batch):
        gradient = random_floats(head.generator, head.gradient.shape)
        inputs = {"x": head.x, "x_quantization": head.quantization, "gradient": gradient}
        sums = run_everywhere(HEAD_ACCUMULATE_F32, head.params, inputs, sums)
        samples = {"weight_gradient": np.outer(gradient, head.real_features()), "bias_gradient": gradient}
        for name, sample in samples.items():
            exact[name] = exact[name] + sample
            largest[name] += float(np.abs(sample).max())
    # Each product rounds twice (the feature, then itself), each sum once: 2^-24 of what is at most `largest`.
    for name, values in exact.items():
        assert (np.abs(sums[name] - values) <= (batch + 2) * 2.0**-23 * largest[name]).all()


@given(heads)
@examples(60)
def test_the_step_of_a_minibatch_is_the_rate_times_the_sum_and_leaves_plus_zero(head: Head) -> None:
    sums = {
        "weight_gradient": random_floats(head.generator, head.weights.shape),
        "bias_gradient": random_floats(head.generator, head.bias.shape),
    }
    before = {"weights": head.weights, "bias": head.bias}
    after = run_everywhere(HEAD_STEP_F32, head.params, {"learning_rate": head.learning_rate}, {**sums, **before})
    for values, gradient in (("weights", "weight_gradient"), ("bias", "bias_gradient")):
        # Float64 holds the product exactly; then it rounds as float32 does, once for the product and once for the difference.
        step = (head.learning_rate.astype(np.float64) * sums[gradient]).astype(F32)
        np.testing.assert_array_equal(after[values], (before[values].astype(np.float64) - step).astype(F32))
        assert after[gradient].tobytes() == bytes(after[gradient].nbytes)


def test_a_minibatch_of_the_head_adds_in_the_order_of_its_samples() -> None:
    params = HeadF32Params(1, 1)
    for order, expected in (((2.0**24, 1.0, -(2.0**24)), 0.0), ((2.0**24, -(2.0**24), 1.0), 1.0)):
        sums = {"weight_gradient": np.zeros((1, 1), F32), "bias_gradient": np.zeros(1, F32)}
        for gradient in order:
            inputs = {"x": np.ones(1, np.int8), "x_quantization": quantization(1.0, 0), "gradient": floats(gradient)}
            sums = run_everywhere(HEAD_ACCUMULATE_F32, params, inputs, sums)
        assert (sums["weight_gradient"].item(), sums["bias_gradient"].item()) == (expected, expected)


def run_loss(logits: Any, label: int, generator: np.random.Generator | None = None) -> dict[str, Any]:
    generator = generator or np.random.default_rng(0)
    inputs = {"logits": logits, "label": np.array([label], np.int32)}
    outputs = {"gradient": rubbish(generator, logits.shape, np.float32), "loss": rubbish(generator, (1,), np.float32)}
    return run_everywhere(SOFTMAX_CROSS_ENTROPY_F32, SoftmaxCrossEntropyF32Params(logits.size), inputs, outputs)


@given(st.integers(1, 40), st.floats(0.01, 60.0), st.data(), generators)
@examples(60)
def test_the_loss_and_its_gradient_are_softmax_cross_entropy(
    classes: int, spread: float, data: st.DataObject, generator: np.random.Generator
) -> None:
    logits = (generator.normal(size=classes) * spread).astype(F32)
    label = data.draw(st.integers(0, classes - 1))
    got = run_loss(logits, label, generator)
    shifted = logits.astype(np.float64) - logits.max()
    probability = np.exp(shifted) / np.exp(shifted).sum()
    np.testing.assert_allclose(got["gradient"], probability - np.eye(classes)[label], atol=3e-7)
    np.testing.assert_allclose(got["loss"][0], math.log(np.exp(shifted).sum()) - shifted[label], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "logits",
    [floats(0), floats(-0.0, 0.0), floats(3e38, -3e38), floats(-87, 0), floats(-87.5, 0), floats(1e-40, 0, -1e-40)],
    ids=str,
)
def test_extreme_logits_give_the_same_bits(logits: Any) -> None:
    for label in range(logits.size):
        assert np.isfinite(run_loss(logits, label)["gradient"]).all()


def test_two_classes_give_the_same_bits_all_the_way_from_certain_to_undecided() -> None:
    # Dense where 1 + e^difference passes the square root of 2, where the logarithm changes its range.
    differences = np.concatenate([np.linspace(-88, -1, 100), np.linspace(-1, 0, 200)])
    for difference in differences.astype(F32):
        assert run_loss(np.array([0, difference], F32), 1)["loss"][0] >= 0.69


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_end_training_with_outputs_unchanged(form: str, value: float) -> None:
    params = SoftmaxCrossEntropyF32Params(3)
    views = {"logits": floats(0, value, 1), "label": np.array([0], np.int32)}
    outputs = {"gradient": floats(7, 7, 7), "loss": floats(7)}
    assert call(form, SOFTMAX_CROSS_ENTROPY_F32, params, views | outputs) == 2
    with pytest.raises(NotFiniteError):
        SOFTMAX_CROSS_ENTROPY_F32.golden(params, views | outputs)
    assert (np.concatenate(list(outputs.values())) == 7).all()


@pytest.mark.parametrize("form", forms)
def test_the_gradient_may_replace_the_logits(form: str) -> None:
    logits = floats(0.5, -2, 3, 0.25)
    expected = run_loss(logits, 2)
    views = {"logits": logits, "gradient": logits, "label": np.array([2], np.int32), "loss": floats(0)}
    assert call(form, SOFTMAX_CROSS_ENTROPY_F32, SoftmaxCrossEntropyF32Params(4), views) == 0
    np.testing.assert_array_equal(logits, expected["gradient"])
    assert views["loss"][0] == expected["loss"][0]


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(("classes", "label"), [(3, 3), (3, -1), (0, 0)])
def test_a_label_outside_the_classes_is_refused(form: str, classes: int, label: int) -> None:
    views = {"logits": floats(0, 0, 0), "label": np.array([label], np.int32)}
    outputs = {"gradient": floats(7, 7, 7), "loss": floats(7)}
    assert call(form, SOFTMAX_CROSS_ENTROPY_F32, SoftmaxCrossEntropyF32Params(classes), views | outputs) == 1
    assert (np.concatenate(list(outputs.values())) == 7).all()


def run_squared(outputs: Any, target: Any, generator: np.random.Generator | None = None) -> dict[str, Any]:
    generator = generator or np.random.default_rng(0)
    written = {"gradient": rubbish(generator, outputs.shape, np.float32), "loss": rubbish(generator, (1,), np.float32)}
    inputs = {"outputs": outputs, "target": target}
    return run_everywhere(MEAN_SQUARED_ERROR_F32, MeanSquaredErrorF32Params(outputs.size), inputs, written)


@given(st.integers(1, 70), generators)
@examples(60)
def test_the_mean_squared_error_and_its_gradient_are_those_of_the_formula(
    count: int, generator: np.random.Generator
) -> None:
    outputs, target = random_floats(generator, (count,)), random_floats(generator, (count,))
    got = run_squared(outputs, target, generator)
    difference = outputs.astype(np.float64) - target
    # The difference, 2 / n and their product round once each: 3 * 2^-24, and their squares.
    np.testing.assert_allclose(got["gradient"], 2 * difference / count, rtol=2.0**-22, atol=1e-45)
    # Each square carries the difference's rounding twice and its own, and is added in at most n sums; the quotient rounds once.
    np.testing.assert_allclose(got["loss"][0], np.mean(difference**2), rtol=(count + 4) * 2.0**-24 * 1.01, atol=1e-45)


def test_squares_add_up_in_ascending_order_without_fusing() -> None:
    # 2^24 + 1 is 2^24 in float32, so ones that come after it are lost and those before it are not.
    assert run_squared(floats(4096, 1, 1, 1), floats(0, 0, 0, 0))["loss"][0] == 2.0**22
    assert run_squared(floats(1, 1, 1, 4096), floats(0, 0, 0, 0))["loss"][0] == (2.0**24 + 4) / 4
    odd = 1 + 2.0**-12  # its square has 25 bits: fused into the sum, it would leave 2^-24 when 1 + 2^-11 goes
    assert run_squared(floats(odd), floats(0))["loss"][0] == F32(1 + 2.0**-11)


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize(
    ("outputs", "target"),
    [
        ((0, math.nan), (0, 0)),
        ((math.inf, 0), (0, 0)),
        ((0, 0), (-math.inf, 0)),
        ((math.inf, 0), (math.inf, 0)),
        ((3e19, 0), (0, 0)),
    ],
    ids=str,
)
def test_an_error_that_is_not_finite_ends_training_with_outputs_unchanged(
    form: str, outputs: tuple[float, float], target: tuple[float, float]
) -> None:
    views = {"outputs": floats(*outputs), "target": floats(*target)}
    written = {"gradient": floats(7, 7), "loss": floats(7)}
    assert call(form, MEAN_SQUARED_ERROR_F32, MeanSquaredErrorF32Params(2), views | written) == 2
    with pytest.raises(NotFiniteError):
        MEAN_SQUARED_ERROR_F32.golden(MeanSquaredErrorF32Params(2), views | written)
    assert (np.concatenate(list(written.values())) == 7).all()


@pytest.mark.parametrize("form", forms)
def test_the_gradient_may_replace_the_outputs(form: str) -> None:
    outputs, target = floats(0.5, -2, 3, 0.25), floats(1, 1, 1, 1)
    expected = run_squared(outputs, target)
    views = {"outputs": outputs, "gradient": outputs, "target": target, "loss": floats(0)}
    assert call(form, MEAN_SQUARED_ERROR_F32, MeanSquaredErrorF32Params(4), views) == 0
    np.testing.assert_array_equal(outputs, expected["gradient"])
    assert views["loss"][0] == expected["loss"][0]


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("count", [0, -1])
def test_no_outputs_are_refused(form: str, count: int) -> None:
    views = {"outputs": floats(0), "target": floats(0), "gradient": floats(7), "loss": floats(7)}
    assert call(form, MEAN_SQUARED_ERROR_F32, MeanSquaredErrorF32Params(count), views) == 1
    assert views["gradient"][0] == views["loss"][0] == 7


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize(
    ("change", "zero_point"), [({"features": 0}, 0), ({"classes": -1}, 0), ({}, 128), ({}, -129)], ids=str
)
def test_a_wrong_head_is_refused_and_outputs_stay(
    form: str, kernel: Any, change: dict[str, Any], zero_point: int
) -> None:
    takes_features = any(role.name == "x_quantization" for role in kernel.inputs)
    if not (change or takes_features):
        pytest.skip("takes no quantisation")
    dtypes = {"int8": np.int8, "float32": np.float32, "int32": np.int32}
    roles = [role for role in (*kernel.inputs, *kernel.outputs) if role.name != "x_quantization"]
    views: dict[str, Any] = {role.name: np.full(4, 7, dtypes[role.dtype]) for role in roles}
    if takes_features:
        views["x_quantization"] = quantization(1.0, zero_point)
    assert call(form, kernel, replace(HeadF32Params(2, 2), **change), views) == 1
    assert all((views[role.name] == 7).all() for role in kernel.outputs)


def test_exponential_and_logarithm_are_accurate_to_three_units() -> None:
    x = np.linspace(-87, 0, 200_001).astype(F32)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(exp_f32(x) - exact) <= 3 * np.spacing(exact.astype(F32))).all()
    assert (exp_f32(np.nextafter(floats(-87), floats(-88))) == 0).all()
    y = np.concatenate([np.linspace(1, 4, 100_001), np.geomspace(4, 3e38, 100_001)]).astype(F32)
    exact = np.log(y.astype(np.float64))
    assert (np.abs(log_f32(y) - exact) <= 3 * np.spacing(np.maximum(exact, 0.5).astype(F32))).all()


def test_a_float_sum_is_sequential() -> None:
    terms = np.array([[2.0**24], [1.0], [-(2.0**24)]], F32)
    assert sum_ascending(0.0, terms).tolist() == [0.0]
    assert sum_ascending(0.0, terms[[0, 2, 1]]).tolist() == [1.0]


def test_half_even_rounds_ties_to_even() -> None:
    assert half_even_f32(floats(0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.4999998)).tolist() == [0, 2, 2, 0, -2, -2, 2]
