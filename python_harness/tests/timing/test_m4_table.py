"""Each row of the Cortex-M4's table: loops whose cycles are known from Arm's manual, added up by hand."""

from __future__ import annotations

import pytest

from emulators.helpers import FirmwareBuilder
from timing.loops import Loops, run_loops

pytestmark = pytest.mark.qemu

LOOP = 1 + 1 + 2  # subs, bne and its refill

# What a round takes beside subs and bne.
ROWS: dict[str, tuple[str, int]] = {
    "nothing": ("nop", 1),
    "arithmetic": ("adds r4, r5; sub.w r4, r5, #9; and r4, r5; adc r4, r5; cmp r4, r5; mov r6, r7; movt r6, #9", 7),
    "shifts": ("lsls r4, r5, #3; ror.w r4, r5, r3; add.w r4, r5, r6, lsl #2; rrx r4, r5", 4),
    "bytes and bit fields": ("ubfx r4, r5, #3, #4; bfi r4, r5, #2, #2; clz r4, r5; rev r4, r5; sxtb r4, r5; uxtab r4, r5, r6", 6),
    "parallel": ("sadd16 r4, r5, r6; sel r4, r5, r6; ssat r4, #8, r5; pkhbt r4, r5, r6, lsl #16; sxtb16 r4, r5; qadd r4, r5, r6", 6),
    "multiply": ("mul r4, r5, r6; mla r4, r5, r6, r4; mls r4, r5, r6, r4; smlad r4, r5, r6, r4; smmlar r4, r5, r6, r4", 5),
    "multiply long": ("smull r4, r5, r6, r7; umlal r4, r5, r6, r7; smlald r4, r5, r6, r7; umaal r4, r5, r6, r7", 4),
    "divide": ("sdiv r5, r3, r4; udiv r5, r3, r4", 14),
    "load": ("ldr r5, [r0]; nop", 2 + 1),
    "loads in a row": ("ldr r5, [r0]; ldrb r6, [r1, #1]; ldrsh r7, [r2, r3]; nop", 2 + 1 + 1 + 1),
    "load of a loaded address": ("str r0, [r0]; ldr r5, [r0]; ldr r6, [r5]; nop", 1 + 2 + 2 + 1),
    "literal": ("ldr r5, =0x12345678; nop", 2 + 1),
    "loads that step two bases": ("mov r5, r0; mov r6, r1; nop; ldr r7, [r5], #4; ldr r8, [r6], #4; nop", 3 + 2 + 1 + 1),
    "loads that step one base": ("mov r5, r0; nop; ldr r7, [r5], #4; ldr r8, [r5], #4; nop", 2 + 2 + 2 + 1),
    "store": ("str r5, [r0, #4]; strb r5, [r1]", 2),
    "store with an index": ("str r5, [r0, r3]; nop; strh r5, [r1, r3]; nop", 2 + 1 + 2 + 1),
    "store after a load": ("ldr r5, [r0]; str r5, [r1]; nop", 2 + 1 + 1),
    "indexed store after a load": ("ldr r5, [r0]; str r5, [r1, r3]; nop", 2 + 1 + 1),
    "load after a store": ("str r5, [r0]; ldr r6, [r1]; nop", 1 + 2 + 1),
    "double": ("ldrd r6, r7, [r0]; strd r6, r7, [r1]; nop", 3 + 3 + 1),
    "multiple": ("ldm r0, {r4, r5, r6, r7}; stm r1, {r4, r5, r6}; nop", 5 + 4 + 1),
    "stack": ("push {r4, r5, r6}; pop {r4, r5, r6}; nop", 4 + 4 + 1),
    "no overlap beside a multiple": ("ldr r8, [r0]; ldm r1, {r4, r5}; ldr r9, [r0]; nop", 2 + 3 + 2 + 1),
    "address just computed": ("add r5, r0, #4; ldr r6, [r5]; nop", 1 + 1 + 2 + 1),
    "address computed before": ("add r5, r0, #4; nop; ldr r6, [r5]; nop", 1 + 1 + 2 + 1),
    "store address just computed": ("add r5, r0, #4; str r6, [r5]; nop", 1 + 1 + 1 + 1),
    "data just computed": ("add r5, r0, #4; str r5, [r0]; nop", 1 + 1 + 1),
    "folded if-then": ("cmp r4, r5; ite eq; moveq r6, r7; movne r6, r8", 1 + 0 + 2),
    "if-then": ("cmp.w r4, r5; it eq; moveq r6, r7", 1 + 1 + 1),
    "branch not taken": ("cmp r3, #0; beq.w 1b; nop", 3),
    "branch taken": ("cmp r3, #0; bne.w 2f; nop; 2: nop", 1 + 1 + 2 + 1),
    "compare and branch": ("cbnz r3, 2f; nop; 2: cbz r3, 3f; nop; 3: nop", 1 + 2 + 1 + 1 + 1),
    "call and return": ("bl 2f; b.w 3f; 2: bx lr; 3: nop", 3 * 3 + 1),
    "return through the stack": ("bl 2f; b.w 3f; 2: push {lr}; pop {pc}; 3: nop", 3 + 2 + (1 + 1 + 2) + 3 + 1),
    "load of pc": ("adr r5, 2f; adds r5, #1; str r5, [r0]; ldr.w pc, [r0]; .balign 4; 2: nop", 1 + 1 + 1 + (2 + 2) + 1),
    "table branch": ("movs r5, #0; nop; tbb [pc, r5]; 3: .byte (2f - 3b) / 2, 0; 2: nop", 2 + (2 + 2) + 1),
    "floating point": ("vadd.f32 s1, s2, s3; vmul.f32 s4, s5, s6; vneg.f32 s7, s8; vabs.f32 s7, s8; vcvt.s32.f32 s9, s2", 5),
    "floating point used at once": ("vadd.f32 s1, s2, s3; vmul.f32 s4, s1, s6; nop", 1 + 1 + 1 + 1),
    "compare used at once": ("vcmp.f32 s1, s2; vmrs apsr_nzcv, fpscr; nop", 1 + 1 + 1 + 1),
    "compare used later": ("vcmp.f32 s1, s2; nop; vmrs apsr_nzcv, fpscr", 3),
    "fused multiply-add": ("vfma.f32 s1, s2, s3; vfma.f32 s4, s2, s3; vmla.f32 s5, s2, s3", 9),
    "fused chain on the addend": ("vfma.f32 s1, s2, s3; vfma.f32 s1, s4, s3", 6),
    "product as an addend": ("vmul.f32 s1, s2, s3; vfma.f32 s1, s4, s3", 1 + 3),
    "floating point divide": ("vdiv.f32 s1, s2, s3; vsqrt.f32 s4, s5; vadd.f32 s6, s7, s8", 14 + 14 + 1),
    "integers beside a divide": ("vdiv.f32 s1, s2, s3; nop; nop; nop; vadd.f32 s6, s7, s8", 14 + 1),
    "floating point load": ("vldr s1, [r0]; vldr s2, [r0, #4]; vstr s1, [r1]; vldr d2, [r0]; vstr d2, [r1]", 2 + 2 + 2 + 3 + 3),
    "floating point multiple": ("vldmia r0, {s1-s5}; vstmia r1, {d4-d5}; vpush {d8}; vpop {d8}", 6 + 5 + 3 + 3),
    "floating point moves": ("vmov s1, r4; vmov r5, s2; vmov.f32 s3, s4; vmov.f32 s5, #2.0; vmov d3, r4, r5; vmov r6, r7, d4", 4 + 2 + 2),
    "system": ("mrs r5, primask; cpsie i; dsb; isb", 2 + 2 + 1 + 3),
    "preload and barrier": ("dmb; pld [r0]; nop", 3),
    "exclusive": ("ldrex r5, [r0]; strex r6, r5, [r1]; clrex; nop", 2 + 1 + 1 + 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def loops(firmware: FirmwareBuilder) -> Loops:
    return run_loops({name: body for name, (body, _) in ROWS.items()}, "m4-256k", firmware)


@pytest.mark.parametrize("name", ROWS)
def test_a_loop_takes_the_cycles_of_the_manual(name: str, loops: Loops) -> None:
    # What leads into the loop and out of it is less than a tenth of a cycle a round.
    assert loops.cycles(name) == pytest.approx(LOOP + ROWS[name][1], abs=0.2)
