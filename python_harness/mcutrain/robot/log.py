"""What a reader of log.html sees of a run without opening anything: its key figures, and a link to its report."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from robot.api import logger
from robot.libraries.BuiltIn import BuiltIn, RobotNotRunningError

from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.runners import key_of
from mcutrain.paths import results_directory
from mcutrain.report import wording
from mcutrain.report.limits import of_flash, of_sram, without_limit
from mcutrain.report.measure import measure
from mcutrain.report.summary import golden_phrase, sram_parts

_PABOT_RESULTS = "pabot_results"


def output_folder() -> Path:
    """The folder of log.html, or results/robot where no suite runs. Under pabot that of the one log that it merges in the end."""
    try:
        folder = Path(BuiltIn().get_variable_value("${OUTPUT DIR}"))
    except RobotNotRunningError:
        return results_directory() / "robot"
    if pabot_process() and _PABOT_RESULTS in folder.parts:
        return next(parent.parent for parent in folder.parents if parent.name == _PABOT_RESULTS)
    return folder


def pabot_process() -> str:
    """The number that pabot gave this of its processes, each of which runs a suite; empty without pabot."""
    try:
        return str(BuiltIn().get_variable_value("${PABOTQUEUEINDEX}", ""))
    except RobotNotRunningError:
        return ""


def log_record(record: EpisodeRecord, report: Path | None) -> None:
    """Put the record's figures into the log as a table, and in one line into the documentation of the test."""
    logger.info(_table(record, report), html=True)
    for warning in record.observations.warnings if record.observations else ():
        logger.warn(f"{record.episode} on {record.board}: {wording.printable(warning)}")
    link = f" ([{_target(report)}|report])" if report else ""
    try:
        # Beside the name of the test in log.html and report.html. A message would also go to the terminal, as raw HTML.
        written = BuiltIn().get_variable_value("${TEST DOCUMENTATION}")
        said = f"{_sentence(record)}{link}"
        BuiltIn().set_test_documentation(f"{written}\n\n{said}" if written else said)
    except (RobotNotRunningError, RuntimeError):  # a suite's set-up belongs to no test
        return


def _sentence(record: EpisodeRecord) -> str:
    parts = [_measured(record), golden_phrase(record)]
    if record.instructions_per_step is not None:
        parts.append(f"{wording.count(record.instructions_per_step.total)} instructions per step")
    if record.sram_limit_bytes:
        outside = wording.input_words(record.input_placement, record.input_bytes)
        label = f" ({outside})" if record.input_placement == "external" else ""
        parts.append(f"peak SRAM {_peak(record)}{label}")
    return f"*{wording.printable(record.episode)} on {key_of(record.board, record.runner)}*: {', '.join(parts)}"


def _table(record: EpisodeRecord, report: Path | None) -> str:
    rows = [
        (measure(record).name, _measured(record).removeprefix(f"{measure(record).name} ")),
        ("golden", golden_phrase(record)),
        ("steps", wording.count(record.steps)),
    ]
    counts = record.instructions_per_step
    if counts is not None:
        rows += [
            (f"instructions per step, {name}", f"{wording.count(part)} ({wording.share(part, counts.whole)})")
            for name, part in counts.parts().items()
        ]
        rows.append(("instructions per step, all operators", wording.count(counts.total)))
    cycles = record.estimated_cycles_per_step
    if cycles is not None:
        rows += [
            (
                f"estimated cycles per step, {name}",
                f"{wording.count(round(part))} ({wording.share(part, cycles.whole)})",
            )
            for name, part in cycles.parts().items()
        ]
    if record.sram_limit_bytes:
        parts = sram_parts(record)
        rows += [
            ("SRAM, arena", wording.byte_count(parts.arena)),
            ("SRAM, trainable state", wording.byte_count(parts.trainable)),
            ("SRAM, other static data", wording.byte_count(parts.other_static)),
            ("SRAM, stack", f"{parts.stack_peak:,} of the {wording.byte_count(record.sram.stack_reserve)} reserved"),
            ("SRAM, peak", _peak(record)),
            ("sample", wording.input_words(record.input_placement, record.input_bytes) or "not stated"),
            ("flash", f"{record.flash_bytes:,} {of_flash(record)}"),
        ]
    else:
        rows.append(("SRAM, static", f"{wording.byte_count(record.sram_peak_bytes)}; {without_limit(record)}"))
    rows += [
        ("digest of all steps", record.digest),
        ("run by", f"{record.emulator} {record.emulator_version}, built by {record.compiler}"),
    ]
    # Right-aligned, so that digits of equal worth stand below each other.
    cells = "".join(
        f'<tr><th style="text-align:left;font-weight:normal">{escape(name)}</th>'
        f'<td style="text-align:right;padding-left:1.5em">{escape(wording.printable(value))}</td></tr>'
        for name, value in rows
    )
    name = wording.printable(f"{record.episode} on {key_of(record.board, record.runner)}")
    link = f' (<a href="{escape(_target(report))}">report</a>)' if report else ""
    return f"<table><caption><b>{escape(name)}</b>{link}</caption>{cells}</table>"


def _measured(record: EpisodeRecord) -> str:
    found = measure(record)
    measured = found.after != wording.NOT_MEASURED
    return f"{found.name} {found.before} to {found.after}" if measured else f"{found.name} {wording.NOT_MEASURED}"


def _peak(record: EpisodeRecord) -> str:
    return f"{record.sram_peak_bytes:,} {of_sram(record)}"


def _target(report: Path) -> str:
    """Relative to log.html, so that the folder can be moved or kept as a CI artefact."""
    return quote(os.path.relpath(report, output_folder()))
