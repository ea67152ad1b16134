from __future__ import annotations

from pathlib import Path

import pytest

from mcutrain import boards
from mcutrain.boards import board_names, load_board
from mcutrain.errors import UsageError


def test_there_are_the_four_boards_of_the_design() -> None:
    assert board_names() == ("m4-1m", "m4-256k", "m7-1m", "m7-256k")


@pytest.mark.parametrize("name", board_names())
def test_a_board_has_the_memory_and_core_of_its_name(name: str) -> None:
    board = load_board(name)
    assert board.core == {"m4": "cortex-m4", "m7": "cortex-m7"}[name[:2]]
    assert (board.sram_bytes, board.flash_bytes) == {"256k": (1 << 18, 1 << 20), "1m": (1 << 20, 1 << 21)}[name[3:]]
    assert f"-mcpu={board.core}" in board.compiler_flags.split()


@pytest.mark.parametrize("name", board_names())
def test_every_memory_is_one_region_of_the_mpu(name: str) -> None:
    board = load_board(name)
    for base, size in (
        (board.flash_base, board.flash_bytes),
        (board.sram_base, board.sram_bytes),
        (board.external_base, board.external_bytes),
    ):
        assert size & (size - 1) == 0
        assert base % size == 0


def test_an_unknown_board_is_one_line_with_the_names_that_exist() -> None:
    with pytest.raises(UsageError, match=r"^unknown board 'm5': the boards are m4-1m, m4-256k, m7-1m, m7-256k$"):
        load_board("m5")
    with pytest.raises(UsageError, match="unknown board"):
        load_board("../boards/m4-1m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("cortex-m4", "cortex-m3"), "core"),
        (("262144", "none"), "sram_bytes"),
        (("name: m4-256k", "name: x"), "name of the file"),
    ],
)
def test_a_broken_board_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], message: str
) -> None:
    text = (boards.BOARDS_FOLDER / "m4-256k.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "m4-256k.yaml").write_text(text.replace(*change), encoding="utf-8")
    monkeypatch.setattr(boards, "BOARDS_FOLDER", tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        load_board("m4-256k")
    assert "\n" not in str(caught.value)
