"""Training graphs whose programs have loops, or an update of their own, made of those of a method without."""

from __future__ import annotations

import dataclasses

from mcutrain.methods.training_graph import LABEL, TrainingGraph
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, Program, Repeat, Run
from mcutrain.ops.steps import Buffer, Phase, Step

ROUND = "round"
ROUNDS = 3


def with_counter(training: TrainingGraph) -> TrainingGraph:
    """Its loss takes the label from a loop's counter: round 0 learns class 0, round 1 class 1 and so on."""

    def relabelled(step: Step) -> Step:
        operands = {role: ROUND if name == LABEL else name for role, name in step.operands.items()}
        return dataclasses.replace(step, operands=operands)

    forward, rest = training.programs[SAMPLE]
    assert isinstance(forward, Run) and isinstance(rest, Run)
    body = (forward, Run(tuple(relabelled(step) for step in rest.steps)))
    buffers = {**training.buffers, ROUND: Buffer(ROUND, "int32", (1,), "arena")}
    programs: dict[str, Program] = {INFER: (forward,), SAMPLE: (Repeat(ROUNDS, body, counter=ROUND),)}
    return dataclasses.replace(training, buffers=buffers, programs=programs)


def separate_update(training: TrainingGraph) -> TrainingGraph:
    """All that trains runs in ``update``, once for two samples: a forward pass of its own, with the label that was left there."""
    forward, rest = training.programs[SAMPLE]
    assert isinstance(forward, Run) and isinstance(rest, Run)
    loss = Run(tuple(step for step in rest.steps if step.phase is Phase.LOSS))
    behind = Run(tuple(step for step in rest.steps if step.phase is not Phase.LOSS))
    programs: dict[str, Program] = {
        INFER: (forward,),
        SAMPLE: (forward, loss),
        UPDATE: (Repeat(2, (Run(forward.steps), loss, behind)),),
    }
    return dataclasses.replace(training, programs=programs, batch=2)


def nested(training: TrainingGraph) -> TrainingGraph:
    """A forward pass, then twice: a step, and three times a step."""
    forward, rest = training.programs[SAMPLE]
    step: Program = (forward, rest)
    programs: dict[str, Program] = {INFER: (forward,), SAMPLE: (forward, Repeat(2, (*step, Repeat(3, step))))}
    return dataclasses.replace(training, programs=programs)


MADE = {"a loop in sample": with_counter, "loops in a loop": nested, "an update of its own": separate_update}
