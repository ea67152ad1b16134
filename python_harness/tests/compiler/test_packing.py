"""Silhouettes: what a chain takes under either alignment, where it fits, and that sinking never makes a packing higher."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcutrain.compiler.packing import (
    Chain,
    Ends,
    Link,
    _best_heuristic,
    _link_bottoms,
    _Model,
    _silhouette,
    _Silhouettes,
)


@st.composite
def formed_chains(draw: st.DrawFn) -> tuple[list[Chain], Ends]:
    """Chains of up to three links, and a form for each."""
    chains: list[Chain] = []
    for _ in range(draw(st.integers(2, 5))):
        start = draw(st.integers(0, 4))
        links = [Link(start, start + draw(st.integers(2, 3)), draw(st.integers(1, 4)))]
        for _ in range(draw(st.integers(0, 2))):
            start = links[-1].stop - 1
            links.append(Link(start, start + draw(st.integers(2, 3)), draw(st.integers(1, 4)), draw(st.booleans())))
        chains.append(links)
    return chains, tuple(tuple(link.may_end and draw(st.booleans()) for link in chain) for chain in chains)


# The first chain lies on the ground late, and hangs above the others before: ordered by position it would sink through them.
HANGING: tuple[list[Chain], Ends] = (
    [[Link(4, 7, 1), Link(6, 8, 4, may_end=True)], [Link(3, 5, 2)], [Link(3, 5, 3)]],
    ((True, True), (False,), (False,)),
)


def taken(chain: Chain, ends: tuple[bool, ...], position: int) -> set[tuple[int, int]]:
    """(operator, unit of memory) of all that the links of a chain cover."""
    links = zip(chain, _link_bottoms(chain, ends), strict=True)
    return {(op, position + b + unit) for x, b in links for op in range(x.start, x.stop) for unit in range(x.height)}


@settings(max_examples=200, deadline=None)
@given(formed=formed_chains(), data=st.data())
def test_first_fit_takes_the_lowest_place_that_is_free(formed: tuple[list[Chain], Ends], data: st.DataObject) -> None:
    chains, forms = formed
    order = data.draw(st.permutations(range(len(chains))))
    positions = _Silhouettes(chains, forms).place(order, "first-fit")
    full: set[tuple[int, int]] = set()
    for item in order:
        lowest = next(at for at in range(100) if full.isdisjoint(taken(chains[item], forms[item], at)))
        assert positions[item] == lowest
        full |= taken(chains[item], forms[item], lowest)


@settings(max_examples=150, deadline=None)
@given(formed=formed_chains())
def test_the_models_of_the_solver_agree_on_what_is_minimal(formed: tuple[list[Chain], Ends]) -> None:
    chains, _ = formed
    best, _ = _best_heuristic(chains, 0)
    found = [
        _Model(chains, 0, best, order=order, geometry=not order).search(time_limit_seconds=5.0, seed=0)
        for order in (True, False)
    ]
    assert all(optimal for _, optimal in found)
    assert found[0][0].height == found[1][0].height


@settings(max_examples=200, deadline=None)
@given(formed=formed_chains(), data=st.data())
def test_sinking_never_makes_a_packing_higher(formed: tuple[list[Chain], Ends], data: st.DataObject) -> None:
    silhouettes = _Silhouettes(*formed)
    positions = silhouettes.place(data.draw(st.permutations(range(len(formed[0])))), "first-fit")
    height = max(position + own for position, own in zip(positions, silhouettes.heights, strict=True))
    sunk = silhouettes.settled(positions)
    assert sunk.height <= height
    assert sum(sunk.positions) <= sum(positions)


def test_a_chain_that_hangs_above_others_sinks_after_them() -> None:
    silhouettes = _Silhouettes(*HANGING)
    assert silhouettes.settled([2, 0, 2]).height == 6


@settings(max_examples=200, deadline=None)
@given(formed=formed_chains())
@example(formed=HANGING)
def test_a_silhouette_holds_every_link_while_it_lives_and_nothing_else(formed: tuple[list[Chain], Ends]) -> None:
    for chain, ends in zip(*formed, strict=True):
        bottoms = _link_bottoms(chain, ends)
        parts = _silhouette(chain, ends)
        shown = {(op, unit) for p in parts for op in range(p.start, p.stop) for unit in range(p.bottom, p.top)}
        links = list(zip(chain, bottoms, strict=True))
        assert shown == taken(chain, ends, 0)
        assert min(bottoms) == 0
        for (before, low), (link, bottom), end in zip(links, links[1:], ends[1:], strict=False):
            assert (low + before.height == bottom + link.height) if end else low == bottom
