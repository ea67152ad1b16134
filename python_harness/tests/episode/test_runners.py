"""The table of runners: what a name means, what each place has, and that one entry is all an emulator takes."""

from __future__ import annotations

import shutil

import pytest

from episode.conftest import MakeTarget, Prepare
from mcutrain.boards import board_names, load_board
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.emulators.table import EMULATORS, Emulator
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.runners import REFERENCE, find_runner, key_of, make_target, runner_names
from mcutrain.errors import MismatchError, UsageError

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)
SHORT = RunOptions(steps=3, test=2, golden_steps=3)


def test_a_board_alone_is_short_for_the_board_on_its_emulator() -> None:
    short, long = find_runner("m4-256k"), find_runner("m4-256k@qemu")
    assert (short.key, long.key) == ("m4-256k", "m4-256k")
    assert short.board == long.board == load_board("m4-256k")
    assert short.emulator is long.emulator is EMULATORS["qemu"]


def test_every_listed_name_is_a_runner_and_the_key_of_every_name_is_listed() -> None:
    names = runner_names()
    assert {"golden", "host", "m4-256k", "m7-1m@qemu"} <= set(names)
    assert len(names) == len(set(names)) == 2 + len(board_names()) * (1 + len(EMULATORS))
    assert all(find_runner(name).key in names for name in names)


@pytest.mark.parametrize(
    "name", ["", "m5", "m4-256k@", "@qemu", "m4-256k@gdb", "host@qemu", "golden@qemu", "m4-256k@qemu@qemu", "M4-256K"]
)
def test_an_unknown_name_is_refused_in_one_line_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        find_runner(name)
    said = str(refusal.value)
    assert said.startswith(f"unknown runner {name!r}: give one of golden, host, ")
    assert "m4-256k@qemu" in said and "\n" not in said


@pytest.mark.parametrize("name", ["golden", "host"])
def test_what_counts_nothing_says_who_does(name: str, prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "nearest8")
    with pytest.raises(UsageError, match=f"{name} counts no instructions: give one that does: .*, m4-256k@qemu"):
        find_runner(name).counting()
    with pytest.raises(UsageError, match=f"{name} counts no instructions"):
        target(episode, name).profile(episode.image(steps=1, test=0))


def test_the_key_of_a_record_is_the_runner_that_made_it() -> None:
    assert [key_of("host", "host"), key_of("golden", "golden"), key_of("m7-256k", "qemu")] == [
        "host",
        "golden",
        "m7-256k",
    ]
    assert key_of("somebody's board", "qemu") == "somebody's board"


def test_the_host_has_neither_counts_nor_limits(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "nearest8")
    record, divergence = run_episode(episode, target(episode, "host"), SHORT)
    assert divergence is None and record.matches_golden is True and record.golden_steps == 3
    assert (record.board, record.runner) == ("host", "host")
    assert record.instructions_per_step is None and record.sram_limit_bytes == 0 and record.sram.stack_peak == 0
    assert record.sram_peak_bytes == record.sram_planned_bytes > record.sram.arena


def test_golden_runs_an_episode_too_but_is_not_held_against_itself(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "nearest8")
    golden, _ = run_episode(episode, target(episode, REFERENCE), SHORT)
    host, _ = run_episode(episode, target(episode, "host"), SHORT)
    assert (golden.matches_golden, golden.golden_steps) == (None, 0)
    assert (golden.digest, golden.accuracy_after) == (host.digest, host.accuracy_after)


def test_training_that_diverges_ends_in_golden_as_it_does_elsewhere(prepared: Prepare) -> None:
    episode = prepared("f32", "nearest8")
    wild = type(episode)(episode.definition.changed({"learning_rate": 1e38}), episode.graph, episode.plan, episode.data)
    with pytest.raises(MismatchError, match=r"status 2 \(not finite: training diverged\)"):
        run_episode(wild, make_target(wild.plan, REFERENCE), RunOptions(steps=20, test=1))


class OtherEmulator(QemuRunner):
    """An adapter that another emulator would bring."""

    name = "other"


@needs_qemu
@pytest.mark.qemu
def test_a_new_emulator_is_one_entry_of_the_table(
    prepared: Prepare, target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EMULATORS, "other", Emulator(OtherEmulator, profiles=False))
    assert find_runner("m4-256k@other").key == "m4-256k@other" == key_of("m4-256k", "other")
    episode = prepared("b16", "nearest8")
    record, divergence = run_episode(episode, target(episode, "m4-256k@other"), SHORT)
    assert divergence is None and (record.board, record.runner, record.emulator) == ("m4-256k", "other", "other")
    assert record.instructions_per_step is None  # it does not count, so nobody asks it to
    assert record.sram_limit_bytes == 2**18 and 0 < record.sram.stack_peak <= record.sram.stack_reserve
    counted, _ = run_episode(episode, target(episode, "m4-256k@qemu"), SHORT)
    assert counted.instructions_per_step is not None and counted.digest == record.digest
