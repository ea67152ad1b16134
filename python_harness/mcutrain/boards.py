"""Boards: what emulation/boards/<name>.yaml says of each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, model_validator

from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT
from mcutrain.strict import StrictModel, one_line
from mcutrain.yaml_file import read_yaml

BOARDS_FOLDER = PROJECT / "emulation" / "boards"


class Board(StrictModel):
    """A board that firmware is built for and runs on. Addresses and sizes in bytes, clock in hertz.

    external_base and external_bytes are the memory that holds the episode image. compiler_flags select the core and its
    floating point unit. emulator is the one that is meant where only the board is named. flash_part (of
    emulation/timing/memory.yaml) and flash_wait_states (at clock_hz) are for estimates with code in flash; the supply current,
    which supply_source is for, for those of energy. A board may lack either.
    """

    name: str
    core: Literal["cortex-m4", "cortex-m7"]
    clock_hz: int = Field(gt=0)
    flash_base: int = Field(ge=0, lt=1 << 32)
    flash_bytes: int = Field(gt=0, lt=1 << 32)
    sram_base: int = Field(ge=0, lt=1 << 32)
    sram_bytes: int = Field(gt=0, lt=1 << 32)
    external_base: int = Field(ge=0, lt=1 << 32)
    external_bytes: int = Field(gt=0, lt=1 << 32)
    compiler_flags: str
    qemu_machine: str
    emulator: str = "qemu"
    flash_part: str | None = None
    flash_wait_states: int | None = Field(default=None, ge=0)
    supply_ua_per_mhz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    supply_mv: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    supply_source: str | None = None

    @model_validator(mode="after")
    def _supply_is_whole(self) -> Board:
        if len({value is None for value in (self.supply_ua_per_mhz, self.supply_mv, self.supply_source)}) > 1:
            raise ValueError("supply_ua_per_mhz, supply_mv and supply_source belong together")
        return self


def board_names() -> tuple[str, ...]:
    """The names of all boards, sorted."""
    return tuple(sorted(path.stem for path in BOARDS_FOLDER.glob("*.yaml")))


def load_board(name: str) -> Board:
    """Read the board called ``name``.

    Raises:
        UsageError: there is no such board, or its file is broken.
    """
    if name not in board_names():
        raise UsageError(f"unknown board '{name}': the boards are {', '.join(board_names())}")
    path = BOARDS_FOLDER / f"{name}.yaml"
    try:
        board = Board.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UsageError(f"{path.name}: {one_line(error)}; correct the board's file") from None
    if board.name != name:
        raise UsageError(f"{path.name}: name is '{board.name}'; it must be the name of the file")
    return board
