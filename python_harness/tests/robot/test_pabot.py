"""Suites side by side, by pabot: no process takes another's folder, and the one log that it merges links every report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

from mcutrain.paths import PROJECT

SUITE = """\
*** Settings ***
Library    mcutrain.robot.McutrainLibrary

*** Test Cases ***
Train
    Train Episode    digits-biases    golden    steps={steps}    test=1
"""


def test_reports_of_suites_side_by_side_are_all_there_and_linked_from_the_merged_log(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    for steps in (1, 2):
        (tmp_path / "suites" / f"s{steps}.robot").write_text(SUITE.format(steps=steps), encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-m", "pabot.pabot", "--processes", "2", "--no-pabotlib", "--outputdir", "out", "suites"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{PROJECT}/python_harness",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    reports = sorted((tmp_path / "out").rglob("report.html"))
    trained = [path for path in reports if "training-reports" in path.parts]
    assert len(trained) == 2
    ran = {len(next(path.parent.glob("steps-*.csv")).read_text().splitlines()) - 1 for path in trained}
    assert ran == {1, 2}
    log = (tmp_path / "out" / "log.html").read_text(encoding="utf-8")
    linked = {unquote(link) for link in re.findall(r"training-reports/[\w/.%@-]+/report\.html", log)}
    assert {tmp_path / "out" / link for link in linked} == set(trained)
