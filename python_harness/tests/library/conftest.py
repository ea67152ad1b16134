"""The library installed and moved, two generated models with their samples, and applications built outside the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcutrain.boards import load_board
from mcutrain.compiler.codegen import c_name, generate
from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.paths import PROJECT

EXAMPLE = PROJECT / "examples" / "firmware"
EPISODES = ("digits-sparse", "digits-biases")
STEPS = 50
ARCHIVE_BOARD = "m4-256k"  # what the installed archive is for
BUILD_SECONDS = 300.0


@dataclass(frozen=True)
class Model:
    """A model for the example: its name in C and its episode."""

    name: str
    prepared: PreparedEpisode


@dataclass(frozen=True)
class Models:
    """Generated models and their samples in one folder."""

    folder: Path
    models: Mapping[str, Model]


@dataclass(frozen=True)
class Application:
    """An application's build folder, and what cmake said: of configuring, and of building where it came to that."""

    folder: Path
    status: int
    output: str


Build = Callable[..., Application]


def run(command: Sequence[object], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without flags for compilers."""
    clean = {key: value for key, value in os.environ.items() if key not in ("CFLAGS", "LDFLAGS", "CPPFLAGS")}
    return subprocess.run(
        [str(word) for word in command],
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=BUILD_SECONDS,
        check=False,
    )


def require(*programs: str) -> None:
    """Skip where a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """What `build --sources-only` and make_samples.py write for the example."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Model] = {}
    for episode in EPISODES:
        definition = load_episode(episode)
        model = Model(c_name(definition.name), prepare(definition))
        generate(model.prepared.plan, folder, model.name)
        script = [sys.executable, EXAMPLE / "make_samples.py", episode, "--steps", str(STEPS), "--output", folder]
        done = run(script, PYTHONPATH=str(PROJECT / "python_harness"))
        assert done.returncode == 0, done.stdout
        made[episode] = model
    return Models(folder, made)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of an installation for ARCHIVE_BOARD, that was moved after it was made."""
    require("cmake", "ninja", "arm-none-eabi-gcc")
    folder = tmp_path_factory.mktemp("install")
    options = (f"-DMCUTRAIN_BOARD={ARCHIVE_BOARD}", f"-DCMAKE_TOOLCHAIN_FILE={PROJECT}/cmake/arm-none-eabi.cmake")
    for command in (
        ["cmake", "-S", PROJECT, "-B", folder / "build", "-G", "Ninja", "-DBUILD_TESTING=OFF", *options],
        ["cmake", "--build", folder / "build", "--target", "mcutrain"],
        ["cmake", "--install", folder / "build", "--prefix", folder / "installed"],
    ):
        done = run(command)
        assert done.returncode == 0, done.stdout
    shutil.rmtree(folder / "build")
    return (folder / "installed").rename(folder / "moved")


@pytest.fixture(scope="session")
def build(package: Path, models: Models, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds an application, the example where no other is named, for a core (or the host) with somebody's flags."""

    def application(
        core: str, flags: str, *options: str, source: Path = EXAMPLE, target: str = "all", core_flags: str | None = None
    ) -> Application:
        folder = tmp_path_factory.mktemp("application")
        configure: list[object] = [
            "cmake",
            "-S",
            source,
            "-B",
            folder,
            "-G",
            "Ninja",
            f"-DCMAKE_PREFIX_PATH={package}",
            *options,
        ]
        configure.append(f"-DMODELS={models.folder}")
        if core != "host":
            configure.append(f"-DCMAKE_TOOLCHAIN_FILE={EXAMPLE / 'arm-gcc.cmake'}")
            flags = f"{load_board(f'{core}-256k').compiler_flags if core_flags is None else core_flags} {flags}"
        done = run([*configure, f"-DCMAKE_C_FLAGS={flags}"])
        if done.returncode != 0:
            return Application(folder, done.returncode, done.stdout)
        built = run(["cmake", "--build", folder, "--target", target])
        return Application(folder, built.returncode, done.stdout + built.stdout)

    return application
