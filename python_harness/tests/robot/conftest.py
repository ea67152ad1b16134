from __future__ import annotations

from pathlib import Path

import pytest

from mcutrain.episode.record import EpisodeRecord
from mcutrain.report.json_report import write_json
from support.robot_suites import Hold, Result, run_test


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    def run(records: list[EpisodeRecord], *keywords: str, library: str = "") -> Result:
        load = []
        for number, record in enumerate(records):
            path = tmp_path / f"records-{number}.json"
            write_json([record], path)
            load.append(f"Load The Record {path}")
        return run_test(tmp_path, *load, *keywords, library=library)

    return run
