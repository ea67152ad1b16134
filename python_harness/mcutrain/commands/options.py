"""Options and output that several commands share."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mcutrain.boards import Board
from mcutrain.emulators.lines import Line
from mcutrain.episode.definition import EpisodeDefinition, load_episode
from mcutrain.errors import UsageError
from mcutrain.interrupt import before_end
from mcutrain.timing.memory import FlashMemory, flash_memory
from mcutrain.yaml_file import parse_yaml

# Standard output is for results; with --json it holds one document and nothing else. Progress and logs go to standard error.
# A file or a pipe has no width of its own: take one that no table has to squeeze into.
# What is printed is text: names come from files, and none of them is markup.
_console = functools.partial(Console, highlight=False, markup=False, emoji=False)
console = _console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 110)
log = _console(stderr=True)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")
]
EpisodeArgument = Annotated[str, typer.Argument(metavar="EPISODE", help="Name of an episode, or your own .yaml file.")]
SchemeOption = Annotated[
    str | None,
    typer.Option(help="What trains: head, biases, full, or e.g. 'b20; 24@1/4 conv30@1/2' (see docs/schemes.md)."),
]
ErrorsOption = Annotated[str | None, typer.Option(help="Error mode: b16 (block floating point) or f32 (reference).")]
MemoryOption = Annotated[
    str | None,
    typer.Option(help="flash: add what the wait for the board's flash costs, behind its caches. Slower to run."),
]
WeightsOption = Annotated[str | None, typer.Option(help="Weight rounding: master16, stochastic8 or nearest8.")]
BatchOption = Annotated[int | None, typer.Option(min=1, help="Samples whose gradients make one update.")]
InputOption = Annotated[
    str | None, typer.Option("--input", help="Where the sample lies: sram, or external (memory that is mapped anyway).")
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Tensor of the model file to end at, where it has several outputs or another is meant."
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FOLDER",
        help="Write report.html and records.json there, over what is there. A new folder below results/ where not given.",
    ),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="Any option of the method; may be repeated. 'mcutrain methods' lists them.",
    ),
]


def print_json(document: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write the one document of --json."""
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def method_options(
    scheme: str | None, errors: str | None, weights: str | None, batch: int | None, option: list[str] | None
) -> dict[str, Any]:
    """The options of the method that the command line gives, by key. Raises UsageError for what is no KEY=VALUE, or given twice."""
    shorthand = {"scheme": scheme, "errors": errors, "weights": weights, "batch": batch}
    found = {key: value for key, value in shorthand.items() if value is not None}
    for text in option or ():
        key, equals, value = text.partition("=")
        if not (equals and key):
            raise UsageError(f"--option {text!r}: write KEY=VALUE, e.g. step_cap=0.25")
        if key in found:
            raise UsageError(f"--option {text!r}: {key} is given twice")
        found[key] = _scalar(text, value)
    return found


def _scalar(text: str, value: str) -> Any:
    """A value as a YAML file would have it."""
    try:
        found = parse_yaml(value)
    except UsageError as error:
        raise UsageError(f"--option {text!r}: {value!r} is no YAML value; put it into quotes") from error
    if isinstance(found, dict | list):
        raise UsageError(f"--option {text!r}: give one value; put it into quotes if it is text")
    return found


def load(
    name: str, options: Mapping[str, Any] | None = None, changes: Mapping[str, Any] | None = None
) -> EpisodeDefinition:
    """An episode by name with the command line's options of its method, and changes of its own keys (None: left as it is).

    Raises UsageError for values that its models refuse.
    """
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    return load_episode(name).changed(given, options)


def memory_model(name: str | None, board: Board) -> FlashMemory | None:
    """The memory that --memory names; None for zero wait states. Raises UsageError where there is none, or the board lacks it."""
    if name not in (None, "flash"):
        raise UsageError(f"--memory {name!r} is not known: give flash, or leave it out for zero wait states")
    return flash_memory(board) if name else None


_STEPS_OF_THE_MEAN = 100  # single samples' losses are noisy


class Bars:
    """Progress bars for a run: steps, and the golden reference's steps. Silent without a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def counter(self, description: str, total: int, kind: str = "step") -> Any:
        """A callback that advances a new bar with every line of ``kind``; beside steps stands the running mean of their losses."""
        task = self._progress.add_task(description, total=total, loss="")
        steps, mean = 0, 0.0

        def advance(line: Line) -> None:
            nonlocal steps, mean
            if line.kind != kind:
                return
            loss = ""
            if kind == "step":
                steps += 1
                mean += (line.float32("loss") - mean) / min(steps, _STEPS_OF_THE_MEAN)
                loss = f"loss {mean:.3g}"
            self._progress.update(task, advance=1, loss=loss)

        return advance


@contextmanager
def bars() -> Iterator[Bars]:
    """Progress bars on standard error for as long as the block runs."""
    words, loss = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[loss]}"))
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), loss)
    progress = Progress(*columns, console=log, transient=True, disable=not log.is_terminal)
    with progress, before_end(progress.stop):
        yield Bars(progress)
