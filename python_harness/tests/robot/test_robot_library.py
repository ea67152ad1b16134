"""The library as its users see it: words for boards and numbers, documentation, and suites that fit its keywords."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from robot.api import TestSuite as Suite
from robot.api import get_model
from robot.api.parsing import LibraryImport, ModelVisitor, ResourceImport, SettingSection
from robot.libdoc import LibraryDocumentation
from robot.run import run

from mcutrain.boards import board_names
from mcutrain.paths import PROJECT
from mcutrain.robot import keyword_table
from mcutrain.robot.keyword_table import PAGE, with_table
from mcutrain.robot.words import parse_count, parse_percent, parse_place, runners_on_emulator

RENODE_SUITES = sorted((PROJECT / "emulation" / "renode" / "tests").glob("*.robot"))
SUITES = sorted((PROJECT / "robot_tests").glob("*.robot"))
EXAMPLES = sorted((PROJECT / "examples").rglob("*.robot"))


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("m7-1m", "m7-1m"),
        ("host", "host"),
        ("the 256K Cortex-M4 board", "m4-256k"),
        ("The 1M Cortex-M7 Board", "m7-1m"),
        ("256 KB cortex-m7", "m7-256k"),
    ],
)
def test_a_board_is_given_by_name_or_in_words(words: str, place: str) -> None:
    assert parse_place(words) == place


@pytest.mark.parametrize("words", ["", "m5", "the 512K Cortex-M4 board", "the 256K Cortex-M0 board", "the host board"])
def test_words_that_mean_no_board_are_refused_with_the_names_there_are(words: str) -> None:
    with pytest.raises(ValueError, match=", ".join(board_names())):
        parse_place(words)


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ("run e --board m4-256k --board=m7-1m", "run e --board m4-256k@renode --board=m7-1m@renode"),
        ("verify e --runners golden,host,m4-256k", "verify e --runners golden,host,m4-256k@renode"),
        ("run e --board m4-256k@qemu", "run e --board m4-256k@qemu"),
        ("run e --board m5-256k --output m4-256k", "run e --board m5-256k --output m4-256k"),
        ("plan e --board m4-256k", "plan e --board m4-256k"),
        ("", ""),
    ],
)
def test_boards_of_commands_that_run_episodes_are_on_the_chosen_emulator_if_they_say_none(
    given: str, there: str
) -> None:
    assert runners_on_emulator(given.split(), "renode") == there.split()
    assert runners_on_emulator(given.split(), "") == given.split()


def test_counts_may_have_thousands_separators() -> None:
    assert [parse_count(text) for text in ("262144", "262,144", "262 144", "262_144", 7)] == [262144] * 4 + [7]


@pytest.mark.parametrize("text", ["", "1,2", "-1", "1.5", "1,0000", "many"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        parse_count(text)


def test_a_percentage_knows_how_exactly_it_was_written() -> None:
    assert (parse_percent("56.5 %").fraction, parse_percent("56.5 %").half_unit) == (
        Decimal("0.565"),
        Decimal("0.0005"),
    )
    assert (parse_percent("56%").fraction, parse_percent("56%").half_unit) == (Decimal("0.56"), Decimal("0.005"))


@pytest.mark.parametrize("text", ["", "56", "0.5", "101 %", "-3 %", "a lot"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a percentage"):
        parse_percent(text)


def test_every_keyword_is_documented() -> None:
    library = LibraryDocumentation("mcutrain.robot.McutrainLibrary")
    assert library.scope == "SUITE"
    assert len(library.keywords) > 20
    assert [keyword.name for keyword in library.keywords if len(keyword.doc) < 20] == []


def test_the_page_on_keywords_has_them_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "bring it up to date: python -m mcutrain.robot.keyword_table"
    names = re.findall(r"(?m)^\| `(.+?)` \|", page.partition("## Keywords")[2])
    assert names == [keyword.name for keyword in LibraryDocumentation("mcutrain.robot.McutrainLibrary").keywords]


def test_the_page_on_keywords_is_brought_up_to_date(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (tmp_path / "robot.md").write_text(
        page.replace("| `Error Should Say` |", "| `Error Should Shout` |"), encoding="utf-8"
    )
    keyword_table.main(tmp_path / "robot.md")
    assert (tmp_path / "robot.md").read_text(encoding="utf-8") == page


def test_the_page_names_every_tag_of_the_shipped_suites() -> None:
    used = {
        tag for path in (*SUITES, *EXAMPLES) for test in Suite.from_file_system(path).all_tests for tag in test.tags
    }
    told = set(
        re.findall(
            r"(?m)^\| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8").partition("## Tags")[2].partition("##")[0]
        )
    )
    assert used == told


def test_the_projects_suites_use_keywords_that_there_are() -> None:
    output = io.StringIO()
    status = run(
        str(PROJECT / "robot_tests"),
        dryrun=True,
        output="NONE",
        log="NONE",
        report="NONE",
        stdout=output,
        stderr=output,
    )
    assert status == 0, output.getvalue()


def test_the_projects_suites_say_nothing_that_robot_framework_6_does_not_know() -> None:
    suites = [
        *(PROJECT / "robot_tests").rglob("*.ro*"),
        *(PROJECT / "robot_tests").rglob("*.resource"),
        *EXAMPLES,
        *RENODE_SUITES,
    ]
    libraries = [LibraryDocumentation("mcutrain.robot.McutrainLibrary"), *map(LibraryDocumentation, suites)]
    finder = _SaysWhat7Knows([keyword.name for library in libraries for keyword in library.keywords])
    for path in suites:
        finder.visit(get_model(path))
    assert len(suites) > 5
    assert finder.found == []


class _SaysWhat7Knows(ModelVisitor):  # type: ignore[misc]
    """Finds what came with Robot Framework 7: VAR, and arguments behind a sentence that has some in it."""

    def __init__(self, keywords: list[str]) -> None:
        sentences = [re.sub(r"\\\$\\\{.*?\\\}", ".*", re.escape(name)) for name in keywords if "${" in name]
        self.sentence = re.compile("|".join(sentences), re.IGNORECASE)
        self.found: list[str] = []

    def visit_Var(self, node: Any) -> None:  # noqa: N802 - the parser's name
        self.found.append(f"{node.source}:{node.lineno}: VAR")

    def visit_KeywordCall(self, node: Any) -> None:  # noqa: N802 - the parser's name
        if node.args and self.sentence.fullmatch(node.keyword):
            self.found.append(f"{node.keyword}    {node.args[0]}")


def test_the_suite_for_renodes_own_server_takes_nothing_from_elsewhere() -> None:
    assert RENODE_SUITES
    for path in RENODE_SUITES:
        settings = get_model(path).sections[0]
        assert isinstance(settings, SettingSection)
        assert [node.name for node in settings.body if isinstance(node, LibraryImport | ResourceImport)] == []


def test_every_suite_limits_the_time_of_its_tests() -> None:
    suites = [*(PROJECT / "robot_tests").glob("*.robot"), *EXAMPLES, *RENODE_SUITES]
    assert suites
    assert [path.name for path in suites if "\nTest Timeout " not in path.read_text(encoding="utf-8")] == []
