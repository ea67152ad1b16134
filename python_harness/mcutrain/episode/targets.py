"""Build a plan for a board or for this machine, and what it takes there."""

from __future__ import annotations

from pathlib import Path

from mcutrain.boards import Board
from mcutrain.compiler.codegen import generate
from mcutrain.compiler.plan import Fit, Plan, fit, require_fit
from mcutrain.emulators.base import Limits
from mcutrain.emulators.build import BuiltFirmware, BuiltHost, build_firmware, build_host, runtime_static_bytes
from mcutrain.errors import MismatchError
from mcutrain.paths import build_directory, require_writable

STACK_BYTES = 4096
# Flash that start-up, runtime and every kernel of a network take; a build states the real size.
CODE_RESERVE_BYTES = 32768
LIMITS = Limits(total_seconds=3600.0, silence_seconds=120.0)


def fit_on_board(plan: Plan, board: Board) -> Fit:
    """What the plan needs on ``board``, before anything is built."""
    return fit(
        plan, board, runtime_bytes=runtime_static_bytes(), stack_bytes=STACK_BYTES, code_bytes=CODE_RESERVE_BYTES
    )


def build_for_board(plan: Plan, board: Board) -> BuiltFirmware:
    """Generate and build the firmware of ``plan``; the static SRAM of the result is held against the plan, to the byte.

    Raises UsageError where it does not fit, MismatchError where the build uses another number of bytes than planned.
    """
    require_fit(plan, board, fit_on_board(plan, board))
    folder = _folder(plan)
    generate(plan, folder / "model")
    built = build_firmware(folder / "model", board, folder / board.name, stack_bytes=STACK_BYTES)
    planned = planned_static_bytes(plan)
    if built.data_bytes + built.bss_bytes != planned:
        raise MismatchError(
            f"{board.name}: the firmware uses {built.data_bytes + built.bss_bytes:,} B of static SRAM "
            f"(data {built.data_bytes:,}, bss {built.bss_bytes:,}), the plan says {planned:,}"
        )
    return built


def build_for_host(plan: Plan) -> BuiltHost:
    """Generate and build the host library of ``plan``."""
    folder = _folder(plan)
    generate(plan, folder / "model")
    return build_host(folder / "model", folder / "host")


def _folder(plan: Plan) -> Path:
    require_writable(build_directory(), "set MCUTRAIN_BUILD to a folder of your own")
    return build_directory() / "plans" / f"{plan.crc32:08x}"


def planned_static_bytes(plan: Plan) -> int:
    """Static SRAM a firmware of ``plan`` must have: arena, trainable state, mct_model_io and the runtime's state."""
    return plan.static_bytes + runtime_static_bytes()
