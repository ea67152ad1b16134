"""Results do not depend on the flags that a user compiles the kernels with, or the kernels refuse to compile and say why."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mcutrain.paths import PROJECT
from support.ckernels import FLAGS_VARIABLE, HEADERS, SOURCES

ROOM = Path(__file__).parent
KERNEL_FILES = sorted(SOURCES.glob("*/*.c"))
FLOAT_FILES = [path for path in KERNEL_FILES if re.search(r"\bfloat\b", path.read_text())]
PUBLIC_HEADERS = sorted(HEADERS.glob("mcutrain/*.h"))

INCLUDES = ("-I", str(HEADERS), "-I", str(SOURCES.parent))
CORES = {
    "m4": "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
    "m7": "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard",
}
# As if exact.h had been included already: what the compiler does without it.
WITHOUT_EXACT = "-DMCT_KERNELS_EXACT_H"

# VMLA and its like round the product, too: only these do not.
FUSED = re.compile(r"\tv(?:fma|fms|fnma|fnms)\S*")

# Fused operations where the machine has them, and trust in types.
HOST_FLAGS = "-std=gnu17 -O2 -fstrict-aliasing -ffp-contract=fast"
# Float sums in every order that there is, quotients, roundings of steps, and memory that changes its type.
HELD_UNDER_HOST_FLAGS = (
    "test_head_loss.py::test_a_sum_runs_in_ascending_order_without_fusing",
    "test_head_loss.py::test_the_head_update_is_a_step_against_the_gradient",
    "test_head_loss.py::test_the_loss_and_its_gradient_are_softmax_cross_entropy",
    "test_backward_convolution.py::test_float_error_of_a_convolution_has_goldens_bits",
    "test_backward_convolution.py::test_float_weight_gradient_has_goldens_bits",
    "test_depthwise_conv2d.py::test_gradients_have_goldens_bits",
    "test_update_weights.py::test_updates_have_goldens_bits",
    "test_update_bias.py::test_bias_updates_have_goldens_bits",
    "test_block_float.py::test_normalised_sums_have_goldens_bits",
    "test_block_float.py::test_sums_may_be_normalised_into_place_behind_their_start",
    "test_block_float.py::test_in_place_calls_give_what_calls_out_of_place_give",
    "test_add_linear.py::test_add_may_run_in_place",
)


def compile_for(core: str, flags: str, sources: Sequence[Path], folder: Path) -> None:
    command = ["arm-none-eabi-gcc", *CORES[core].split(), *flags.split(), *INCLUDES, "-c", *map(str, sources)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def disassembly(folder: Path) -> str:
    objects = sorted(folder.glob("*.o"))
    assert objects
    command = ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", *map(str, objects)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout.replace(
        str(folder), ""
    )


def complaint(compiler: str, flags: str, source: Path) -> str:
    """What a compiler says when it refuses a kernel; empty if it takes it."""
    command = [compiler, *flags.split(), *INCLUDES, "-E", "-o", os.devnull, str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0 or result.stderr
    return "" if result.returncode == 0 else result.stderr


def test_every_kernel_includes_what_keeps_its_results_exact_before_anything_else() -> None:
    first = {
        path.name: next(line for line in path.read_text().splitlines() if line[:1] == "#") for path in KERNEL_FILES
    }
    assert len(first) > 30
    assert set(first.values()) == {'#include "kernels/common/exact.h"'}, first


@pytest.mark.parametrize(
    "flags",
    [
        "-std=gnu17 -O2",
        "-O3 -ffp-contract=fast",
        *(pytest.param(flags, marks=pytest.mark.exhaustive) for flags in ("-Os", "-O1")),
    ],
)
@pytest.mark.parametrize("core", CORES)
def test_no_product_is_fused_with_a_sum_whatever_the_flags(core: str, flags: str, tmp_path: Path) -> None:
    compile_for(core, flags, FLOAT_FILES, tmp_path)
    listing = disassembly(tmp_path)
    assert listing.count("\tvmul.f32") > 20
    assert FUSED.findall(listing) == []


# Without optimisation there are no constants for assembly, and with a frame pointer there is a register less. The assembly is the same
# for either core.
@pytest.mark.parametrize("flags", ["-O0 -g", "-O3 -fno-omit-frame-pointer"])
@pytest.mark.parametrize("core", ["m4", pytest.param("m7", marks=pytest.mark.exhaustive)])
def test_every_kernel_compiles_without_optimisation_and_with_a_register_less(
    core: str, flags: str, tmp_path: Path
) -> None:
    compile_for(core, f"-std=gnu17 {flags}", KERNEL_FILES, tmp_path)


@pytest.mark.parametrize("core", CORES)
def test_without_the_header_the_compiler_would_fuse(core: str, tmp_path: Path) -> None:
    compile_for(core, f"-std=gnu17 -O2 {WITHOUT_EXACT}", [SOURCES / "head" / "head_f32.c"], tmp_path)
    assert len(FUSED.findall(disassembly(tmp_path))) >= 3


def test_the_sign_of_char_changes_no_instruction(tmp_path: Path) -> None:
    listings = set()
    for flag in ("-fsigned-char", "-funsigned-char"):
        folder = tmp_path / flag
        folder.mkdir()
        compile_for("m4", f"-O1 {flag}", KERNEL_FILES, folder)
        listings.add(disassembly(folder))
    assert len(listings) == 1


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("-O2 -ffast-math", "-ffast-math and -Ofast change float32 results"),
        ("-Ofast", "-ffast-math and -Ofast change float32 results"),
        ("-O2 -funsafe-math-optimizations", "reorders float32 sums"),
        ("-O2 -ffinite-math-only", "drops the checks that find a diverged training"),
        ("-O2 -freciprocal-math", "turns float32 divisions into products"),
        ("-O2 -fno-signed-zeros", "changes the bits of float32 results"),
        ("-O2 -mbig-endian", "Compile for a little-endian core"),
        ("-O2 -std=gnu99", "the kernels are C11"),
    ],
)
def test_flags_that_would_change_results_are_refused_with_the_reason(flags: str, reason: str) -> None:
    for source in KERNEL_FILES:
        said = complaint("arm-none-eabi-gcc", f"{CORES['m4']} {flags}", source)
        assert re.search(f'#error "mcutrain: .*{reason}', said), f"{source.name}: {said}"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only this machine's compiler has the x87")
def test_excess_precision_is_refused() -> None:
    assert "FLT_EVAL_METHOD" in complaint("gcc", "-mfpmath=387", SOURCES / "head" / "head_f32.c")


def run_room(flags: str, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Tests of this room, with kernels that are compiled with other flags."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(ROOM / test) for test in tests)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment[FLAGS_VARIABLE] = flags
    return subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def fusing() -> str:
    """The flags with which this machine fuses."""
    if platform.machine() == "aarch64":
        return HOST_FLAGS
    if "fma" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this machine has no fused multiply-add")
    return f"{HOST_FLAGS} -mfma"


def test_kernels_leave_goldens_bits_where_the_machine_fuses_and_types_are_trusted(fusing: str) -> None:
    result = run_room(fusing, HELD_UNDER_HOST_FLAGS)
    assert result.returncode == 0, result.stdout[-3000:]


def test_without_the_header_this_machine_would_fuse(fusing: str, tmp_path: Path) -> None:
    counts = []
    for flags in (fusing, f"{fusing} {WITHOUT_EXACT}"):
        command = ["gcc", *flags.split(), *INCLUDES, "-c", str(SOURCES / "head" / "head_f32.c"), "-o", "head.o"]
        subprocess.run(command, cwd=tmp_path, check=True)
        listing = subprocess.run(["objdump", "-d", "head.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        counts.append(len(re.findall(r"\sv?fn?m(?:add|sub|la|ls)\S*", listing.stdout)))
    assert counts[0] == 0
    assert counts[1] >= 3


@pytest.mark.parametrize("header", PUBLIC_HEADERS, ids=lambda header: header.name)
@pytest.mark.parametrize(
    "compiler",
    [
        "gcc -x c -std=c99",
        "gcc -x c -std=gnu17",
        "arm-none-eabi-g++ -x c++ -std=c++11",
        "arm-none-eabi-g++ -x c++ -std=c++20",
    ],
)
def test_a_public_header_stands_alone_in_c_and_cpp(compiler: str, header: Path) -> None:
    command = [*compiler.split(), "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"]
    text = f'#include "mcutrain/{header.name}"\nextern int mcutrain;\n'
    result = subprocess.run([*command, "-I", str(HEADERS), "-"], input=text, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
