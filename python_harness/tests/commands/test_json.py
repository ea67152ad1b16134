"""--json: standard output is one JSON document with the promised keys, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands.conftest import Tool
from mcutrain.paths import PROJECT
from support.own_builds import own_build_folder

DIGITS = str(PROJECT / "examples" / "digits" / "digits.onnx")
EPISODE = "digits-biases"
RECORD_KEYS = {
    *("schema_version", "episode", "board", "core", "runner", "method", "steps", "accuracy_before", "accuracy_after"),
    *("digest", "matches_golden", "instructions_per_step", "estimated_cycles_per_step", "sram", "sram_peak_bytes"),
    *("sram_limit_bytes", "flash_bytes", "emulator", "emulator_version", "compiler", "elf_sha256"),
}
PHASES = {"total", "forward", "loss", "backward", "update"}
PLAN_KEYS = {
    *("fits", "sram_peak_bytes", "sram_lower_bound_bytes", "sram_limit_bytes", "flash_bytes", "macs"),
    *("input_placement", "input_bytes", "state_bytes", "programs"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of the tool with its own build and result folders."""
    folder = tmp_path_factory.mktemp("tool")
    return {
        "MCUTRAIN_BUILD": str(own_build_folder(folder / "build")),
        "MCUTRAIN_RESULTS": str(folder / "results"),
        "PYTHONPATH": str(PROJECT / "python_harness"),
    }


