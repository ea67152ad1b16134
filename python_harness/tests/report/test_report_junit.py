"""Merged JUnit: the totals are those of the test cases, whatever each tool says about them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mcutrain.errors import UsageError
from mcutrain.report import JunitTotals, merge_junit
from mcutrain.report.junit import JunitCase, write_junit

PYTEST = """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1"
failures="1" skipped="1" tests="4" time="1.5" hostname="h" timestamp="2026-01-02T03:04:05">
<properties><property name="seed" value="7"/></properties>
<testcase classname="a" name="good" time="0.5"/>
<testcase classname="a" name="bad" time="0.5"><failure message="no">text &lt;x&gt;</failure>
<error message="teardown"/></testcase>
<testcase classname="a" name="broken" time="0.25"><error message="setup"/></testcase>
<testcase classname="a" name="later" time="0.25"><skipped message="later"/></testcase></testsuite></testsuites>"""

CTEST = """<?xml version="1.0" encoding="UTF-8"?><testsuite name="host" tests="5" failures="1" disabled="1" skipped="2">
<testcase name="a" classname="a" time="0.5" status="run"><system-out>hello</system-out></testcase>
<testcase name="b" classname="b" time="0.5" status="fail"><failure message=""/></testcase>
<testcase name="c" classname="c" time="0.5" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
<testcase name="d" classname="d" time="0" status="disabled"><system-out>Disabled</system-out></testcase>
<testcase name="e" classname="e" time="0" status="notrun"><skipped message="Unable to find executable"/></testcase>
</testsuite>"""

ROBOT = """<?xml version="1.0" encoding="UTF-8"?><testsuite name="Robot" tests="3" failures="1">
<testsuite name="Train" tests="2" failures="1"><testsuite name="Digits" tests="2" failures="1">
<testcase classname="x" name="Train Digits" time="2.0"/>
<testcase classname="x" name="Train More" time="1.0"><failure message="no"/></testcase></testsuite></testsuite>
<testsuite name="Verify" tests="1"><testcase classname="y" name="Verify Digits" time="1.0"/></testsuite></testsuite>"""


def _write(folder: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.xml").write_text(text, encoding="utf-8")
    return [folder / f"{name}.xml" for name in texts]


def test_the_totals_are_the_sums_over_all_tools(tmp_path: Path) -> None:
    paths = _write(tmp_path, pytest=PYTEST, ctest=CTEST, robot=ROBOT)
    totals = merge_junit(paths, tmp_path / "out.xml")
    assert (totals.tests, totals.failures, totals.errors, totals.skipped) == (12, 3, 2, 3)
    assert totals.seconds == pytest.approx(7.0)
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert root.tag == "testsuites"
    assert {k: root.get(k) for k in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "12",
        "failures": "3",
        "errors": "2",
        "skipped": "3",
        "time": "7.000",
    }
    for key in ("tests", "failures", "errors", "skipped"):
        assert sum(int(s.get(key, "")) for s in root.findall("testsuite")) == int(root.get(key, "")), key
    assert len(root.findall("testsuite/testcase")) == 12


def test_nested_suites_are_named_by_their_path_and_come_once(tmp_path: Path) -> None:
    merge_junit(_write(tmp_path, robot=ROBOT), tmp_path / "out.xml")
    suites = ElementTree.parse(tmp_path / "out.xml").getroot().findall(".//testsuite")
    assert [(s.get("name"), s.get("tests")) for s in suites] == [("Robot.Train.Digits", "2"), ("Robot.Verify", "1")]


def test_a_suite_with_cases_and_suites_counts_each_case_once(tmp_path: Path) -> None:
    mixed = '<testsuite name="a"><testcase name="x"/><testsuite name="b"><testcase name="y"/></testsuite></testsuite>'
    assert merge_junit(_write(tmp_path, mixed=mixed), tmp_path / "out.xml").tests == 2
    suites = ElementTree.parse(tmp_path / "out.xml").getroot().findall(".//testsuite")
    assert [(s.get("name"), [c.get("name") for c in s.iter("testcase")]) for s in suites] == [
        ("a", ["x"]),
        ("a.b", ["y"]),
    ]


def test_messages_output_and_properties_are_kept(tmp_path: Path) -> None:
    merge_junit(_write(tmp_path, pytest=PYTEST, ctest=CTEST), tmp_path / "out.xml")
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert next(f.text for f in root.iter("failure")) == "text <x>"
    assert "hello" in [o.text for o in root.iter("system-out")]
    assert [p.get("value") for p in root.iter("property")] == ["7"]
    assert root.findall("testsuite")[0].get("timestamp") == "2026-01-02T03:04:05"


def test_a_ctest_whose_program_is_missing_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    merge_junit(_write(tmp_path, ctest=CTEST), tmp_path / "out.xml")
    cases = {c.get("name"): c for c in ElementTree.parse(tmp_path / "out.xml").getroot().iter("testcase")}
    assert cases["e"].find("error") is not None
    assert cases["e"].find("skipped") is None
    assert cases["c"].find("skipped") is not None
    assert cases["d"].find("skipped") is not None


def test_only_a_run_with_a_test_that_ran_and_none_that_failed_is_passed() -> None:
    assert JunitTotals(tests=2, skipped=1).passed
    assert not JunitTotals(tests=2, skipped=2).passed
    assert not JunitTotals().passed
    assert not JunitTotals(tests=2, failures=1).passed
    assert not JunitTotals(tests=2, errors=1).passed


@pytest.mark.parametrize(
    ("text", "message"),
    [("<testsuites><testsuite>", "not XML"), ("", "not XML"), ("<html/>", "the root is <html>")],
)
def test_a_broken_file_is_refused_and_nothing_is_written(tmp_path: Path, text: str, message: str) -> None:
    paths = _write(tmp_path, good=PYTEST, bad=text)
    with pytest.raises(UsageError, match=message) as caught:
        merge_junit(paths, tmp_path / "out.xml")
    assert str(paths[1]) in str(caught.value)
    assert not (tmp_path / "out.xml").exists()


def test_a_missing_file_does_not_vanish_from_the_sum(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read test results from .*gone\.xml"):
        merge_junit([*_write(tmp_path, good=PYTEST), tmp_path / "gone.xml"], tmp_path / "out.xml")


def test_cases_of_our_own_are_written_with_totals_and_without_what_xml_cannot_hold(tmp_path: Path) -> None:
    cases = [
        JunitCase("a", 1.5, output="as locked"),
        JunitCase("b\x1b[2J", 2.0, failure="learning_rate: 0.01 -> 0.011\nall <of> it\x00"),
        JunitCase("c", skipped="no data"),
    ]
    write_junit("baseline", cases, tmp_path / "own.xml")
    suite = ElementTree.parse(tmp_path / "own.xml").getroot()
    assert suite.attrib == {
        **{"name": "baseline", "tests": "3", "failures": "1", "errors": "0", "skipped": "1", "time": "3.500"}
    }
    passed, failed, skipped = suite
    assert passed.findtext("system-out") == "as locked" and passed.get("classname") == "baseline"
    failure = failed.find("failure")
    assert failure is not None and failed.get("name") == "b\\x1b[2J"
    assert failure.get("message") == "learning_rate: 0.01 -> 0.011"
    assert failure.text == "learning_rate: 0.01 -> 0.011\nall <of> it\\x00"
    assert [child.get("message") for child in skipped] == ["no data"]
    assert merge_junit([tmp_path / "own.xml"], tmp_path / "merged.xml") == JunitTotals(3, 1, 0, 1, 3.5)
