"""The digits network, prepared once for each pair of error mode and weight rounding, and built once for each target."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mcutrain.episode.definition import EpisodeDefinition, load_episode
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.runners import Target, make_target
from support.own_builds import own_build_folder

SCHEME = "b all; 0,1 2@1/2"  # all biases, two whole layers, and half the input channels of one

Prepare = Callable[[str, str], PreparedEpisode]
MakeTarget = Callable[[PreparedEpisode, str], Target]


def digits(errors: str = "b16", weights: str = "master16", **changes: object) -> EpisodeDefinition:
    """The digits episode with some keys replaced."""
    options = {"scheme": SCHEME, "errors": errors, "weights": weights}
    return load_episode("digits-biases").changed(changes, options)


@pytest.fixture(scope="session")
def prepared() -> Prepare:
    """Prepares digits with these errors and weights, once."""
    known: dict[tuple[str, str], PreparedEpisode] = {}

    def make(errors: str, weights: str) -> PreparedEpisode:
        if (errors, weights) not in known:
            known[errors, weights] = prepare(digits(errors, weights))
        return known[errors, weights]

    return make


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeTarget]:
    """Builds a plan for golden, the host or a board, once, away from the project's own plans."""
    known: dict[tuple[int, str], Target] = {}

    def make(episode: PreparedEpisode, name: str) -> Target:
        key = (episode.plan.crc32, name)
        if key not in known:
            known[key] = make_target(episode.plan, name)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build_folder(tmp_path_factory.mktemp("build"))))
        yield make
