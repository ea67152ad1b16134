"""What each class of the Cortex-M7's table issues with, and for how long: three loops for an instruction of each.

In the loops, X stands for the instruction; its operands do not depend on each other:

    beside:  X; nop            together: 2 cycles with subs and bne, apart: 3
    younger: nop; X; nop; nop  X in the younger slot: 3, else 4
    twice:   X; X; nop; nop    together: 3, else 4
"""

from __future__ import annotations

import pytest

from emulators.helpers import FirmwareBuilder
from timing.loops import Loops, run_loops

pytestmark = pytest.mark.qemu

Cycles = tuple[int, int, int]

WITH_ANY: Cycles = (2, 3, 3)
WITH_OTHERS: Cycles = (2, 3, 4)  # not with another of its unit
OLDER_SLOT: Cycles = (2, 4, 4)


def alone(cycles: int = 1) -> Cycles:
    """It has the pipeline for itself."""
    return cycles + 2, 1 + cycles + 2, 2 * cycles + 2


def stalling(cycles: int) -> Cycles:
    """Nothing issues until it is done, but one instruction beside it."""
    return cycles + 1, cycles + 2, 2 * cycles + 2


INSTRUCTIONS: dict[str, Cycles] = {
    "add.w r4, r5, r6": WITH_ANY,
    "mov.w r4, r5": WITH_ANY,
    "orr.w r4, r5, r6": WITH_ANY,
    "adc.w r4, r5, r6": WITH_ANY,
    "cmp.w r5, r6": WITH_ANY,
    "movt r4, #9": WITH_OTHERS,  # it keeps half of what the one before wrote
    "lsl.w r4, r5, #3": WITH_ANY,
    "rrx r4, r5": WITH_OTHERS,
    "and.w r4, r5, r6, lsl #2": WITH_OTHERS,
    "ubfx r4, r5, #1, #3": OLDER_SLOT,
    "bfi r4, r5, #1, #3": OLDER_SLOT,
    "rev.w r4, r5": OLDER_SLOT,
    "clz r4, r5": OLDER_SLOT,
    "uxtb.w r4, r5": OLDER_SLOT,
    "sxtab r4, r5, r6": OLDER_SLOT,
    "pkhbt r4, r5, r6": OLDER_SLOT,
    "ssat r4, #8, r5": OLDER_SLOT,
    "uadd8 r4, r5, r6": OLDER_SLOT,
    "sel r4, r5, r6": OLDER_SLOT,
    "mul r4, r5, r6": WITH_OTHERS,
    "smull r4, r7, r5, r6": WITH_OTHERS,
    "smlad r4, r5, r6, r7": WITH_OTHERS,
    "umaal r4, r7, r5, r6": WITH_OTHERS,
    "sdiv r5, r3, r4": alone(7),
    "ldr.w r4, [r0]": WITH_OTHERS,  # the same bank
    "ldrb.w r4, [r0]": WITH_OTHERS,
    "ldr.w r4, [r0, r3]": WITH_ANY,  # a bank that is not known
    "ldrd r4, r5, [r0]": alone(),
    "ldm r0, {r4, r5, r6}": alone(2),
    "str.w r4, [r0]": WITH_OTHERS,
    "str.w r4, [r0, r3]": WITH_OTHERS,
    "strex r4, r5, [r0]": WITH_OTHERS,
    "strd r4, r5, [r0]": alone(),
    "stm r0, {r4, r5, r6}": alone(2),
    "pld [r0]": WITH_OTHERS,
    "mrs r4, primask": alone(2),
    "dsb": alone(),
    "isb": alone(8),
    "vadd.f32 s1, s2, s3": WITH_OTHERS,
    "vmul.f32 s1, s2, s3": WITH_OTHERS,
    "vcvt.s32.f32 s1, s2": WITH_OTHERS,
    "vcmp.f32 s1, s2": WITH_OTHERS,
    "vselgt.f32 s1, s2, s3": WITH_OTHERS,
    "vfma.f32 s1, s2, s3": (3, 3, 6),  # each adds to the one before
    "vmla.f32 s1, s2, s3": (3, 3, 6),
    "vdiv.f32 s1, s2, s3": stalling(16),
    "vsqrt.f32 s1, s2": stalling(14),
    "vmov.f32 s1, s2": WITH_ANY,
    "vmov s1, r4": WITH_ANY,
    "vmov r4, s1": WITH_ANY,
    "vmov d1, r4, r5": alone(),
    "vmov.f32 s1, #2.0": WITH_ANY,
    "vmrs r4, fpscr": alone(),
    "vldr s1, [r0]": WITH_OTHERS,
    "vstr s1, [r0]": WITH_OTHERS,
    "vldr d1, [r0]": alone(),
    "vstr d1, [r0]": alone(),
    "vldm r0, {s1-s5}": alone(3),
    "vstm r0, {s1-s5}": alone(3),
    "vadd.f64 d1, d2, d3": WITH_OTHERS,
    "vmul.f64 d1, d2, d3": stalling(5),
    "vcvt.f32.f64 s2, d2": WITH_OTHERS,
    "vcmp.f64 d1, d2": WITH_OTHERS,
    "vselgt.f64 d1, d2, d3": WITH_OTHERS,
    "vdiv.f64 d1, d2, d3": stalling(30),
    "vsqrt.f64 d1, d2": stalling(28),
    "vmov.f64 d1, d2": WITH_ANY,
}

