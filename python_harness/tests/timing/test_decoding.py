"""What the engines are told of instructions whose operands capstone's own lists get wrong, or that depend on their neighbours."""

from __future__ import annotations

import pytest

from mcutrain.emulators.profile import Block
from mcutrain.timing.instruction import FLAGS, LR, PC, SP, Instruction, UnknownInstructionError, decode_block
from mcutrain.timing.tables import instruction_classes, m4_table, m7_table


def decode(code: str, instructions: int = 1) -> tuple[Instruction, ...]:
    return decode_block(Block(0x1000, instructions, bytes.fromhex(code)), lambda pc: f"function+{pc - 0x1000:#x}")


def test_a_long_multiply_accumulate_reads_the_accumulator_that_it_writes() -> None:
    (smlald,) = decode("c2fbc301")  # smlald r0, r1, r2, r3
    assert (smlald.kind, smlald.writes, smlald.addend, smlald.reads) == ("multiply_add_long", (0, 1), (0, 1), (2, 3))


@pytest.mark.parametrize(
    ("code", "reads", "early"),
    [
        ("21f3c700", (), (1,)),  # ssat r0, #8, r1, asr #3
        ("c1ea0240", (1,), (2,)),  # pkhbt r0, r1, r2, lsl #16
        ("61f38400", (0,), (1,)),  # bfi r0, r1, #2, #3
        ("8840", (0, 1), ()),  # lsls r0, r1
    ],
)
def test_operands_are_read_where_they_go_through_the_shifter(
    code: str, reads: tuple[int, ...], early: tuple[int, ...]
) -> None:
    (found,) = decode(code)
    assert (found.reads, found.early, found.writes[0]) == (reads, early, 0)


def test_an_access_with_write_back_writes_its_base() -> None:
    (load,) = decode("51f8040b")  # ldr r0, [r1], #4
    assert (load.writes, load.address, load.written_back, load.access) == ((0, 1), (1,), 1, (1, 0))


def test_lists_count_their_words() -> None:
    push, pop, multiple = decode("10b510bdb1ec040a", 3)  # push {r4, lr}; pop {r4, pc}; vldmia r1!, {s0-s3}
    assert (push.words, push.data, push.address) == (2, (4, LR), (SP,))
    assert (pop.words, pop.writes, pop.branch) == (2, (4, PC, SP), "indirect")
    assert (multiple.words, multiple.written_back, len(multiple.writes)) == (4, 1, 5)


def test_instructions_under_an_it_are_conditional_and_set_no_flags_unless_they_compare() -> None:
    # ite ne; addne r0, r1, r2; cmpeq r0, r3; adds r0, r1, r2
    _, then, otherwise, after = decode("14bf881898428818", 4)
    assert [row.conditional for row in (then, otherwise, after)] == [True, True, False]
    assert [FLAGS in row.writes for row in (then, otherwise, after)] == [False, True, True]
    assert [FLAGS in row.reads for row in (then, otherwise, after)] == [True, True, False]


def test_flags_are_set_by_the_forms_that_say_so() -> None:
    # adc.w r4, r5, r6; adcs.w r4, r5, r6; mov r4, r3; movs r4, r3; negs r4, r3
    found = decode("45eb060455eb06041c461c005c42", 5)
    assert [FLAGS in row.writes for row in found] == [False, True, False, True, True]


def test_every_16_bit_instruction_of_the_cores_is_known() -> None:
    not_of_armv7m = {"udf", "trap", "hlt", "setpan", "bxns", "blxns"}
    unknown = set()
    for half in range(0b11101 << 11):
        try:
            decode(half.to_bytes(2, "little").hex())
        except UnknownInstructionError as error:
            name = str(error).split("'")[1].split()[0]
            if name != ".inst":  # no instruction at all
                unknown.add(name.split(".")[0])
    assert unknown <= not_of_armv7m


def test_only_a_shifted_constant_counts_as_shifted() -> None:
    shifted, plain = decode("05f5f85405f1ff04", 2)  # add.w r4, r5, #0x1f00; add.w r4, r5, #255
    assert (shifted.shifted, plain.shifted) == (True, False)


def test_what_qemu_reports_of_the_next_page_is_not_decoded() -> None:
    # A profile's block of one instruction near the end of a page: subs r0, #1 and the first half of what follows.
    assert [row.name for row in decode("013891fb")] == ["sub"]


@pytest.mark.parametrize("code", ["ffde", "fffff0ff"])  # udf, and no instruction at all
def test_an_unknown_instruction_names_itself_its_address_and_its_function(code: str) -> None:
    block = Block(0x1000, 2, bytes.fromhex("0138" + code))
    with pytest.raises(UnknownInstructionError, match=r"at 0x1002 \(function\+0x2\).*instructions.yaml"):
        decode_block(block, lambda pc: f"function+{pc - 0x1000:#x}")


def test_every_class_has_a_row_on_the_m7_and_all_but_doubles_on_the_m4() -> None:
    classes = {kind for kind, _ in instruction_classes().values()}
    assert classes <= m7_table().classes.keys()
    assert classes - m4_table().classes.keys() == {"fp_select"}  # FPv5 has it, FPv4 has not


def test_rules_of_the_m7_name_traits_and_latencies_that_exist() -> None:
    table = m7_table()
    traits = {trait for row in table.classes.values() for trait in row.traits} | {"shifted"}
    ruled = {trait for pair in table.never_together for trait in pair} | set(table.older_slot_only)
    ruled |= {table.fma_shadow.not_younger, table.fma_shadow.not_at_all}
    assert ruled <= traits
    assert {row.latency for row in table.classes.values()} <= table.latencies.keys()
    assert table.early_alu_classes | table.early_alu_either_slot <= table.classes.keys()
