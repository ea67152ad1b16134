"""Observations in words: the codes of the input in one line, what was seen of the updates and the loss in another."""

from __future__ import annotations

from collections.abc import Sequence

from mcutrain.episode.observations import InputCodes, Observations
from mcutrain.report import wording


def input_words(parts: Sequence[InputCodes]) -> str:
    """The codes that each part uses, and the share of the values that is clipped."""
    ranges = ", ".join(f"{part.lowest_code} to {part.highest_code} ({part.part})" for part in parts)
    clipped = Observations(input=tuple(parts)).input_clipped_fraction or 0.0
    return f"codes {ranges}, of -128 to 127; {_percent(clipped)} of the values clipped"


def updates_words(observations: Observations) -> str:
    """Steps capped, weights and biases at their limits, tensors that nothing has moved; or why nothing of it is known."""
    if observations.not_observed:
        return f"not observed: {wording.printable(observations.not_observed)}"
    said = []
    if observations.steps_capped_fraction is not None:
        said.append(f"{_percent(observations.steps_capped_fraction)} of the steps capped")
    if observations.at_limit_fraction is not None:
        said.append(f"{_percent(observations.at_limit_fraction)} of weights and biases at their limits")
    if observations.unmoved_tensors is not None:
        said.append(f"{observations.unmoved_tensors} of {len(observations.tensors)} tensors unmoved")
    return ", ".join(said)


def loss_words(observations: Observations) -> str:
    """The loss at both ends of the run; empty where that is not known."""
    loss = observations.loss
    if loss is None:
        return ""
    guess = "" if loss.of_a_guess is None else f" (a guess has {loss.of_a_guess:.3g})"
    return f"{loss.first:.3g} in the first tenth of the steps, {loss.last:.3g} in the last{guess}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
