"""What the plan command prints: where the sample lies, and the programs where there is more than a sample's."""

from __future__ import annotations

import sys

import pytest

from mcutrain import cli
from mcutrain.commands.plan import _outlined
from mcutrain.paths import PROJECT

DIGITS = str(PROJECT / "examples" / "digits" / "digits.onnx")


def printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["mcutrain", "plan", DIGITS, "--scheme", "head", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    return capfd.readouterr().out


def test_the_arena_is_labelled_with_the_place_of_the_sample(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "arena, input in SRAM (64 B)" in printed(monkeypatch, capfd)
    assert "arena, input external (64 B not in SRAM)" in printed(monkeypatch, capfd, "--input", "external")


def test_programs_are_printed_where_a_minibatch_has_an_update_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "Programs" not in printed(monkeypatch, capfd)
    said = printed(monkeypatch, capfd, "--batch", "8")
    assert "Programs, by operators:" in said and "(once every 8 samples)" in said
    assert (
        len([line for line in said.splitlines() if line.startswith(("  infer: 0-", "  sample: 0-", "  update: "))]) == 3
    )


def test_loops_are_outlined_as_what_they_repeat() -> None:
    inner = {"count": 3, "counter": None, "body": [[4, 5, 9]]}
    program = [[0, 1, 2], {"count": 2, "counter": "c", "body": [[3], inner]}, [10]]
    assert _outlined(program) == "0-2, 2 x (3, 3 x (4-5, 9)), 10"
