"""What a record says of cycles, time and energy, none of which was measured: an inference beside a training step."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report import wording

NO_CURRENT = "no datasheet current in the board file"


@dataclass(frozen=True)
class EstimateRow:
    """Cycles with their range, milliseconds at the board's clock, and millijoules (None: the board's file has no supply current)."""

    what: str
    cycles: float
    low: float | None
    high: float | None
    milliseconds: float
    millijoules: float | None


def estimate_rows(record: EpisodeRecord) -> list[EstimateRow]:
    """An inference and a training step, as far as the record has estimates of them."""
    step = record.estimated_cycles_per_step
    found = (
        (
            "inference",
            record.estimated_cycles_per_inference,
            record.estimated_cycles_per_inference_low,
            record.estimated_cycles_per_inference_high,
            record.estimated_millijoules_per_inference,
        ),
        (
            "training step",
            None if step is None else step.total,
            record.estimated_cycles_low,
            record.estimated_cycles_high,
            record.estimated_millijoules_per_step,
        ),
    )
    return [
        EstimateRow(what, cycles, low, high, 1000.0 * cycles / record.clock_hz, millijoules)
        for what, cycles, low, high, millijoules in found
        if cycles is not None and record.clock_hz
    ]


def energy_source(record: EpisodeRecord) -> str:
    """Where the supply current is from."""
    return NO_CURRENT if record.supply_source is None else f"supply current: {wording.printable(record.supply_source)}"
