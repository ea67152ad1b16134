"""Decoding: from the code bytes of a block to what the timing engines need to know of each instruction.

Capstone names an instruction and its operands. Which of them are read, written, or take part in an address comes from
emulation/timing/instructions.yaml, because capstone's own lists miss operands of the DSP instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import capstone
from capstone import arm

from mcutrain.emulators.profile import Block
from mcutrain.errors import McutrainError
from mcutrain.timing.tables import instruction_classes

SP, LR, PC, FLAGS, FP_FLAGS = 13, 14, 15, 16, 17
_FIRST_SINGLE = 32  # s0 is register 32, s31 is 63; d0 is s0 and s1

Branch = Literal["", "direct", "indirect"]
Side = Literal["", "then", "else"]

_MULTIPLE = frozenset({"load_multiple", "store_multiple", "fp_load_multiple", "fp_store_multiple"})
_BRANCHES: dict[str, Branch] = {
    "branch": "direct",
    "call": "direct",
    "branch_register": "indirect",
    "table_branch": "indirect",
}


class UnknownInstructionError(McutrainError):
    """An instruction that the timing tables do not have."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. Registers are numbers: r0-r15, FLAGS, FP_FLAGS, and singles from _FIRST_SINGLE on.

    reads are by the late ALU or as a factor, early through the shifter, addend and data as their names say, address for a memory
    access. words counts the 32-bit words that are moved. access is the base register and the offset of an access, if these are all
    of its address. branch says whether it may leave the block, and conditional whether it may not do so. under is the side of an IT.
    """

    kind: str
    name: str
    size: int
    writes: tuple[int, ...] = ()
    reads: tuple[int, ...] = ()
    early: tuple[int, ...] = ()
    addend: tuple[int, ...] = ()
    data: tuple[int, ...] = ()
    address: tuple[int, ...] = ()
    written_back: int | None = None
    access: tuple[int, int] | None = None
    words: int = 1
    shifted: bool = False
    branch: Branch = ""
    conditional: bool = False
    under: Side = ""

    @property
    def everything_read(self) -> tuple[int, ...]:
        """All registers that it reads but as an addend."""
        return self.reads + self.early + self.data + self.address


def decode_block(block: Block, locate: Callable[[int], str]) -> tuple[Instruction, ...]:
    """The instructions of a block.

    Args:
        block: of a profile.
        locate: names the function at an address, for messages.

    Raises:
        UnknownInstructionError: the tables do not have one of them.
    """
    found = []
    sides: list[Side] = []  # of the instructions that are still under the last IT
    for address, raw in _split(block):
        try:
            instruction = _decode(raw)
        except UnknownInstructionError as error:
            where = locate(address) or "no function"
            raise UnknownInstructionError(
                f"the timing model does not know '{error}' at {address:#x} ({where}); "
                "add it to emulation/timing/instructions.yaml with its sources"
            ) from None
        if sides:
            instruction = _under_it(instruction, sides.pop(0))
        elif instruction.kind == "if_then":
            sides = _sides(raw[0])
        found.append(instruction)
    return tuple(found)


def _split(block: Block) -> list[tuple[int, bytes]]:
    """The address and the bytes of each instruction."""
    # The number of instructions ends it, not the code: near the end of a page QEMU looks whether the next instruction fits, and
    # reports that one's first half as if it belonged to the one before.
    found: list[tuple[int, bytes]] = []
    offset = 0
    while len(found) < block.instructions:
        size = 4 if block.code[offset + 1] >> 3 >= 0b11101 else 2
        found.append((block.pc + offset, block.code[offset : offset + size]))
        offset += size
    return found


def _sides(operands: int) -> list[Side]:
    """The sides of the instructions under an IT with this low byte: a condition, and a mask whose lowest 1 ends it."""
    condition, mask = operands >> 4, operands & 15
    below = 4 - (mask & -mask).bit_length()  # instructions after the first
    return ["then", *("then" if mask >> (3 - at) & 1 == condition & 1 else "else" for at in range(below))]


@cache
def _under_it(instruction: Instruction, side: Side) -> Instruction:
    """The instruction under an IT: it reads the flags, and in its 16-bit form does not set them, unless it compares."""
    writes = instruction.writes
    if instruction.size == 2 and instruction.kind != "compare":
        writes = tuple(register for register in writes if register != FLAGS)
    return replace(instruction, writes=writes, reads=(*instruction.reads, FLAGS), conditional=True, under=side)


@cache
def _disassembler() -> capstone.Cs:
    made = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8)
    made.detail = True
    return made


@cache
def _decode(raw: bytes) -> Instruction:
    decoded = next(_disassembler().disasm(raw, 0), None)
    if decoded is None:
        halves = [int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw), 2)]
        raise UnknownInstructionError(".inst " + " ".join(f"{half:04x}" for half in halves))
    name = decoded.insn_name()
    if name not in instruction_classes():
        raise UnknownInstructionError(f"{decoded.mnemonic} {decoded.op_str}".strip())
    kind, entry = instruction_classes()[name]
    registers = [operand for operand in decoded.operands if operand.type == arm.ARM_OP_REG]
    made = Instruction(kind=kind, name=name, size=len(raw))
    if kind in _MULTIPLE:
        made = _multiple(decoded, made, registers)
    elif kind in ("fp_move", "system"):
        made = _by_access(decoded, made, registers)
    else:
        made = _by_roles(decoded, made, registers, entry.operands)
    made = _memory(decoded, made)
    # By its name: capstone says of every ADC and SBC that it sets the flags.
    flags_set = entry.sets_flags or decoded.mnemonic.split(".")[0] in (f"{name}s", "movs")
    flags_read = entry.reads_flags or (kind == "branch" and decoded.cc not in (arm.ARM_CC_AL, arm.ARM_CC_INVALID))
    made = replace(
        made,
        kind=_precise_kind(decoded, made, registers),
        writes=made.writes + ((FLAGS,) if flags_set else ()),
        reads=made.reads + ((FLAGS,) if flags_read else ()),
        shifted=any(operand.shift.type for operand in registers) or _shifted_constant(raw, made),
        branch="indirect" if PC in made.writes else _BRANCHES.get(kind, ""),
        conditional=name in ("cbz", "cbnz") or (kind == "branch" and flags_read),
    )
    if name == "vcmp" or name == "vcmpe":
        made = replace(made, writes=(FP_FLAGS,))
    if name == "vmsr":
        made = replace(made, reads=made.writes, writes=(FP_FLAGS,))
    elif kind == "fp_flags":
        made = replace(made, reads=(FP_FLAGS,), writes=(FLAGS,) if name == "fmstat" else made.writes)
    return made


def _numbers(decoded: capstone.CsInsn, register: int) -> tuple[int, ...]:
    """The numbers of a register of capstone's."""
    name = decoded.reg_name(register)
    special = {"sp": SP, "lr": LR, "pc": PC, "sb": 9, "sl": 10, "fp": 11, "ip": 12}
    if name in special:
        return (special[name],)
    if name[0] in "rsd" and name[1:].isdigit():
        number = int(name[1:])
        if name[0] == "r":
            return (number,)
        first = _FIRST_SINGLE + (number if name[0] == "s" else 2 * number)
        return (first,) if name[0] == "s" else (first, first + 1)
    return ()  # PRIMASK and the like: nothing waits for them


