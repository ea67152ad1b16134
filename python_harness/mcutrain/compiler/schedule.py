"""Order the steps of a training graph so that the least memory is alive, and each update runs as soon as that allows.

The forward steps keep the network's order, because an inference is the first steps of a plan. Behind them every step may move as
long as reads and writes of each buffer keep their order (a weight is read by dX before its update writes it). Which of dX and dW of
a layer should come first, or which branch of a residual block, depends on the sizes; a beam search over the orders decides. It
minimises the peak of the live bytes and then their sum over the steps, so that no gradient waits for its update longer than it must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcutrain.compiler.arena import Block
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.steps import Phase, Step

BEAM_WIDTH = 64


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


def arena_blocks(training: TrainingGraph, steps: Sequence[Step]) -> list[Block]:
    """Lifetime of every arena buffer under this order; the network's own output lives to the end."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, step in enumerate(steps):
        for name in (*step.reads(), *step.writes()):
            root = training.root(name)
            if training.buffers[root].region == "arena":
                first.setdefault(root, index)
                last[root] = index
    if training.output is not None:
        last[training.root(training.output)] = len(steps) - 1
    return [Block(name, training.buffers[name].size_bytes, first[name], last[name]) for name in first]


def peak_bytes(blocks: Sequence[Block], op_count: int) -> int:
    """Largest sum of live bytes, without in-place reuse."""
    change = [0] * (op_count + 1)
    for block in blocks:
        change[block.first_op] += block.size_bytes
        change[block.last_op + 1] -= block.size_bytes
    peak = live = 0
    for delta in change:
        live += delta
        peak = max(peak, live)
    return peak


def schedule(training: TrainingGraph) -> tuple[Step, ...]:
    """The steps in the best order that the search finds in which every update runs as soon as it may."""
    return _searched(training, update_at_once=True)


def schedules(training: TrainingGraph) -> tuple[tuple[Step, ...], ...]:
    """Orders worth placing: the one of `schedule`, one in which updates may wait, and the one in which the rules emitted the steps.

    The fewest live bytes do not always pack into the smallest arena, so the caller places each and keeps the first of the best.
    """
    prefix, behind = _split(training)
    orders = [schedule(training), _searched(training, update_at_once=False), tuple(prefix + behind)]
    return tuple(order for index, order in enumerate(orders) if order not in orders[:index])


def _searched(training: TrainingGraph, *, update_at_once: bool) -> tuple[Step, ...]:
    prefix, behind = _split(training)
    return tuple(prefix + _Search(training, prefix, behind, update_at_once).best())


def _split(training: TrainingGraph) -> tuple[list[Step], list[Step]]:
    prefix = [step for step in training.steps if step.phase is Phase.FORWARD]
    return prefix, [step for step in training.steps if step.phase is not Phase.FORWARD]


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
    """Beam search over the orders of the steps behind the forward pass."""

    def __init__(
        self, training: TrainingGraph, prefix: Sequence[Step], behind: Sequence[Step], update_at_once: bool
    ) -> None:
        self._update_at_once = update_at_once
        self._training = training
        self._behind = behind
        offset = len(prefix)
        needs = dependencies(training, [*prefix, *behind])[offset:]
        self._needs = [sum(1 << (need - offset) for need in own if need >= offset) for own in needs]
        self._touched = [self._roots(step) for step in behind]
        # For each buffer the steps that use it, as bits: it dies with the last of them.
        self._users: dict[str, int] = {}
        for index, roots in enumerate(self._touched):
            for root in roots:
                self._users[root] = self._users.get(root, 0) | 1 << index
        born = {root for step in prefix for root in self._roots(step)}
        self._born_before = born
        self._start = sum(self._size(root) for root in born if root in self._users)

    def _roots(self, step: Step) -> frozenset[str]:
        roots = {self._training.root(name) for name in (*step.reads(), *step.writes())}
        return frozenset(root for root in roots if self._training.buffers[root].region == "arena")

    def _size(self, root: str) -> int:
        return self._training.buffers[root].size_bytes

    def best(self) -> list[Step]:
        """The steps in the best order found."""
        beam = [_Partial(0, self._start, self._start, 0, ())]
        for _ in self._behind:
            grown: dict[int, _Partial] = {}
            for partial in beam:
                for index in self._next(partial.done):
                    found = self._extend(partial, index)
                    # Two orders of the same steps leave the same bytes alive: only the cheaper one can win.
                    if found.done not in grown or found.cost < grown[found.done].cost:
                        grown[found.done] = found
            beam = sorted(grown.values(), key=lambda partial: partial.cost)[:BEAM_WIDTH]
        return [self._behind[index] for index in beam[0].order]

    def _next(self, done: int) -> list[int]:
        """The steps that may come behind those of ``done``.

        An update starts no buffer, so it can only free memory, and running it at once never raises the peak. It has to be said: the
        sum alone would rather hold a small gradient for long than spend a step on its update where much else is alive.
        """
        ready = [
            index for index in range(len(self._behind)) if not done >> index & 1 and not self._needs[index] & ~done
        ]
        updates = [index for index in ready if not self._new(index, done)] if self._update_at_once else []
        return updates[:1] or ready

    def _new(self, index: int, done: int) -> list[str]:
        """The buffers that a step behind those of ``done`` starts."""
        return [root for root in self._touched[index] if root not in self._born_before and not self._users[root] & done]

    def _extend(self, partial: _Partial, index: int) -> _Partial:
        """``partial`` with one more step."""
        done = partial.done | 1 << index
        new = self._new(index, partial.done)
        dying = [root for root in self._touched[index] if not self._users[root] & ~done]
        during = partial.live_bytes + sum(self._size(root) for root in new) - self._shared(index, new, dying)
        after = partial.live_bytes + sum(self._size(root) for root in new) - sum(self._size(root) for root in dying)
        return _Partial(
            done, after, max(partial.peak_bytes, during), partial.summed_bytes + during, (*partial.order, index)
        )

    def _shared(self, index: int, new: Sequence[str], dying: Sequence[str]) -> int:
        """Bytes saved while the step runs, because its output may begin where an input that dies begins."""
        step = self._behind[index]
        for input_role, output_role in step.in_place:
            if input_role in step.operands and output_role in step.operands:
                source, output = (self._training.root(step.operands[role]) for role in (input_role, output_role))
                if source in dying and output in new:
                    return min(self._size(source), self._size(output))
        return 0
