"""What an ELF file says: sizes by section, and where functions lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

_SHF_ALLOC = 2


@dataclass(frozen=True)
class ElfFacts:
    """Sizes in bytes, and the address of every symbol. flash_bytes is all that is loaded: code, constants and initial data.

    functions: address and size by name. A static function whose name another file has taken before has its file in its name.
    """

    data_bytes: int
    bss_bytes: int
    flash_bytes: int
    stack_bytes: int
    symbols: Mapping[str, int]
    functions: Mapping[str, tuple[int, int]]

    def function_at(self, address: int) -> str:
        """``name+offset`` of the function that contains ``address``, or "" if none does."""
        for name, (start, size) in self.functions.items():
            if start <= address < start + size:
                return f"{name}+{address - start:#x}"
        return ""


def read_elf(path: Path) -> ElfFacts:
    """Read the firmware at ``path``."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        sizes: dict[str, int] = {}
        flash = 0
        for section in elf.iter_sections():
            sizes[section.name] = section["sh_size"]
            if section["sh_flags"] & _SHF_ALLOC and section["sh_type"] != "SHT_NOBITS":
                flash += section["sh_size"]
        table = elf.get_section_by_name(".symtab")
        symbols: dict[str, int] = {}
        functions: dict[str, tuple[int, int]] = {}
        if isinstance(table, SymbolTableSection):
            file_name = ""
            for symbol in table.iter_symbols():
                if symbol["st_info"]["type"] == "STT_FILE":
                    file_name = symbol.name
                elif symbol["st_info"]["type"] == "STT_FUNC":
                    # Bit 0 of a function's address says Thumb; the instructions lie at the even address.
                    place = (symbol["st_value"] & ~1, symbol["st_size"])
                    taken = functions.get(symbol.name, place) != place
                    functions[f"{symbol.name} ({file_name})" if taken else symbol.name] = place
                    symbols[symbol.name] = symbol["st_value"] & ~1
                elif symbol.name and symbol["st_shndx"] != "SHN_UNDEF":
                    symbols[symbol.name] = symbol["st_value"]
    return ElfFacts(sizes.get(".data", 0), sizes.get(".bss", 0), flash, sizes.get(".stack", 0), symbols, functions)
