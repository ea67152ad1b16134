"""Keywords that train, and that assert on the record of what happened."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from robot.api import Failure, logger
from robot.api.deco import keyword

from mcutrain.emulators.table import EMULATORS
from mcutrain.episode.baseline import differences, load_baseline, lock, unlocked_figures
from mcutrain.episode.record import EpisodeRecord, comparable
from mcutrain.episode.run import PROFILED_STEPS
from mcutrain.episode.runners import key_of
from mcutrain.errors import UsageError
from mcutrain.report.json_report import load_records
from mcutrain.report.summary import golden_phrase, held_against_golden
from mcutrain.robot.log import log_record, output_folder, pabot_process
from mcutrain.robot.session import Run, Session
from mcutrain.robot.words import Percent, Place

_OWN = (".yaml", ".yml")
_REPORTS: Counter[str] = Counter()
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _same(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function like this one, that Robot can know by another name."""

    @wraps(function)
    def same(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return function(*args, **kwargs)

    return same


class TrainingKeywords:
    """Training runs, and what must be true of the last one."""

    session: Session

    @keyword("Train ${episode} On ${board}")
    def train(
        self,
        episode: str,
        board: Place,
        *,
        steps: int | None = None,
        test: int | None = None,
        golden_steps: int | None = None,
        scheme: str | None = None,
        errors: str | None = None,
        weights: str | None = None,
        batch: int | None = None,
        profile: bool = True,
        afresh: bool = False,
    ) -> EpisodeRecord:
        """Train an episode of the project, or of your own .yaml file, and keep its record for the assertions; returns the record.

        ``steps`` cuts the schedule short, ``test`` evaluates on fewer samples, ``golden_steps`` says how many steps to hold against
        golden (the episode's own number where not given). ``scheme``, ``errors``, ``weights`` and ``batch`` replace the episode's own.
        Without ``profile`` instructions are not counted, which is faster. With ``afresh`` nothing that an earlier run has built is used.

        Skips where the machine has no emulator or no data. A run that parts from golden does not fail here, but in
        `Every Step Should Be Bit-Exact To Golden`.

        | Train digits-sparse On the 256K Cortex-M4 board
        | Train digits-sparse On m7-256k    steps=50    test=100

        Options behind a sentence need Robot Framework 7. `Train Episode` is the same for any version:

        | Train Episode    digits-sparse    m7-256k    steps=50    test=100
        """
        options = {
            "steps": steps,
            "test": test,
            "golden-steps": golden_steps,
            "scheme": scheme,
            "errors": errors,
            "weights": weights,
            "batch": batch,
        }
        return self._train(episode, board, options, profile=profile, afresh=afresh)

    train_episode = keyword("Train Episode")(_same(train))

    @keyword("Train ${episode} On ${board} For ${steps} Steps")
    def train_for_steps(self, episode: str, board: Place, steps: int) -> EpisodeRecord:
        """Train only the first steps of an episode, and hold all of them against golden.

        | Train resnet8-noise On the 256K Cortex-M7 board For 20 Steps
        """
        return self._train(episode, board, {"steps": steps, "golden-steps": steps})

    @keyword("Load The Record ${file}")
    def load_the_record(self, file: Path) -> EpisodeRecord:
        """Take the last record of a records.json that an earlier run wrote, for the assertions to look at."""
        try:
            return self._keep(Run(load_records(file)[-1]))
        except (UsageError, IndexError) as error:
            raise Failure(str(error)) from None

    @keyword("Accuracy Should Rise From ${before} To At Least ${after}")
    def accuracy_should_rise(self, before: Percent, after: Percent) -> None:
        """Assert the accuracy before training, to the digits that are written, and the least accuracy after it.

        | Accuracy Should Rise From 56.5 % To At Least 80 %
        """
        record = self.session.last.record
        was, is_now = _accuracies(record)
        if abs(was - before.fraction) > before.half_unit:
            raise Failure(f"the accuracy before training is {_percent(was)}, not {before}")
        if is_now < after.fraction:
            raise Failure(f"the accuracy after training is {_percent(is_now)}, less than {after}")
        if is_now <= was:
            raise Failure(f"the accuracy did not rise: {_percent(was)} before, {_percent(is_now)} after")

    @keyword("Mean Squared Error Should Fall By At Least ${share}")
    def mean_squared_error_should_fall(self, share: Percent) -> None:
        """Assert by how much of what it was the mean squared error over the test samples is less after training.

        | Mean Squared Error Should Fall By At Least 40 %
        """
        record = self.session.last.record
        if record.mse_before is None or record.mse_after is None:
            raise Failure(f"{record.episode} on {record.board}: the mean squared error was not measured")
        if record.mse_after > record.mse_before * (1.0 - float(share.fraction)):
            raise Failure(f"the mean squared error went from {record.mse_before:.4g} to {record.mse_after:.4g} only")

    @keyword("Every Step Should Be Bit-Exact To Golden")
    def every_step_should_be_bit_exact_to_golden(self) -> None:
        """Assert that the golden reference repeated every step, with the same loss, prediction and trainable state."""
        record = self.session.last.record
        self._hold_against_golden()
        if record.golden_steps != record.steps:
            raise Failure(
                f"only {record.golden_steps:,} of {record.steps:,} steps were held against golden; "
                f"train with golden_steps={record.steps}"
            )

    @keyword("The First ${steps} Steps Should Be Bit-Exact To Golden")
    def first_steps_should_be_bit_exact_to_golden(self, steps: int) -> None:
        """Assert that the golden reference repeated at least so many steps, all of them with the same bits."""
        record = self.session.last.record
        self._hold_against_golden()
        if record.golden_steps < steps:
            raise Failure(f"only {record.golden_steps:,} steps were held against golden, not {steps:,}")

    @keyword
    def instructions_per_step_should_be_as_locked(self) -> None:
        """Assert that a step and an inference take exactly the instructions in the episode's baseline.

        That of your own ``mine.yaml`` is ``mine.baseline.json`` beside it, which ``mcutrain baseline update mine.yaml`` writes.
        Counts belong to a compiler. Where one without locked counts built the firmware this asserts nothing, and says so as a warning;
        nor where the emulator counts none by operator.
        """
        run = self.session.last
        record, where = run.record, key_of(run.record.board, run.record.runner)
        if record.runner in EMULATORS and not EMULATORS[record.runner].profiles:
            logger.warn(
                f"{record.episode} on {where}: instructions not compared, {record.runner} counts none by operator"
            )
            return
        try:
            locked = load_baseline(run.episode, self.session.baselines).runs.get(where)
        except UsageError as error:
            raise Failure(str(error)) from None
        if locked is None:
            raise Failure(f"the baseline of {record.episode} has no run on {where}")
        if record.instructions_per_step is None:
            raise Failure(f"{record.episode} on {record.board}: instructions were not counted")
        # A count is the mean over the first steps: fewer of them would be another mean.
        if record.steps < min(locked.steps, PROFILED_STEPS):
            raise Failure(f"counts need {PROFILED_STEPS} steps, the run had {record.steps}")
        now = lock(record)
        for unlocked in unlocked_figures(locked, now):
            logger.warn(f"{record.episode} on {record.board}: instructions not compared, {unlocked}")
        found = [text for text in differences(locked, now) if text.startswith("instructions_per_")]
        if found:
            raise Failure(f"{record.episode} on {record.board}: {'; '.join(found)}")

    @keyword
    def all_records_should_be_identical(self) -> None:
        """Assert that all runs of this test, two or more, left the same record but for date, commit and seconds."""
        documents = [comparable(run.record) for run in self.session.runs]
        if len(documents) < 2:
            raise Failure(f"{len(documents)} run in this test; there must be two to compare")
        for number, document in enumerate(documents[1:], start=2):
            keys = [key for key, value in document.items() if value != documents[0][key]]
            if keys:
                raise Failure(f"run {number} differs from run 1 in {', '.join(keys)}")
        logger.info(f"{len(documents)} records are identical, digest {documents[0]['digest']}")

    def _train(
        self,
        episode: str,
        board: Place,
        options: Mapping[str, str | int | None],
        *,
        profile: bool = True,
        afresh: bool = False,
    ) -> EpisodeRecord:
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        given += [] if profile else ["--no-profile"]
        runner = self.session.runner(board)
        folder = _report_folder(Path(episode).stem, runner)
        outcome = self.session.tool(
            ["run", str(_absolute(episode)), "--board", runner, "--output", str(folder), *given], private=afresh
        )
        records = folder / "records.json"
        # Exit code 1 with a record is a run that parted from golden; without one there was no run to the end.
        if outcome.exit_code not in (0, 1) or not records.is_file():
            raise Failure(outcome.message)
        divergence = outcome.message if outcome.exit_code else None
        own = str(_absolute(episode)) if episode.endswith(_OWN) else ""
        return self._keep(Run(load_records(records)[0], folder / "report.html", divergence, own))

    def _keep(self, run: Run) -> EpisodeRecord:
        self.session.runs += (run,)
        log_record(run.record, run.report)
        return run.record

    def _hold_against_golden(self) -> None:
        run = self.session.last
        if run.divergence is not None:
            raise Failure(run.divergence)
        if not held_against_golden(run.record) or run.record.golden_steps == 0:
            raise Failure(f"{run.record.episode} on {run.record.board}: {golden_phrase(run.record)}")


def _accuracies(record: EpisodeRecord) -> tuple[Decimal, Decimal]:
    if record.accuracy_before is None or record.accuracy_after is None:
        raise Failure(f"{record.episode} on {record.board}: the accuracy was not measured")
    return Decimal(repr(record.accuracy_before)), Decimal(repr(record.accuracy_after))


def _percent(fraction: Decimal) -> str:
    return f"{100 * fraction:.2f} %"


def _absolute(episode: str) -> str | Path:
    """An own .yaml file is meant relative to where Robot was started; the tool runs elsewhere."""
    return Path(episode).resolve() if episode.endswith(_OWN) else episode


def _report_folder(episode: str, runner: str) -> Path:
    """An empty folder for a run's report, beside log.html. Numbers begin anew in each execution of Robot, as log.html does."""
    name = f"{episode}-{runner}"
    _REPORTS[name] += 1
    # Each process of pabot counts for itself.
    process = pabot_process()
    reports = output_folder() / "training-reports" / (f"suite-{process}" if process else "")
    folder = reports / f"{name}-{_REPORTS[name]}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder.resolve()
