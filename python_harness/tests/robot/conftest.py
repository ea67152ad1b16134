from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcutrain.report.json_report import write_json
from robot_keywords.helpers import Result, make_record, run_test

Hold = Callable[..., Result]
