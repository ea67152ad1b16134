"""A breakdown in the formats of flame graph viewers. Each file says that its cycles are estimated."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mcutrain.timing.breakdown import Breakdown

_LEVELS = ("phase", "layer", "operator", "function")


def collapsed(breakdown: Breakdown) -> str:
    """Collapsed stacks: ``phase;layer;operator;function cycles``, one a line."""
    return "".join(f"{';'.join(stack)} {round(cycles)}\n" for stack, cycles in _stacks(breakdown) if round(cycles))


def speedscope(breakdown: Breakdown, name: str) -> str:
    """A speedscope file: a sampled profile whose weights are cycles, in the order in which the operators run."""
    frames: dict[str, int] = {}
    samples, weights = [], []
    for stack, cycles in _stacks(breakdown):
        samples.append([frames.setdefault(frame, len(frames)) for frame in stack])
        weights.append(cycles)
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "mcutrain",
        "name": f"{name}, estimated cycles",
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": f"one training step, estimated cycles ({breakdown.core})",
                "unit": "none",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }
    return json.dumps(document) + "\n"


def perfetto(breakdown: Breakdown, name: str) -> str:
    """A Chrome trace, which Perfetto opens: one training step at the board's clock, slices nested as the stacks are."""
    thread = {"pid": 1, "tid": 1}
    process = {"ph": "M", **thread, "name": "process_name", "args": {"name": f"{name} (estimated, {breakdown.core})"}}
    microseconds = 1e6 / breakdown.clock_hz
    events = [
        {
            **{"ph": "X", **thread, "name": frame, "cat": level},
            **{"ts": began * microseconds, "dur": cycles * microseconds, "args": {"estimated_cycles": round(cycles)}},
        }
        for frame, level, began, cycles in _slices(breakdown)
    ]
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": [process, *events]}) + "\n"


def _slices(breakdown: Breakdown) -> list[tuple[str, str, float, float]]:
    """Frame, level, first cycle and cycles; outer slices before those inside, as viewers nest equal extents in this order."""
    found: list[tuple[str, str, float, float]] = []
    opened: list[int] = []  # where the slices that are open lie in found
    now = 0.0
    for stack, cycles in _stacks(breakdown):
        # A function's slice is its own; the frames above it go on where the next stack has them too.
        common = 0
        while common < min(len(opened), len(stack) - 1) and found[opened[common]][0] == stack[common]:
            common += 1
        del opened[common:]
        for depth in range(common, len(stack)):
            opened.append(len(found))
            found.append((stack[depth], _LEVELS[depth], now, 0.0))
        now += cycles
        for at in opened:
            frame, level, began, _ = found[at]
            found[at] = (frame, level, began, now - began)
    return found


def _stacks(breakdown: Breakdown) -> Iterator[tuple[tuple[str, str, str, str], float]]:
    """Frames without the separator of collapsed stacks, in the order of execution."""
    for row in breakdown.operators:
        for function in row.functions:
            frames = (row.phase, row.layer, row.name, function.name)
            phase, layer, operator, called = (frame.replace(";", ",").replace("\n", " ") for frame in frames)
            yield (phase, layer, operator, called), function.estimate.cycles
