"""The profile plugin's counts, against loops of known length and against QEMU that executes one instruction at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.helpers import PERCEPTRON, FirmwareBuilder, one_inference, perceptron_image
from mcutrain.emulators.profile import Profile, read_profile
from mcutrain.emulators.qemu import QemuRunner, qemu_version
from mcutrain.errors import MismatchError

pytestmark = pytest.mark.qemu

# Two marks in a row: mct_op_0000 runs 2 instructions, a loop of 2 a round, and its return; then naked_infer's own code, which
# belongs to it too, one more up to the call of mct_op_0001.
ROUNDS = 1_000_000
LOOP = f"""
#include "mcutrain/status.h"
mct_status naked_infer(void);
#define MINIMAL_INFER naked_infer
#include "minimal.h"
static void misbehave(void) {{}}
__attribute__((naked, noipa)) void mct_op_0000(void)
{{
    __asm__ volatile("movw r0, #{ROUNDS & 0xFFFF}\\n\\tmovt r0, #{ROUNDS >> 16}\\n"
                     "1:\\n\\tsubs r0, #1\\n\\tbne 1b\\n\\tbx lr");
}}
__attribute__((naked, noipa)) void mct_op_0001(void) {{ __asm__ volatile("nop\\n\\tnop\\n\\tbx lr"); }}
__attribute__((naked, noipa)) mct_status naked_infer(void)
{{
    __asm__ volatile("push {{r4, lr}}\\n\\tbl mct_op_0000\\n\\tbl mct_op_0001\\n\\tbl mct_op_0001\\n\\tmovs r0, #0\\n\\tpop {{r4, pc}}");
}}
"""


class SingleStepRunner(QemuRunner):
    """QEMU that translates one instruction at a time: it counts the same run in an independent way."""

    def command(self, profile: bool) -> list[str]:
        newer = int(qemu_version().split(".")[0]) >= 9  # 8.1 has both spellings, 10.0 no longer the old one
        option = ("-accel", "tcg,one-insn-per-tb=on") if newer else ("-singlestep",)
        return [*super().command(profile), *option]


def profile_of(runner: QemuRunner) -> Profile:
    result = runner.run(
        perceptron_image(20) if "perceptron" in runner.firmware.elf.parts else one_inference(), profile=True
    )
    assert result.profile is not None
    return result.profile


@pytest.mark.parametrize("board", ["m4-256k", "m7-256k"])
def test_a_loop_of_known_length_is_counted_exactly(board: str, firmware: FirmwareBuilder) -> None:
    profile = profile_of(QemuRunner(firmware(LOOP, board)))
    assert profile.instructions_per_mark["mct_op_0000"] == (1, 2 + 2 * ROUNDS + 1 + 1)
    # Both calls of mct_op_0001, which come with no other mark between: 3 instructions, the next call, 3 more, and the way
    # back (movs, pop, and the caller's) up to mct_mark_infer_end.
    visits, instructions = profile.instructions_per_mark["mct_op_0001"]
    assert visits == 1
    assert 3 + 1 + 3 + 2 <= instructions < 20


def test_the_edges_of_a_loop_are_its_rounds(firmware: FirmwareBuilder) -> None:
    built = firmware(LOOP, "m4-256k")
    profile = profile_of(QemuRunner(built))
    start = built.facts.symbols["mct_op_0000"]
    back = [
        edge for edge in profile.edges if edge.mark == "mct_op_0000" and edge.block.pc == edge.to_block.pc == start + 8
    ]
    # The first round is in the block that begins at the function, so the block that repeats runs once less.
    assert [(edge.count, edge.block.instructions, edge.block.code.hex()) for edge in back] == [
        (ROUNDS - 2, 2, "0138fdd1")
    ]


def test_counts_are_the_same_when_every_instruction_is_a_block_of_its_own(firmware: FirmwareBuilder) -> None:
    built = firmware(PERCEPTRON, "m4-256k")
    image = perceptron_image(20)
    by_blocks = QemuRunner(built).run(image, profile=True).profile
    by_instructions = SingleStepRunner(built).run(image, profile=True).profile
    assert by_blocks is not None
    assert by_instructions is not None
    assert all(run.block.instructions == 1 for run in by_instructions.blocks)
    assert by_blocks.instructions == by_instructions.instructions
    assert by_blocks.instructions_per_mark == by_instructions.instructions_per_mark


def test_a_profile_is_the_same_every_time(firmware: FirmwareBuilder) -> None:
    runner = QemuRunner(firmware(PERCEPTRON, "m7-256k"))
    image = perceptron_image(20)
    first, second = (runner.run(image, profile=True).profile for _ in range(2))
    assert first == second


def test_operators_are_visited_once_a_step_and_blocks_flow_into_each_other(firmware: FirmwareBuilder) -> None:
    profile = QemuRunner(firmware(PERCEPTRON, "m4-256k")).run(perceptron_image(20), profile=True).profile
    assert profile is not None
    visits = {name: count.visits for name, count in profile.instructions_per_mark.items()}
    evaluations = 2 * 40
    assert visits == {
        "reset": 0,
        "mct_op_0000": 20 + evaluations,
        "mct_op_0001": 20,
        "mct_op_0002": 20,
        "mct_mark_step_begin": 20,
        "mct_mark_step_end": 20,
        "mct_mark_infer_begin": evaluations,
        "mct_mark_infer_end": evaluations,
    }
    into: dict[tuple[str, int], int] = {}
    for edge in profile.edges:
        into[edge.to_mark, edge.to_block.pc] = into.get((edge.to_mark, edge.to_block.pc), 0) + edge.count
    ran: dict[tuple[str, int], int] = {}
    for run in profile.blocks:
        ran[run.mark, run.block.pc] = ran.get((run.mark, run.block.pc), 0) + run.count
    differing = {key: (count, into.get(key, 0)) for key, count in ran.items() if count != into.get(key, 0)}
    assert list(differing.values()) == [(1, 0)]  # only the first block is entered from nowhere


def test_a_profile_does_not_change_what_runs(firmware: FirmwareBuilder) -> None:
    runner = QemuRunner(firmware(PERCEPTRON, "m4-256k"))
    assert runner.run(perceptron_image(20), profile=True).lines == runner.run(perceptron_image(20)).lines


@pytest.mark.parametrize(
    "damage", ["", "mcutrain-profile 1\nmark 0 0 reset 0\n", "mcutrain-profile 1\nnonsense\nend 0\n"]
)
def test_an_incomplete_profile_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.txt"
    path.write_text(damage, encoding="ascii")
    with pytest.raises(MismatchError, match="profile"):
        read_profile(path)
    with pytest.raises(MismatchError, match="no profile"):
        read_profile(tmp_path / "absent.txt")


PROFILE = ("mark 0 0 reset 1", "block 0 40 2 00bf00bf", "run 0 0 3", "edge 0 0 0 0 2", "fills 0 0 1 0 0", "end 6")


@pytest.mark.parametrize("row", range(len(PROFILE)))
@pytest.mark.parametrize("value", ["", "x", "-1", "99", "1.5", "0x1", "\u00e9"])
def test_a_profile_with_any_other_value_is_refused_or_read(row: int, value: str, tmp_path: Path) -> None:
    """Names and addresses may be others; everything else is a number of its own, or one that does not add up."""
    path = tmp_path / "profile.txt"
    path.write_text("\n".join(["mcutrain-profile 1", *PROFILE]) + "\n")
    assert read_profile(path).instructions == 6
    words = PROFILE[row].split(" ")
    for at in range(1, len(words)):
        changed = " ".join([*words[:at], value, *words[at + 1 :]])
        path.write_text(
            "\n".join(["mcutrain-profile 1", *PROFILE[:row], changed, *PROFILE[row + 1 :]]) + "\n", encoding="utf-8"
        )
        try:
            profile = read_profile(path)
        except MismatchError:
            continue
        assert profile.instructions == 6
