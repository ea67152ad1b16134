"""``bench kernels``: the figures belong to the case they stand beside, and the data is what the kernels take."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mcutrain.bench.cases import Case, Output
from mcutrain.bench.catalogue import cases
from mcutrain.bench.document import tables, with_tables
from mcutrain.bench.measure import BOARDS, Measurement, measure
from mcutrain.bench.peers import PEERS
from mcutrain.bench.plan import bench_plan, one_step
from mcutrain.boards import load_board
from mcutrain.environment import doctor
from mcutrain.episode.runners import make_target
from mcutrain.errors import UsageError
from mcutrain.ops.registry import KERNELS
from mcutrain.paths import PROJECT
from support.own_builds import own_build_folder

KEYS = {"kernel", "shape", "core", "macs", "instructions", "estimated_cycles", "cycles_per_mac", "code_bytes"}


def chosen(kernel: str, shape: str) -> Case:
    return next(case for case in cases() if (case.kernel, case.shape) == (kernel, shape))


@pytest.fixture(scope="module")
def own_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_build_folder(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.kernel} {case.shape}")
def test_a_case_gives_every_role_of_its_kernel(case: Case) -> None:
    (step,) = bench_plan([case]).steps
    needed = {role.name for role in (*step.definition.inputs, *step.definition.outputs) if not role.optional}
    if step.definition.scratch_bytes(case.params) == 0:
        needed.discard("scratch")
    assert needed <= set(step.operands)


def test_every_kernel_has_a_case() -> None:
    assert {case.kernel for case in cases()} == set(KERNELS)


def test_no_two_outputs_of_a_case_share_memory() -> None:
    for case in cases():
        plan = bench_plan([case])
        ends = sorted((plan.offsets[block.name], plan.offsets[block.name] + block.size_bytes) for block in plan.blocks)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ends)), case.shape
        assert all(end <= plan.arena_bytes for _, end in ends)


def test_outputs_have_no_values_and_updated_roles_do() -> None:
    for case in cases():
        for role in KERNELS[case.kernel].outputs:
            given = case.operands.get(role.name)
            assert given is None or isinstance(given, Output) == (role.name not in KERNELS[case.kernel].updates)


@pytest.fixture(scope="module")
def rows(own_build: Path) -> dict[str, tuple[Measurement, ...]]:
    wanted = [chosen("conv2d_s8", "1x1 1x1x64->10"), chosen("add_s8", "4096"), chosen("add_s8", "4096 mask")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build))
        return {core: measure(wanted, core) for core in ("m4", "m7")}


@pytest.mark.qemu
def test_every_case_has_a_row_in_order(rows: dict[str, tuple[Measurement, ...]]) -> None:
    for core, measured in rows.items():
        assert [(row.kernel, row.shape) for row in measured] == [
            ("conv2d_s8", "1x1 1x1x64->10"),
            ("add_s8", "4096"),
            ("add_s8", "4096 mask"),
        ]
        assert all(row.core == f"cortex-{core}" for row in measured)


@pytest.mark.qemu
def test_no_kernel_beats_the_limit_of_smlad(rows: dict[str, tuple[Measurement, ...]]) -> None:
    for measured in rows.values():
        assert measured[0].macs == 640
        assert 0 < (measured[0].smlad_share or 0) < 1
        assert measured[1].smlad_share is None


@pytest.mark.qemu
def test_an_add_reads_and_writes_each_element(rows: dict[str, tuple[Measurement, ...]]) -> None:
    for measured in rows.values():
        assert measured[1].instructions > 3 * 4096
        assert measured[1].elements == 4096
        assert measured[1].code_bytes > 64


@pytest.mark.qemu
def test_the_m7_takes_fewer_cycles_than_the_m4(rows: dict[str, tuple[Measurement, ...]]) -> None:
    for m4, m7 in zip(rows["m4"], rows["m7"], strict=True):
        assert m7.estimate.cycles < m4.estimate.cycles


@pytest.mark.qemu
def test_the_command_prints_the_promised_document(own_build: Path) -> None:
    done = run(own_build, "--kernel", "average_pool_s8", "--core", "m4", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert set(row) >= KEYS
    assert (row["kernel"], row["core"], row["cycles_per_mac"]) == ("average_pool_s8", "cortex-m4", None)
    assert row["estimated_cycles"] >= row["instructions"] / 2


@pytest.mark.parametrize(("arguments", "said"), [(("--kernel", "nonesuch"), "nonesuch"), (("--core", "m33"), "m4, m7")])
def test_a_wrong_filter_is_one_line(own_build: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(own_build, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def run(build: Path, *arguments: str) -> subprocess.CompletedProcess[Any]:
    own = {"MCUTRAIN_BUILD": str(build), "PYTHONPATH": str(PROJECT / "python_harness")}
    command = [sys.executable, "-m", "mcutrain", "bench", "kernels", *arguments]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=300)


STALE = "run: ./mcutrain bench kernels --document docs/kernels.md"
# More than a step's call of its kernel and the marks have: a firmware's first step and its last have others than the rest.
AROUND_A_KERNEL = 32


@pytest.fixture(scope="module")
def document() -> str:
    return (PROJECT / "docs" / "kernels.md").read_text(encoding="utf-8")


def has_figures_of_this_compiler(document: str) -> bool:
    compiler = next(check.version for check in doctor() if check.name == "arm-none-eabi-gcc")
    return f"of arm-none-eabi-gcc {compiler}" in document


def in_firmwares(all_cases: Sequence[Case]) -> list[list[Case]]:
    """The cases in as few firmwares as the larger boards hold, with room for code and stack."""
    board = load_board(BOARDS["m4"])
    firmwares: list[list[Case]] = [[]]
    for case in all_cases:
        plan = bench_plan([*firmwares[-1], case])
        if plan.constant_bytes > 0.75 * board.flash_bytes or plan.static_bytes > 0.9 * board.sram_bytes:
            firmwares.append([])
        firmwares[-1].append(case)
    return firmwares


def instructions(firmware: Sequence[Case], core: str, own_build: Path) -> list[int]:
    """Of each case, in one run of them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build))
        plan = bench_plan(firmware)
        marks = make_target(plan, BOARDS[core]).profile(one_step(plan)).instructions_per_mark
    return [marks[f"mct_op_{number:04d}"].instructions for number in range(len(firmware))]


