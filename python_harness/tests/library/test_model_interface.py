"""mcutrain/model.h: what each function does, what it refuses, and what golden has in the same place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.ops.steps import Step
from support.host_models import ERROR_ARGUMENT, OK, CModel, host_model, sample_codes
from support.networks import autoencoder

# 2 * 3.2e-7 (exp_f32 in both terms: 1.2e-7 of its polynomial, three roundings) + 10 * 6e-8 (sum) + 6e-8 (division) = 1.3e-6
SOFTMAX_ERROR = 2e-6


@pytest.fixture
def model() -> CModel:
    """A model that trains, as after mct_reset."""
    found = host_model("chain")
    found.reset()
    return found


def losses(plan_model: CModel, codes: NDArray[np.int8], label: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Golden's logits of an inference, and the gradient of the loss with respect to them: p, less 1 at the label."""
    executor = GoldenExecutor(plan_model.plan)
    executor.infer(codes)
    logits = plan_model.plan.training.logits
    assert logits is not None
    found = np.frombuffer(executor.bytes_of(logits), np.float32)
    gradients: list[NDArray[np.float32]] = []

    def watch(step: Step, visit: int) -> None:
        if step.definition.name == "softmax_cross_entropy_f32":
            gradients.append(np.frombuffer(executor.bytes_of(step.operands["gradient"]), np.float32))

    executor.prepare(codes, label, np.float32(0.0))
    executor.train(watch)
    assert len(gradients) == 1
    return found, gradients[0]


def test_logits_and_probabilities_are_goldens_bits_and_a_softmax(model: CModel) -> None:
    classes = model.plan.training.classes
    for codes in sample_codes(model, 4):
        prediction, output = model.infer(codes)
        probabilities = model.probabilities()
        for label in (0, classes - 1):
            logits, gradient = losses(model, codes, label)
            assert model.logits().tobytes() == logits.tobytes()
            others = np.arange(classes) != label
            assert probabilities[others].tobytes() == gradient[others].tobytes()
        exact = np.exp(logits.astype(np.float64) - float(logits.max()))
        np.testing.assert_allclose(probabilities, exact / exact.sum(), rtol=SOFTMAX_ERROR, atol=0)
        assert prediction == int(np.argmax(logits)) and output.size == 0


def test_labels_out_of_range_and_no_sample_are_refused_and_change_nothing(model: CModel) -> None:
    seen, other = sample_codes(model, 2)
    model.infer(seen)
    logits = model.logits().tobytes()
    codes = model.memory(other.tobytes())
    classes = model.plan.training.classes
    before = model.save()
    for label in (-1, classes, 2**31 - 1, -(2**31)):
        assert model.call("train", codes, label) == ERROR_ARGUMENT
    assert model.call("train", None, 0) == ERROR_ARGUMENT
    assert model.call("infer", None) == ERROR_ARGUMENT
    assert model.call("seed", 0) == ERROR_ARGUMENT
    assert model.save() == before and model.logits().tobytes() == logits, "a forward pass has run"
    assert model.call("set_learning_rate", 0.01) == OK and model.call("train", codes, classes - 1) == OK
    assert model.save() != before


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, -0.01, -1e-45])
def test_a_rate_that_is_none_is_refused_and_the_old_one_stays(rate: float, model: CModel) -> None:
    codes = sample_codes(model, 1)[0]
    model.train(codes, 1, 0.01)
    expected = model.digest()
    model.reset()
    assert model.call("set_learning_rate", 0.01) == OK
    assert model.call("set_learning_rate", rate) == ERROR_ARGUMENT
    assert model.call("train", model.memory(codes.tobytes()), 1) == OK
    assert model.digest() == expected


def test_a_reset_takes_everything_back(model: CModel) -> None:
    initial = model.save()
    for codes in sample_codes(model, 3):
        model.train(codes, 2, 0.01)
    assert model.save() != initial
    model.call("reset")
    assert model.save() == initial
    assert model.call("train", model.memory(sample_codes(model, 1)[0].tobytes()), 0) == OK
    assert model.digest() == GoldenExecutor(model.plan).digest(), "the learning rate is 0 after a reset"


def test_a_sample_written_in_place_is_the_same_sample(model: CModel) -> None:
    place = model.call("input")
    for label, codes in enumerate(sample_codes(model, 2)):
        expected = model.infer(codes)[0], model.logits().tobytes()
        model._ffi.memmove(place, codes.tobytes(), codes.size)
        assert model.call("infer", place) == OK
        assert (model.call("prediction"), model.logits().tobytes()) == expected
        before = model.save()
        loss = model.train(codes, label, 0.01)
        after = model.digest()
        assert model.restore(before) == OK
        model._ffi.memmove(place, codes.tobytes(), codes.size)
        assert model.call("train", place, label) == OK
        assert (model.digest(), model.call("loss")) == (after, loss[0])


