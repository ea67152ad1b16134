"""The tool in this process, for what needs no process of its own: the start of one takes a second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from mcutrain import cli

Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tool:
    """Runs the tool with these arguments and in this environment: its exit code and all that reached the two streams."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["mcutrain", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        captured = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, captured.out, captured.err)

    return run
