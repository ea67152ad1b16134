"""examples/pytorch and examples/keras: from a framework's model to an episode that learns, in the files as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def trained(tmp_path: Path, folder: str, script: str, *options: str) -> dict[str, object]:
    """Make the files with the example's script, train by its episode on the host; the record."""
    example = ROOT / "examples" / folder
    made = subprocess.run(
        [sys.executable, example / script, "--folder", tmp_path, *options], capture_output=True, text=True, timeout=280
    )
    assert made.returncode == 0, made.stderr[-2000:]
    episode = Path(shutil.copy(example / "digits_cnn.yaml", tmp_path))
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mcutrain",
        "run",
        episode,
        "--board",
        "host",
        "--json",
        "--output",
        tmp_path,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "python_harness")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr[-2000:]
    (record,) = json.loads(run.stdout)["episodes"]
    assert isinstance(record, dict)
    return record


def assert_learned(record: dict[str, object]) -> None:
    """Upside down, the digits are hard to tell for a network that has only seen them upright; one that adapts can."""
    assert record["matches_golden"] is True
    before, after = record["accuracy_before"], record["accuracy_after"]
    assert isinstance(before, float) and isinstance(after, float)
    assert after > before + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--pt2e",)])
def test_a_pytorch_module_trains_as_the_example_shows(tmp_path: Path, options: tuple[str, ...]) -> None:
    for module in ("torch", "onnxscript", *(["torchao"] if options else [])):
        pytest.importorskip(module)
    assert_learned(trained(tmp_path, "pytorch", "module_to_board.py", *options))


@pytest.mark.slow
def test_a_keras_model_trains_as_the_example_shows(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    assert_learned(trained(tmp_path, "keras", "keras_to_board.py"))


def test_the_scripts_are_short() -> None:
    for script in ("pytorch/module_to_board.py", "keras/keras_to_board.py"):
        assert len((ROOT / "examples" / script).read_text(encoding="utf-8").splitlines()) <= 60
