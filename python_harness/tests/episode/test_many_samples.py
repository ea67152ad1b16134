"""More samples and more classes than 16 and 8 bits can count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episode.conftest import MakeTarget, digits
from mcutrain.compiler.plan import compile_plan
from mcutrain.emulators.image import EpisodeImage
from mcutrain.episode.compare import compared_lines, first_difference
from mcutrain.episode.definition import EpisodeDefinition
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.samples import CodedData, CodedSamples
from mcutrain.errors import UsageError
from mcutrain.methods.new_head import new_head
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import NetBuilder

MANY, LIMIT = 70_000, 1 << 16


def small_episode(adapt: CodedSamples, test: CodedSamples, classes: int, **changes: Any) -> PreparedEpisode:
    """Of a network of 4 inputs whose head alone trains, from zero."""
    net = NetBuilder(3, (1, 1, 4))
    graph = new_head(net.graph(net.dense(net.flatten("x"), 2)), classes)
    options = SparseUpdateOptions(scheme="head")
    keys = {"name": "many", "description": "a test", "model": "none", "data": {"file": "none"}, "boards": ["m4-256k"]}
    definition = EpisodeDefinition.model_validate({**keys, "learning_rate": 0.02, "golden_steps": 0, **changes})
    return PreparedEpisode(definition, graph, compile_plan(sparse_update(graph, options)), CodedData(adapt, test, ""))


def of_one_class(label: int, count: int) -> CodedSamples:
    """Samples that the sign of one input tells from those of another class."""
    codes = np.random.default_rng(label).integers(-20, 21, (count, 1, 1, 4)).astype(np.int8)
    codes[..., label] += 80
    return CodedSamples(codes, np.full(count, label, np.uint32))


def test_samples_past_the_65_536th_train_and_are_counted(target: MakeTarget) -> None:
    first, last = of_one_class(0, LIMIT), of_one_class(1, MANY - LIMIT)
    adapt = CodedSamples(np.concatenate([first.codes, last.codes]), np.concatenate([first.labels, last.labels]))
    prepared = small_episode(adapt, of_one_class(1, 200), 2)
    order = prepared.image().order
    assert sorted(order.tolist()) == list(range(MANY))
    record, _ = run_episode(prepared, target(prepared, "host"), RunOptions())
    assert record.steps == record.samples_adapt == MANY
    assert record.accuracy_before == 0.0 and record.accuracy_after == 1.0, (
        "the second class is in the last samples alone"
    )
    said = np.array([step.correct for step in record.step_records])
    late = order >= LIMIT
    assert late.sum() == MANY - LIMIT and said[late].mean() > 0.9 and said[~late].mean() > 0.9


def test_golden_and_host_draw_the_same_of_many_samples_and_test_as_many(target: MakeTarget) -> None:
    samples = CodedSamples(
        np.random.default_rng(1).integers(-128, 128, (MANY, 1, 1, 4)).astype(np.int8),
        np.random.default_rng(2).integers(0, 2, MANY).astype(np.uint32),
    )
    prepared = small_episode(samples, samples, 2)
    order = np.array([LIMIT - 1, LIMIT, LIMIT + 7, MANY - 1], np.uint32)
    image = EpisodeImage(
        plan_crc32=prepared.plan.crc32,
        adapt_samples=samples.codes.reshape(MANY, 4),
        adapt_labels=samples.labels,
        test_samples=samples.codes.reshape(MANY, 4)[-500:],
        test_labels=samples.labels[-500:],
        order=order,
        learning_rates=np.array([0.1], np.float32),
    )
    golden, host = (target(prepared, name).run(image) for name in ("golden", "host"))
    assert len({line.text("digest") for line in golden if line.kind == "step"}) == 4
    assert first_difference(golden, host) is None
    evaluated = target(prepared, "host").run(prepared.image(steps=0))
    totals = [line.integer("total") for line in evaluated if line.kind == "evaluation"]
    assert totals == [MANY, MANY]


@pytest.fixture(scope="module")
def of_many_classes(tmp_path_factory: pytest.TempPathFactory) -> PreparedEpisode:
    """The digits network with a head of 400 classes, and samples of classes 0 to 399 from a file."""
    random = np.random.default_rng(4)
    arrays: dict[str, Any] = {}
    for part, count in (("adapt", 400), ("test", 60)):
        arrays[f"{part}_samples"] = random.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) if part == "adapt" else 340 + np.arange(60)
    path = tmp_path_factory.mktemp("data") / "classes.npz"
    np.savez(path, **arrays)
    return prepare(digits(data={"file": str(path), "pixel_scale": 1 / 255}, new_head=400))


def test_labels_past_255_train_alike_on_golden_and_host(of_many_classes: PreparedEpisode, target: MakeTarget) -> None:
    image = of_many_classes.image(steps=12)
    assert int(image.adapt_labels[image.order].max()) > 300 and int(image.test_labels.max()) == 399
    golden, host = (target(of_many_classes, name).run(image) for name in ("golden", "host"))
    assert len(compared_lines(golden)) == 14 and first_difference(golden, host) is None


def test_evaluations_tell_classes_apart_that_are_256_apart(target: MakeTarget) -> None:
    digests = set()
    for label in (1, 257):
        adapt = CodedSamples(np.full((40, 1, 1, 4), 100, np.int8), np.full(40, label, np.uint32))
        prepared = small_episode(adapt, adapt, 300, learning_rate=0.1)
        lines = target(prepared, "host").run(prepared.image())
        (after,) = (line for line in lines if line.kind == "evaluation" and line.text("set") == "after")
        assert after.integer("correct") == 40
        digests.add(after.text("digest"))
    assert len(digests) == 2


def test_more_classes_than_the_network_has_outputs_are_refused_with_the_head_that_they_need(tmp_path: Path) -> None:
    samples, labels = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 299])
    path = tmp_path / "classes.npz"
    np.savez(path, adapt_samples=samples, adapt_labels=labels, test_samples=samples, test_labels=labels)
    with pytest.raises(UsageError, match="300 classes, but digits tells only 10 apart; new_head: 300 gives it as many"):
        prepare(digits(data={"file": str(path), "pixel_scale": 1 / 255}))


def test_an_image_past_its_32_bit_offsets_is_refused_before_it_is_made() -> None:
    codes = np.broadcast_to(np.zeros(1, np.int8), (1 << 21, 4096))
    labels = np.broadcast_to(np.zeros(1, np.uint32), (1 << 21,))
    with pytest.raises(
        UsageError, match=r"8,598,323,\d+ B of samples and steps, at most 4,294,967,292 B fit; use fewer"
    ):
        EpisodeImage(
            plan_crc32=1,
            adapt_samples=codes,
            adapt_labels=labels,
            test_samples=codes[:0],
            test_labels=labels[:0],
            order=np.zeros(0, np.uint32),
            learning_rates=np.zeros(0, np.float32),
        )


def test_an_order_of_few_steps_is_the_beginning_of_the_whole_and_too_many_steps_are_refused() -> None:
    whole = digits(epochs=5).order(100)
    assert whole.dtype == np.uint32 and len(whole) == 500
    for steps in (0, 1, 100, 101, 499):
        np.testing.assert_array_equal(digits(epochs=5, steps=steps).order(100), whole[:steps])
    assert len(digits(epochs=10**9, steps=7).order(100)) == 7
    with pytest.raises(UsageError, match=r"100,000,000,000 steps, a run takes at most 16,777,216; lower epochs"):
        digits(epochs=10**9).order(100)