def document(folders: dict[str, str], *arguments: str, status: int = 0) -> Any:
    """The document that the tool prints; a second one, or a word before or after it, is a JSON error."""
    done = subprocess.run(
        [sys.executable, "-m", "mcutrain", *arguments, "--json"],
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def document_here(here: Tool, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The same of the tool in this process."""
    for name, value in folders.items():
        monkeypatch.setenv(name, value)

    def document_of(*arguments: str, status: int = 0) -> Any:
        done = here(*arguments, "--json")
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)

    return document_of


def assert_is_a_record(record: dict[str, Any], board: str) -> None:
    assert record.keys() >= RECORD_KEYS
    assert (record["episode"], record["board"], record["method"], record["steps"]) == (
        EPISODE,
        board,
        "sparse_update",
        3,
    )
    assert record["matches_golden"] is True
    assert record["options"].items() >= {"scheme": "biases", "errors": "b16", "weights": "master16"}.items()
    assert (record["scheme"], record["error_mode"], record["weight_rounding"]) == ("biases", "b16", "master16")
    assert record["batch"] == 1
    assert 0 <= record["accuracy_before"] <= 1 and 0 <= record["accuracy_after"] <= 1
    assert {"data", "bss", "arena", "stack_peak"} <= record["sram"].keys()


def test_a_run_prints_its_records(folders: dict[str, str]) -> None:
    printed = document(folders, "run", EPISODE, "--board", "host", "--steps", "3", "--test", "4")
    assert [record["board"] for record in printed["episodes"]] == ["host"]
    assert_is_a_record(printed["episodes"][0], "host")
    written = Path(folders["MCUTRAIN_RESULTS"]) / EPISODE / "latest"
    (kept,) = json.loads((written / "records.json").read_text(encoding="utf-8"))["episodes"]
    steps = kept.pop("steps_file")
    assert [{**kept, "step_records": printed["episodes"][0]["step_records"]}] == printed["episodes"]
    assert sorted(path.name for path in written.iterdir()) == ["records.csv", "records.json", "report.html", steps]
    assert len((written / steps).read_text(encoding="ascii").splitlines()) == 1 + 3


@pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)
@pytest.mark.qemu
def test_a_run_on_a_board_counts_instructions_by_phase(folders: dict[str, str]) -> None:
    printed = document(folders, "run", EPISODE, "--board", "m4-256k", "--steps", "3", "--test", "4")
    (record,) = printed["episodes"]
    assert_is_a_record(record, "m4-256k")
    counts = record["instructions_per_step"]
    assert counts.keys() >= PHASES
    assert counts["total"] == pytest.approx(sum(counts[phase] for phase in PHASES - {"total"}))
    assert all(counts[phase] > 0 for phase in PHASES)
    assert (record["sram_limit_bytes"], record["core"], record["emulator"]) == (2**18, "cortex-m4", "qemu")
    assert len(record["elf_sha256"]) == 64
    sram = record["sram"]
    assert record["sram_peak_bytes"] == sram["data"] + sram["bss"] + sram["stack_peak"] <= record["sram_limit_bytes"]
    assert sram["arena"] + sram["trainable"] < sram["data"] + sram["bss"]


def test_a_plan_prints_what_the_network_takes(document_here: Callable[..., Any]) -> None:
    printed = document_here("plan", DIGITS, "--scheme", "full")
    assert printed.keys() >= PLAN_KEYS
    assert printed["fits"] is True
    assert printed["sram_lower_bound_bytes"] <= printed["sram_peak_bytes"] <= printed["sram_limit_bytes"] == 2**18
    assert printed["macs"]["forward"] > 230_000 and printed["macs"]["backward"] > printed["macs"]["forward"]
    assert sum(printed["sram"].values()) == printed["sram_peak_bytes"]
    assert len(printed["operators"]) > 20 and len(printed["tensors"]) > 20


def test_a_plan_that_does_not_fit_is_printed_too_and_ends_with_two(folders: dict[str, str]) -> None:
    printed = document(folders, "plan", DIGITS, "--budget", "9000", status=2)
    assert printed["fits"] is False
    assert printed["sram_peak_bytes"] > printed["sram_limit_bytes"] == 9000


def test_any_option_of_the_method_can_be_given(document_here: Callable[..., Any]) -> None:
    given = ("--option", "scheme=b1; 1@1/2", "--option", "gradient_scaling=none", "--option", "step_cap=1")
    printed = document_here("plan", DIGITS, "--errors", "f32", *given)
    assert (printed["method"], printed["scheme"], printed["error_mode"]) == ("sparse_update", "b1; 1@1/2", "f32")
    chosen = {"scheme": "b1; 1@1/2", "errors": "f32", "gradient_scaling": "none", "step_cap": 1.0, "batch": 1}
    assert printed["options"].items() >= chosen.items() and printed["batch"] == 1


def test_the_methods_are_listed_with_a_schema_of_their_options(document_here: Callable[..., Any]) -> None:
    printed = {method["name"]: method for method in document_here("methods")["methods"]}
    assert printed.keys() == {"sparse_update", "inference"}
    schema = printed["sparse_update"]["options_schema"]["properties"]
    assert schema["errors"]["enum"] == ["b16", "f32"] and schema["batch"]["minimum"] == 1


def test_a_plan_counts_the_sample_in_sram_unless_it_is_told_that_it_lies_elsewhere(
    document_here: Callable[..., Any],
) -> None:
    sram, external = (
        document_here("plan", DIGITS, "--scheme", "head", *given) for given in ((), ("--input", "external"))
    )
    assert (sram["input_placement"], external["input_placement"]) == ("sram", "external")
    assert sram["input_bytes"] == external["input_bytes"] > 0
    named = [{tensor["name"] for tensor in printed["tensors"]} for printed in (sram, external)]
    assert named[0] - named[1] == {"io.input"}
    assert external["sram_lower_bound_bytes"] <= sram["sram_lower_bound_bytes"]


def test_a_plan_prints_its_programs_and_counts_lives_in_their_moments(document_here: Callable[..., Any]) -> None:
    printed = document_here("plan", DIGITS, "--scheme", "b1; 1", "--batch", "4")
    operators, moments, programs = printed["operators"], printed["moments"], printed["programs"]
    assert printed["batch"] == 4 and programs.keys() == {"infer", "sample", "update"}
    sample, update = ([op for run in programs[name] for op in run] for name in ("sample", "update"))
    in_text = sample + update
    assert [moment["op"] for moment in moments] == in_text
    assert [moment["program"] for moment in moments] == ["sample"] * len(sample) + ["update"] * len(update)
    assert [operators[moment["op"]]["name"] for moment in moments] == [moment["name"] for moment in moments]
    assert all(row["visits"] == in_text.count(row["op"]) for row in operators)
    assert all(0 <= tensor["first_op"] <= tensor["last_op"] < len(moments) for tensor in printed["tensors"])
    for row in operators:
        assert row["live_bytes"] == max(moment["live_bytes"] for moment in moments if moment["op"] == row["op"])
    assert {operators[op]["phase"] for op in update} == {"update"}


def test_an_inference_plan_has_no_backward(document_here: Callable[..., Any]) -> None:
    printed = document_here("plan", DIGITS, "--method", "inference")
    assert printed["macs"]["backward"] == 0 and printed["sram"]["trainable"] == 0


def test_verify_prints_the_digest_of_every_runner(folders: dict[str, str]) -> None:
    printed = document(folders, "verify", EPISODE, "--runners", "golden,host", "--steps", "3")
    assert printed["matches"] is True and printed["divergences"] == []
    assert printed["digests"].keys() == {"golden", "host"}
    assert len(set(printed["digests"].values())) == 1
    assert printed["steps"] == 3


@pytest.mark.parametrize("command", [("inspect", DIGITS), ("doctor",)])
def test_the_other_commands_print_one_document_too(command: tuple[str, ...], document_here: Callable[..., Any]) -> None:
    assert isinstance(document_here(*command), dict)


def test_sources_are_written_where_they_are_asked_for(folders: dict[str, str], tmp_path: Path) -> None:
    printed = document(folders, "build", EPISODE, "--sources-only", "--output", str(tmp_path / "c"))
    name = EPISODE.replace("-", "_")
    assert printed.pop("plan_crc32") in (tmp_path / "c" / f"{name}.c").read_text(encoding="ascii")
    files = {"model": str(tmp_path / "c" / f"{name}.c"), "header": str(tmp_path / "c" / f"{name}.h")}
    assert printed == {"episode": EPISODE, "name": name, **files}
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [f"{name}.c", f"{name}.h"]


def test_a_build_copies_what_it_made_and_calls_the_model_as_it_is_told(folders: dict[str, str], tmp_path: Path) -> None:
    printed = document(folders, "build", EPISODE, "--name", "Digits2", "--output", str(tmp_path))
    names = ["Digits2.c", "Digits2.h", "episode.image", "firmware.elf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert printed["name"] == "Digits2" and printed["elf"] == str(tmp_path / "firmware.elf")
    assert hashlib.sha256((tmp_path / "firmware.elf").read_bytes()).hexdigest() == printed["elf_sha256"]
    assert "const mct_model Digits2 =" in Path(printed["model"]).read_text(encoding="ascii")
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}
