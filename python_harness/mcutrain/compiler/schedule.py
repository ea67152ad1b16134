"""Order the steps of a training graph so that the least memory is alive, and each update runs as soon as that allows.

Steps move inside a `Run` only, and a `Run` that two programs share keeps its order: for a training step that begins as an inference does,
the forward steps stay as the network has them. In every other `Run` a step may move as long as reads and writes of each buffer keep their
order (a weight is read by dX before its update writes it). Which of dX and dW of a layer should come first, or which branch of a residual
block, depends on the sizes; a beam search over the orders decides. It minimises the peak of the live bytes and then their sum over the
steps, so that no gradient waits for its update longer than it must.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mcutrain.compiler.liveness import alive, touched
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.programs import INFER, Program, Repeat, Run, runs
from mcutrain.ops.steps import Step

BEAM_WIDTH = 64

Programs = Mapping[str, Program]


class ScheduleError(AssertionError):
    """A pass has moved a step out of its run, or past a step that it depends on."""


def dependencies(training: TrainingGraph, steps: Sequence[Step]) -> list[set[int]]:
    """For each step the earlier steps that must precede it: read after write, write after read, write after write."""
    last_write: dict[str, int] = {}
    reads_since: dict[str, list[int]] = {}
    needs: list[set[int]] = []
    for index, step in enumerate(steps):
        read = {training.root(name) for name in step.reads()}
        written = {training.root(name) for name in step.writes()}
        need: set[int] = set()
        for name in read | written:
            if name in last_write:
                need.add(last_write[name])
        for name in written:
            need.update(reads_since.get(name, ()))
        need.discard(index)
        needs.append(need)
        for name in read:
            reads_since.setdefault(name, []).append(index)
        for name in written:
            last_write[name] = index
            reads_since[name] = []
    return needs


def check_order(training: TrainingGraph, before: Program, after: Program) -> None:
    """Hold what a pass made of a program against what it was. Raises ScheduleError where their results could differ."""
    if _skeleton(before) != _skeleton(after):
        raise ScheduleError("a pass has changed the runs and loops of a program")
    for was, now in zip(runs(before), runs(after), strict=True):
        if sorted(step.name for step in was.steps) != sorted(step.name for step in now.steps):
            raise ScheduleError("a pass has moved a step out of its run, dropped or doubled it")
        at = {step.name: index for index, step in enumerate(now.steps)}
        if len(at) != len(
            now.steps
        ):  # a step that runs twice in a row of steps: only the very order is known to be right
            if was != now:
                raise ScheduleError("a pass has moved steps in a run that has one of them twice")
            continue
        for index, needs in enumerate(dependencies(training, was.steps)):
            step = was.steps[index]
            for need in needs:
                if at[was.steps[need].name] > at[step.name]:
                    raise ScheduleError(
                        f"{step.name} has been moved before {was.steps[need].name}, which it depends on"
                    )


def _skeleton(program: Program) -> list[object]:
    return [
        len(node.steps) if isinstance(node, Run) else (node.count, node.counter, _skeleton(node.body))
        for node in program
    ]


def schedule(training: TrainingGraph) -> dict[str, Program]:
    """The programs in the best order that the search finds in which every update runs as soon as it may."""
    return _searched(training, update_at_once=True)


def schedules(training: TrainingGraph) -> tuple[dict[str, Program], ...]:
    """Orders worth placing: the one of `schedule`, one in which updates may wait, and the one in which the method emitted the steps.

    The fewest live bytes do not always pack into the smallest arena, so the caller places each and keeps the first of the best.
    """
    orders = [schedule(training), _searched(training, update_at_once=False), dict(training.programs)]
    for order in orders:
        for name, program in training.programs.items():
            check_order(training, program, order[name])
    return tuple(order for index, order in enumerate(orders) if order not in orders[:index])


def _searched(training: TrainingGraph, *, update_at_once: bool) -> dict[str, Program]:
    """Every run that no other program shares, and that has no step twice, in the best order found."""
    seen = Counter(id(run) for program in training.programs.values() for run in runs(program))
    found: dict[str, Program] = {}
    for name, program in training.programs.items():
        state = alive(training, program, training.results if name == INFER else ())
        at = 0

        def best(run: Run) -> Run:
            nonlocal at
            first, at = at, at + len(run.steps)
            if seen[id(run)] > 1 or len({step.name for step in run.steps}) < len(run.steps) or not run.steps:
                return run
            before, after = state.before[first], state.after[at - 1]  # noqa: B023 - called before the loop goes on
            return Run(tuple(_Search(training, run.steps, before, after, update_at_once).best()))

        found[name] = _mapped(program, best)
    return found


def _mapped(program: Program, change: Callable[[Run], Run]) -> Program:
    """The program with every run changed, in the order of its text."""
    nodes: list[Run | Repeat] = []
    for node in program:
        if isinstance(node, Run):
            nodes.append(change(node))
        else:
            nodes.append(Repeat(node.count, _mapped(node.body, change), node.counter))
    return tuple(nodes)


@dataclass(frozen=True)
class _Partial:
    """An order begun: which steps are done (one bit each), the bytes alive after them, and what the order has cost so far."""

    done: int
    live_bytes: int
    peak_bytes: int
    summed_bytes: int
    order: tuple[int, ...]

    @property
    def cost(self) -> tuple[int, int, tuple[int, ...]]:
        """What is minimised; the emitted order breaks ties, so that the result never depends on anything else."""
        return self.peak_bytes, self.summed_bytes, self.order


class _Search:
    """Beam search over the orders of the steps of one run. before, after: the buffers of the arena that are alive round it."""

    def __init__(
        self,
        training: TrainingGraph,
        steps: Sequence[Step],
        before: frozenset[str],
        after: frozenset[str],
        update_at_once: bool,
    ) -> None:
        self._update_at_once = update_at_once
        self._training = training
        self._steps = steps
        self._needs = [sum(1 << need for need in needs) for needs in dependencies(training, steps)]
        self._touched = [touched(training, step) for step in steps]
        # For each buffer the steps that use it, as bits: it dies with the last of them, unless something behind the run needs it.
        self._users: dict[str, int] = {}
        for index, roots in enumerate(self._touched):
            for root in roots:
                self._users[root] = self._users.get(root, 0) | 1 << index
        self._before, self._after = before, after
        self._start = sum(self._size(root) for root in before)

    def _size(self, root: str) -> int:
        return self._training.buffers[root].size_bytes

    def best(self) -> list[Step]:
        """The steps in the best order found."""
        beam = [_Partial(0, self._start, self._start, 0, ())]
        for _ in self._steps:
            grown: dict[int, _Partial] = {}
            for partial in beam:
                for index in self._next(partial.done):
                    found = self._extend(partial, index)
                    # Two orders of the same steps leave the same bytes alive: only the cheaper one can win.
                    if found.done not in grown or found.cost < grown[found.done].cost:
                        grown[found.done] = found
            beam = sorted(grown.values(), key=lambda partial: partial.cost)[:BEAM_WIDTH]
        return [self._steps[index] for index in beam[0].order]

    def _next(self, done: int) -> list[int]:
        """The steps that may come behind those of ``done``.

        An update starts no buffer, so it can only free memory, and running it at once never raises the peak. It has to be said: the
        sum alone would rather hold a small gradient for long than spend a step on its update where much else is alive.
        """
        ready = [index for index in range(len(self._steps)) if not done >> index & 1 and not self._needs[index] & ~done]
        updates = [index for index in ready if not self._new(index, done)] if self._update_at_once else []
        return updates[:1] or ready

    def _new(self, index: int, done: int) -> list[str]:
        """The buffers that a step behind those of ``done`` starts."""
        return [root for root in self._touched[index] if root not in self._before and not self._users[root] & done]

    def _extend(self, partial: _Partial, index: int) -> _Partial:
        """``partial`` with one more step."""
        done = partial.done | 1 << index
        new = self._new(index, partial.done)
        dying = [root for root in self._touched[index] if root not in self._after and not self._users[root] & ~done]
        during = partial.live_bytes + sum(self._size(root) for root in new) - self._shared(index, new, dying)
        after = partial.live_bytes + sum(self._size(root) for root in new) - sum(self._size(root) for root in dying)
        return _Partial(
            done, after, max(partial.peak_bytes, during), partial.summed_bytes + during, (*partial.order, index)
        )

    def _shared(self, index: int, new: Sequence[str], dying: Sequence[str]) -> int:
        """Bytes saved while the step runs, because its output may begin where an input that dies begins."""
        step = self._steps[index]
        for input_role, output_role in step.in_place:
            if input_role in step.operands and output_role in step.operands:
                source, output = (self._training.root(step.operands[role]) for role in (input_role, output_role))
                if source in dying and output in new:
                    return min(self._size(source), self._size(output))
        return 0
