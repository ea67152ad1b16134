"""Programs: what runs when, as trees of runs and loops.

A training graph has named programs (``PROGRAMS``): ``infer`` for one sample, ``sample`` for each training sample, ``update`` once a
minibatch. A program is a sequence of `Run` (steps, one after the other) and `Repeat` (a body that runs several times). Code generation
prints this tree, the golden executor interprets it, and every pass of the compiler works on it: nothing else decides what runs how often.

* A step may stand in several places and programs; it is one function wherever it runs.
* A pass may move steps inside a `Run` only. A `Run` object that two programs share is kept in its order.
* What lies in the arena is lost between programs: every program writes what it reads. Only the input is there when one begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcutrain.ops.steps import Step

INFER, SAMPLE, UPDATE = "infer", "sample", "update"
PROGRAMS = (INFER, SAMPLE, UPDATE)


@dataclass(frozen=True)
class Run:
    """Steps, one after the other."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Repeat:
    """A body that runs ``count`` times.

    count: at least 1. counter: an int32 buffer of one element in the arena, which is 0, 1, ..., count - 1 as the body begins; None where no
    step reads it.
    """

    count: int
    body: Program
    counter: str | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a loop of {self.count} rounds: there must be 1 or more")


Program = tuple[Run | Repeat, ...]


@dataclass(frozen=True)
class Moment:
    """A step where it stands in a program's text.

    starts: counters of the loops that begin with this step. ends: for each loop that ends with it, how many moments before it the loop
    began. visits: how often it runs in one go of the program.
    """

    step: Step
    starts: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    visits: int = 1


def moments(program: Program) -> list[Moment]:
    """The steps of a program in the order of its text, loops written once. Raises ValueError for an empty loop."""
    found: list[Moment] = []
    _collect(program, found, 1)
    return found


def _collect(program: Program, found: list[Moment], visits: int) -> None:
    for node in program:
        if isinstance(node, Run):
            found += [Moment(step, visits=visits) for step in node.steps]
            continue
        first = len(found)
        _collect(node.body, found, visits * node.count)
        if len(found) == first:
            raise ValueError("a loop without a step")
        begin, end = found[first], found[-1]
        if node.counter is not None:
            found[first] = Moment(begin.step, (node.counter, *begin.starts), begin.ends, begin.visits)
            end = found[-1]
        found[-1] = Moment(end.step, end.starts, (*end.ends, len(found) - 1 - first), end.visits)


def runs(program: Program) -> Iterator[Run]:
    """Every Run of a program, in the order of its text."""
    for node in program:
        if isinstance(node, Run):
            yield node
        else:
            yield from runs(node.body)


def executed(program: Program) -> Iterator[Step]:
    """Every step of a program as often as it runs, in the order in which it does."""
    for node in program:
        if isinstance(node, Run):
            yield from node.steps
        else:
            for _ in range(node.count):
                yield from executed(node.body)


def distinct_steps(programs: Mapping[str, Program]) -> tuple[Step, ...]:
    """Every step of the programs once; its index is the number of its operator.

    Training comes first, as its operators are what reports and traces are about. Raises ValueError where two steps have one name.
    """
    found: dict[str, Step] = {}
    for name in sorted(programs, key=_order):
        for moment in moments(programs[name]):
            step = found.setdefault(moment.step.name, moment.step)
            if step != moment.step:
                raise ValueError(f"two different steps are called {step.name!r}")
    return tuple(found.values())


def _order(program: str) -> int:
    return (SAMPLE, UPDATE, INFER).index(program)


def training_visits(programs: Mapping[str, Program]) -> dict[str, int]:
    """How often each step runs in one sample and the update behind it, by name; 0 of what only an inference runs."""
    visits = dict.fromkeys((step.name for step in distinct_steps(programs)), 0)
    for name in (SAMPLE, UPDATE):
        for moment in moments(programs.get(name, ())):
            visits[moment.step.name] += moment.visits
    return visits
