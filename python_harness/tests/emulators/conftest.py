from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emulators.helpers import MODELS, Emulated, FirmwareBuilder, HostBuilder
from mcutrain.boards import load_board
from mcutrain.emulators.base import Runner
from mcutrain.emulators.build import BuiltFirmware, BuiltHost, build_firmware, build_host
from mcutrain.emulators.table import EMULATORS
from mcutrain.errors import NotAvailableError
from mcutrain.paths import PROJECT


@pytest.fixture(scope="session")
def source_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's C sources without the kernels, which these models do not call: the library builds in a second."""
    root = tmp_path_factory.mktemp("sources")
    (root / "src" / "kernels").mkdir(parents=True)
    (root / "src" / "kernels" / "common").symlink_to(PROJECT / "src" / "kernels" / "common")
    for name in (
        "CMakeLists.txt",
        "cmake",
        "emulation",
        "python_harness",
        "src/include",
        "src/model",
        "src/runtime",
        "src/ports",
        "src/firmware",
    ):
        (root / name).symlink_to(PROJECT / name)
    return root


@pytest.fixture(scope="session")
def firmware(source_root: Path, tmp_path_factory: pytest.TempPathFactory) -> FirmwareBuilder:
    """Builds a model for a board, once for each pair."""
    built: dict[tuple[Path | str, str], BuiltFirmware] = {}

    def build(model: Path | str, board: str) -> BuiltFirmware:
        if (model, board) not in built:
            folder = tmp_path_factory.mktemp("firmware")
            model_dir = model if isinstance(model, Path) else _write_model(folder / "model", model)
            built[model, board] = build_firmware(
                model_dir, load_board(board), folder / "build", source_root=source_root
            )
        return built[model, board]

    return build


@pytest.fixture(params=["qemu", pytest.param("renode", marks=pytest.mark.renode)])
def emulated(request: pytest.FixtureRequest) -> Emulated:
    """Puts a firmware on each emulator; skips where this machine does not have it."""
    make = EMULATORS[request.param].make

    def put(built: BuiltFirmware) -> Runner:
        try:
            return make(built, None)
        except NotAvailableError as error:
            pytest.skip(str(error))

    return put


@pytest.fixture(scope="session")
def host(source_root: Path, tmp_path_factory: pytest.TempPathFactory) -> HostBuilder:
    """Builds a model for this machine, once."""
    built: dict[Path | str, BuiltHost] = {}

    def build(model: Path | str) -> BuiltHost:
        if model not in built:
            folder = tmp_path_factory.mktemp("host")
            model_dir = model if isinstance(model, Path) else _write_model(folder / "model", model)
            built[model] = build_host(model_dir, folder / "build", source_root=source_root)
        return built[model]

    return build


def _write_model(folder: Path, source: str) -> Path:
    folder.mkdir()
    shutil.copy(MODELS / "minimal.h", folder)
    (folder / "model.c").write_text(source, encoding="ascii")
    return folder
