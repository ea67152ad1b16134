"""Where the sample lies: planned into SRAM, or read from memory that is mapped anyway; the bits are the same, the figures say which."""

from __future__ import annotations

import functools
import shutil

import pytest

from episode.conftest import MakeTarget, digits
from mcutrain.episode.compare import first_difference
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.methods.training_graph import INPUT

SAMPLE_BYTES = 8 * 8
needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)


@functools.cache
def placed(where: str) -> PreparedEpisode:
    return prepare(digits(input=where))


def test_an_episode_plans_its_sample_into_sram_unless_it_says_otherwise() -> None:
    assert digits().input == "sram"
    sram, external = placed("sram").plan, placed("external").plan
    assert (sram.input_placement, external.input_placement) == ("sram", "external")
    assert sram.input_bytes == external.input_bytes == SAMPLE_BYTES
    assert INPUT in {block.name for block in sram.blocks}
    assert INPUT not in {block.name for block in external.blocks}
    assert sram.crc32 != external.crc32


@pytest.mark.parametrize("name", ["golden", "host", pytest.param("m4-256k", marks=[needs_qemu, pytest.mark.qemu])])
def test_the_same_bits_come_of_a_sample_in_either_place(name: str, target: MakeTarget) -> None:
    lines = []
    for where in ("sram", "external"):
        episode = placed(where)
        lines.append(target(episode, name).run(episode.image(steps=20, test=10)))
    assert len(lines[0]) == len(lines[1]) > 20
    assert first_difference(*lines) is None


@pytest.mark.parametrize("where", ["sram", "external"])
def test_a_record_says_where_the_sample_lay_and_what_of_the_state_is_zero_at_reset(
    where: str, target: MakeTarget
) -> None:
    episode = placed(where)
    record, _ = run_episode(episode, target(episode, "host"), RunOptions(steps=2, test=1, golden_steps=0))
    assert (record.input_placement, record.input_bytes) == (where, SAMPLE_BYTES)
    assert record.sram.state == episode.plan.state_bytes > 0
    assert record.sram.trainable == episode.plan.trainable_bytes + episode.plan.state_bytes
    assert (INPUT in {tensor.name for tensor in record.arena_tensors}) == (where == "sram")