def test_a_plan_with_an_external_input_reads_the_callers_memory_and_has_the_same_bits(model: CModel) -> None:
    external = host_model("chain", placement="external")
    external.reset()
    assert not external.call("input") and external.plan.input_placement == "external"
    assert external.fields.arena_bytes < model.fields.arena_bytes + model.fields.input_bytes
    for label, codes in enumerate(sample_codes(model, 3)):
        assert external.infer(codes)[0] == model.infer(codes)[0]
        assert external.train(codes, label, 0.01) == model.train(codes, label, 0.01)
        assert external.digest() == model.digest()


def test_a_model_that_only_infers_says_so() -> None:
    model = host_model("chain", method="inference")
    model.reset()
    codes = sample_codes(model, 1)[0]
    golden = GoldenExecutor(model.plan)
    assert model.infer(codes)[0] == golden.infer(codes)
    size = model.fields.output_bytes
    assert model.bytes_at(model.call("output"), size) == golden.output().tobytes()
    assert model.call("train", model.memory(codes.tobytes()), 0) == ERROR_ARGUMENT
    assert model.call("end_batch") == OK  # there is nothing left to do
    assert not model.call("logits")
    assert model.call("probabilities", model._ffi.new("float[]", model.plan.training.classes)) == ERROR_ARGUMENT
    assert model.call("digest") == 0 and model.restore(model.save()) == OK


def test_a_minibatch_ends_with_its_update_and_takes_no_sample_more_than_it_has() -> None:
    model = host_model("perceptron", "master16", 4)
    model.reset()
    codes = [model.memory(row.tobytes()) for row in sample_codes(model, 1)]
    assert model.call("end_batch") == ERROR_ARGUMENT
    assert model.call("set_learning_rate", 0.01) == OK
    for _ in range(4):
        assert model.call("train", codes[0], 1) == OK
    full = model.save()
    assert model.call("train", codes[0], 1) == ERROR_ARGUMENT
    assert model.save() == full
    assert model.call("end_batch") == OK and model.save() != full
    assert model.call("train", codes[0], 1) == OK
    assert model.call("end_batch") == OK  # shorter than four
    assert model.call("end_batch") == ERROR_ARGUMENT


def test_with_batch_1_there_is_nothing_to_end(model: CModel) -> None:
    model.train(sample_codes(model, 1)[0], 1, 0.01)
    before = model.save()
    assert model.call("end_batch") == OK and model.save() == before


@pytest.fixture(scope="module")
def of_values() -> CModel:
    """A model that trains values."""
    training = sparse_update(autoencoder(), SparseUpdateOptions(scheme="full"))
    return CModel(compile_plan(training))


def test_values_train_as_in_golden_and_their_error_is_goldens(of_values: CModel) -> None:
    of_values.reset()
    executor, random = GoldenExecutor(of_values.plan), np.random.default_rng(6)
    executor.seed(1)
    assert of_values.fields.target_values == of_values.fields.classes == 24
    for codes in sample_codes(of_values, 5):
        target = random.normal(size=24).astype(np.float32)
        executor.prepare(codes, target, np.float32(0.01))
        executor.train()
        assert of_values.train_values(codes, target, 0.01) == executor.loss
        assert of_values.digest() == executor.digest()
        of_values.infer(codes)
        executor.infer(codes)
        assert of_values.squared_error(target).tobytes() == executor.squared_error(target).tobytes()


def test_what_a_model_of_values_or_of_classes_cannot_take_is_refused_and_changes_nothing(
    of_values: CModel, model: CModel
) -> None:
    of_values.reset()
    codes = of_values.memory(sample_codes(of_values, 1)[0].tobytes())
    floats = of_values._ffi.new("float[]", 24)
    before = of_values.save()
    assert of_values.call("train", codes, 0) == ERROR_ARGUMENT
    assert of_values.call("train_values", codes, None) == ERROR_ARGUMENT
    assert of_values.call("train_values", None, floats) == ERROR_ARGUMENT
    for value in (math.nan, math.inf, -math.inf):
        floats[23] = value
        assert of_values.call("train_values", codes, floats) == ERROR_ARGUMENT
    error = of_values._ffi.new("float *", 7.0)
    assert of_values.call("squared_error", None, error) == ERROR_ARGUMENT
    assert of_values.call("squared_error", floats, None) == ERROR_ARGUMENT
    assert of_values.call("squared_error", floats, error) == 2 and error[0] == 7.0, "a target is infinite"
    assert of_values.save() == before
    floats[23] = 0.0
    assert of_values.call("set_learning_rate", 0.01) == OK and of_values.call("train_values", codes, floats) == OK
    assert of_values.save() != before
    classifier, saved = model.memory(sample_codes(model, 1)[0].tobytes()), model.save()
    assert model.call("train_values", classifier, model._ffi.new("float[]", 4)) == ERROR_ARGUMENT
    assert model.save() == saved
