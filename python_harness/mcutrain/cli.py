"""The command line tool: which commands there are, and how errors and exit codes look."""

from __future__ import annotations

import sys

import typer
from typer.exceptions import Abort, TyperException

from mcutrain.commands import (
    baseline,
    bench,
    build,
    demo,
    doctor,
    estimate,
    inspect,
    methods,
    plan,
    profile,
    report,
    run,
    test,
    verify,
)
from mcutrain.errors import McutrainError

app = typer.Typer(
    name="mcutrain",
    help="Train neural networks on Cortex-M4 and Cortex-M7 microcontrollers, and prove it on emulated boards.",
    epilog="Exit codes: 0 pass, 1 regression or mismatch, 2 usage, 77 not available on this machine.",
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
app.command("profile")(profile.profile)
app.command("estimate")(estimate.estimate)
app.command("report")(report.report)
app.add_typer(baseline.app, name="baseline")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the tool: one line for every error a user can cause, never a traceback."""
    try:
        app(standalone_mode=False, prog_name="mcutrain")
    except McutrainError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except TyperException as error:
        message = error.format_message()
        if "\n" in message:  # no command at all: the message is the help
            sys.stderr.write(f"{message}\n")
        else:
            _say(f"{message} (see --help)")
        sys.exit(2)
    except (Abort, KeyboardInterrupt):
        _say("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a path of the user's that cannot be read or written, a full disk
        _say(f"{error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(2)


def _say(message: str) -> None:
    sys.stderr.write(f"mcutrain: {' '.join(message.split())}\n")
