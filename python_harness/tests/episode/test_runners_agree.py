"""Golden, the host library and both cores on QEMU: the same bits at every step of training, in every mode."""

from __future__ import annotations

import shutil

import pytest

from episode.conftest import MakeTarget, Prepare
from mcutrain.boards import load_board
from mcutrain.emulators.lines import Line
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.episode.compare import compared_lines, first_difference
from mcutrain.episode.run import run_digest
from mcutrain.episode.targets import fit_on_board, planned_static_bytes

STEPS, TESTED = 30, 10
BOARDS = ("m4-256k", "m7-256k")

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)


def steps_of(lines: tuple[Line, ...]) -> list[Line]:
    return [line for line in lines if line.kind == "step"]


@needs_qemu
@pytest.mark.qemu
@pytest.mark.train
@pytest.mark.parametrize("weights", ["master16", "stochastic8", "nearest8"])
@pytest.mark.parametrize("errors", ["b16", "f32"])
def test_every_runner_takes_the_same_steps(errors: str, weights: str, prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared(errors, weights)
    image = episode.image(steps=STEPS, test=TESTED)
    golden = target(episode, "golden").run(image)
    assert len(steps_of(golden)) == STEPS
    assert len({line.text("digest") for line in steps_of(golden)}) == STEPS, "every step changes the trainable state"
    for name in ("host", *BOARDS):
        lines = target(episode, name).run(image)
        assert first_difference(golden, lines) is None, name
        assert len(compared_lines(lines)) == STEPS + 2, name
        assert run_digest(steps_of(lines)) == run_digest(steps_of(golden))


@needs_qemu
@pytest.mark.qemu
@pytest.mark.parametrize("board", BOARDS)
def test_the_planned_static_memory_is_the_measured_one_to_the_byte(
    board: str, prepared: Prepare, target: MakeTarget
) -> None:
    episode = prepared("b16", "master16")
    made = target(episode, board)
    boot, *_, end = made.run(episode.image(steps=2, test=1))
    assert isinstance(made.runner, QemuRunner)
    built = made.runner.firmware
    assert boot.integer("data") + boot.integer("bss") == built.data_bytes + built.bss_bytes
    assert built.data_bytes + built.bss_bytes == planned_static_bytes(episode.plan)
    assert boot.integer("arena") == episode.plan.arena_bytes
    assert boot.integer("trainable") == episode.plan.persistent_bytes
    assert 0 < end.integer("stack_peak") <= boot.integer("stack")
    planned = fit_on_board(episode.plan, load_board(board))
    assert planned.sram_peak_bytes == built.data_bytes + built.bss_bytes + boot.integer("stack")


def test_the_three_roundings_and_both_error_modes_really_differ(prepared: Prepare, target: MakeTarget) -> None:
    """Else the tests above would compare one thing six times."""
    digests = set()
    for errors in ("b16", "f32"):
        for weights in ("master16", "stochastic8", "nearest8"):
            episode = prepared(errors, weights)
            digests.add(run_digest(steps_of(target(episode, "golden").run(episode.image(steps=10, test=0)))))
    assert len(digests) == 6


def test_the_same_image_gives_the_same_lines_again(prepared: Prepare, target: MakeTarget) -> None:
    episode = prepared("b16", "stochastic8")
    image = episode.image(steps=5, test=5)
    host = target(episode, "host")
    first, second = (compared_lines(host.run(image)) for _ in range(2))
    assert [line.values for line in first] == [line.values for line in second]
