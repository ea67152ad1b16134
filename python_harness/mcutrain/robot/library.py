"""McutrainLibrary: the keywords, as one library of Robot Framework."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from robot.api.deco import library

from mcutrain import __version__
from mcutrain.robot.commands import CommandKeywords
from mcutrain.robot.load import LoadKeywords
from mcutrain.robot.memory import MemoryKeywords
from mcutrain.robot.session import Session
from mcutrain.robot.training import TrainingKeywords
from mcutrain.robot.words import CONVERTERS

_FIVE_MINUTES = timedelta(minutes=5)


@library(scope="SUITE", version=__version__, converters=CONVERTERS, auto_keywords=False)
class McutrainLibrary(TrainingKeywords, MemoryKeywords, CommandKeywords, LoadKeywords):
    """Train neural networks on emulated microcontrollers, and assert what the training took and what it gave.

    The keywords run the project's command line tool, and look at the records that it leaves, so they hold for every emulator that
    the tool knows. A test trains, then asserts on that run:

    | *** Settings ***
    | Library    mcutrain.robot.McutrainLibrary    time_limit=3 minutes
    |
    | *** Test Cases ***
    | Train Digits On The 256K Cortex-M4 Board
    |     Train digits-sparse On the 256K Cortex-M4 board    golden_steps=100
    |     Accuracy Should Rise From 56.5 % To At Least 80 %
    |     The First 100 Steps Should Be Bit-Exact To Golden
    |     Peak SRAM Should Be At Most 16,384 Bytes

    Which emulator runs the boards is an argument of the library too, so that a suite can leave it to a variable, and
    ``robot --variable EMULATOR:renode`` runs its sentences as they stand on another one:

    | Library    mcutrain.robot.McutrainLibrary    emulator=${EMULATOR}

    The log shows the figures of each run as a table, and links its report, which lies in ``training-reports`` beside the log. What
    this machine does not have (an emulator, a data set) skips the test and says what is missing. What a test has run is
    forgotten at its end; what the suite's set-up has run stays for all its tests.
    """

    ROBOT_LISTENER_API_VERSION = 3

    def __init__(
        self, time_limit: timedelta = _FIVE_MINUTES, baselines: Path | None = None, emulator: str = ""
    ) -> None:
        """``time_limit`` is for each run or command. ``baselines`` is the folder of the locked figures, the project's if not given.

        ``emulator`` runs the boards that are named without one, ``m4-256k`` or ``the 256K Cortex-M4 board``: in sentences, and behind
        ``--board`` and ``--runners`` of `Run Mcutrain`. If not given, each board's own default does.
        """
        self.session = Session(time_limit, baselines, emulator)
        self.ROBOT_LIBRARY_LISTENER = self  # Robot Framework 6 knows no other way to say so

    def start_test(self, data: Any, result: Any) -> None:
        """Called by Robot: what was run until now is the suite's set-up."""
        self.session.begin_test()

    def end_test(self, data: Any, result: Any) -> None:
        """Called by Robot: nothing of a test outlives it."""
        self.let_the_other_cores_rest()
        self.session.end_test()

    def end_suite(self, data: Any, result: Any) -> None:
        """Called by Robot: nor of a suite."""
        self.let_the_other_cores_rest()
        self.session.remove_folders()
