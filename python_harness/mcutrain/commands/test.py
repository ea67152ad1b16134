"""``test``: every suite of the project, one after the other, with one verdict."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mcutrain import leftovers
from mcutrain.commands.options import JsonOption, log
from mcutrain.commands.run import finish
from mcutrain.errors import MismatchError, UsageError
from mcutrain.paths import PROJECT, results_directory
from mcutrain.report.json_report import load_records
from mcutrain.report.junit import merge_junit
from mcutrain.results import ResultsFolder

LIBRARY = "mcutrain.robot.McutrainLibrary"
SUITES = ("lint", "baseline", "ctest", "robot", "pytest")
CTEST_PRESETS = ("host", "m4-256k", "m7-256k")


# pytest, Robot and CTest answer Ctrl-C by tearing down what they have set up, which takes a while.
_STOP = leftovers.Stop(signal.SIGINT, 10.0)


@dataclass(frozen=True)
class Suite:
    """A suite's commands, in order; junit: the files they leave."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    junit: tuple[Path, ...]


def test(
    context: typer.Context,
    suite: Annotated[
        list[str] | None, typer.Option(help=f"Only this suite; may be repeated: {', '.join(SUITES)}. pytest runs last.")
    ] = None,  # noqa: PT028 - a command of the tool, not a test function
    json: JsonOption = False,  # noqa: PT028
) -> None:
    """Run every test. Arguments that are not this command's go to pytest, e.g. -k importers."""
    for name in suite or ():
        if name not in SUITES:
            raise UsageError(f"unknown suite {name!r}: give one of {', '.join(SUITES)}")
    chosen = [name for name in SUITES if not suite or name in suite]
    results = results_directory() / "test"
    results.mkdir(parents=True, exist_ok=True)
    for old in results.glob("*.xml"):
        old.unlink()
    shutil.rmtree(results / "baseline", ignore_errors=True)
    suites = _suites(results, tuple(context.args))
    failed = [name for name in chosen if not _run(suites[name], quiet=json)]
    present = [path for name in chosen for path in suites[name].junit if path.exists()]
    if present:
        totals = merge_junit(present, results / "junit.xml")
        log.print(
            f"JUnit: {results / 'junit.xml'} ({totals.tests} tests, {totals.failures + totals.errors} failed, {totals.skipped} skipped)"
        )
    records_file = results / "baseline" / "records.json"
    if "baseline" in chosen and records_file.exists():
        records = list(load_records(records_file))
        report = finish(records, ResultsFolder(results, False), title="mcutrain test", json=json)
        log.print(f"report: {report}")
    if failed:
        raise MismatchError(f"suites that failed: {', '.join(failed)}")


def _suites(results: Path, pytest_arguments: Sequence[str]) -> dict[str, Suite]:
    python = sys.executable
    ctest: list[tuple[str, ...]] = []
    for preset in CTEST_PRESETS:
        ctest += [
            ("cmake", "--preset", preset),
            ("cmake", "--build", "--preset", preset),
            ("ctest", "--preset", preset, "--output-junit", str(results / f"ctest-{preset}.xml")),
        ]
    baseline = (python, "-m", "mcutrain", "baseline", "check", "--output", str(results / "baseline"))
    robot = (
        python,
        "-m",
        "robot",
        "--outputdir",
        str(results / "robot"),
        "--xunit",
        str(results / "robot.xml"),
        "robot_tests",
    )
    keywords = (python, "-m", "robot.libdoc", "--quiet", LIBRARY, str(results / "robot-keywords.html"))
    # worksteal: neighbours stay in one worker, which makes what they share once
    workers = ("-n", "2", "--dist", "worksteal")
    pytest = (python, "-m", "pytest", *workers, f"--junitxml={results / 'pytest.xml'}", *pytest_arguments)
    lint = (
        (python, "-m", "ruff", "check", "--quiet", "."),
        (python, "-m", "ruff", "format", "--quiet", "--check", "."),
        (python, "-m", "mypy"),
    )
    return {
        "lint": Suite("lint", lint, ()),
        "baseline": Suite("baseline", (baseline,), (results / "baseline" / "junit.xml",)),
        "ctest": Suite("ctest", tuple(ctest), tuple(results / f"ctest-{preset}.xml" for preset in CTEST_PRESETS)),
        "robot": Suite("robot", (keywords, robot), (results / "robot.xml",)),
        "pytest": Suite("pytest", (pytest,), (results / "pytest.xml",)),
    }


def _run(suite: Suite, *, quiet: bool) -> bool:
    """Whether every command of the suite ended 0 (77 counts: nothing of it can run here)."""
    log.print(f"[{suite.name}]")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "python_harness")}
    # With --json standard output belongs to the document.
    stdout = sys.stderr.fileno() if quiet else None
    for command in suite.commands:
        process = leftovers.start(
            command, folder=PROJECT, environment=environment, stdout=stdout, stderr=None, stop=_STOP
        )
        try:
            status = process.wait()
        finally:
            leftovers.end(process)
        if status not in (0, 77):
            return False
    return True
