"""Points of the digits that take a second, and what runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcutrain.episode.definition import load_episode
from mcutrain.sweep.grid import Axis, Point, points_of
from mcutrain.sweep.store import Store
from support.own_builds import own_build_folder


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_build_folder(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(autouse=True)
def own_folders(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUTRAIN_BUILD", str(build))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def points() -> list[Point]:
    return points_of([load_episode("digits-sparse")], [Axis("scheme", ("head", "b all; conv0"))], (1, 2))
