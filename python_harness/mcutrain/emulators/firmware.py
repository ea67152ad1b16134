"""FirmwareRunner: what every emulator of boards has in common, whichever it is."""

from __future__ import annotations

from mcutrain.boards import Board
from mcutrain.emulators.base import Limits
from mcutrain.emulators.build import BuiltFirmware
from mcutrain.emulators.process import ProcessRunner
from mcutrain.emulators.request import Device
from mcutrain.errors import UsageError

EXIT_FUNCTION = "mct_semihosting_exit"
"""Where a firmware ends, with its exit code in r0. Emulators do not agree on the instructions behind its entry."""


class FirmwareRunner(ProcessRunner):
    """Runs a board's firmware over episode images, in an emulator that is one process."""

    def __init__(self, firmware: BuiltFirmware) -> None:
        """Nothing runs yet."""
        super().__init__()
        self.firmware = firmware

    @property
    def board(self) -> Board:
        """The board that is emulated."""
        return self.firmware.board

    @property
    def device(self) -> Device:
        """The board, and the sizes of its firmware."""
        built = self.firmware
        return Device(built.board.name, built.data_bytes, built.bss_bytes, built.stack_bytes)

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        """Start the emulator.

        Raises:
            UsageError: the image is larger than the board's external memory.
        """
        if len(image) > self.board.external_bytes:
            raise UsageError(
                f"the episode image has {len(image):,} bytes, the external memory of {self.board.name} "
                f"{self.board.external_bytes:,}; take fewer samples, or run on the host"
            )
        super().launch(image, profile, limits)

    def locate(self, pc: int) -> str:
        """The function of the firmware at ``pc``."""
        return self.firmware.facts.function_at(pc)
