"""examples/firmware: an application outside the source tree links the installed library and computes what the episode does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from library.conftest import EPISODES, EXAMPLE, STEPS, Build, Models, require, run
from mcutrain.boards import load_board
from mcutrain.episode.runners import make_target
from mcutrain.paths import PROJECT
from support.own_builds import own_build_folder

WARNINGS = "-Wall -Wextra -Wconversion -Wdouble-promotion -Wpedantic -Werror"
# What somebody else compiles with; the last is what the project's own builds have.
FLAGS = {
    "gnu17 for speed": f"-std=gnu17 -O2 {WARNINGS}",
    "gnu17 for size": f"-std=gnu17 -Os {WARNINGS}",
    "the project's": "-std=c11 -O2 -fno-strict-aliasing -fno-ipa-icf -ffunction-sections -fdata-sections",
}
PROGRAMS = {"firmware": EPISODES[:1], "two_models": EPISODES}
MACHINES = {"m4": "mps2-an386", "m7": "mps2-an500"}
# The runtime of episodes, its port and its marks: nothing of these belongs into an application.
RUNTIME = re.compile(r"mct_(episode|trace|line|port|mark|image|host|runtime|uart|fault|mpu|stack|start)")


@pytest.fixture(scope="session")
def digests(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Of each episode on the host: the digest in the last step's line."""
    found: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build_folder(tmp_path_factory.mktemp("build"))))
        for model in models.models.values():
            image = model.prepared.image(steps=STEPS, test=0, evaluate=(False, False))
            lines = make_target(model.prepared.plan, "host").run(image)
            found[model.name] = next(line.text("digest") for line in reversed(lines) if line.kind == "step")
    assert len(set(found.values())) == len(EPISODES)
    return found


