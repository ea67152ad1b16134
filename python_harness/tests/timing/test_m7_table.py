"""The Cortex-M7's issue rules and latencies: loops whose cycles follow from the rules by hand.

A round ends with subs and bne. These issue together, in one cycle, or subs beside the body's last instruction and bne after it.
"""

from __future__ import annotations

import pytest

from emulators.helpers import FirmwareBuilder
from timing.loops import Loops, run_loops

pytestmark = pytest.mark.qemu

# Cycles of a round, subs and bne included.
ROWS: dict[str, tuple[str, int]] = {
    "two a cycle": ("nop; nop; nop; nop", 2 + 1),
    "an odd number": ("nop; nop; nop", 1 + 2),
    "independent arithmetic": ("add r4, r5, r6; sub r7, r8, r9; orr r5, r6, r8; and r6, r8, r9", 2 + 1),
    "late results wait a cycle": ("orr r4, r5; orr r4, r6; orr r4, r7; orr r4, r8", 3 + 2),
    "early sum in the same cycle": ("add r4, r5, r6; eor r8, r4, r7; add r5, r7, r9; eor r8, r5, r7", 2 + 1),
    "constant from two halves": ("movw r4, #1; movt r4, #2", 1 + 1),
    "two shifted operands": ("add r4, r5, r6, lsl #2; add r7, r8, r9, lsl #3; nop", 2 + 1),
    "two shifted constants": ("add.w r4, r5, #0x1f00; orr.w r7, r8, #0x1fc0; nop", 2 + 1),
    "repeated bytes are no shifted constants": ("eor.w r4, r5, #0x1b1b1b1b; eor.w r7, r8, #0x1b1b1b1b", 1 + 1),
    "two plain shifts": ("lsl.w r4, r5, #3; lsr.w r7, r8, #2", 1 + 1),
    "shifted operand and bit field": ("add r4, r5, r6, lsl #2; nop; ubfx r7, r8, #1, #2; add r4, r5, r6, lsl #2; nop; nop", 4 + 1),
    "shifted operand a cycle early": ("orr r4, r5, r6; nop; add r7, r8, r4, lsl #2; nop", 1 + 1 + 1 + 1),
    "parallel arithmetic in the older slot": ("sadd16 r4, r5, r6; nop; sxtb16 r7, r8; nop", 2 + 1),
    "parallel arithmetic never pairs": ("sadd16 r4, r5, r6; sxtb16 r7, r8; pkhbt r9, r5, r6; nop", 3 + 1),
    "parallel arithmetic in the younger slot": ("nop; sadd16 r4, r5, r6; nop; nop", 1 + 1 + 1 + 1),
    "multiplies": ("mul r4, r5, r6; smlad r7, r5, r6, r7; smull r8, r9, r5, r6; nop", 3 + 1),
    "multiply beside anything": ("smlad r4, r5, r6, r4; add r7, r8, r9; smlad r10, r5, r6, r10; ldr r8, [r0]", 2 + 1),
    "sum of products": ("smlad r4, r5, r6, r4; nop; smlad r4, r7, r8, r4; nop; smlad r4, r5, r8, r4; nop", 3 + 1),
    "sum of long products": ("smlal r4, r5, r6, r7; nop; smlal r4, r5, r8, r9; nop", 2 + 1),
    "product used": ("mul r4, r5, r6; nop; orr r7, r4, r8; nop", 1 + 1 + 1 + 1),
    "product as a factor": ("mul r4, r5, r6; nop; mul r7, r4, r8; nop", 1 + 1 + 1 + 1),
    "multiply and store": ("mul r4, r5, r6; str r7, [r0]; nop", 2 + 1),
    "divide": ("sdiv r5, r3, r4; nop; nop", 7 + 1 + 1),
    "loads from two banks": ("ldr r4, [r0]; ldr r5, [r0, #4]; ldr r6, [r0, #12]; ldr r7, [r0, #8]", 2 + 1),
    "loads from one bank": ("ldr r4, [r0]; ldr r5, [r0, #8]; ldrb r6, [r1]; ldrb r7, [r1, #1]; nop", 4 + 1),
    "load used": ("ldr r4, [r0]; nop; orr r5, r4, r6; nop", 2 + 1),
    "load as a shifted operand": ("ldr r4, [r0]; nop; orr r5, r6, r4, lsl #2; nop", 1 + 1 + 1 + 1),
    "load as a factor": ("ldr r4, [r0]; nop; mul r5, r4, r6; nop", 1 + 1 + 1 + 1),
    "load as an address": ("str r0, [r0]; nop; ldr r4, [r0]; nop; ldr r5, [r4]; nop", 2 + 1 + 1 + 1),
    "byte used": ("ldrb r4, [r0]; nop; orr r5, r4, r6; nop", 1 + 1 + 1 + 1),
    "byte as an addend": ("ldrb r4, [r0]; nop; mla r5, r6, r7, r4; nop", 2 + 1),
    "address just computed": ("orr r4, r0, #4; nop; ldr r5, [r4]; nop", 1 + 1 + 1 + 1),
    "address of an early sum": ("add r4, r0, #4; nop; ldr r5, [r4]; nop", 2 + 1),
    "stepping loads": ("mov r5, r0; mov r6, r1; nop; nop; ldr r7, [r5], #4; nop; ldr r8, [r5], #4; nop", 4 + 1),
    "stores": ("str r4, [r0]; str r5, [r0, #4]; nop", 2 + 1),
    "load and store of what it loads": ("ldr r4, [r0]; str r4, [r1, #4]", 1 + 1),
    "double": ("ldrd r4, r5, [r0]; strd r4, r5, [r1]", 2 + 1),
    "multiple": ("ldm r0, {r4, r5, r6, r7, r8}; stm r1, {r4, r5, r6, r7}; nop; nop", 3 + 2 + 1 + 1),
    "alone": ("nop; push {r4, r5}; nop; pop {r4, r5}; nop; nop", 1 + 1 + 1 + 1 + 1 + 1),
    "if-then": ("cmp r4, r5; it eq; moveq r6, r7; nop", 2 + 1),
    "branch not taken": ("cmp r3, #0; beq.w 1b; nop; nop", 2 + 1),
    "branch taken and predicted": ("cmp r3, #0; bne.w 2f; nop; 2: nop; nop", 1 + 1 + 1),
    "call and return": ("nop; bl 2f; nop; b.w 3f; 2: nop; bx lr; 3: nop; nop", 1 + 1 + 1 + 1 + 1),
    "floating point": ("vadd.f32 s1, s2, s3; nop; vmul.f32 s4, s5, s6; nop", 2 + 1),
    "floating point never pairs": ("vadd.f32 s1, s2, s3; vmul.f32 s4, s5, s6; vcvt.s32.f32 s9, s2; nop", 3 + 1),
    "floating point used": ("vadd.f32 s1, s2, s3; nop; vmul.f32 s4, s1, s6; nop", 3 + 1 + 1),
    "floating point stored": ("vadd.f32 s1, s2, s3; nop; vstr s1, [r0]; nop", 2 + 1),
    "fused chain on the addend": ("vfma.f32 s1, s2, s3; nop; vfma.f32 s1, s4, s5; nop; vfma.f32 s1, s6, s5; nop", 3 + 3 + 3),
    "fused as a factor": ("vfma.f32 s1, s2, s3; nop; vmul.f32 s4, s1, s5; nop", 5 + 1 + 1),
    "independent fused": ("vfma.f32 s1, s2, s3; vfma.f32 s4, s2, s3; vfma.f32 s5, s2, s3; vfma.f32 s6, s2, s3", 4 + 1),
    "fused beside a load": ("vfma.f32 s1, s2, s3; vldr s4, [r0]; nop; nop", 1 + 1 + 1 + 1),
    "younger load after fused": ("vfma.f32 s1, s2, s3; nop; nop; vldr s4, [r0]; nop; nop", 1 + 1 + 1 + 1 + 1),
    "sum after fused": ("vfma.f32 s1, s2, s3; nop; vadd.f32 s4, s5, s6; nop", 1 + 3 + 1 + 1),
    "floating point divide": ("vdiv.f32 s1, s2, s3; nop; vsqrt.f32 s4, s5; nop", 16 + 14 + 1),
    "floating point loads": ("vldr s1, [r0]; vldr s2, [r0, #4]; vadd.f32 s3, s1, s2; nop", 2 + 1),
    "doubles": ("vldr d1, [r0]; vstr d1, [r1]; vldm r0, {s4-s7}; nop; nop", 1 + 1 + 2 + 1 + 1),
    "double arithmetic": ("vadd.f64 d1, d2, d3; nop; vmul.f64 d4, d2, d3; nop", 1 + 5 + 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def loops(firmware: FirmwareBuilder) -> Loops:
    return run_loops({name: body for name, (body, _) in ROWS.items()}, "m7-256k", firmware)


@pytest.mark.parametrize("name", ROWS)
def test_a_loop_takes_the_cycles_of_the_rules(name: str, loops: Loops) -> None:
    # What leads into the loop and out of it, with one misprediction, is less than a tenth of a cycle a round.
    assert loops.cycles(name) == pytest.approx(ROWS[name][1], abs=0.2)
