"""Where the numbers of a record come from: enough to make the run again."""

from __future__ import annotations

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report.limits import of_flash, without_limit
from mcutrain.report.wording import byte_count, count, input_words, printable


def provenance(record: EpisodeRecord) -> list[tuple[str, str]]:
    """Term and value, in reading order."""
    trained = "not stated" if record.trained_parameters is None else count(record.trained_parameters)
    stack = "not measured"
    if record.sram.stack_reserve:
        stack = f"{byte_count(record.sram.stack_peak)} of a reserve of {byte_count(record.sram.stack_reserve)}"
    pairs = [
        ("Board", f"{record.board}, {record.core}" + (f" at {record.clock_hz / 1e6:g} MHz" if record.clock_hz else "")),
        ("Runner", record.runner),
        ("Emulator", f"{record.emulator} {record.emulator_version}"),
        ("Compiler", record.compiler),
        ("Flags", record.compiler_flags),
        ("ELF SHA-256", record.elf_sha256),
        ("Method and scheme", f"{record.method}, {record.scheme}"),
        ("Error tensors", record.error_mode),
        ("Weight rounding", record.weight_rounding),
        ("Options of the method", ", ".join(f"{key} {value}" for key, value in record.options.items()) or "none"),
        ("Samples of one update", count(record.batch)),
        ("Trained parameters", trained),
        ("Steps", f"{count(record.steps)}, {count(record.golden_steps)} of them held against golden"),
        ("Samples", f"{count(record.samples_adapt)} to adapt, {count(record.samples_test)} others to test"),
        ("Plan (CRC-32)", record.plan_crc32),
        ("Digest of all steps (CRC-32)", record.digest),
        ("MACs", f"{count(record.macs_forward)} forward, {count(record.macs_backward)} backward"),
        ("SRAM planned / peak", f"{byte_count(record.sram_planned_bytes)} / {byte_count(record.sram_peak_bytes)}"),
        ("SRAM limit", without_limit(record) or byte_count(record.sram_limit_bytes)),
        ("Input", input_words(record.input_placement, record.input_bytes) or "not stated"),
        ("Static SRAM", f"data {byte_count(record.sram.data)}, bss {byte_count(record.sram.bss)}"),
        (
            "Trainable state",
            f"{byte_count(record.sram.trainable)}, {byte_count(record.sram.state)} of it zero at reset",
        ),
        ("Stack peak", stack),
        ("Flash", f"{byte_count(record.flash_bytes)} {of_flash(record)}" if record.flash_limit_bytes else "none"),
        ("Host time", f"{record.wall_seconds:.1f} s (informative)"),
        ("Record schema", str(record.schema_version)),
    ]
    return [(term, printable(value)) for term, value in pairs]
