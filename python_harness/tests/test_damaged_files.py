"""Files that were damaged by chance: no traceback, no more than 10 seconds or a gigabyte for any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.damaged_files import KINDS

TESTS = Path(__file__).parent


def read_damaged(kind: str, count: int, seed: int, folder: Path) -> None:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    command = [sys.executable, "-m", "support.damaged_files", kind, str(count), str(seed), str(folder)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert run.returncode == 0, f"{' '.join(command[1:])}: {run.returncode}\n{run.stderr}"
    found = re.fullmatch(r"(\d+) loaded, (\d+) refused in (\d+) ways, .*\n", run.stdout)
    assert found, run.stdout
    print(run.stdout)
    loaded, refused, ways = map(int, found.groups())
    # A pickle survives one change in a hundred.
    assert loaded + refused == count and (loaded > 0 or count < 1000) and ways > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    read_damaged(kind, 100, 1, tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_25000_damaged_files_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    for seed in range(2, 12):
        read_damaged(kind, 2500, seed, tmp_path)
