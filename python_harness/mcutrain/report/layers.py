"""Instructions gathered by layer, in the order of execution, and the operators that take the most."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.episode.record import EpisodeRecord, OperatorCounts

BETWEEN_OPERATORS = "between operators"


@dataclass(frozen=True)
class LayerCounts:
    """Mean instructions of one layer in one training step, by phase."""

    name: str
    phases: dict[str, float]

    @property
    def total(self) -> float:
        """Sum over the phases."""
        return sum(self.phases.values())


def layer_counts(record: EpisodeRecord) -> list[LayerCounts]:
    """The layers in the order of their first execution; the driver's work between operators last, if it was counted."""
    found: dict[str, dict[str, float]] = {}
    for operator in sorted(record.operators, key=lambda o: o.op):
        phases = found.setdefault(operator.layer, {})
        phases[operator.phase] = phases.get(operator.phase, 0.0) + operator.instructions
    layers = [LayerCounts(name, phases) for name, phases in found.items()]
    counts = record.instructions_per_step
    if layers and counts is not None and counts.other > 0:
        layers.append(LayerCounts(BETWEEN_OPERATORS, {"other": counts.other}))
    return layers


def top_operators(record: EpisodeRecord, most: int = 15) -> list[OperatorCounts]:
    """The operators with the most instructions, the largest first; equal ones in the order of execution."""
    return sorted(record.operators, key=lambda o: (-o.instructions, o.op))[:most]