def _by_roles(decoded: capstone.CsInsn, made: Instruction, registers: list[arm.ArmOp], roles: str) -> Instruction:
    found: dict[str, list[int]] = {role: [] for role in "wrsad"}
    if made.kind == "load_double":
        roles = "ww"
    for at, operand in enumerate(registers):
        numbers = _numbers(decoded, operand.reg)
        role = roles[min(at, len(roles) - 1)] if roles else "r"
        if role == "x" or (role == "w" and operand.access & capstone.CS_AC_READ):  # `lsls r0, r1` shifts r0 itself
            found["w"] += numbers
            found["r"] += numbers
        elif role == "z":
            found["w"] += numbers
            found["a"] += numbers
        elif role == "r" and operand.shift.type and made.kind != "extend":
            found["s"] += numbers
        else:
            found[role] += numbers
    links = (LR,) if made.name in ("bl", "blx") else ()
    return replace(
        made,
        writes=(*found["w"], *links),
        reads=tuple(found["r"]),
        early=tuple(found["s"]),
        addend=tuple(found["a"]),
        data=tuple(found["d"]),
    )


def _multiple(decoded: capstone.CsInsn, made: Instruction, registers: list[arm.ArmOp]) -> Instruction:
    """push, pop, ldm, stm and the floating point ones: a base, which push and pop do not name, and a list."""
    named = made.name not in ("push", "pop", "vpush", "vpop")
    base = _numbers(decoded, registers[0].reg)[0] if named else SP
    listed = tuple(number for operand in registers[int(named) :] for number in _numbers(decoded, operand.reg))
    back = base if not named or decoded.writeback else None
    stores = made.kind in ("store_multiple", "fp_store_multiple")
    return replace(
        made,
        writes=(() if stores else listed) + ((back,) if back is not None else ()),
        data=listed if stores else (),
        address=(base,),
        written_back=back,
        words=len(listed),
    )


