"""The arena planner: an offset in one static arena for each tensor that lives for part of a training step.

A block is a rectangle: its bytes are fixed on one axis, the operators during which it is live on the other. Two blocks
may share bytes only if no operator sees both, so planning is packing rectangles that slide along the memory axis only
(dynamic storage allocation, NP-hard). Heuristics place most networks at the lower bound, the largest sum of live bytes;
where they do not, CP-SAT looks for a better plan or a proof that there is none.

In-place results chain blocks to one offset (``a -> b -> c``). A chain is planned as one *silhouette*: its height in
memory operator by operator, which is the larger of the two blocks where one is written over the other.

The same blocks give the same plan, whatever their order, the load of the machine or its speed (with one OR-tools
release): the solver has one worker, a fixed seed, and a limit counted in its own work instead of seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ortools.sat.python import cp_model

from mcutrain.errors import McutrainError

# CP-SAT's deterministic second takes 2 to 9 s of one core on these models.
_WORK_PER_SECOND = 0.15
# Wall clock for a search: a minute, and thirty times its work. A machine that needs more is overloaded or broken.
_BACKSTOP_SECONDS = 60.0
_BACKSTOP_FACTOR = 30.0


class ArenaPlanError(AssertionError):
    """A plan that would let one live block overwrite another, or that breaks another promise of a plan."""


class ArenaTimeoutError(McutrainError):
    """The solver met its wall-clock backstop: its answer would depend on the load of the machine."""


@dataclass(frozen=True)
class Block:
    """A tensor that lives in the arena.

    size_bytes: above 0. first_op: index of the operator that writes it. last_op: index of the last operator that reads
    it, at least first_op; the block is live during both and all between.
    """

    name: str
    size_bytes: int
    first_op: int
    last_op: int


@dataclass(frozen=True)
class InPlace:
    """``output`` starts at the very offset of ``source``: the last operator to read the source writes the output.

    The two may overlap in bytes at that operator, and need not be of one size.
    """

    source: str
    output: str


@dataclass(frozen=True)
class ArenaPlan:
    """Where each block lies.

    offsets: bytes from the start of the arena, in ascending order. size_bytes: of the arena, the peak.
    lower_bound_bytes: the largest sum of live (aligned) bytes over the operators; no plan can be smaller.
    optimal: proven minimal. method: "first-fit", "best-fit" or "cp-sat".
    """

    offsets: Mapping[str, int]
    size_bytes: int
    lower_bound_bytes: int
    optimal: bool
    method: str


def plan_arena(
    blocks: Sequence[Block],
    in_place: Sequence[InPlace] = (),
    *,
    alignment_bytes: int = 8,
    time_limit_seconds: float = 10.0,
    seed: int = 0,
) -> ArenaPlan:
    """Give each block an offset, a multiple of alignment_bytes, in the smallest arena found.

    time_limit_seconds bounds the solver's *work*, in rough seconds of a desktop core: a slow or busy machine makes the
    same plan, only later. seed is the solver's. The plan has passed `check_arena`.

    Raises ValueError for blocks or ties that cannot be planned, ArenaTimeoutError when the machine is so slow that the
    clock stops the solver (over a minute and thirty times its work).
    """
    _validate(blocks, in_place, alignment_bytes)
    if not blocks:
        return ArenaPlan(offsets={}, size_bytes=0, lower_bound_bytes=0, optimal=True, method="first-fit")
    chains = _chains(blocks, in_place)
    packing = _Packing([_silhouette(chain, alignment_bytes) for chain in chains])
    op_count = 1 + max(block.last_op for block in blocks)
    lower_bound_bytes = max(live_bytes(blocks, in_place, op_count, alignment_bytes=alignment_bytes))
    bound = lower_bound_bytes // alignment_bytes

    positions, method = packing.best_heuristic()
    optimal = packing.height(positions) == bound
    if not optimal:
        solved, optimal = packing.solve(bound, positions, time_limit_seconds, seed)
        if packing.height(solved) < packing.height(positions):
            positions, method = solved, "cp-sat"

    placed = [
        (p * alignment_bytes, b.first_op, b.name) for p, chain in zip(positions, chains, strict=True) for b in chain
    ]
    plan = ArenaPlan(
        offsets={name: offset for offset, _, name in sorted(placed)},
        size_bytes=packing.height(positions) * alignment_bytes,
        lower_bound_bytes=lower_bound_bytes,
        optimal=optimal,
        method=method,
    )
    check_arena(blocks, in_place, plan, alignment_bytes=alignment_bytes)
    return plan


def check_arena(
    blocks: Sequence[Block], in_place: Sequence[InPlace], plan: ArenaPlan, *, alignment_bytes: int = 8
) -> None:
    """Hold a plan against what a plan promises, sharing nothing with the planner.

    Raises ArenaPlanError naming the blocks: a block without an offset, an offset without a block, a misaligned or
    negative offset, a block beyond the arena, an in-place pair apart, or two untied live blocks that share bytes.
    """
    if set(plan.offsets) != {block.name for block in blocks} or len(plan.offsets) != len(blocks):
        odd = sorted(set(plan.offsets) ^ {block.name for block in blocks})
        raise ArenaPlanError(f"arena plan and blocks do not name the same tensors, each once: {', '.join(odd)}")
    for block in blocks:
        start = plan.offsets[block.name]
        if start % alignment_bytes != 0:
            raise ArenaPlanError(f"{block.name} at offset {start} is not aligned to {alignment_bytes} bytes")
        if start < 0 or start + block.size_bytes > plan.size_bytes:
            stop = start + block.size_bytes
            raise ArenaPlanError(f"{block.name} at [{start}, {stop}) is outside the arena of {plan.size_bytes} bytes")
    ties = {frozenset((tie.source, tie.output)) for tie in in_place}
    for tie in in_place:
        if plan.offsets[tie.source] != plan.offsets[tie.output]:
            raise ArenaPlanError(
                f"{tie.output} at {plan.offsets[tie.output]} must lie in place of {tie.source} "
                f"at {plan.offsets[tie.source]}"
            )
    for a, b in combinations(blocks, 2):
        at_a, at_b = plan.offsets[a.name], plan.offsets[b.name]
        live_together = a.first_op <= b.last_op and b.first_op <= a.last_op
        share_bytes = at_a < at_b + b.size_bytes and at_b < at_a + a.size_bytes
        if live_together and share_bytes and frozenset((a.name, b.name)) not in ties:
            raise ArenaPlanError(
                f"{a.name} at [{at_a}, {at_a + a.size_bytes}) and {b.name} at [{at_b}, {at_b + b.size_bytes}) share "
                f"bytes while both are live at operator {max(a.first_op, b.first_op)}"
            )


def live_bytes(
    blocks: Sequence[Block], in_place: Sequence[InPlace], op_count: int, *, alignment_bytes: int = 8
) -> list[int]:
    """Live bytes during each of op_count operators, sizes rounded up to the alignment.

    An in-place pair counts once, with the larger size, at the operator that reads the source and writes the output.
    Raises ValueError for blocks that cannot be planned or that outlive the operators.
    """
    _validate(blocks, in_place, alignment_bytes)
    size = {block.name: _round_up(block.size_bytes, alignment_bytes) for block in blocks}
    live = [0] * op_count
    for block in blocks:
        if block.last_op >= op_count:
            raise ValueError(f"block {block.name}: last operator {block.last_op}, but there are only {op_count}")
        for op in range(block.first_op, block.last_op + 1):
            live[op] += size[block.name]
    first_op = {block.name: block.first_op for block in blocks}
    for tie in in_place:
        live[first_op[tie.output]] -= min(size[tie.source], size[tie.output])
    return live


def _round_up(size_bytes: int, alignment_bytes: int) -> int:
    return -(-size_bytes // alignment_bytes) * alignment_bytes


def _validate(blocks: Sequence[Block], in_place: Sequence[InPlace], alignment_bytes: int) -> None:
    """Refuse what no plan can satisfy. These are mistakes of the compiler, not of a user: ValueError."""
    if alignment_bytes < 1:
        raise ValueError(f"alignment is {alignment_bytes} bytes; it must be at least 1")
    by_name = {block.name: block for block in blocks}
    if len(by_name) != len(blocks):
        names = [block.name for block in blocks]
        raise ValueError(f"two blocks are called {next(name for name in names if names.count(name) > 1)}")
    for block in blocks:
        if block.size_bytes < 1:
            raise ValueError(f"block {block.name}: {block.size_bytes} bytes; a block has at least 1")
        if not 0 <= block.first_op <= block.last_op:
            raise ValueError(f"block {block.name}: live from operator {block.first_op} to {block.last_op}")
    sources: set[str] = set()
    outputs: set[str] = set()
    for tie in in_place:
        where = f"in place {tie.source} -> {tie.output}"
        for name in (tie.source, tie.output):
            if name not in by_name:
                raise ValueError(f"{where}: there is no block {name}")
        if by_name[tie.source].last_op != by_name[tie.output].first_op:
            raise ValueError(f"{where}: the operator that writes the output is not the last to read the source")
        if tie.source in sources or tie.output in outputs:
            raise ValueError(f"{where}: a block is the source of one tie and the output of one tie at most")
        sources.add(tie.source)
        outputs.add(tie.output)
    # One operator would write two results to one place. This also rules out cycles: all their blocks are such.
    for name in sorted(sources & outputs):
        if by_name[name].first_op == by_name[name].last_op:
            raise ValueError(f"in place: {name} lives for one operator and cannot be both output and source there")


def _chains(blocks: Sequence[Block], in_place: Sequence[InPlace]) -> list[list[Block]]:
    """Blocks grouped by the offset that they must share, each chain in order of time; a free block is a chain of one.

    The order of the chains depends on the blocks alone, so the plan does not depend on the order they were given in.
    """
    by_name = {block.name: block for block in blocks}
    next_of = {tie.source: tie.output for tie in in_place}
    heads = by_name.keys() - {tie.output for tie in in_place}
    chains = []
    for head in sorted(heads, key=lambda name: (by_name[name].first_op, name)):
        chain = [by_name[head]]
        while chain[-1].name in next_of:
            chain.append(by_name[next_of[chain[-1].name]])
        chains.append(chain)
    return chains


@dataclass(frozen=True)
class _Step:
    """A part of a silhouette: height (in units of the alignment) during operators [start, stop)."""

    start: int
    stop: int
    height: int


def _silhouette(chain: Sequence[Block], alignment_bytes: int) -> list[_Step]:
    """The height of a chain over time; where a block is written over its source, the larger of both counts."""
    steps: list[_Step] = []
    for block in chain:
        height = _round_up(block.size_bytes, alignment_bytes) // alignment_bytes
        start = block.first_op
        if steps:
            before = steps.pop()
            both = _Step(start, start + 1, max(before.height, height))
            steps += [_Step(before.start, start, before.height), both]
            start += 1
        steps.append(_Step(start, block.last_op + 1, height))
        steps = [step for step in steps if step.start < step.stop]
    return steps


class _Packing:
    """Silhouettes to be slid along the memory axis; positions and heights are in units of the alignment."""

    def __init__(self, silhouettes: list[list[_Step]]) -> None:
        self.silhouettes = silhouettes
        self.heights = [max(step.height for step in silhouette) for silhouette in silhouettes]
        # clearance[i][j]: how far above position i the position of j must be, if j lies above i. All steps of a
        # silhouette start at its position, so one of the two lies above the other wherever both are live.
        self.clearance: list[dict[int, int]] = [{} for _ in silhouettes]
        for (i, a), (j, b) in combinations(enumerate(silhouettes), 2):
            together = [(s, t) for s in a for t in b if s.start < t.stop and t.start < s.stop]
            if together:
                self.clearance[i][j] = max(s.height for s, _ in together)
                self.clearance[j][i] = max(t.height for _, t in together)

    def height(self, positions: Sequence[int]) -> int:
        """Of the whole packing."""
        return max(position + height for position, height in zip(positions, self.heights, strict=True))

    def gaps(self, item: int, placed: Mapping[int, int]) -> list[tuple[int, int | None]]:
        """Where item fits among the placed ones, from below: (lowest position, room left over); None for the top."""
        taken = sorted(
            (placed[other] - above + 1, placed[other] + below)  # positions [start, stop) would overlap `other`
            for other, above in self.clearance[item].items()
            if other in placed
            for below in (self.clearance[other][item],)
        )
        gaps: list[tuple[int, int | None]] = []
        lowest = 0
        for start, stop in taken:
            if lowest < start:
                gaps.append((lowest, start - 1 - lowest))
            lowest = max(lowest, stop)
        return [*gaps, (lowest, None)]

    def place(self, order: Sequence[int], fit: str) -> list[int]:
        """Place in this order: "first-fit" in the lowest gap, "best-fit" in the one that leaves the least room."""
        placed: dict[int, int] = {}
        for item in order:
            gaps = self.gaps(item, placed)
            tight = [(room, position) for position, room in gaps if room is not None]
            placed[item] = min(tight)[1] if tight and fit == "best-fit" else gaps[0][0]
        return [placed[item] for item in range(len(order))]

    def settle(self, positions: Sequence[int]) -> list[int]:
        """Let every silhouette sink as far as it goes, lowest first, until none moves.

        Never makes the packing higher: what is below an item has only sunk, so its old place is still free. Plans that
        differ by slack alone become one and the same.
        """
        while True:
            order = sorted(range(len(positions)), key=lambda item: (positions[item], item))
            settled = self.place(order, "first-fit")
            if settled == list(positions):
                return settled
            positions = settled

    def best_heuristic(self) -> tuple[list[int], str]:
        """The lowest packing over several orders of placing; the first of equals."""
        start = [silhouette[0].start for silhouette in self.silhouettes]
        stop = [silhouette[-1].stop for silhouette in self.silhouettes]
        items = range(len(self.silhouettes))
        orders = [
            sorted(items, key=lambda i: (-self.heights[i], start[i], i)),
            sorted(items, key=lambda i: (start[i] - stop[i], -self.heights[i], i)),
            sorted(items, key=lambda i: (-self.heights[i] * (stop[i] - start[i]), i)),
            sorted(items, key=lambda i: (start[i], -self.heights[i], i)),
            sorted(items, key=lambda i: (-stop[i], -self.heights[i], i)),
        ]
        tries = [(self.settle(self.place(order, fit)), fit) for fit in ("first-fit", "best-fit") for order in orders]
        return min(tries, key=lambda positions_and_fit: self.height(positions_and_fit[0]))

    def solve(self, bound: int, positions: list[int], time_limit_seconds: float, seed: int) -> tuple[list[int], bool]:
        """The lowest packing that CP-SAT finds, never higher than positions; and whether it is proven minimal.

        Three models of one problem, each starting from the best so far: geometry (rectangles that may not overlap) is
        fast on loose packings, order (which of two lies above the other) on tight ones, and together they prove best
        that nothing lower exists.
        """
        for order, geometry in ((False, True), (True, False), (True, True)):
            positions, optimal = self._search(bound, positions, order, geometry, time_limit_seconds / 3, seed)
            if optimal:
                return positions, True
        return positions, False

    def _search(
        self, bound: int, hint: list[int], order: bool, geometry: bool, time_limit_seconds: float, seed: int
    ) -> tuple[list[int], bool]:
        limit = self.height(hint)
        model = cp_model.CpModel()
        height = model.new_int_var(bound, limit, "height")
        positions = [model.new_int_var(0, limit - own, f"position{i}") for i, own in enumerate(self.heights)]
        for position, own in zip(positions, self.heights, strict=True):
            model.add(position + own <= height)
        if order:
            for i, j in ((i, j) for i, above in enumerate(self.clearance) for j in above if i < j):
                below = model.new_bool_var(f"{i} below {j}")
                model.add(positions[i] + self.clearance[i][j] <= positions[j]).only_enforce_if(below)
                model.add(positions[j] + self.clearance[j][i] <= positions[i]).only_enforce_if(~below)
        if geometry:
            parts = [
                (position, step) for position, own in zip(positions, self.silhouettes, strict=True) for step in own
            ]
            model.add_no_overlap_2d(
                [model.new_fixed_size_interval_var(step.start, step.stop - step.start, "") for _, step in parts],
                [model.new_fixed_size_interval_var(position, step.height, "") for position, step in parts],
            )
        model.minimize(height)
        model.add_hint(height, limit)
        for position, value in zip(positions, hint, strict=True):
            model.add_hint(position, value)

        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.linearization_level = 0  # no linear programs, whose floats machines could round apart
        solver.parameters.max_deterministic_time = time_limit_seconds * _WORK_PER_SECOND
        solver.parameters.max_time_in_seconds = _BACKSTOP_SECONDS + _BACKSTOP_FACTOR * time_limit_seconds
        status = solver.solve(model)
        if status != cp_model.OPTIMAL and solver.wall_time >= solver.parameters.max_time_in_seconds:
            raise ArenaTimeoutError(
                f"arena planner: stopped after {solver.wall_time:.0f} s of {time_limit_seconds:.0f} s of work; "
                "a plan made now would depend on this machine's load: run it again when the machine is idle"
            )
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return hint, False
        settled = self.settle([solver.value(position) for position in positions])
        return settled, status == cp_model.OPTIMAL or self.height(settled) == bound
