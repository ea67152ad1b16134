"""Order the steps of a training graph: each update as soon as its gradient allows, nothing alive longer than its use.

The forward steps keep the network's order, because an inference is the first steps of a plan. Behind them every step may move as
long as reads and writes of each buffer keep their order (a weight is read by dX before its update writes it). Two orders are tried,
the one in which the rules emitted the steps and a greedy one that always takes the step after which the fewest bytes live; the one
with the lower peak wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcutrain.compiler.arena import Block
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.steps import Phase, Step


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
    """The steps in execution order."""
    emitted = list(training.steps)
    prefix = [step for step in emitted if step.phase is Phase.FORWARD]
    behind = [step for step in emitted if step.phase is not Phase.FORWARD]
    in_order = prefix + behind
    greedy = prefix + _greedy(training, prefix, behind)
    peak_of_greedy, peak_in_order = (
        peak_bytes(arena_blocks(training, order), len(order)) for order in (greedy, in_order)
    )
    return tuple(greedy if peak_of_greedy <= peak_in_order else in_order)


def _greedy(training: TrainingGraph, prefix: Sequence[Step], behind: Sequence[Step]) -> list[Step]:
    """Take, among the steps whose needs are met, the one after which the fewest bytes live; the emitted order breaks ties."""
    needs = dependencies(training, [*prefix, *behind])
    done = set(range(len(prefix)))
    waiting = list(range(len(prefix), len(prefix) + len(behind)))
    remaining_uses = _count_uses(training, behind)
    live: set[str] = set()
    for step in prefix:
        live.update(training.root(name) for name in (*step.reads(), *step.writes()))
    order: list[Step] = []
    while waiting:
        ready = [index for index in waiting if needs[index] <= done]
        best = min(
            ready, key=lambda index: (_growth(training, behind[index - len(prefix)], live, remaining_uses), index)
        )
        step = behind[best - len(prefix)]
        for root in _touched(training, step):
            live.add(root)
            remaining_uses[root] -= 1
        done.add(best)
        waiting.remove(best)
        order.append(step)
    return order


def _touched(training: TrainingGraph, step: Step) -> set[str]:
    roots = {training.root(name) for name in (*step.reads(), *step.writes())}
    return {root for root in roots if training.buffers[root].region == "arena"}


def _count_uses(training: TrainingGraph, steps: Sequence[Step]) -> dict[str, int]:
    uses: dict[str, int] = {}
    for step in steps:
        for root in _touched(training, step):
            uses[root] = uses.get(root, 0) + 1
    return uses


def _growth(training: TrainingGraph, step: Step, live: set[str], remaining_uses: Mapping[str, int]) -> int:
    """Change of live bytes by the time the step is over."""
    growth = 0
    for root in _touched(training, step):
        size = training.buffers[root].size_bytes
        if root not in live:
            growth += size
        if remaining_uses[root] == 1:
            growth -= size
    return growth
