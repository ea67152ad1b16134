"""What a run keeps of its predictions, and how many numbers it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from episode.conftest import MakeTarget, Prepare
from mcutrain.compiler.trained import trained_parameters
from mcutrain.episode import confusion
from mcutrain.episode.confusion import class_names_of, confusion_of
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.runners import REFERENCE

# The digits network: three convolutions of 3x3 with 16, 32 and 32 channels of 1, 16 and 32, and a head of 32 to 10.
BIASES, HEAD = 16 + 32 + 32, 32 * 10 + 10
WEIGHTS = (9 * 16, 9 * 16 * 32, 9 * 32 * 32)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scheme": "head"}, HEAD),
        ({"scheme": "biases"}, BIASES + HEAD),
        ({"scheme": "full"}, sum(WEIGHTS) + BIASES + HEAD),
        ({"scheme": "b all; conv0,conv1 conv2@1/2"}, WEIGHTS[0] + WEIGHTS[1] + WEIGHTS[2] // 2 + BIASES + HEAD),
        ({"scheme": "b all; conv2@1/4", "weights": "stochastic8"}, WEIGHTS[2] // 4 + BIASES + HEAD),
        ({"scheme": "b all; conv1", "batch": 8}, WEIGHTS[1] + BIASES + HEAD),
    ],
)
def test_trained_parameters_are_what_updates_change(options: dict[str, Any], expected: int) -> None:
    prepared = prepare(load_episode("digits-sparse").changed(options=options))
    assert trained_parameters(prepared.plan) == expected


def test_the_matrices_are_of_the_labels_and_the_largest_outputs(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "nearest8")
    host = target(episode, "host")
    record, _ = run_episode(episode, host, RunOptions(steps=5, golden_steps=0))
    lines = host.run(episode.image(steps=5, predictions=True))
    labels = episode.data.test.labels
    for which, matrix in (("before", record.confusion_before), ("after", record.confusion_after)):
        predicted = [line for line in lines if line.kind == "prediction" and line.text("set") == which]
        assert len(predicted) == len(labels) == record.samples_test > 0
        expected = np.zeros((episode.plan.training.classes,) * 2, int)
        for line in predicted:
            expected[int(labels[line.integer("n")]), line.integer("class")] += 1
        assert matrix == tuple(map(tuple, expected.tolist()))
    golden, _ = run_episode(episode, target(episode, REFERENCE), RunOptions(steps=5, golden_steps=0))
    assert (golden.confusion_before, golden.confusion_after) == (record.confusion_before, record.confusion_after)


def test_too_many_classes_leave_no_matrix(
    prepared: Prepare, target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = prepared("b16", "nearest8")
    lines = target(episode, REFERENCE).run(episode.image(steps=0, predictions=True))
    assert confusion_of(episode, lines, "before") is not None
    monkeypatch.setattr(confusion, "MOST_CONFUSION_CLASSES", episode.plan.training.classes - 1)
    assert confusion_of(episode, lines, "before") is None
    assert class_names_of(episode) == ()


def test_a_host_run_is_held_against_the_first_board_of_its_episode(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "nearest8")
    record, _ = run_episode(episode, target(episode, "host"), RunOptions(steps=0, test=1, golden_steps=0))
    assert (record.reference_board, record.sram_limit_bytes) == (episode.definition.boards[0], 0)
    assert record.reference_sram_limit_bytes in (262_144, 1_048_576)
