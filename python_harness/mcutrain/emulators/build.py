"""Build generated sources with CMake: firmware for a board, or the shared object for the host.

The library and the runtime of episodes are built once for each board, into ``build/library`` of the sources, and stay there: an episode
then only compiles its model and links. Ninja knows what is stale, so a changed kernel is never missed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mcutrain import leftovers
from mcutrain.atomic import write_file
from mcutrain.boards import Board
from mcutrain.emulators.cmake_paths import fit_for_cmake
from mcutrain.emulators.elf import ElfFacts, read_elf
from mcutrain.emulators.locking import locked
from mcutrain.errors import McutrainError, NotAvailableError, UsageError
from mcutrain.paths import PROJECT, build_directory

BUILD_SECONDS = 300.0

_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes?")
_DISK_FULL = re.compile(r"^.*(No space left on device|Disk quota exceeded)", re.MULTILINE)
_ERRORS = tuple(map(re.compile, (r"\berror:", "undefined reference|multiple definition", "CMake Error", "FAILED:")))


class BuildError(McutrainError):
    """The sources do not compile or link."""


@dataclass(frozen=True)
class BuiltFirmware:
    """A firmware and what the record says of its build. Sizes in bytes; facts holds its symbols."""

    elf: Path
    board: Board
    sha256: str
    data_bytes: int
    bss_bytes: int
    flash_bytes: int
    stack_bytes: int
    compiler: str
    flags: str
    facts: ElfFacts


@dataclass(frozen=True)
class BuiltHost:
    """The library and one model as a shared object for this machine."""

    library: Path
    sha256: str
    compiler: str
    flags: str


def runtime_static_bytes(source_root: Path = PROJECT) -> int:
    """Static data of the runtime: data + bss of a firmware is this plus the static data of its generated model."""
    header = (source_root / "src" / "runtime" / "state.h").read_text(encoding="ascii")
    match = re.search(r"^#define MCT_RUNTIME_STATIC_BYTES (\d+)$", header, re.MULTILINE)
    if match is None:
        raise McutrainError("src/runtime/state.h does not define MCT_RUNTIME_STATIC_BYTES")
    return int(match.group(1))


def build_firmware(
    model_dir: Path,
    board: Board,
    build_dir: Path,
    *,
    stack_bytes: int = 4096,
    dsp: bool | None = None,
    source_root: Path = PROJECT,
) -> BuiltFirmware:
    """Compile the .c files of ``model_dir`` and link them with the library of ``board``, in ``build_dir``.

    dsp: True or False take the DSP or the portable form of every kernel; None what the core has.

    Raises:
        UsageError: it does not fit the board's flash or SRAM.
        BuildError: it does not compile or link; build_dir/build.log says why.
        NotAvailableError: a build tool is not installed.
    """
    _require("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    arguments = _variant(board, dsp, source_root) | {"MCT_STACK_BYTES": str(stack_bytes)}
    with locked(build_dir):
        _build_model(model_dir, build_dir, arguments, _build_library(board, dsp, source_root), source_root)
        elf = build_dir / "firmware.elf"
        compiler, flags = _build_info(build_dir)
        facts = read_elf(elf)
        digest = hashlib.sha256(elf.read_bytes()).hexdigest()
    sizes = (facts.data_bytes, facts.bss_bytes, facts.flash_bytes, facts.stack_bytes)
    return BuiltFirmware(elf, board, digest, *sizes, compiler, flags, facts)


def build_host(model_dir: Path, build_dir: Path, *, dsp: bool | None = None, source_root: Path = PROJECT) -> BuiltHost:
    """Compile the .c files of ``model_dir`` and link them with the library for this machine, in ``build_dir``.

    dsp: True takes the DSP form of every kernel, with its instructions emulated in C.

    Raises:
        BuildError: it does not compile or link; build_dir/build.log says why.
        NotAvailableError: a build tool is not installed.
    """
    arguments = _variant(None, dsp, source_root)
    with locked(build_dir):
        _build_model(model_dir, build_dir, arguments, _build_library(None, dsp, source_root), source_root)
        library = build_dir / "libfirmware.so"
        compiler, flags = _build_info(build_dir)
        return BuiltHost(library, hashlib.sha256(library.read_bytes()).hexdigest(), compiler, flags)


def build_profile_plugin(api: int, source_root: Path = PROJECT) -> Path:
    """QEMU's profile plugin for version ``api`` of QEMU's plugin interface, built if it is stale."""
    return _build_plugin(f"mcutrain_profile_{api}", source_root)


def build_ask_api_plugin(source_root: Path = PROJECT) -> Path:
    """The plugin that QEMU refuses by naming the version of its plugin interface, built if it is stale."""
    return _build_plugin("mcutrain_ask_api", source_root)


def _build_plugin(target: str, source_root: Path) -> Path:
    folder = _library_folder("host", source_root)
    with locked(folder):
        _build(source_root, folder, _variant(None, None, source_root), target)
    return folder / f"lib{target}.so"


def _build_library(board: Board | None, dsp: bool | None, source_root: Path) -> Path:
    form = {None: "", True: "-dsp", False: "-portable"}[dsp]
    folder = _library_folder((board.name if board else "host") + form, source_root)
    with locked(folder):
        _build(source_root, folder, _variant(board, dsp, source_root), "mcutrain", "mcutrain_episode")
    return folder / "libmcutrain.a"  # libmcutrain_episode.a lies beside it, where CMakeLists.txt looks


def _library_folder(name: str, source_root: Path) -> Path:
    """A copy of the project builds into itself, the project where the user wants it. Resolved: one folder has one name in CMake's cache."""
    return ((build_directory() if source_root == PROJECT else source_root / "build") / "library" / name).resolve()


