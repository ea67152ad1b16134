"""The table of emulators: the names that may stand behind the @ of a runner, as in ``m4-256k@qemu``.

To add an emulator: one adapter, a subclass of Runner that is made from a firmware, and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mcutrain.emulators.base import Runner
from mcutrain.emulators.build import BuiltFirmware
from mcutrain.emulators.profile import Caches
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.emulators.renode import RenodeRunner


@dataclass(frozen=True)
class Emulator:
    """make: the adapter, made from a firmware and the caches that its profile simulates (None: none). profiles: whether it counts."""

    make: Callable[[BuiltFirmware, Caches | None], Runner]
    profiles: bool


EMULATORS: dict[str, Emulator] = {
    "qemu": Emulator(QemuRunner, profiles=True),
    "renode": Emulator(RenodeRunner, profiles=False),
}
