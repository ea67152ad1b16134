"""One of each instruction of Armv7E-M, FPv4-SP and FPv5, assembled: the model knows each and has a price for it.

What either core has is priced on both; what only FPv5 has, on the M7. Coprocessor instructions are left out: the cores have none.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcutrain.emulators.profile import Block
from mcutrain.timing.estimate import make_engine
from mcutrain.timing.instruction import FP_FLAGS, Instruction, UnknownInstructionError, decode_block

pytestmark = pytest.mark.skipif(shutil.which("arm-none-eabi-as") is None, reason="arm-none-eabi-as is not installed")

# Operands, and the instructions that take them.
CORE = {
    "": "clrex dmb dsb isb nop nop.w sev wfe wfi yield",
    "#0": "bkpt svc",
    "#1": "dbg",
    "i": "cpsid cpsie",
    "r0": "bx blx",
    ".+8": "b b.w beq beq.w bl",
    "r0, .+8": "cbz cbnz",
    "r0, #3": "adds adds.w cmp cmp.w cmn movs mov.w movw movt mvn subs teq tst",
    "r0, .": "adr",
    "r0, r1": "adcs adcs.w ands ands.w asrs bics clz cmn cmp eors lsls lsrs mov movs muls mvns negs orrs rbit rev rev.w rev16 revsh rors"
    " rrx sbcs sxtb sxtb.w sxtb16 sxth teq tst tst.w uxtb uxtb16 uxth",
    "r0, r1, #3": "adc add addw and asrs asr.w bic eor lsls lsl.w lsrs lsr.w orn orr ror rsb sbc sub subw",
    "r0, r1, r2": "adc.w adds add.w and.w asr.w bic.w eor.w lsl.w lsr.w mul orn orr.w pkhbt qadd qadd16 qadd8 qasx qdadd qdsub qsax qsub"
    " qsub16 qsub8 ror.w rsb sadd16 sadd8 sasx sbc.w sdiv sel shadd16 shadd8 shasx shsax shsub16 shsub8 smmul smmulr smuad smuadx"
    " smulbb smulbt smultb smultt smulwb smulwt smusd smusdx ssax ssub16 ssub8 subs sub.w sxtab sxtab16 sxtah uadd16 uadd8 uasx udiv"
    " uhadd16 uhadd8 uhasx uhsax uhsub16 uhsub8 uqadd16 uqadd8 uqasx uqsax uqsub16 uqsub8 usad8 usax usub16 usub8 uxtab uxtab16 uxtah",
    "r0, r1, r2, lsl #3": "adc add and bic eor orn orr pkhbt rsb sbc sub",
    "r0, r1, r2, asr #3": "pkhtb",
    "r0, r1, r2, r3": "mla mls smlabb smlabt smlatb smlatt smlad smladx smlal smlalbb smlalbt smlaltb smlaltt smlald smlaldx smlawb smlawt"
    " smlsd smlsdx smlsld smlsldx smmla smmlar smmls smmlsr smull umaal umlal umull usada8",
    "r0, r1, #3, #4": "bfi sbfx ubfx",
    "r0, #3, #4": "bfc",
    "r0, #8, r1": "ssat ssat16 usat usat16",
    "r0, #8, r1, asr #3": "ssat usat",
    "r0, [r1]": "ldrexb ldrexh",
    "r0, [r1, #4]": "ldr ldrb ldrbt ldrex ldrh ldrht ldrsb ldrsbt ldrsh ldrsht ldrt str strb strbt strh strht strt",
    "r0, [r1, r2]": "ldr ldrb ldrh ldrsb ldrsh str strb strh",
    "r8, [r1, r2, lsl #2]": "ldr ldrb ldrh ldrsb ldrsh str strb strh",
    "r0, [r1, #-4]!": "ldr ldrb ldrh ldrsb ldrsh str strb strh",
    "r0, [r1], #4": "ldr ldrb ldrh ldrsb ldrsh str strb strh",
    "r0, [sp, #4]": "ldr str",
    "r0, [pc, #4]": "ldr ldrb.w ldrh.w ldrsb.w ldrsh.w",
    "pc, [r0]": "ldr",
    "pc, r0": "mov",
    "r0, r1, [r2, #8]": "ldrd strd strex",
    "r0, r1, [r2, #8]!": "ldrd strd",
    "r0, r1, [r2], #8": "ldrd strd",
    "r0, r1, [r2]": "strexb strexh",
    "r0!, {r1, r2}": "ldmdb ldmia.w stmdb stmia stmia.w",
    "r0, {r1, r2}": "ldmia ldmia.w stmia.w",
    "r8!, {r1, pc}": "ldmia",
    "{r0, r1}": "push pop",
    "{r4-r11}": "push pop",
    "{r8}": "push pop",
    "{r4, pc}": "pop",
    "{r4, lr}": "push",
    "[r0, #4]": "pld pli",
    "[r0, r1, lsl #1]": "pld pli",
    "[pc, r0]": "tbb",
    "[pc, r0, lsl #1]": "tbh",
    "r0, primask": "mrs",
    "r0, apsr": "mrs",
    "basepri, r0": "msr",
    "apsr_nzcvq, r0": "msr",
    "sp, #16": "add sub",
    "r0, sp, #8": "add",
    "eq": "it",
}
FPV4 = {
    "s0, s1": "vabs.f32 vcmp.f32 vcmpe.f32 vcvt.s32.f32 vcvt.u32.f32 vcvt.f32.s32 vcvt.f32.u32 vcvtr.s32.f32 vcvtb.f32.f16"
    " vcvtb.f16.f32 vcvtt.f32.f16 vcvtt.f16.f32 vmov.f32 vneg.f32 vsqrt.f32",
    "s0, #0": "vcmp.f32 vcmpe.f32",
    "s0, #1.0": "vmov.f32",
    "s0, s0, #4": "vcvt.s16.f32 vcvt.f32.u16 vcvt.s32.f32 vcvt.f32.u32",
    "s0, s1, s2": "vadd.f32 vdiv.f32 vfma.f32 vfms.f32 vfnma.f32 vfnms.f32 vmla.f32 vmls.f32 vmul.f32 vnmla.f32 vnmls.f32 vnmul.f32"
    " vsub.f32",
    "s0, r0": "vmov",
    "r0, s0": "vmov",
    "d0, r0, r1": "vmov",
    "r0, r1, d0": "vmov",
    "s0, s1, r0, r1": "vmov",
    "r0, r1, s0, s1": "vmov",
    "d0[0], r0": "vmov.32",
    "r0, d0[1]": "vmov.32",
    "r0, fpscr": "vmrs",
    "apsr_nzcv, fpscr": "vmrs",
    "fpscr, r0": "vmsr",
    "s0, [r0, #4]": "vldr vstr",
    "d0, [r0, #8]": "vldr vstr",
    "s0, [pc, #8]": "vldr",
    "r0, {s0-s3}": "vldmia vstmia",
    "r0!, {d0-d3}": "vldmia vldmdb vstmia vstmdb",
    "{s0-s3}": "vpush vpop",
    "{d8-d15}": "vpush vpop",
}
ROUNDINGS = "vrinta vrintn vrintp vrintm vrintz vrintr vrintx"
FPV5 = {
    "s0, s1, s2": "vseleq.f32 vselge.f32 vselgt.f32 vselvs.f32",
    "d0, d1": "vabs.f64 vcmp.f64 vcmpe.f64 vmov.f64 vneg.f64 vsqrt.f64 "
    + " ".join(f"{one}.f64" for one in ROUNDINGS.split()),
    "d0, #0": "vcmp.f64",
    "d0, s1": "vcvt.f64.f32 vcvt.f64.s32 vcvt.f64.u32 vcvtb.f64.f16 vcvtt.f64.f16",
    "s0, d1": "vcvt.f32.f64 vcvt.s32.f64 vcvt.u32.f64 vcvtr.s32.f64 vcvta.s32.f64 vcvtn.u32.f64 vcvtp.s32.f64 vcvtm.u32.f64"
    " vcvtb.f16.f64 vcvtt.f16.f64",
    "d0, d0, #4": "vcvt.f64.s32 vcvt.u16.f64",
    "d0, d1, d2": "vadd.f64 vdiv.f64 vfma.f64 vfms.f64 vfnma.f64 vfnms.f64 vmaxnm.f64 vminnm.f64 vmla.f64 vmls.f64 vmul.f64 vnmla.f64"
    " vnmls.f64 vnmul.f64 vseleq.f64 vselge.f64 vselgt.f64 vselvs.f64 vsub.f64",
}
# On singles these are of the M7 alone, too, but are of classes that the M4 has.
FPV5_SINGLE = {
    "s0, s1": "vcvta.s32.f32 vcvtn.u32.f32 vcvtp.s32.f32 vcvtm.u32.f32 "
    + " ".join(f"{one}.f32" for one in ROUNDINGS.split()),
    "s0, s1, s2": "vmaxnm.f32 vminnm.f32",
}


def lines(*tables: dict[str, str]) -> list[str]:
    return [f"{name} {operands}" for table in tables for operands, names in table.items() for name in names.split()]


def assembled(code: list[str], folder: Path) -> Iterator[tuple[str, Instruction]]:
    """Each line with what the model decodes it to."""
    source, binary = folder / "all.s", folder / "all.bin"
    head = [".syntax unified", ".thumb", ".cpu cortex-m7", ".fpu fpv5-d16", ".balign 4"]
    # An IT must have something under it: it is followed by a line of its own, which is not looked at.
    source.write_text(
        "\n".join([*head, *(f".balign 4; {one}; {'moveq r0, r1' if one == 'it eq' else ''}" for one in code), ""])
    )
    for command in (
        ["arm-none-eabi-as", str(source), "-o", str(folder / "all.o")],
        ["arm-none-eabi-objcopy", "-O", "binary", str(folder / "all.o"), str(binary)],
    ):
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    words = binary.read_bytes()
    assert len(words) in (4 * len(code), 4 * len(code) - 2)
    for at, line in enumerate(code):
        (decoded,) = decode_block(Block(0x1000, 1, words[4 * at : 4 * at + 4]), lambda _: "")
        yield line, decoded


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_each_instruction_of_both_cores_has_a_price(core: str, tmp_path: Path) -> None:
    engine = make_engine(core)
    prices = {
        line: engine.run([instruction], engine.start)[0] for line, instruction in assembled(lines(CORE, FPV4), tmp_path)
    }
    assert len(prices) > 350
    assert {line for line, price in prices.items() if not 1 <= price <= 17} == set()


def test_each_instruction_of_fpv5_has_a_price_on_the_m7(tmp_path: Path) -> None:
    engine = make_engine("cortex-m7")
    for line, instruction in assembled(lines(FPV5, FPV5_SINGLE), tmp_path):
        assert 1 <= engine.run([instruction], engine.start)[0] <= 30, line


def test_what_only_fpv5_has_is_unknown_to_the_m4(tmp_path: Path) -> None:
    engine = make_engine("cortex-m4")
    for line, instruction in assembled(lines(FPV5), tmp_path):
        with pytest.raises(UnknownInstructionError, match=line.split(".")[0][:4]):
            engine.run([instruction], engine.start)


def test_the_status_of_the_fpu_is_written_from_a_register_and_read_into_one(tmp_path: Path) -> None:
    (_, to_status), (_, from_status) = assembled(["vmsr fpscr, r3", "vmrs r3, fpscr"], tmp_path)
    assert (to_status.reads, to_status.writes) == ((3,), (FP_FLAGS,))
    assert (from_status.reads, from_status.writes) == ((FP_FLAGS,), (3,))
