"""Small suites run in this process, and a record to run them on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from robot.api import ExecutionResult, TestSuite

from mcutrain.episode.record import EpisodeRecord, PhaseCounts, SramUse

COUNTS = PhaseCounts(total=1000.5, forward=400.0, loss=0.5, backward=500.0, update=100.0, other=20.0)
SRAM = SramUse(data=4, bss=6000, arena=4000, trainable=1500, stack_peak=900, stack_reserve=4096)


class Result(NamedTuple):
    """How a test of a suite ended."""

    status: str
    message: str
    documentation: str
    warnings: tuple[str, ...]


# Runs keywords, one a line, on records: hold([record, ...], "Keyword    argument").
Hold = Callable[..., Result]


def run_suite(folder: Path, tests: str, *, library: str = "") -> dict[str, Result]:
    """Run the text of a *** Test Cases *** section with the library (and its arguments); results by the name of the test."""
    arguments = f"    {library}" if library else ""
    text = f"*** Settings ***\nLibrary    mcutrain.robot.McutrainLibrary{arguments}\n\n*** Test Cases ***\n{tests}"
    suite = TestSuite.from_string(text)
    suite.name = "Small"
    # Quiet: neither the verdicts nor the warnings belong into pytest's output.
    suite.run(outputdir=str(folder), console="none", stdout=io.StringIO(), stderr=io.StringIO())
    result = ExecutionResult(folder / "output.xml")
    warnings = tuple(message.message for message in result.errors)
    return {test.name: Result(test.status, test.message, test.doc, warnings) for test in result.suite.all_tests}


def run_test(folder: Path, *steps: str, library: str = "") -> Result:
    """Run one test of these lines."""
    return run_suite(folder, "The Test\n" + "".join(f"    {step}\n" for step in steps), library=library)["The Test"]


def make_record(**changes: Any) -> EpisodeRecord:
    """A record of a sound run of 20 steps; other values by keyword."""
    values: dict[str, Any] = {
        "episode": "digits-biases",
        "board": "m4-256k",
        "core": "cortex-m4",
        "runner": "qemu",
        "method": "sparse_update",
        "scheme": "biases",
        "error_mode": "b16",
        "weight_rounding": "master16",
        "steps": 20,
        "samples_adapt": 400,
        "samples_test": 400,
        "accuracy_before": 0.565,
        "accuracy_after": 0.9,
        "digest": "89abcdef",
        "plan_crc32": "01234567",
        "matches_golden": True,
        "golden_steps": 20,
        "instructions_per_step": COUNTS,
        "instructions_per_inference": 390.0,
        "sram": SRAM,
        "sram_peak_bytes": 6904,
        "sram_planned_bytes": 10100,
        "sram_limit_bytes": 262144,
        "flash_bytes": 40000,
        "flash_limit_bytes": 1 << 20,
        "clock_hz": 80_000_000,
        "macs_forward": 1,
        "macs_backward": 1,
        "emulator": "qemu",
        "emulator_version": "7.2",
        "compiler": "arm-none-eabi-gcc (GNU 12.2.1)",
        "compiler_flags": "-O2",
        "elf_sha256": "0" * 64,
        "wall_seconds": 1.5,
    }
    return EpisodeRecord(**{**values, **changes})
