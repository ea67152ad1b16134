"""The table of runners: where a plan can run, by name, and what each place has.

``golden`` is the reference in NumPy, ``host`` the library on this machine, ``m4-256k@qemu`` a board on an emulator; a board alone means
its default emulator. Nothing above this table names one, but for defaults. Counts, a profile and limits are what a runner may have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mcutrain.boards import Board, board_names, load_board
from mcutrain.compiler.plan import Plan
from mcutrain.emulators.base import Runner, RunResult
from mcutrain.emulators.host import HostRunner
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.emulators.profile import Caches, Profile
from mcutrain.emulators.request import Model
from mcutrain.emulators.table import EMULATORS, Emulator
from mcutrain.episode.targets import (
    LIMITS,
    STACK_BYTES,
    build_for_board,
    build_for_host,
    fit_on_board,
    planned_static_bytes,
)
from mcutrain.errors import MismatchError, UsageError
from mcutrain.golden.runner import model_of, run_golden
from mcutrain.status import status_meaning
from mcutrain.strict import did_you_mean

REFERENCE = "golden"
HOST = "host"
ALWAYS_COMPARED = (REFERENCE, HOST)  # beside an episode's own boards, where `verify` is given no runners

OnLine = Callable[[Line], None]


@dataclass(frozen=True)
class Site:
    """What a record says of the place. Bytes and hertz; 0 where the place has no such thing, as limits on this machine."""

    board: str
    core: str
    compiler: str
    flags: str
    sha256: str
    sram_planned_bytes: int
    data_bytes: int = 0
    bss_bytes: int = 0
    stack_reserve_bytes: int = 0
    sram_limit_bytes: int = 0
    flash_bytes: int = 0
    flash_limit_bytes: int = 0
    clock_hz: int = 0


@dataclass(frozen=True)
class Target:
    """A plan, built and ready to run in one place.

    name: as the user gave it. runner: None for the reference, which interprets the plan. board: None where there is none. profiles:
    whether it counts instructions. functions: (address, size in bytes) of the firmware's functions, for a profile.
    """

    name: str
    plan: Plan
    site: Site
    runner: Runner | None = None
    board: Board | None = None
    profiles: bool = False
    functions: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def model(self) -> Model:
        """What the lines have to say of the plan."""
        return model_of(self.plan)

    def run(self, image: EpisodeImage, on_line: OnLine | None = None) -> tuple[Line, ...]:
        """Run an image; returns its lines."""
        if self.runner is None:
            return run_golden(self.plan, image, on_line)
        return self.runner.run(image, model=self.model, limits=LIMITS, on_line=on_line).lines

    def result(self, image: EpisodeImage, on_line: OnLine | None = None) -> RunResult:
        """Run an image; returns its lines, and what ran it. Raises MismatchError where it ended with a status other than 0."""
        if self.runner is not None:
            return self.runner.run(image, model=self.model, limits=LIMITS, on_line=on_line)
        begin = time.monotonic()
        lines = self.run(image, on_line)
        status = lines[-1].integer("status")
        if status != 0:
            raise MismatchError(f"the run ended with status {status} ({status_meaning(status)})")
        return RunResult(lines, status, status, None, time.monotonic() - begin, self.name, f"NumPy {np.__version__}")

    def counted(self, image: EpisodeImage, on_line: OnLine | None = None) -> RunResult:
        """As ``result``, with the sum of its instructions where this runner can give it."""
        if self.runner is None or not self.profiles:
            return self.result(image, on_line)
        return self.runner.run(image, model=self.model, limits=LIMITS, profile=True, on_line=on_line)

    def profile(self, image: EpisodeImage) -> Profile:
        """Run an image and count. Raises UsageError where nothing counts here."""
        if self.runner is None or not self.profiles:
            raise UsageError(_counts_nothing(self.name))
        profile = self.runner.run(image, model=self.model, limits=LIMITS, profile=True).profile
        assert profile is not None
        return profile


@dataclass(frozen=True)
class Place:
    """What the name of a runner means. key: its shortest name, which baselines use. board: None where there is none."""

    name: str
    key: str
    board: Board | None = None
    emulator: Emulator | None = None

    def counting(self) -> Board:
        """The board, if this runner counts instructions. Raises UsageError where it does not."""
        if self.board is None or self.emulator is None or not self.emulator.profiles:
            raise UsageError(_counts_nothing(self.name))
        return self.board


def find_runner(name: str) -> Place:
    """The runner called ``name``. Raises UsageError with those there are."""
    if name in _WITHOUT_BOARD:
        return Place(name, name)
    board_name, at, emulator = name.partition("@")
    if board_name not in board_names() or (at and emulator not in EMULATORS):
        near = did_you_mean(name, runner_names())
        raise UsageError(f"unknown runner {name!r}: give one of {', '.join(runner_names())}{near}")
    board = load_board(board_name)
    chosen = emulator or board.emulator
    if chosen not in EMULATORS:
        raise UsageError(f"{board.name}.yaml: emulator: there is no {chosen!r}; give one of {', '.join(EMULATORS)}")
    key = board.name if chosen == board.emulator else f"{board.name}@{chosen}"
    return Place(name, key, board, EMULATORS[chosen])


def runner_names() -> tuple[str, ...]:
    """Every name there is: without a board, boards on their default emulator, boards on each."""
    boards = board_names()
    return (*_WITHOUT_BOARD, *boards, *(f"{board}@{emulator}" for board in boards for emulator in EMULATORS))


def key_of(board: str, runner: str) -> str:
    """The shortest name of what made a record, from its keys ``board`` and ``runner``."""
    return find_runner(f"{board}@{runner}").key if board in board_names() and runner in EMULATORS else board


def make_target(plan: Plan, name: str, caches: Caches | None = None) -> Target:
    """Build ``plan`` for a runner. caches: what a profile there simulates.

    Raises UsageError for an unknown name or a plan that does not fit, NotAvailableError where this machine lacks a tool.
    """
    place = find_runner(name)
    if place.board is None:
        return _WITHOUT_BOARD[name](plan)
    assert place.emulator is not None
    board, built = place.board, build_for_board(plan, place.board)
    site = Site(
        board=board.name,
        core=board.core,
        compiler=built.compiler,
        flags=built.flags,
        sha256=built.sha256,
        sram_planned_bytes=fit_on_board(plan, board).sram_peak_bytes,
        data_bytes=built.data_bytes,
        bss_bytes=built.bss_bytes,
        stack_reserve_bytes=STACK_BYTES,
        sram_limit_bytes=board.sram_bytes,
        flash_bytes=built.flash_bytes,
        flash_limit_bytes=board.flash_bytes,
        clock_hz=board.clock_hz,
    )
    runner = place.emulator.make(built, caches)
    return Target(name, plan, site, runner, board, place.emulator.profiles, built.facts.functions)


def _reference(plan: Plan) -> Target:
    planned = planned_static_bytes(plan)
    site = Site(REFERENCE, REFERENCE, "none", "", "", planned, bss_bytes=planned)
    return Target(REFERENCE, plan, site)


def _host(plan: Plan) -> Target:
    built, planned = build_for_host(plan), planned_static_bytes(plan)
    site = Site(HOST, HOST, built.compiler, built.flags, built.sha256, planned, bss_bytes=planned)
    return Target(HOST, plan, site, HostRunner(built))


_WITHOUT_BOARD: dict[str, Callable[[Plan], Target]] = {REFERENCE: _reference, HOST: _host}


def _counts_nothing(name: str) -> str:
    counting = [
        f"{board}@{emulator}" for board in board_names() for emulator in EMULATORS if EMULATORS[emulator].profiles
    ]
    return f"{name} counts no instructions: give one that does: {', '.join(counting)}"
