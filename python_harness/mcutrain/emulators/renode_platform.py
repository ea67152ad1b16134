"""What Renode has to know of a board: emulation/renode/<board>.repl and .resc, made from emulation/boards/<board>.yaml.

    .venv/bin/python -m mcutrain.emulators.renode_platform        # writes them again, for every board

They are files of the project, so that Renode can be used by hand, and are held against the boards' files wherever they are used.
"""

from __future__ import annotations

from pathlib import Path

from mcutrain.atomic import write_file
from mcutrain.boards import Board, board_names, load_board
from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT

RENODE_FOLDER = PROJECT / "emulation" / "renode"
COMMAND = "python -m mcutrain.emulators.renode_platform"

UART0_BASE = 0x40004000
"""As src/ports/cortex_m has it."""


def description_of(board: Board) -> str:
    """The text of the board's .repl: its core, its memories to the byte, and UART0. Nothing else is there."""
    return f"""\
// {board.name}, of emulation/boards/{board.name}.yaml; {COMMAND} writes this file again.
// One instruction takes one cycle of the core's clock: virtual time tells instructions, not a board's seconds.

flash: Memory.MappedMemory @ sysbus {board.flash_base:#010x}
    size: {board.flash_bytes:#x}

sram: Memory.MappedMemory @ sysbus {board.sram_base:#010x}
    size: {board.sram_bytes:#x}

// Holds the episode image.
external: Memory.MappedMemory @ sysbus {board.external_base:#010x}
    size: {board.external_bytes:#x}

nvic: IRQControllers.NVIC @ sysbus 0xE000E000
    priorityMask: 0xE0
    systickFrequency: {board.clock_hz}
    IRQ -> cpu@0

cpu: CPU.CortexM @ sysbus
    cpuType: "{board.core}"
    nvic: nvic
    PerformanceInMips: {max(1, board.clock_hz // 1_000_000)}

uart0: UART.CMSDK_APB_UART @ sysbus {UART0_BASE:#010x}
    frequency: {board.clock_hz}
"""


def script_of(board: Board) -> str:
    """The text of the board's .resc: what the shared episode.resc needs to know of it."""
    return f"""\
:name: mcutrain {board.name}
:description: Runs a training episode on {board.name}, {board.sram_bytes // 1024} KB of SRAM ({board.core}).

$name?="{board.name}"
$platform?=$ORIGIN/{board.name}.repl
$external?={board.external_base:#010x}
$bin?=$ORIGIN/../../build/renode/{board.name}/firmware.elf
$image?=$ORIGIN/../../build/renode/{board.name}/episode.image

include $ORIGIN/episode.resc
"""


def files_of(board: Board) -> dict[Path, str]:
    """Every file of a board, and what has to be in it."""
    return {
        RENODE_FOLDER / f"{board.name}.repl": description_of(board),
        RENODE_FOLDER / f"{board.name}.resc": script_of(board),
    }


def platform_file(board: Board) -> Path:
    """The board's .repl.

    Raises:
        UsageError: it is not there, or it is of another board than the board's file.
    """
    path = RENODE_FOLDER / f"{board.name}.repl"
    if not path.exists() or path.read_text(encoding="utf-8") != description_of(board):
        raise UsageError(f"{path}: it is not of emulation/boards/{board.name}.yaml; write it again: {COMMAND}")
    return path


def main() -> None:
    """Write the files of every board."""
    for name in board_names():
        for path, text in files_of(load_board(name)).items():
            write_file(path, text)


if __name__ == "__main__":
    main()
