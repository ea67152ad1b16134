"""The observations of a run, whoever ran it: what its runner cannot show, the host library does by repeating the same steps."""

from __future__ import annotations

from dataclasses import dataclass

from mcutrain.emulators.base import RunResult
from mcutrain.emulators.observed import Observed
from mcutrain.episode.compare import Divergence, Side, first_difference, locate
from mcutrain.episode.observations import Observations
from mcutrain.episode.observe import observe_input, observe_loss, observe_tensors
from mcutrain.episode.observed_warnings import observation_warnings
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.runners import HOST, Target, make_target
from mcutrain.errors import McutrainError


@dataclass(frozen=True)
class _Seen:
    """What was observed of the updates; or why nothing was, and where the run parts from the host library if it does."""

    observed: Observed | None = None
    why_not: str = ""
    divergence: Divergence | None = None


def observe_run(
    prepared: PreparedEpisode, target: Target, result: RunResult, steps: int | None
) -> tuple[Observations, Divergence | None]:
    """Observe what has run. steps: as the run was cut short, None for all of the schedule.

    All its steps are held against the host library on the way. Returns where they part, if they do: what the host library then shows is
    of another run, and not part of the observations.
    """
    ran = result.of_kind("step")
    seen = _Seen(result.observed) if result.observed or not ran else _repeated(prepared, target, result, steps)
    plan, definition = prepared.plan, prepared.definition
    classes = plan.training.classes if plan.training.loss == "cross_entropy" else None
    order = definition.order(len(prepared.data.adapt))[: len(ran)]
    found = Observations(
        input=observe_input(prepared),
        loss=observe_loss([line.float32("loss") for line in ran], order.tolist(), classes),
        tensors=observe_tensors(plan, seen.observed) if seen.observed and ran else (),
        not_observed=seen.why_not,
    )
    read = prepared.graph.tensors[prepared.graph.input]
    warnings = observation_warnings(found, read, definition.learning_rate)
    return found.model_copy(update={"warnings": warnings}), seen.divergence


def _repeated(prepared: PreparedEpisode, target: Target, result: RunResult, steps: int | None) -> _Seen:
    """The same steps on the host library, once for all boards; it takes a small part of the time of any emulator."""
    ran = result.of_kind("step")
    try:
        if len(ran) not in prepared.host_runs:
            image = prepared.image(steps=steps, test=0, evaluate=(False, False))
            prepared.host_runs[len(ran)] = make_target(prepared.plan, HOST).result(image)
        again = prepared.host_runs[len(ran)]
        if first_difference(again.of_kind("step"), ran) is None:
            return _Seen(again.observed)
        host = make_target(prepared.plan, HOST)
        sides = (Side(host.name, host.run), Side(target.name, target.run))
        divergence = locate(prepared, *sides, again.of_kind("step"), ran)
    except McutrainError as error:  # no compiler for this machine, or a run that fails here alone
        return _Seen(why_not=f"the host library could not repeat the steps: {error}")
    return _Seen(why_not=f"the host library did other steps: {divergence}", divergence=divergence)
