"""Observe a run: the codes of its input, what its updates did, and how its loss went."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.emulators.observed import Observed
from mcutrain.episode.observations import InputCodes, LossTrend, TensorUpdates
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.samples import CodedSamples
from mcutrain.ops.steps import Step

BLOCKS = 10
"""Whose means give a standard error: within a block losses may depend on each other."""
FEWEST_STEPS = 200
"""Of a run whose loss is judged: a block of a tenth is then two steps."""
FEWEST_PAIRS = 100
"""Of samples that were trained on twice, of which the fall of the loss is taken: a block is then ten."""

_CODE_MAX = 127


def observe_input(prepared: PreparedEpisode) -> tuple[InputCodes, ...]:
    """The codes of the samples that train and of those that are evaluated."""
    parts = (("adapt", prepared.data.adapt), (prepared.definition.data.evaluate, prepared.data.test))
    return tuple(_input_codes(name, samples) for name, samples in parts if len(samples))


def _input_codes(part: str, samples: CodedSamples) -> InputCodes:
    codes = samples.codes
    return InputCodes.model_validate(
        {
            "part": part,
            "values": codes.size,
            "clipped_fraction": samples.clipped / codes.size,
            "lowest_code": int(codes.min()),
            "highest_code": int(codes.max()),
        }
    )


def observe_loss(losses: Sequence[float], samples: Sequence[int], classes: int | None) -> LossTrend | None:
    """The trend of the losses of single samples, one a step. samples: the sample of each; classes: None where they are no cross entropies.

    Samples differ far more in their losses than training changes these. So the fall is the mean of differences that each have one sample:
    its loss in the first of its steps less that in the last one; where no FEWEST_PAIRS samples have two steps, of the means of both tenths.
    A mean has the standard error of the mean of ten blocks' means. Blocks are of consecutive steps, so that what binds neighbours (the
    weights, above all) is within them; what is behind the tenth block counts for the mean alone.

    None for fewer than FEWEST_STEPS, and where a loss is not finite.
    """
    values = np.array(losses, np.float64)
    if len(values) < FEWEST_STEPS or not np.isfinite(values).all():
        return None
    steps = len(values) // 10
    first, last = values[:steps], values[-steps:]
    fall, fall_error = float(first.mean() - last.mean()), math.hypot(_standard_error(first), _standard_error(last))
    order = np.asarray(samples)
    at_first = np.unique(order, return_index=True)[1]
    at_last = len(order) - 1 - np.unique(order[::-1], return_index=True)[1]
    again = at_first != at_last
    if np.count_nonzero(again) >= FEWEST_PAIRS:
        by_time = np.argsort(at_last[again])
        pairs = (values[at_first[again]] - values[at_last[again]])[by_time]
        fall, fall_error = float(pairs.mean()), _standard_error(pairs)
    return LossTrend(
        steps=steps,
        first=float(first.mean()),
        last=float(last.mean()),
        last_error=_standard_error(last),
        fall=fall,
        fall_error=fall_error,
        of_a_guess=None if classes is None else math.log(classes),
    )


def _standard_error(values: NDArray[np.float64]) -> float:
    of_one = len(values) // BLOCKS
    means = values[: BLOCKS * of_one].reshape(BLOCKS, of_one).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(BLOCKS))


def observe_tensors(plan: Plan, observed: Observed) -> tuple[TensorUpdates, ...]:
    """Every trainable tensor, in the order of the steps that update it."""
    return tuple(_tensor(plan, observed, step, role) for step, role in updated_tensors(plan))


def updated_tensors(plan: Plan) -> Iterator[tuple[Step, str]]:
    """The steps that update a trainable tensor, each with the tensor's role: ``weights`` or ``bias``."""
    for step in plan.steps:
        for role in step.definition.updates:
            name = step.operands.get(role)
            if name is not None and plan.buffers[plan.training.root(name)].region == "trainable":
                yield step, role


def _tensor(plan: Plan, observed: Observed, step: Step, role: str) -> TensorUpdates:
    root = plan.training.root(step.operands[role])
    buffer, offset = plan.buffers[root], plan.offsets[root]
    initial = np.frombuffer(buffer.stored(), buffer.dtype)
    final = np.frombuffer(observed.state, buffer.dtype, buffer.elements, offset)
    trained = _trained(plan, step, buffer.elements)
    before, after = initial[trained], final[trained]
    changed = before != after
    behind = _bytes_behind(plan, observed, step)
    seen = observed.updates.get(offset)
    counts = (
        {}
        if seen is None
        else {
            "updates": seen.updates,
            "capped": seen.capped,
            "without_gradient": seen.zero,
            "smallest_ratio": seen.smallest_ratio,
            "largest_ratio": seen.largest_ratio,
            "largest_step": seen.largest_step,
        }
    )
    return TensorUpdates.model_validate(
        {
            "tensor": root,
            "layer": step.layer,
            "kind": role,
            "elements": before.size,
            "changed_fraction": _share(changed),
            "moved": bool(changed.any() or any(behind)),
            "at_limit_before": _at_limit(step, before),
            "at_limit_after": _at_limit(step, after),
            **counts,
        }
    )


def _trained(plan: Plan, step: Step, elements: int) -> NDArray[np.bool_]:
    """Which elements train: of constant lists of channels theirs, (output channels, taps, input channels); else all."""
    trained = np.ones(elements, bool)
    for role, axis in (("rows", 0), ("index", 2)):
        listed = plan.buffers[step.operands[role]] if role in step.operands else None
        if listed is not None and listed.data is not None:
            shape = (step.params.out_channels, step.params.taps, step.params.in_channels)  # type: ignore[attr-defined]
            of_axis = np.zeros(shape[axis], bool)
            of_axis[listed.data] = True
            along = tuple(-1 if a == axis else 1 for a in range(3))
            trained &= np.broadcast_to(of_axis.reshape(along), shape).reshape(-1)
    return trained


def _bytes_behind(plan: Plan, observed: Observed, step: Step) -> bytes:
    """The bytes that master16 keeps behind the codes; they are zero at first."""
    if "fraction" not in step.operands:
        return b""
    root = plan.training.root(step.operands["fraction"])
    return observed.state[plan.offsets[root] : plan.offsets[root] + plan.buffers[root].size_bytes]


def _at_limit(step: Step, values: NDArray[Any]) -> float | None:
    weight_min, bias_limit = (getattr(step.params, name, None) for name in ("weight_min", "bias_limit"))
    if weight_min is not None:
        return _share((values <= weight_min) | (values >= _CODE_MAX))
    if bias_limit is not None:
        return _share(abs(values) >= bias_limit)
    return None


def _share(of: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(of) / of.size) if of.size else 0.0
