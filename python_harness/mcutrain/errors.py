"""The errors a user can cause, each one clear line, and the exit code that goes with it."""

from __future__ import annotations


class McutrainError(Exception):
    """Base of every error that is shown to the user as one line: what is wrong, where, what to do."""

    exit_code = 1


class UsageError(McutrainError):
    """Bad input: a wrong name, a broken file, a network that does not fit. Exit code 2."""

    exit_code = 2


class MismatchError(McutrainError):
    """A run did not do what it should have done: a regression or a difference to golden. Exit code 1."""

    exit_code = 1


class NotAvailableError(McutrainError):
    """Something this machine does not have (an emulator, a data set). Exit code 77."""

    exit_code = 77
