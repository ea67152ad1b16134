"""The memory map and the timeline say what the plan says, and stay readable at 80 and at 120 columns."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console, RenderableType

from mcutrain.compiler.arena import Block, InPlace, live_bytes, plan_arena
from mcutrain.compiler.memory_map import Region, TimelineRow, render_memory_map, render_timeline

BLOCKS = [
    Block("conv0.output", 16_384, 0, 1),
    Block("conv1.output", 8_192, 1, 3),
    Block("conv0.mask[packed]", 2_048, 0, 5),
    Block("head.error", 1_001, 4, 5),
]
TIES = [InPlace("conv0.output", "conv1.output")]
REGIONS = [
    Region("constants", "flash", 96_400),
    Region("trainable state", "sram", 31_744),
    Region("arena", "sram", 18_432),
    Region("stack reserve", "sram", 4_096),
]
LIMITS = {"flash": 1 << 20, "sram": 1 << 18}
PHASES = ["forward", "forward", "forward", "loss", "backward", "update"]


def lines(renderable: RenderableType, width: int, encoding: str = "utf-8") -> list[str]:
    """What a terminal of this width and encoding shows, without styles."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    Console(width=width, file=stream, force_terminal=False).print(renderable)
    assert isinstance(stream.buffer, io.BytesIO)
    shown = stream.buffer.getvalue().decode(encoding).splitlines()
    assert max(len(line) for line in shown) <= width
    return [line.rstrip() for line in shown]


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def timeline(names: str = "conv{}") -> tuple[list[TimelineRow], int]:
    plan = plan_arena(BLOCKS, TIES)
    live = live_bytes(BLOCKS, TIES, 6)
    rows = [TimelineRow(op, PHASES[op], names.format(op), live[op]) for op in range(6)]
    return rows, plan.size_bytes


def bar_length(line: str) -> int:
    return sum(character in "█▉▊▋▌▍▎▏#" for character in line)


@pytest.mark.parametrize("width", [80, 120])
def test_the_map_lists_each_memory_with_its_total_and_what_is_free(width: int) -> None:
    shown = [cells(line) for line in lines(render_memory_map(REGIONS, LIMITS, BLOCKS, plan_arena(BLOCKS, TIES)), width)]
    assert ["flash", "constants", "96,400", "9.2 %"] in shown
    assert ["flash", "total of 1,048,576 B, 952,176 B free", "96,400", "9.2 %"] in shown
    assert ["sram", "arena", "18,432", "7.0 %"] in shown
    assert ["sram", "total of 262,144 B, 207,872 B free", "54,272", "20.7 %"] in shown


def test_a_memory_over_its_limit_says_by_how_much() -> None:
    shown = lines(render_memory_map(REGIONS, {"flash": 1 << 20, "sram": 50_000}, [], plan_arena([])), 80)
    assert ["sram", "total of 50,000 B, over by 4,272 B", "54,272", "108.5 %"] in [cells(line) for line in shown]
    exactly = lines(render_memory_map(REGIONS, {"flash": 1 << 20, "sram": 54_272}, [], plan_arena([])), 80)
    assert ["sram", "total of 54,272 B, 0 B free", "54,272", "100.0 %"] in [cells(line) for line in exactly]


def test_a_region_of_an_unknown_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="region heap: no limit is known for memory dram"):
        render_memory_map([Region("heap", "dram", 8)], LIMITS, [], plan_arena([]))


@pytest.mark.parametrize("width", [80, 120])
def test_the_map_lists_the_blocks_of_the_arena_by_offset(width: int) -> None:
    plan = plan_arena(BLOCKS, TIES)
    shown = lines(render_memory_map(REGIONS, LIMITS, BLOCKS, plan), width)
    start = shown.index("Arena: 18,432 B, the lower bound, proven minimal (first-fit)") + 2
    rows = [cells(line) for line in shown[start:]]
    assert {row[-1] for row in rows} == {block.name for block in BLOCKS}
    offsets = [int(row[0].replace(",", "")) for row in rows]
    assert offsets == sorted(plan.offsets.values())
    offset = plan.offsets["head.error"]
    assert [f"{offset:,}", f"{offset + 1_001:,}", "1,001", "4-5", "head.error"] in rows


def test_a_plan_above_the_bound_or_without_proof_says_so() -> None:
    crossing = [Block("g0", 8, 0, 2), Block("g1", 24, 2, 3), Block("h0", 24, 0, 1), Block("h1", 8, 1, 3)]
    ties = [InPlace("g0", "g1"), InPlace("h0", "h1")]
    proven, stopped = (plan_arena(crossing, ties, time_limit_seconds=limit) for limit in (1.0, 0.0))
    assert "Arena: 48 B, 16 B above the lower bound, proven minimal (first-fit)" in lines(
        render_memory_map([], LIMITS, crossing, proven), 80
    )
    assert "Arena: 48 B, 16 B above the lower bound, not proven minimal (first-fit)" in lines(
        render_memory_map([], LIMITS, crossing, stopped), 80
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_timeline_has_one_row_per_operator_and_marks_every_peak(width: int) -> None:
    rows, arena_bytes = timeline()
    shown = lines(render_timeline(rows, arena_bytes), width)[2:]
    assert [cells(line)[:3] for line in shown] == [[str(row.op), row.phase, row.name] for row in rows]
    for row, line in zip(rows, shown, strict=True):
        assert f" {row.live_bytes:,}" in line
    assert [line.endswith("peak") for line in shown] == [True, True, False, False, False, False]


@pytest.mark.parametrize(("width", "encoding"), [(80, "utf-8"), (120, "utf-8"), (80, "ascii")])
def test_bars_are_in_proportion_to_the_arena(width: int, encoding: str) -> None:
    rows, arena_bytes = timeline()
    shown = lines(render_timeline(rows, arena_bytes), width, encoding)[2:]
    full = max(bar_length(line) for line in shown)
    assert rows[0].live_bytes == arena_bytes
    assert bar_length(shown[0]) == full >= width / 3
    for row, line in zip(rows, shown, strict=True):
        assert abs(bar_length(line) - full * row.live_bytes / arena_bytes) <= 1


def test_an_operator_with_little_alive_still_has_a_bar_and_one_with_nothing_has_none() -> None:
    rows = [TimelineRow(0, "forward", "a", 100_000), TimelineRow(1, "loss", "b", 1), TimelineRow(2, "update", "c", 0)]
    shown = lines(render_timeline(rows, 100_000), 80)[2:]
    assert [bar_length(line) > 0 for line in shown] == [True, True, False]


def test_a_timeline_of_nothing_is_a_heading_only() -> None:
    assert len(lines(render_timeline([], 0), 80)) == 2


def test_long_names_are_wrapped_and_never_cut() -> None:
    rows, arena_bytes = timeline("network.block.{}.convolution.weights.gradient.accumulated[int16]")
    shown = lines(render_timeline(rows, arena_bytes), 80)
    start = shown[1].index("Operator")
    column = "".join(line[start : start + 40].rstrip() for line in shown[2:])
    assert column == "".join(row.name for row in rows)
    assert max(bar_length(line) for line in shown) >= 8
