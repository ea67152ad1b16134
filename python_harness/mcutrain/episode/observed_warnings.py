"""What of a run's observations says that it was worth nothing: one plain sentence each, with what to do (docs/observations.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mcutrain.episode.observations import InputCodes, LossTrend, Observations, TensorUpdates
from mcutrain.graph.model import Tensor

MOST_CLIPPED = 0.1
"""Of the values of a part. Calibration leaves a thousandth or so of them outside the codes; a tenth is data of another scale."""

FEWEST_CODES = 16
"""From the lowest that samples use to the highest, of 256: a scale that is wrong by 255 or 1,000 leaves one or two."""

FEWEST_UPDATES = 20
"""Of a tensor that is judged: what starts slowly may not have moved before."""

MOST_CAPPED = 0.95
"""Of the updates with a gradient. Where fewer are, some steps are as long as the learning rate says; the shipped episodes reach 0.71."""

MOST_WITHOUT_GRADIENT = 0.5
"""Of the updates. Probabilities in float32 give no gradient only where logits are 100 apart, and layers where all outputs are clipped."""

MOST_TO_LIMIT = 0.25
"""By which the share at the limits has grown. Channels are quantised with a weight or two there, and training brings these off it."""

EXPLODED = 10.0
"""Times the loss of a guess, of the mean of the first steps. A network that never saw its data, whose logits are a few apart, has once or
twice that loss; for ten times it the wrong logit is dozens in front, as only steps that are too long make it."""

T_QUANTILE = 2.262
"""Two-sided 95 % of Student's t for the mean of ten blocks, 9 degrees of freedom; for a difference of two means it is cautious."""

LEAST_GAIN = 0.05
"""Of a loss. By less than this below that of a guess, or below what it was, at the upper end of the 95 % interval: nothing was learnt."""


_MOST_NAMES = 4


def observation_warnings(observations: Observations, tensor: Tensor, learning_rate: float) -> tuple[str, ...]:
    """Every warning about a run. tensor: the network's input."""
    return (
        *_input(observations.input, tensor),
        *_tensors(observations.tensors, learning_rate),
        *(_loss(observations.loss) if observations.loss else ()),
    )


def _input(parts: Sequence[InputCodes], tensor: Tensor) -> Iterator[str]:
    clipped = [part for part in parts if part.clipped_fraction > MOST_CLIPPED]
    if clipped:
        shares = " and ".join(f"{100 * part.clipped_fraction:.1f} % of the {part.part}" for part in clipped)
        lowest, highest = ((code - tensor.zero_point) * tensor.scale for code in (-128, 127))
        yield (
            f"{shares} values lie outside what the input's codes hold ({lowest:.3g} to {highest:.3g}): the data's scale is not the "
            "network's; set pixel_scale, or scale the samples as those that the network was trained on"
        )
    narrow = [part for part in parts if part.highest_code - part.lowest_code + 1 < FEWEST_CODES]
    if narrow:
        ranges = " and ".join(f"the {part.part} samples {part.lowest_code} to {part.highest_code}" for part in narrow)
        yield (
            f"of the input's codes, -128 to 127, {ranges} are all that is used: the data's scale is not the network's; "
            "set pixel_scale, or scale the samples as those that the network was trained on"
        )


def _tensors(tensors: Sequence[TensorUpdates], learning_rate: float) -> Iterator[str]:
    judged = [tensor for tensor in tensors if tensor.updates is None or tensor.updates >= FEWEST_UPDATES]
    rate = f"the learning rate {learning_rate:g}"

    def those(chosen: Callable[[TensorUpdates], bool]) -> str:
        return _named([tensor for tensor in judged if chosen(tensor)])

    # Nobody knows the gradients of the float32 head: where others are zero throughout, so are those of a part of it that has not moved.
    any_dead = any(not tensor.moved and _has_no_gradient(tensor, unknown=False) for tensor in judged)
    dead = those(lambda tensor: not tensor.moved and _has_no_gradient(tensor, unknown=any_dead))
    if dead:
        yield (
            f"no gradient has ever reached {dead}, and nothing of them has changed: what they feed is clipped for every sample, or "
            "what they read is zero; leave them out of the scheme, or take a network whose layers are alive"
        )
    still = those(lambda tensor: not tensor.moved and not _has_no_gradient(tensor, unknown=any_dead))
    if still:
        yield f"nothing has changed of {still}: at {rate} each of their steps is rounded to nothing; raise it"
    capped = [tensor for tensor in judged if _capped_of_the_others(tensor) > MOST_CAPPED]
    if capped:
        ratio = min(tensor.smallest_ratio or 0.0 for tensor in capped)
        yield (
            f"practically every step of {_named(capped)} was cut by the step cap, the longest to {ratio:.2g} of its length: {rate} acts "
            "like any other that is too high; lower it"
        )
    silent = those(
        lambda tensor: tensor.moved and (tensor.without_gradient or 0) > MOST_WITHOUT_GRADIENT * (tensor.updates or 0)
    )
    if silent:
        yield (
            f"most updates of {silent} had no gradient at all: the classes' probabilities are exactly 0 and 1, or what they feed is "
            f"clipped; lower {rate}"
        )
    at_limit = those(lambda t: (t.at_limit_after or 0.0) - (t.at_limit_before or 0.0) > MOST_TO_LIMIT)
    if at_limit:
        yield f"{at_limit} have run into the limits of what they can be: lower {rate}"


def _has_no_gradient(tensor: TensorUpdates, *, unknown: bool) -> bool:
    return unknown if tensor.updates is None else tensor.updates == tensor.without_gradient


def _capped_of_the_others(tensor: TensorUpdates) -> float:
    """The share that was capped of the updates with a gradient."""
    others = (tensor.updates or 0) - (tensor.without_gradient or 0)
    return (tensor.capped or 0) / others if others >= FEWEST_UPDATES else 0.0


def _loss(loss: LossTrend) -> Iterator[str]:
    ends = f"{loss.first:.3g} in the first tenth of the steps, {loss.last:.3g} in the last"
    guess = loss.of_a_guess
    if guess is not None and loss.first > EXPLODED * guess:
        yield (
            f"the loss has exploded ({ends}; a guess has {guess:.3g}): the first steps threw away what the network knew; "
            "lower the learning rate"
        )
    if guess is not None and loss.last - T_QUANTILE * loss.last_error > (1.0 - LEAST_GAIN) * guess:
        yield (
            f"at its end the loss is no better than that of a guess ({ends}; a guess has {guess:.3g}): labels that do not belong to "
            "their samples, a learning rate that is too high, or too few steps"
        )
    if loss.fall + T_QUANTILE * loss.fall_error < LEAST_GAIN * loss.first:
        yield (
            f"the loss does not fall ({ends}): raise or lower the learning rate, let more train, or look whether the labels "
            "belong to their samples"
        )


def _named(tensors: Sequence[TensorUpdates]) -> str:
    """Weights and biases by their layers: "the weights and biases of conv0, the biases of conv1 and conv2"; of many the first few."""
    kinds: dict[str, list[str]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.layer, []).append("biases" if tensor.kind == "bias" else "weights")
    layers: dict[str, list[str]] = {}
    for layer, of_layer in kinds.items():
        layers.setdefault(" and ".join(sorted(of_layer, reverse=True)), []).append(layer)
    return ", ".join(f"the {words} of {_listed(names)}" for words, names in layers.items())


def _listed(names: Sequence[str]) -> str:
    shown = names[:_MOST_NAMES]
    if len(names) > len(shown):
        return f"{', '.join(shown)} and {len(names) - len(shown)} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
