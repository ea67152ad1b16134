"""Pack chains of blocks into the least memory: heuristics first, then CP-SAT. The engine of `arena`; it knows no names.

A chain is planned as one *silhouette*: the part of memory it takes, operator by operator, slid up and down as a whole.
Where a block is written over the one before it, the larger of the two counts. A block may be *free* to end where the
one before it ends, instead of starting where that starts: then the packing chooses.

Two neighbouring parts of a silhouette lie one within the other. So whichever of two silhouettes lies above the other at
one operator does so at every operator that sees both; and "above" has no cycles, because lives are intervals: of those
that meet in a ring some three meet at one operator, where their order is plain.

A chain may also pause, where a tensor is written anew later: its silhouette then has a gap, and neither holds. Such packings
are solved as geometry alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from mcutrain.errors import McutrainError

if TYPE_CHECKING:
    from ortools.sat.python import cp_model  # where it runs it is imported late: slow, and mostly not needed

# CP-SAT's deterministic second takes 2 to 9 s of one core on these models.
_WORK_PER_SECOND = 0.15
# Wall clock for a search: a minute, and thirty times its work. A machine that needs more is overloaded or broken.
_BACKSTOP_SECONDS = 60.0
_BACKSTOP_FACTOR = 30.0


class ArenaTimeoutError(McutrainError):
    """The solver met its wall-clock backstop: its answer would depend on the load of the machine."""


@dataclass(frozen=True)
class Link:
    """A block of a chain, or one of its lives: height (in units of the alignment) during operators [start, stop).

    It starts one operator before the link before it stops, or later. may_end: it may end where the link before it ends;
    without, it starts where that starts.
    """

    start: int
    stop: int
    height: int
    may_end: bool = False


Chain = Sequence[Link]
# For each chain, whether each link ends where the one before it ends.
Ends = tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class Packed:
    """bottoms: of every link of every chain. optimal: proven minimal. method: "first-fit", "best-fit" or "cp-sat"."""

    bottoms: list[list[int]]
    height: int
    optimal: bool
    method: str


def pack(chains: Sequence[Chain], bound: int, time_limit_seconds: float, seed: int) -> Packed:
    """The lowest packing found; no packing is lower than ``bound``. Raises ArenaTimeoutError."""
    best, method = _best_heuristic(chains, bound)
    optimal = best.height == bound
    if not optimal:
        solved, optimal = _solve(chains, bound, best, time_limit_seconds, seed)
        if solved.height < best.height:
            best, method = solved, "cp-sat"
    return Packed(best.bottoms(chains), best.height, optimal, method)


@dataclass(frozen=True)
class _Part:
    """A part of a silhouette: link ``link`` takes height from bottom on, relative to the silhouette, during operators [start, stop)."""

    start: int
    stop: int
    bottom: int
    height: int
    link: int

    @property
    def top(self) -> int:
        return self.bottom + self.height


def pauses(chains: Sequence[Chain]) -> bool:
    """Whether some chain has a gap between two of its links."""
    return any(link.start >= before.stop for chain in chains for before, link in pairwise(chain))


def _link_bottoms(chain: Chain, ends: Sequence[bool]) -> list[int]:
    """The bottom of each link, the lowest at 0."""
    bottoms = [0]
    for (before, link), end in zip(pairwise(chain), ends[1:], strict=True):
        bottoms.append(bottoms[-1] + (before.height - link.height if end else 0))
    return [bottom - min(bottoms) for bottom in bottoms]


def _silhouette(chain: Chain, ends: Sequence[bool]) -> list[_Part]:
    """What the chain takes over time; where a link is written over the one before, the larger of the two, which holds both."""
    parts: list[_Part] = []
    for index, (link, bottom) in enumerate(zip(chain, _link_bottoms(chain, ends), strict=True)):
        start = link.start
        own = _Part(start, link.stop, bottom, link.height, index)
        if parts and start < parts[-1].stop:
            before = parts.pop()
            larger = max(before, own, key=lambda part: part.height)
            both = _Part(start, start + 1, larger.bottom, larger.height, larger.link)
            parts += [_Part(before.start, start, before.bottom, before.height, before.link), both]
            own = _Part(start + 1, link.stop, bottom, link.height, index)
        parts.append(own)
        parts = [part for part in parts if part.start < part.stop]
    return parts


def _together(a: Sequence[_Part], b: Sequence[_Part]) -> list[tuple[_Part, _Part]]:
    """The parts that some operator sees both of."""
    return [(s, t) for s in a for t in b if s.start < t.stop and t.start < s.stop]


class _Silhouettes:
    """Silhouettes of fixed form, to be slid along the memory axis. The position of one is that of its lowest part."""

    def __init__(self, chains: Sequence[Chain], ends: Ends) -> None:
        self.ends = ends
        self.parts = [_silhouette(chain, own) for chain, own in zip(chains, ends, strict=True)]
        self.pauses = pauses(chains)
        self.heights = [max(part.top for part in parts) for parts in self.parts]
        # clearance[i][j]: how far above position i the position of j must be, if j lies above i.
        self.clearance: list[dict[int, int]] = [{} for _ in chains]
        for (i, a), (j, b) in combinations(enumerate(self.parts), 2):
            if together := _together(a, b):
                self.clearance[i][j] = max(s.top - t.bottom for s, t in together)
                self.clearance[j][i] = max(t.top - s.bottom for s, t in together)

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

    def settled(self, positions: Sequence[int]) -> _Placement:
        """Let every silhouette sink as far as it goes, from below, until none moves.

        Never makes the packing higher: what is below an item has only sunk, so its old place is still free. (Where silhouettes
        have gaps there may be no such order: then it ends as soon as that lowers nothing.) Plans that differ by slack alone
        become one and the same.
        """
        height = self._height(positions)
        while True:
            sunk = self.place(self._from_below(positions), "first-fit")
            if sunk == list(positions) or (self.pauses and self._height(sunk) >= height):
                return _Placement(self.ends, list(positions), height)
            positions, height = sunk, self._height(sunk)

    def _height(self, positions: Sequence[int]) -> int:
        return max(position + own for position, own in zip(positions, self.heights, strict=True))

    def _from_below(self, positions: Sequence[int]) -> list[int]:
        """Every item after all that it lies above; otherwise by position."""
        below = [
            {j for j in near if positions[j] + self.clearance[j][i] <= positions[i]}
            for i, near in enumerate(self.clearance)
        ]
        left = sorted(range(len(positions)), key=lambda item: (positions[item], item))
        order: list[int] = []
        while left:
            item = next((item for item in left if below[item].isdisjoint(left)), left[0])
            left.remove(item)
            order.append(item)
        return order

    def attempts(self) -> Iterator[tuple[_Placement, str]]:
        """Packings by several orders of placing, each with its method."""
        start = [parts[0].start for parts in self.parts]
        stop = [parts[-1].stop for parts in self.parts]
        items = range(len(self.parts))
        orders = [
            sorted(items, key=lambda i: (-self.heights[i], start[i], i)),
            sorted(items, key=lambda i: (start[i] - stop[i], -self.heights[i], i)),
            sorted(items, key=lambda i: (-self.heights[i] * (stop[i] - start[i]), i)),
            sorted(items, key=lambda i: (start[i], -self.heights[i], i)),
            sorted(items, key=lambda i: (-stop[i], -self.heights[i], i)),
        ]
        for fit in ("first-fit", "best-fit"):
            for order in orders:
                yield self.settled(self.place(order, fit)), fit


@dataclass(frozen=True)
class _Placement:
    """Silhouettes of the form that ``ends`` gives them, at positions."""

    ends: Ends
    positions: list[int]
    height: int

    def bottoms(self, chains: Sequence[Chain]) -> list[list[int]]:
        """Of every link of every chain."""
        return [
            [position + bottom for bottom in _link_bottoms(chain, ends)]
            for chain, ends, position in zip(chains, self.ends, self.positions, strict=True)
        ]


def _forms(chains: Sequence[Chain]) -> list[Ends]:
    """Forms worth trying: no free link ends with the one before it, every second one in order of time does, all do."""
    free = [(i, k) for i, chain in enumerate(chains) for k in range(1, len(chain)) if _is_free(chain, k)]
    free.sort(key=lambda link: (chains[link[0]][link[1]].start, link))
    chosen = [set[tuple[int, int]](), set(free[1::2]), set(free[::2]), set(free)]
    forms = [
        tuple(tuple((i, k) in ending for k in range(len(chain))) for i, chain in enumerate(chains)) for ending in chosen
    ]
    return list(dict.fromkeys(forms))


def _is_free(chain: Chain, link: int) -> bool:
    """Whether the two alignments of a link differ and both are allowed."""
    return chain[link].may_end and chain[link].height != chain[link - 1].height


def _best_heuristic(chains: Sequence[Chain], bound: int) -> tuple[_Placement, str]:
    """The lowest packing over several forms and orders of placing; the first of equals."""
    found: list[tuple[_Placement, str]] = []
    for ends in _forms(chains):
        found += _Silhouettes(chains, ends).attempts()
        if any(placement.height == bound for placement, _ in found):
            break
    return min(found, key=lambda attempt: attempt[0].height)


def _solve(
    chains: Sequence[Chain], bound: int, best: _Placement, time_limit_seconds: float, seed: int
) -> tuple[_Placement, bool]:
    """The lowest packing that CP-SAT finds, never higher than ``best``; and whether it is proven minimal.

    Three models of one problem, each starting from the best so far: geometry (rectangles that may not overlap) is
    fast on loose packings, order (which of two lies above the other) on tight ones, and together they prove best
    that nothing lower exists.
    """
    models = ((False, True), (True, False), (True, True))
    for order, geometry in models[:1] if pauses(chains) else models:
        best, optimal = _Model(chains, bound, best, order=order, geometry=geometry).search(time_limit_seconds / 3, seed)
        if optimal:
            return best, True
    return best, False


class _Model:
    """The packing as CP-SAT sees it: a variable for the bottom of each chain, and two for each free link, its bottom and its choice."""

    def __init__(self, chains: Sequence[Chain], bound: int, best: _Placement, *, order: bool, geometry: bool) -> None:
        from ortools.sat.python import cp_model

        self._chains, self._bound, self._best = chains, bound, best
        self._model = cp_model.CpModel()
        self._height = self._model.new_int_var(bound, best.height, "height")
        self._model.minimize(self._height)
        self._model.add_hint(self._height, best.height)
        self._ends: dict[tuple[int, int], cp_model.IntVar] = {}
        self._bottoms = [self._add_chain(i, hints) for i, hints in enumerate(best.bottoms(chains))]
        # Which link a part shows does not depend on the form.
        parts = [_silhouette(chain, ends) for chain, ends in zip(chains, best.ends, strict=True)]
        if order:
            self._add_order(parts)
        if geometry:
            self._add_geometry(parts)

    def _add_chain(self, i: int, hints: list[int]) -> list[cp_model.IntVar]:
        """Variables of the bottoms of its links; links that share a bottom share the variable."""
        chain = self._chains[i]
        bottoms: list[cp_model.IntVar] = []
        for k, link in enumerate(chain):
            if k == 0 or _is_free(chain, k):
                bottom = self._model.new_int_var(0, self._best.height - link.height, f"bottom{i}.{k}")
                self._model.add_hint(bottom, hints[k])
                if k > 0:
                    end = self._ends[i, k] = self._model.new_bool_var(f"end{i}.{k}")
                    self._model.add(bottom == bottoms[-1] + (chain[k - 1].height - link.height) * end)
                    self._model.add_hint(end, self._best.ends[i][k])
                bottoms.append(bottom)
            else:
                bottoms.append(bottoms[-1])
        for bottom in dict.fromkeys(bottoms):
            own = max(link.height for link, other in zip(chain, bottoms, strict=True) if other is bottom)
            self._model.add(bottom + own <= self._height)
        return bottoms

    def _add_order(self, parts: list[list[_Part]]) -> None:
        """One of two silhouettes lies above the other."""
        for (i, a), (j, b) in combinations(enumerate(parts), 2):
            together = _together(a, b)
            if not together:
                continue
            below = self._model.new_bool_var(f"{i} below {j}")
            for literal, lower, upper, pairs in (
                (below, self._bottoms[i], self._bottoms[j], together),
                (~below, self._bottoms[j], self._bottoms[i], [(t, s) for s, t in together]),
            ):
                # Of parts with the same two variables the highest one decides.
                apart: dict[tuple[int, int], tuple[_Part, _Part]] = {}
                for s, t in pairs:
                    key = lower[s.link].index, upper[t.link].index
                    if key not in apart or s.height > apart[key][0].height:
                        apart[key] = s, t
                for s, t in apart.values():
                    self._model.add(lower[s.link] + s.height <= upper[t.link]).only_enforce_if(literal)

    def _add_geometry(self, parts: list[list[_Part]]) -> None:
        """Rectangles may not overlap."""
        shown = [(bottoms[part.link], part) for bottoms, own in zip(self._bottoms, parts, strict=True) for part in own]
        self._model.add_no_overlap_2d(
            [self._model.new_fixed_size_interval_var(part.start, part.stop - part.start, "") for _, part in shown],
            [self._model.new_fixed_size_interval_var(bottom, part.height, "") for bottom, part in shown],
        )

    def search(self, time_limit_seconds: float, seed: int) -> tuple[_Placement, bool]:
        """The best packing within the limit of work, and whether it is proven minimal."""
        from ortools.sat.python import cp_model

        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.linearization_level = 0  # no linear programs, whose floats machines could round apart
        solver.parameters.max_deterministic_time = time_limit_seconds * _WORK_PER_SECOND
        solver.parameters.max_time_in_seconds = _BACKSTOP_SECONDS + _BACKSTOP_FACTOR * time_limit_seconds
        solver.parameters.catch_sigint_signal = False  # it is for the process, not for the search
        status = solver.solve(self._model)
        if status != cp_model.OPTIMAL and solver.wall_time >= solver.parameters.max_time_in_seconds:
            raise ArenaTimeoutError(
                f"arena planner: stopped after {solver.wall_time:.0f} s of {time_limit_seconds:.0f} s of work; "
                "a plan made now would depend on this machine's load: run it again when the machine is idle"
            )
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return self._best, False
        ends = tuple(
            tuple((i, k) in self._ends and solver.boolean_value(self._ends[i, k]) for k in range(len(chain)))
            for i, chain in enumerate(self._chains)
        )
        lowest = [min(solver.value(bottom) for bottom in bottoms) for bottoms in self._bottoms]
        settled = _Silhouettes(self._chains, ends).settled(lowest)
        return settled, status == cp_model.OPTIMAL or settled.height == self._bound