# Pairs of units that issue apart, and what keeps out of the shadow of a floating point multiply-accumulate: cycles of a round.
PAIRS: dict[str, int] = {
    "mul r4, r5, r6; str.w r7, [r0]; nop; nop": 4,
    "smull r4, r8, r5, r6; str.w r7, [r0]; nop; nop": 4,
    "umlal r4, r8, r5, r6; str.w r7, [r0]; nop; nop": 4,
    "add.w r4, r5, r6, lsl #2; ubfx r7, r8, #1, #2; nop; nop": 4,
    "bfi r7, r8, #1, #2; add.w r4, r5, r6, lsl #2; nop; nop": 4,
    "rev.w r7, r8; add.w r4, r5, r6, lsl #2; nop; nop": 4,
    "sxtab r7, r8, r9; add.w r4, r5, r6, lsl #2; nop; nop": 4,
    "pkhbt r7, r8, r9; add.w r4, r5, r6, lsl #2; nop; nop": 4,
    "uxtb.w r7, r8; add.w r4, r5, r6, lsl #2; nop; nop": 3,
    "vmov.f32 s1, s2; vfma.f32 s4, s5, s6; nop; nop": 4,
    "vmov r4, s2; vfma.f32 s4, s5, s6; nop; nop": 4,
    "vstr s1, [r0]; vfma.f32 s4, s5, s6; nop; nop": 4,
    "vmov.f32 s1, #2.0; vmla.f32 s4, s5, s6; nop; nop; nop; nop; nop; nop": 6,
    "vfma.f32 s4, s5, s6; nop; vmov.f32 s1, #2.0; nop; nop; nop": 4 + 1 + 1 + 1,
    "vfma.f32 s4, s5, s6; nop; vldr d1, [r0]; nop; nop": 4 + 1 + 1 + 1,
    "vfma.f32 s4, s5, s6; nop; vstr d1, [r0]; nop; nop": 4 + 1 + 1 + 1,
    "vfma.f32 s4, s5, s6; nop; vldm r0, {s1-s2}; nop; nop": 4 + 1 + 1 + 1,
    "vmla.f32 s4, s5, s6; nop; vstm r0, {s1-s2}; nop; nop": 4 + 1 + 1 + 1,
    "beq.w 1b; beq.w 1b; nop; nop": 4,
    "movs r5, #0; nop; tbb [pc, r5]; 3: .byte (2f - 3b) / 2, 0; 2: nop; nop": 1 + 2 + 1 + 1,
    "lsl.w r4, r5, #2; eor.w r6, r4, r7; nop; nop": 3,
    "orr.w r4, r5, r6; nop; mul r7, r4, r8; nop": 3,
    "orr.w r4, r5, r6; mla r7, r8, r9, r4; nop; nop": 3,
    "orr.w r4, r5, r6; str.w r4, [r0]; nop; nop": 3,
    "add.w r4, r5, r6; mul r7, r4, r8; nop; nop": 3,
    "add.w r4, r5, r6; nop; orr.w r7, r8, r4, lsl #2; nop": 3,
    "rev.w r4, r5; orr.w r6, r4, r7; nop; nop": 3,
    "rev.w r4, r5; nop; orr.w r6, r7, r4, lsl #2; nop": 4,
    "ldr.w r4, [r0]; orr.w r5, r4, r6; nop; nop": 4,
    "ldr.w r4, [r0]; mla r5, r6, r7, r4; nop; nop": 4,
    "ldr.w r4, [r0]; nop; mla r5, r6, r7, r4; nop": 3,
    "ldrb.w r4, [r0]; nop; orr.w r6, r7, r4, lsl #2; nop": 5,
    "ldrb.w r4, [r0]; nop; mul r6, r7, r4; nop": 4,
    "ldrb.w r4, [r0]; str.w r4, [r1, #4]; nop; nop": 3,
    "mul r4, r5, r6; nop; orr.w r7, r8, r4, lsl #2; nop": 5,
    "vmul.f32 s1, s2, s3; nop; vfma.f32 s1, s4, s5; nop": 5,
    "vfma.f32 s1, s2, s3; nop; vcvt.s32.f32 s4, s1; nop": 7,
    "vldr s1, [r0]; nop; vadd.f32 s2, s1, s3; nop": 3,
    "vldr s1, [r0]; vadd.f32 s2, s1, s3; nop; nop": 4,
    "vldr s1, [r0]; nop; vmul.f32 s2, s1, s3; nop": 3,
    "vldr s1, [r0]; vmul.f32 s2, s1, s3; nop; nop": 4,
    "vldr s1, [r0]; nop; vfma.f32 s1, s2, s3; nop": 5,
    "vldr s1, [r0]; vstr s1, [r1]; nop; nop": 3,
    "vmov r4, s1; nop; orr.w r5, r4, r6; nop": 3,
    "vmov r4, s1; nop; mul r5, r4, r6; nop": 3,
    "vmov r4, s1; mla r5, r6, r7, r4; nop; nop": 3,
    "vmov r4, s1; nop; orr.w r5, r6, r4, lsl #2; nop": 4,
    "vmov s1, r4; nop; vadd.f32 s2, s1, s3; nop": 5,
    "vadd.f32 s1, s2, s3; nop; vmov r4, s1; nop": 5,
    "vfma.f32 s1, s2, s3; nop; nop; nop; vstr s1, [r0]; nop": 5,
    "vmla.f32 s1, s2, s3; nop; vmul.f32 s4, s1, s5; nop": 8,
    "vmla.f32 s1, s2, s3; nop; vcvt.s32.f32 s4, s1; nop": 8,
    "vmla.f32 s1, s2, s3; nop; nop; nop; vstr s1, [r0]; nop": 6,
    "vmov.f32 s1, #2.0; nop; vcvt.s32.f32 s4, s1; nop": 3,
    "vmov.f32 s1, #2.0; vcvt.s32.f32 s4, s1; nop; nop": 4,
    "cmp.w r4, r5; vselgt.f32 s1, s2, s3; nop; nop": 4,
    "vcmp.f32 s1, s2; nop; vmrs apsr_nzcv, fpscr; nop; nop": 3 + 1 + 1 + 1,
}


def three(instruction: str) -> tuple[str, str, str]:
    return f"{instruction}; nop", f"nop; {instruction}; nop; nop", f"{instruction}; {instruction}; nop; nop"


@pytest.fixture(scope="module")
def loops(firmware: FirmwareBuilder) -> Loops:
    bodies = [body for instruction in INSTRUCTIONS for body in three(instruction)] + list(PAIRS)
    return run_loops({body: body for body in bodies}, "m7-256k", firmware)


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_an_instruction_issues_with_what_the_rules_allow(instruction: str, loops: Loops) -> None:
    measured = [loops.cycles(body) for body in three(instruction)]
    assert measured == pytest.approx(INSTRUCTIONS[instruction], abs=0.2)


@pytest.mark.parametrize("body", PAIRS)
def test_two_instructions_keep_the_distance_of_the_rules(body: str, loops: Loops) -> None:
    assert loops.cycles(body) == pytest.approx(PAIRS[body], abs=0.2)
