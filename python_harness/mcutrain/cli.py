"""The command line tool: which commands there are, and how errors and exit codes look."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from typing import NoReturn

import typer
from typer.exceptions import Abort, TyperException

from mcutrain import leftovers
from mcutrain.commands import (
    baseline,
    bench,
    build,
    compare,
    demo,
    doctor,
    estimate,
    inspect,
    methods,
    plan,
    profile,
    report,
    run,
    sweep,
    test,
    verify,
)
from mcutrain.errors import McutrainError

# As shells say it: 128 and the number of the signal that ends a program.
_INTERRUPTED = 128 + signal.SIGINT
_PIPE_CLOSED = 128 + signal.SIGPIPE

app = typer.Typer(
    name="mcutrain",
    help="Train neural networks on Cortex-M4 and Cortex-M7 microcontrollers, and prove it on emulated boards.",
    epilog="Exit codes: 0 pass, 1 regression or mismatch, 2 usage, 77 not available on this machine, "
    "128 and the number of the signal that ended it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(test.test)
app.command("doctor")(doctor.doctor_command)
app.command("inspect")(inspect.inspect)
app.command("methods")(methods.methods)
app.command("plan")(plan.plan)
app.command("build")(build.build)
app.command("run")(run.run)
app.command("verify")(verify.verify)
app.command("sweep")(sweep.sweep)
app.command("profile")(profile.profile)
app.command("estimate")(estimate.estimate)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.add_typer(baseline.app, name="baseline")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the tool and exit: one line for every error a user can cause, never a traceback."""
    exit_code, message = _outcome()
    _say(message)
    sys.exit(exit_code)


def run_process() -> NoReturn:
    """`main` as all that this process does. Once the outcome is known no signal changes it, and the end is immediate."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # they speak to the authors of libraries; the test suite makes errors of them
    try:
        exit_code, message = _outcome()
        leftovers.hold()
        sys.stdout.flush()
    except BrokenPipeError:
        exit_code, message = _PIPE_CLOSED, ""
    except OSError as error:
        exit_code, message = 2, f"standard output: {error.strerror or error}"
    except BaseException:
        leftovers.hold()
        raise
    _say(message)
    leftovers.close_guard()
    os._exit(exit_code)


def _outcome() -> tuple[int, str]:
    """Exit code, and the line that goes with it, if any."""
    try:
        ended = app(standalone_mode=False, prog_name="mcutrain")
    except McutrainError as error:
        return error.exit_code, str(error)
    except TyperException as error:
        message = error.format_message()
        if "\n" in message:  # no command at all: the message is the help
            sys.stderr.write(f"{message}\n")
            return 2, ""
        return 2, f"{message} (see --help)"
    except (Abort, KeyboardInterrupt):  # in a process that has other handlers than interrupt.py
        return _INTERRUPTED, "interrupted"
    except BrokenPipeError:
        return _PIPE_CLOSED, ""
    except SystemExit as error:  # typer and rich make one of a closed pipe
        if isinstance(error.__context__, BrokenPipeError):
            return _PIPE_CLOSED, ""
        raise
    except OSError as error:  # a path of the user's that cannot be read or written, a full disk
        return 2, f"{error.filename or _nameless()}: {error.strerror or error}"
    # typer returns the exit code of what it answers itself (--help, Ctrl-C), and what a command returns otherwise, which is nothing.
    code = ended if isinstance(ended, int) else 0
    return code, "interrupted" if code == _INTERRUPTED else ""


def _nameless() -> str:
    """What an error without a path is about: our own files have one, so it is standard output where that cannot take a line."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        return "standard output"
    return "input or output"


def _say(message: str) -> None:
    if message:
        with contextlib.suppress(OSError):  # nobody listens
            sys.stderr.write(f"mcutrain: {' '.join(message.split())}\n")
