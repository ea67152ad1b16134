"""What Renode is told of a board is what the board's file says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcutrain.boards import board_names, load_board
from mcutrain.emulators import renode_platform
from mcutrain.emulators.renode_platform import RENODE_FOLDER, description_of, files_of, platform_file
from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT


@pytest.mark.parametrize("name", board_names())
def test_the_files_of_a_board_are_those_that_would_be_written(name: str) -> None:
    for path, text in files_of(load_board(name)).items():
        assert path.read_text(encoding="utf-8") == text, f"write it again: {renode_platform.COMMAND}"
    assert platform_file(load_board(name)) == RENODE_FOLDER / f"{name}.repl"


@pytest.mark.parametrize("name", board_names())
def test_a_platform_has_the_boards_memories_to_the_byte_and_no_others(name: str) -> None:
    board = load_board(name)
    found = re.findall(r"MappedMemory @ sysbus (0x\w+)\n    size: (0x\w+)", description_of(board))
    assert [(int(base, 16), int(size, 16)) for base, size in found] == [
        (board.flash_base, board.flash_bytes),
        (board.sram_base, board.sram_bytes),
        (board.external_base, board.external_bytes),
    ]


def test_no_file_is_left_of_a_board_that_is_gone() -> None:
    stems = {path.stem for path in RENODE_FOLDER.glob("*.repl")}
    assert stems == set(board_names())
    assert {path.stem for path in RENODE_FOLDER.glob("*.resc")} - stems == {"episode"}


def test_the_uart_lies_where_the_firmware_looks_for_it() -> None:
    source = (PROJECT / "src" / "ports" / "cortex_m" / "mpu.c").read_text(encoding="ascii")
    match = re.search(r"#define UART0_BASE (0x\w+)u", source)
    assert match is not None and int(match[1], 16) == renode_platform.UART0_BASE


def test_a_platform_of_another_board_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renode_platform, "RENODE_FOLDER", tmp_path)
    board = load_board("m4-256k")
    with pytest.raises(
        UsageError, match=r"m4-256k\.repl: it is not of emulation/boards/m4-256k\.yaml; write it again: python -m"
    ):
        platform_file(board)
    renode_platform.main()
    assert platform_file(board).exists()
    larger = board.model_copy(update={"sram_bytes": 2 * board.sram_bytes})
    with pytest.raises(UsageError):
        platform_file(larger)
