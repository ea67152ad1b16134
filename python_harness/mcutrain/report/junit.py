"""JUnit XML: of cases of our own, and one file out of those that pytest, ctest and Robot Framework write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mcutrain.atomic import write_atomically
from mcutrain.errors import UsageError
from mcutrain.report.wording import printable


@dataclass(frozen=True)
class JunitTotals:
    """Counts of test cases (each in at most one of failures, errors and skipped) and the sum of their times, s."""

    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True when nothing failed and at least one test ran: a run without tests shows nothing."""
        return self.failures == 0 and self.errors == 0 and self.tests > self.skipped

    def __add__(self, other: JunitTotals) -> JunitTotals:
        """Sum of two totals."""
        return JunitTotals(
            self.tests + other.tests,
            self.failures + other.failures,
            self.errors + other.errors,
            self.skipped + other.skipped,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class JunitCase:
    """A test case. failure, skipped: what to say of one that failed or did not run; empty for one that passed. output: what it said."""

    name: str
    seconds: float = 0.0
    failure: str = ""
    skipped: str = ""
    output: str = ""


def write_junit(suite: str, cases: Sequence[JunitCase], out: Path) -> None:
    """Write the cases as one suite, whole or not at all. Raises UsageError where it cannot be written."""
    element = ElementTree.Element("testsuite", name=suite)
    for case in cases:
        row = ElementTree.SubElement(
            element, "testcase", classname=suite, name=printable(case.name), time=f"{case.seconds:.3f}"
        )
        if case.failure:
            said = [printable(line) for line in case.failure.splitlines()]
            ElementTree.SubElement(row, "failure", message=said[0]).text = "\n".join(said)
        elif case.skipped:
            ElementTree.SubElement(row, "skipped", message=printable(case.skipped))
        if case.output:
            ElementTree.SubElement(row, "system-out").text = "\n".join(map(printable, case.output.splitlines()))
    _state(element, sum(map(_case, element), JunitTotals()))
    _write(element, out)


def merge_junit(paths: Sequence[Path], out: Path) -> JunitTotals:
    """Merge JUnit files into out, in the order given, and return the totals.

    Nested suites become one suite each, named by their path ("Robot Tests.Train"). Totals are counted from the test
    cases, never taken from attributes, on which the tools disagree. Raises UsageError when a file is missing or is not
    JUnit: a tool that died before it wrote its results must not vanish from the sum. Writes out whole or not at all.
    """
    merged = ElementTree.Element("testsuites", name="mcutrain")
    totals = JunitTotals()
    for path in paths:
        for name, suite in _suites(_parse(path), ""):
            cases = suite.findall("testcase")
            if not cases:
                continue
            copy = ElementTree.SubElement(merged, "testsuite", name=name or path.stem)
            copy.attrib.update({key: suite.attrib[key] for key in ("hostname", "timestamp") if suite.get(key)})
            copy.extend(child for child in suite if child.tag != "testsuite")
            own = sum((_case(case) for case in cases), JunitTotals())
            _state(copy, own)
            totals += own
    _state(merged, totals)
    _write(merged, out)
    return totals


def _write(root: ElementTree.Element, out: Path) -> None:
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_atomically(out, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', "the JUnit file")


def _parse(path: Path) -> ElementTree.Element:
    try:
        # Our own tools wrote this; expat bounds the growth of entities, and external ones are not fetched.
        root = ElementTree.fromstring(path.read_bytes())  # noqa: S314
    except OSError as error:
        raise UsageError(
            f"cannot read test results from {path}: {error.strerror}; the tool that writes it did not finish"
        ) from None
    except (ElementTree.ParseError, ValueError) as error:
        raise UsageError(f"{path}: not XML ({error}); the tool that writes it did not finish") from None
    if root.tag not in ("testsuites", "testsuite"):
        raise UsageError(f"{path}: the root is <{root.tag}>, not <testsuites> or <testsuite>; name a JUnit file")
    return root


def _suites(element: ElementTree.Element, above: str) -> Iterator[tuple[str, ElementTree.Element]]:
    """Every suite in the element with its full name, outermost first. <testsuites> adds nothing to the name."""
    own = element.get("name", "") if element.tag == "testsuite" else ""
    name = ".".join(part for part in (above, own) if part)
    if element.tag == "testsuite":
        yield name, element
    for child in element.findall("testsuite"):
        yield from _suites(child, name)


def _case(case: ElementTree.Element) -> JunitTotals:
    """Count one test case, and put right what ctest says differently: tests disabled or not started."""
    skipped = case.find("skipped")
    if case.get("status") == "disabled" and skipped is None:
        skipped = ElementTree.SubElement(case, "skipped", message="disabled")
    # ctest fails on a test whose program is missing, but its JUnit calls it skipped. Real skips say SKIP_... there.
    if skipped is not None and case.get("status") == "notrun" and not skipped.get("message", "").startswith("SKIP_"):
        skipped.tag = "error"
    seconds = _seconds(case.get("time", "0"))
    # A case that failed and whose tear-down erred is one case that failed.
    if case.find("failure") is not None:
        return JunitTotals(tests=1, failures=1, seconds=seconds)
    if case.find("error") is not None:
        return JunitTotals(tests=1, errors=1, seconds=seconds)
    return JunitTotals(tests=1, skipped=int(case.find("skipped") is not None), seconds=seconds)


def _seconds(text: str) -> float:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return value if 0.0 <= value < float("inf") else 0.0


def _state(element: ElementTree.Element, totals: JunitTotals) -> None:
    for key in ("tests", "failures", "errors", "skipped"):
        element.set(key, str(getattr(totals, key)))
    element.set("time", f"{totals.seconds:.3f}")
