"""What a run shows of itself beside its lines, where its runner can look: the trainable state that it left, and what its updates did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UpdateCounts:
    """The updates of one tensor, how many of them had no gradient at all (zero), and of the others how many were capped.

    Ratios are what the steps of the others were multiplied by: below 1 where they were capped. largest_step: before the cap, in what the
    cap is in: codes of the weights, and of biases codes of the layer's output.
    """

    updates: int
    zero: int
    capped: int
    smallest_ratio: float
    largest_ratio: float
    largest_step: float


@dataclass(frozen=True)
class Observed:
    """state: the trainable state, bytes, as the run has left it. updates: of each tensor whose steps have a cap, by its offset in there."""

    state: bytes
    updates: Mapping[int, UpdateCounts]


def read_observed(path: Path) -> Observed | None:
    """What the host worker wrote; None where a run did not come to its end."""
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="ascii"))
    return Observed(
        bytes.fromhex(document["state"]), {offset: UpdateCounts(*counts) for offset, *counts in document["updates"]}
    )