def stated_instructions(document: str) -> dict[tuple[str, str], list[int]]:
    """Of each kernel and shape in the tables: the instructions on either core."""
    found = re.findall(r"^\| (\w+) \| (.+?) \|.* ([\d,]+) / ([\d,]+) \| [\d,]+ / [\d,]+ \|$", document, re.MULTILINE)
    return {(kernel, shape): [int(count.replace(",", "")) for count in counts] for kernel, shape, *counts in found}


@pytest.mark.qemu
def test_the_tables_of_the_docs_have_the_instructions_of_every_case(own_build: Path, document: str) -> None:
    """All cases in a few firmwares, which are soon built. Cycles and bytes of code depend on what else a firmware holds."""
    stated = stated_instructions(document)
    assert sorted(stated) == sorted((case.kernel, case.shape) for case in cases()), STALE
    if not has_figures_of_this_compiler(document):
        return
    for number, core in enumerate(BOARDS):
        for firmware in in_firmwares(cases()):
            for case, count in zip(firmware, instructions(firmware, core, own_build), strict=True):
                difference = count - stated[case.kernel, case.shape][number]
                assert abs(difference) <= AROUND_A_KERNEL, (
                    f"{case.kernel} {case.shape} on {core}: {difference:+d}; {STALE}"
                )


@pytest.mark.qemu
def test_rows_of_the_docs_are_what_the_command_gives(own_build: Path, document: str) -> None:
    """Of two kernels, to the last digit."""
    wanted = [case for case in cases() if case.kernel in ("add_s8", "conv2d_error_b16")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build))
        rows = [row for core in BOARDS for row in measure(wanted, core)]
    if has_figures_of_this_compiler(document):
        assert set(tables(rows).splitlines()) <= set(document.splitlines()), STALE


@pytest.mark.qemu
@pytest.mark.exhaustive
def test_the_tables_of_the_docs_are_what_the_command_gives(own_build: Path, document: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build))
        rows = [row for core in ("m4", "m7") for row in measure(cases(), core)]
    measured = with_tables(document, tables(rows))
    if not has_figures_of_this_compiler(document):
        document, measured = (re.sub(r"[\d,.]+", "#", text) for text in (document, measured))
    assert document == measured, STALE


def test_peers_stand_beside_shapes_of_the_catalogue() -> None:
    assert set(PEERS) <= {(case.kernel, case.shape) for case in cases()}


def test_a_document_without_markers_is_one_line(own_build: Path, tmp_path: Path) -> None:
    (tmp_path / "kernels.md").write_text("no markers here\n")
    with pytest.raises(UsageError, match="begin: bench kernels"):
        with_tables((tmp_path / "kernels.md").read_text(), "")
    done = run(own_build, "--document", str(tmp_path / "none.md"))
    assert (done.returncode, done.stdout) == (2, "") and "none.md" in done.stderr
