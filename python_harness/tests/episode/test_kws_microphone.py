"""The keyword network learns another microphone."""

from __future__ import annotations

import pytest

from episode.conftest import MakeTarget
from mcutrain.episode.compare import first_difference
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.errors import NotAvailableError

EPOCH = 420


@pytest.fixture(scope="module")
def episode() -> PreparedEpisode:
    try:
        return prepare(load_episode("kws-microphone"))
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.mark.train
def test_an_epoch_brings_most_of_the_words_back(episode: PreparedEpisode, target: MakeTarget) -> None:
    lines = target(episode, "host").run(episode.image(steps=EPOCH))
    before, after = (line.integer("correct") / line.integer("total") for line in lines if line.kind == "evaluation")
    assert before == pytest.approx(0.512, abs=5e-4)
    assert after > 0.75


@pytest.mark.train
def test_the_host_takes_goldens_steps(episode: PreparedEpisode, target: MakeTarget) -> None:
    image = episode.image(steps=4, test=2)
    golden, host = (target(episode, name).run(image) for name in ("golden", "host"))
    assert len([line for line in golden if line.kind == "step"]) == 4
    assert first_difference(golden, host) is None