def _by_access(decoded: capstone.CsInsn, made: Instruction, registers: list[arm.ArmOp]) -> Instruction:
    writes: list[int] = []
    reads: list[int] = []
    for operand in registers:
        side = writes if operand.access & capstone.CS_AC_WRITE else reads
        side += _numbers(decoded, operand.reg)
    return replace(made, writes=tuple(writes), reads=tuple(reads))


def _memory(decoded: capstone.CsInsn, made: Instruction) -> Instruction:
    """Add the address of a memory operand."""
    for operand in decoded.operands:
        if operand.type != arm.ARM_OP_MEM:
            continue
        base = _numbers(decoded, operand.mem.base)
        index = _numbers(decoded, operand.mem.index) if operand.mem.index else ()
        post_indexed = decoded.operands[-1].type != arm.ARM_OP_MEM
        offset = 0 if post_indexed else operand.mem.disp
        doubles = made.kind in ("fp_load", "fp_store") and len(made.writes + made.data) == 2
        return replace(
            made,
            address=base + index,
            access=None if index else (base[0], offset),
            written_back=base[0] if decoded.writeback else None,
            writes=made.writes + (base if decoded.writeback else ()),
            words=2 if doubles or made.kind in ("load_double", "store_double") else 1,
        )
    return made


def _precise_kind(decoded: capstone.CsInsn, made: Instruction, registers: list[arm.ArmOp]) -> str:
    """The class, where the operands decide it and not the name alone."""
    kind = made.kind
    if kind == "store" and len(made.address) > 1:
        return "store_indexed"
    if kind == "fp_move":
        if len(registers) > 2:
            return "fp_move_pair"
        if made.writes and made.writes[0] < _FIRST_SINGLE:
            return "fp_move_to_core"
    if kind in ("fp_load", "fp_store"):
        return f"{kind}_double" if made.words == 2 else kind
    if kind.startswith("fp_") and ".f64" in decoded.mnemonic and kind != "fp_constant":
        return f"{kind}_double"
    return kind


def _shifted_constant(raw: bytes, made: Instruction) -> bool:
    """Whether it has a constant that is made by shifting a byte (Thumb's modified immediate, but for repeated bytes)."""
    if len(raw) != 4 or made.kind not in ("add", "move", "logic", "carry", "compare"):
        return False
    first, second = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:], "little")
    modified = first & 0xFA00 == 0xF000 and not second & 0x8000
    return modified and (first >> 10 & 1, second >> 14 & 1) != (0, 0)