def ran(program: Path, core: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the example: its exit code and what it printed."""
    if core == "host":
        return run([program])
    require("qemu-system-arm")
    options = ("-nodefaults", "-display", "none", "-monitor", "none", "-serial", "none")
    semihosting = ("-semihosting-config", "enable=on,target=native")
    return run(
        ["qemu-system-arm", "-M", MACHINES[core], *options, *semihosting, "-kernel", program.with_suffix(".elf")]
    )


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("core", "flags"),
    [
        *(("m4", flags) for flags in FLAGS),
        ("m7", "gnu17 for speed"),
        *(pytest.param("m7", flags, marks=pytest.mark.exhaustive) for flags in ("gnu17 for size", "the project's")),
    ],
)
def test_an_application_with_other_flags_ends_with_the_digests_of_the_episodes(
    core: str, flags: str, build: Build, digests: Mapping[str, str]
) -> None:
    application = build(core, FLAGS[flags])
    assert application.status == 0, application.output
    for program, episodes in PROGRAMS.items():
        done = ran(application.folder / program, core)
        assert done.returncode == 0, done.stdout
        printed = re.findall(r"status 0, digest ([0-9a-f]{8})", done.stdout)
        assert sorted(printed) == sorted(digests[episode.replace("-", "_")] for episode in episodes)


def test_the_same_application_runs_on_the_host(build: Build, digests: Mapping[str, str]) -> None:
    application = build("host", f"-std=gnu17 -O2 {WARNINGS}")
    assert application.status == 0, application.output
    done = ran(application.folder / "two_models", "host")
    assert done.returncode == 0 and all(digest in done.stdout for digest in digests.values()), done.stdout


@pytest.mark.qemu
def test_the_prebuilt_archive_gives_the_same(build: Build, digests: Mapping[str, str]) -> None:
    application = build("m4", "-std=gnu17 -Os", "-DMCUTRAIN_COMPONENT=archive")
    assert application.status == 0, application.output
    assert "share/mcutrain/src" not in application.output
    done = ran(application.folder / "firmware", "m4")
    assert done.returncode == 0 and digests["digits_sparse"] in done.stdout


@pytest.mark.parametrize(
    ("core", "core_flags"),
    [
        ("m7", None),
        ("m4", "-mcpu=cortex-m4 -mthumb"),
        ("m4", "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=softfp"),
    ],
    ids=["another core", "no FPU", "floats in other registers"],
)
def test_the_archive_refuses_what_it_was_not_built_for(core: str, core_flags: str | None, build: Build) -> None:
    application = build(core, "-O2", "-DMCUTRAIN_COMPONENT=archive", core_flags=core_flags)
    board = load_board("m4-256k").compiler_flags
    assert application.status != 0
    assert f"mcutrain: the archive is for another core or float ABI than this file, for {board}" in application.output
    assert "undefined reference" not in application.output and "ld:" not in application.output


def test_an_image_has_nothing_of_the_runtime_and_a_model_has_one_external_symbol(
    build: Build, models: Models, package: Path
) -> None:
    application = build("m4", "-O2", "-DMCUTRAIN_COMPONENT=archive")
    assert application.status == 0, application.output
    for program in PROGRAMS:
        symbols = run(["arm-none-eabi-nm", application.folder / f"{program}.elf"]).stdout.split()
        assert "mct_train" in symbols  # it is this program's symbols that were read
        assert [symbol for symbol in symbols if RUNTIME.match(symbol)] == []
    archive = run(["arm-none-eabi-nm", package / "lib" / "libmcutrain.a"]).stdout.split()
    assert "mct_conv2d_s8" in archive and [symbol for symbol in archive if RUNTIME.match(symbol)] == []
    for model in models.models.values():
        made = next(application.folder.glob(f"CMakeFiles/two_models.dir/**/{model.name}.c.*o*"))
        external = run(["arm-none-eabi-nm", "--defined-only", "--extern-only", "--format=posix", made]).stdout
        assert [line.split()[0] for line in external.splitlines()] == [model.name]


def test_a_models_static_memory_is_the_plans_to_the_byte_and_goes_where_it_is_placed(
    models: Models, package: Path, tmp_path: Path
) -> None:
    for model in models.models.values():
        plan = model.prepared.plan
        io_bytes = plan.static_bytes - plan.arena_bytes - plan.persistent_bytes
        for place, placed_bytes in (("", 0), ('__attribute__((section(".bss.dtcm")))', plan.static_bytes - io_bytes)):
            made = tmp_path / "model.o"
            flags = [*load_board("m7-256k").compiler_flags.split(), "-O2", f"-DMCT_MODEL_MEMORY={place}"]
            source = models.folder / f"{model.name}.c"
            done = run(["arm-none-eabi-gcc", *flags, "-I", package / "include", "-c", source, "-o", made])
            assert done.returncode == 0, done.stdout
            symbols = run(["arm-none-eabi-nm", "--print-size", "--format=posix", made]).stdout
            writable = re.findall(r"^\w+ [bBdD] \w+ (\w+)$", symbols, re.MULTILINE)
            assert sum(int(size, 16) for size in writable) == plan.static_bytes
            sizes = dict(
                re.findall(r"^(\.[\w.]+) +(\d+) ", run(["arm-none-eabi-size", "-A", made]).stdout, re.MULTILINE)
            )
            assert int(sizes.get(".bss.dtcm", 0)) == placed_bytes and int(sizes[".data"]) == 0
            sections = run(["arm-none-eabi-readelf", "-SW", made]).stdout
            assert not placed_bytes or re.search(r"\.bss\.dtcm +NOBITS", sections), "zeros that would lie in flash"


@pytest.mark.parametrize("compiler", ["arm-none-eabi-g++", "g++"])
def test_cpp_includes_the_headers_without_a_warning(
    compiler: str, models: Models, package: Path, tmp_path: Path
) -> None:
    require(compiler)
    source = tmp_path / "application.cpp"
    headers = [path for path in sorted((package / "include" / "mcutrain").glob("*.h")) if path.name != "archive.h"]
    lines = [*(f'#include "mcutrain/{path.name}"' for path in headers), '#include "digits_sparse.h"']
    lines.append("bool train(const int8_t *sample) { return mct_train(&digits_sparse, sample, 0) == MCT_OK; }")
    source.write_text("\n".join(lines) + "\n", encoding="ascii")
    flags = [*WARNINGS.split(), "-I", str(package / "include"), "-I", str(models.folder)]
    done = run([compiler, "-std=c++17", *flags, "-c", source, "-o", tmp_path / "application.o"])
    assert done.returncode == 0, done.stdout
    undefined = run(["nm", "--undefined-only", "--format=posix", tmp_path / "application.o"]).stdout
    assert {"mct_train", "digits_sparse"} <= set(undefined.split())  # not names that C++ has changed


def test_the_application_is_short_and_includes_nothing_but_its_model() -> None:
    text = (EXAMPLE / "main.c").read_text(encoding="ascii")
    assert len(text.splitlines()) <= 80
    assert re.findall(r'#include "(.*)"', text) == ["digits_sparse.h", "digits_sparse_samples.h"]


def test_samples_cannot_be_made_of_an_episode_that_is_not_there(tmp_path: Path) -> None:
    script = [sys.executable, EXAMPLE / "make_samples.py", "digits-nope", "--output", tmp_path / "out"]
    done = run(script, PYTHONPATH=str(PROJECT / "python_harness"))
    assert done.returncode == 2 and "no episode 'digits-nope'" in done.stdout and "Traceback" not in done.stdout
    assert not (tmp_path / "out").exists()
