"""The arena planner: an offset in one static arena for each tensor that lives for part of a training step.

A block is a rectangle: its bytes are fixed on one axis, the operators during which it is live on the other. Two blocks
may share bytes only if no operator sees both, so planning is packing rectangles that slide along the memory axis only
(dynamic storage allocation, NP-hard). Heuristics place most networks at the lower bound, the largest sum of live bytes;
where they do not, CP-SAT looks for a better plan or a proof that there is none.

In-place results chain blocks to one place (``a -> b -> c``): each starts where its source starts or, where that is
allowed and the planner prefers it, ends where its source ends. `packing` does the search.

The same blocks give the same plan, whatever their order, the load of the machine or its speed (with one OR-tools
release): the solver has one worker, a fixed seed, and a limit counted in its own work instead of seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from mcutrain.compiler.packing import Link, pack


class ArenaPlanError(AssertionError):
    """A plan that would let one live block overwrite another, or that breaks another promise of a plan."""


@dataclass(frozen=True)
class Block:
    """A tensor that lives in the arena.

    size_bytes: above 0. first_op: index of the operator that writes it. last_op: index of the last operator that reads
    it, at least first_op; the block is live during both and all between. more_lives: (first, last) of further lives, in
    order, each behind the one before: the tensor is written anew there, at the same place.
    """

    name: str
    size_bytes: int
    first_op: int
    last_op: int
    more_lives: tuple[tuple[int, int], ...] = ()

    @property
    def lives(self) -> tuple[tuple[int, int], ...]:
        """(first, last) operator of every life, in order."""
        return ((self.first_op, self.last_op), *self.more_lives)


@dataclass(frozen=True)
class InPlace:
    """``output`` starts at the very offset of ``source``: the last operator to read the source writes the output.

    The two may overlap in bytes at that operator, and need not be of one size. Every life of the output begins where one of
    the source ends. may_end: the output may instead end where the source ends, sizes rounded up to the alignment; the
    planner chooses, and the offsets tell. It does not choose so where a block of the chain has more lives than one.
    """

    source: str
    output: str
    may_end: bool = False


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
    may_end = {tie.output: tie.may_end for tie in in_place}
    chains = [_in_time(chain) for chain in _chains(blocks, in_place)]
    links = [
        [
            Link(
                first,
                last + 1,
                -(-block.size_bytes // alignment_bytes),
                may_end.get(block.name, False) and not any(other.more_lives for other, _ in chain),
            )
            for block, (first, last) in chain
        ]
        for chain in chains
    ]
    op_count = 1 + max(block.lives[-1][1] for block in blocks)
    lower_bound_bytes = max(live_bytes(blocks, in_place, op_count, alignment_bytes=alignment_bytes))
    packed = pack(links, lower_bound_bytes // alignment_bytes, time_limit_seconds, seed)
    placed = [
        (bottom * alignment_bytes, block.first_op, block.name)
        for bottoms, chain in zip(packed.bottoms, chains, strict=True)
        for bottom, (block, life) in zip(bottoms, chain, strict=True)
        if life == block.lives[0]
    ]
    plan = ArenaPlan(
        offsets={name: offset for offset, _, name in sorted(placed)},
        size_bytes=packed.height * alignment_bytes,
        lower_bound_bytes=lower_bound_bytes,
        optimal=packed.optimal,
        method=packed.method,
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
    size = {block.name: _round_up(block.size_bytes, alignment_bytes) for block in blocks}
    for tie in in_place:
        behind = plan.offsets[tie.output] - plan.offsets[tie.source]
        if behind != 0 and not (tie.may_end and behind == size[tie.source] - size[tie.output]):
            raise ArenaPlanError(
                f"{tie.output} at {plan.offsets[tie.output]} must lie in place of {tie.source} "
                f"at {plan.offsets[tie.source]}"
            )
    for a, b in combinations(blocks, 2):
        at_a, at_b = plan.offsets[a.name], plan.offsets[b.name]
        meetings = [max(s[0], t[0]) for s in a.lives for t in b.lives if s[0] <= t[1] and t[0] <= s[1]]
        share_bytes = at_a < at_b + b.size_bytes and at_b < at_a + a.size_bytes
        if meetings and share_bytes and frozenset((a.name, b.name)) not in ties:
            raise ArenaPlanError(
                f"{a.name} at [{at_a}, {at_a + a.size_bytes}) and {b.name} at [{at_b}, {at_b + b.size_bytes}) share "
                f"bytes while both are live at operator {meetings[0]}"
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
        for first, last in block.lives:
            if last >= op_count:
                raise ValueError(f"block {block.name}: last operator {last}, but there are only {op_count}")
            for op in range(first, last + 1):
                live[op] += size[block.name]
    lives = {block.name: block.lives for block in blocks}
    for tie in in_place:
        for first, _ in lives[tie.output]:
            live[first] -= min(size[tie.source], size[tie.output])
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
        before = -1
        for first, last in block.lives:
            if not before < first <= last:
                raise ValueError(f"block {block.name}: live from operator {first} to {last}")
            before = last
    sources: set[str] = set()
    outputs: set[str] = set()
    for tie in in_place:
        where = f"in place {tie.source} -> {tie.output}"
        for name in (tie.source, tie.output):
            if name not in by_name:
                raise ValueError(f"{where}: there is no block {name}")
        source_lives, output_lives = by_name[tie.source].lives, by_name[tie.output].lives
        ends = {last for _, last in source_lives}
        if any(first not in ends for first, _ in output_lives):
            raise ValueError(f"{where}: the operator that writes the output is not the last to read the source")
        if any(s[0] <= t[1] and t[0] <= s[1] and s[1] != t[0] for s in source_lives for t in output_lives):
            raise ValueError(f"{where}: the two are alive together")
        if tie.source in sources or tie.output in outputs:
            raise ValueError(f"{where}: a block is the source of one tie and the output of one tie at most")
        sources.add(tie.source)
        outputs.add(tie.output)
    # One operator would write two results to one place. This also rules out cycles: all their blocks are such.
    for name in sorted(sources & outputs):
        if any(first == last for first, last in by_name[name].lives):
            raise ValueError(f"in place: {name} lives for one operator and cannot be both output and source there")


def _chains(blocks: Sequence[Block], in_place: Sequence[InPlace]) -> list[list[Block]]:
    """Blocks grouped by the place that they share, each chain in order of time; a free block is a chain of one.

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


def _in_time(chain: Sequence[Block]) -> list[tuple[Block, tuple[int, int]]]:
    """Every life of the blocks of a chain, in order of time: each is over, or hands its place on, as the next begins."""
    order = {block.name: place for place, block in enumerate(chain)}
    lives = [(block, life) for block in chain for life in block.lives]
    lives.sort(key=lambda entry: (entry[1], order[entry[0].name]))
    for (before, (_, last)), (block, (first, _)) in pairwise(lives):
        if first < last:
            raise ValueError(f"in place: {before.name} and {block.name} share a place and are alive together")
    return lives
