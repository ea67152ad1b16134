"""What the keywords of one suite share: the limits, the records of the runs so far, and the project that is run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from robot.api import Failure

from mcutrain.emulators.table import EMULATORS
from mcutrain.episode.record import EpisodeRecord
from mcutrain.paths import BASELINES, PROJECT
from mcutrain.robot.tool import Outcome, run_tool
from mcutrain.robot.words import on_emulator

# What a copy of the project needs to build and run an episode.
_COPIED = ("CMakeLists.txt", "cmake", "src", "emulation", "examples", "python_harness/mcutrain")


@dataclass(frozen=True)
class Run:
    """A run that has ended: its record, its report, and where it parted from golden (None where it did not).

    own: the user's .yaml file that was run; empty for an episode of the project.
    """

    record: EpisodeRecord
    report: Path | None = None
    divergence: str | None = None
    own: str = ""

    @property
    def episode(self) -> str:
        """What `load_episode` and `load_baseline` know it by."""
        return self.own or self.record.episode


class Session:
    """The state of a suite. What a test adds to it ends with the test, so that no test can pass on what another one did."""

    def __init__(self, time_limit: timedelta, baselines: Path | None, emulator: str = "") -> None:
        """time_limit: of each command. baselines: folder of the locked figures, the project's own where None. emulator: see runner."""
        if emulator and emulator not in EMULATORS:
            raise ValueError(f"no emulator {emulator!r}; give one of {', '.join(EMULATORS)}")
        self.emulator = emulator
        self.seconds = time_limit.total_seconds()
        self.baselines = baselines or BASELINES
        self.project = PROJECT
        self.runs: tuple[Run, ...] = ()
        self.outcome: Outcome | None = None
        self._of_suite: tuple[Run, ...] = ()
        self._scratch: list[Path] = []

    def begin_test(self) -> None:
        """Remember what the suite's set-up has run: all its tests may look at that."""
        self._of_suite = self.runs

    def end_test(self) -> None:
        """Forget what the test did, and remove its folders."""
        self.runs, self.outcome, self.project = self._of_suite, None, PROJECT
        self.remove_folders()

    def remove_folders(self) -> None:
        """Remove every folder that was handed out."""
        while self._scratch:
            shutil.rmtree(self._scratch.pop(), ignore_errors=True)

    def new_folder(self) -> Path:
        """An empty folder that is removed at the end of the test."""
        self._scratch.append(Path(tempfile.mkdtemp(prefix="mcutrain-robot-")))
        return self._scratch[-1]

    def runner(self, name: str) -> str:
        """``name``, or where it is a board and an emulator was chosen, this board on that emulator."""
        return on_emulator(name, self.emulator)

    @property
    def last(self) -> Run:
        """The run that assertions are about. Raises Failure where nothing has run."""
        if not self.runs:
            raise Failure("nothing has been trained yet: use 'Train ... On ...' first")
        return self.runs[-1]

    @property
    def ended(self) -> Outcome:
        """The command that assertions are about. Raises Failure where none was run."""
        if self.outcome is None:
            raise Failure("no command has been run yet: use 'Run Mcutrain' first")
        return self.outcome

    def tool(self, arguments: Sequence[str], *, folder: Path | None = None, private: bool = False) -> Outcome:
        """Run the tool in ``folder`` or a new one; private: whatever it writes, builds and temporary files too, lies in there."""
        folder = folder or self.new_folder()
        own = {"MCUTRAIN_RESULTS": "results", "MCUTRAIN_BUILD": "build", "TMPDIR": "temporary"} if private else {}
        if private:
            (folder / "temporary").mkdir(exist_ok=True)
        environment = {name: str(folder / below) for name, below in own.items()}
        self.outcome = None
        self.outcome = run_tool(
            arguments, seconds=self.seconds, folder=folder, project=self.project, environment=environment
        )
        return self.outcome

    def copy_project(self) -> Path:
        """A copy of the project that may be changed; from now to the end of the test it is the one that is run."""
        root = self.new_folder()
        for name in _COPIED:
            source = PROJECT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, root / name)
        self.project = root
        return root
