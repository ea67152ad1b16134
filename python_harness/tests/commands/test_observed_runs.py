"""What `run` says of a run beside its results, and that its exit code is not of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands.conftest import Tool
from mcutrain.commands.options import Bars
from mcutrain.emulators.lines import Line
from mcutrain.report import load_records

SHORT = ("run", "digits-biases", "--board", "host", "--test", "10", "--golden-steps", "2")


def test_a_run_tells_its_input_before_and_its_warnings_behind_and_ends_well(here: Tool, tmp_path: Path) -> None:
    done = here(*SHORT, "--learning-rate", "1e-12", "--output", str(tmp_path))
    assert done.returncode == 0
    told = done.stderr.splitlines()
    said = "input: codes -128 to 103 (adapt), -128 to 98 (test), of -128 to 127; 0.0 % of the values clipped"
    assert done.stdout.splitlines()[0] == said
    assert [line.partition(":")[0] for line in told] == ["warning", "warning"]
    assert "each of their steps is rounded to nothing" in told[0] and "the loss does not fall" in told[1]
    (record,) = load_records(tmp_path / "records.json")
    assert record.observations is not None and [f"warning: {text}" for text in record.observations.warnings] == told
    assert "warning: nothing has changed of" in done.stdout


def test_who_does_not_ask_is_told_nothing(here: Tool, tmp_path: Path) -> None:
    done = here(*SHORT, "--steps", "3", "--no-observe", "--json", "--output", str(tmp_path))
    assert done.returncode == 0 and "input:" not in done.stderr + done.stdout.partition("{")[0]
    assert json.loads(done.stdout)["episodes"][0]["observations"] is None


def test_a_bar_of_steps_shows_the_mean_of_their_losses() -> None:
    class Progress:
        shown: list[dict[str, Any]]

        def add_task(self, description: str, **_: Any) -> int:
            self.shown = []
            return 3

        def update(self, task: int, **fields: Any) -> None:
            assert task == 3
            self.shown.append(fields)

    progress = Progress()
    on_line = Bars(progress).counter("a run", 3)  # type: ignore[arg-type]
    for bits in ("3f800000", "40400000"):  # 1 and 3
        on_line(Line("step", {"n": "0", "loss": bits}, 1))
    on_line(Line("evaluation", {}, 2))
    assert progress.shown == [{"advance": 1, "loss": "loss 1"}, {"advance": 1, "loss": "loss 2"}]