def _build_model(
    model_dir: Path, build_dir: Path, arguments: Mapping[str, str | Path], library: Path, source_root: Path
) -> None:
    where = {"MCUTRAIN_MODEL_DIR": model_dir.resolve(), "MCUTRAIN_LIBRARY": library.resolve()}
    _build(source_root, build_dir, {**arguments, **where}, "firmware")


def _variant(board: Board | None, dsp: bool | None, source_root: Path) -> dict[str, str | Path]:
    """What the library and the model must be configured with alike."""
    arguments: dict[str, str | Path] = {} if dsp is None else {"MCT_DSP": str(int(dsp))}
    if board is not None:
        arguments["CMAKE_TOOLCHAIN_FILE"] = source_root / "cmake" / "arm-none-eabi.cmake"
        arguments["MCUTRAIN_BOARD"] = board.name
    else:
        arguments["MCT_OBSERVE"] = "ON"
        # As an argument, so that a build folder that another machine has made is configured anew.
        arguments["MCT_AVX2"] = "ON" if _has_avx2() else "OFF"
    return arguments


@cache
def _has_avx2() -> bool:
    """Whether this machine's processor has it, as far as Linux says."""
    with suppress(OSError):
        return platform.machine() == "x86_64" and " avx2 " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return False


def _build(source_root: Path, folder: Path, arguments: Mapping[str, str | Path], *targets: str) -> None:
    """Configure ``folder`` if it is new or the arguments have changed, then build ``targets`` in it."""
    _require("cmake", "cmake")
    _require("ninja", "ninja-build")
    paths = {name: value for name, value in arguments.items() if isinstance(value, Path)}
    with fit_for_cmake(folder, {"source": source_root, "build": folder, **paths}) as fit:
        configure = ["cmake", "-S", str(fit["source"]), "-B", str(fit["build"]), "-G", "Ninja", "-DBUILD_TESTING=OFF"]
        configure += [f"-D{name}={fit.get(name, value)}" for name, value in sorted(arguments.items())]
        stamp = folder / "configured.txt"
        wanted = "\n".join(configure)
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            stamp.unlink(missing_ok=True)
            (folder / "CMakeCache.txt").unlink(missing_ok=True)
            _run(configure, folder)
            write_file(stamp, wanted)
        _run(["cmake", "--build", str(fit["build"]), "--target", *targets], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    log = folder / "build.log"
    # The flags are the project's: a user's CFLAGS would change the firmware, and its hash.
    environment = {key: value for key, value in os.environ.items() if key not in ("CFLAGS", "LDFLAGS", "CPPFLAGS")}
    try:
        with leftovers.temporary_folder() as temporary:  # a compiler that is killed leaves its files there
            environment["TMPDIR"] = str(temporary)
            done = leftovers.run(command, seconds=BUILD_SECONDS, environment=environment)
    except subprocess.TimeoutExpired:
        raise BuildError(f"'{' '.join(command[:2])}' took over {BUILD_SECONDS:.0f} s in {folder}") from None
    output = done.stdout + done.stderr
    full = _DISK_FULL.search(output) if done.returncode != 0 else None
    if full is not None:
        where, variable = (temporary, "TMPDIR") if str(temporary) in full[0] else (folder, "MCUTRAIN_BUILD")
        raise UsageError(f"{where}: {full[1]}; make room there, or set {variable} to a folder that has some")
    write_file(log, output)
    if done.returncode == 0:
        return
    overflow = _OVERFLOW.search(output)
    if overflow is not None:
        region, missing = overflow.groups()
        raise UsageError(f"the firmware does not fit: {region} overflows by {int(missing):,} bytes; see {log}")
    telling = (line.strip() for pattern in _ERRORS for line in output.splitlines() if pattern.search(line))
    first = next(telling, "no message")
    raise BuildError(f"the build failed: {first}; see {log}")


def _require(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise NotAvailableError(f"{program} is not installed; on Debian: apt-get install {package}")


def _build_info(folder: Path) -> tuple[str, str]:
    program, version, flags = (folder / "build-info.txt").read_text(encoding="utf-8").splitlines()
    return f"{Path(program).name} ({version})", flags
