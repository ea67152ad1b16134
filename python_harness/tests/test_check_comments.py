"""Every ``check:`` comment of the project holds, and a comment that says something else fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcutrain.paths import PROJECT
from support.check_comments import ClaimError, check, claims, failures

FOLDERS = ("src", "emulation", "python_harness", "examples")
SOURCES = [
    path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*")) if path.suffix in (".c", ".h", ".py")
]


def test_every_check_comment_holds() -> None:
    assert [failure for path in SOURCES for failure in failures(path)] == []


def test_the_comments_are_found() -> None:
    checked = {path.name: len(claims(path)) for path in SOURCES if claims(path)}
    assert checked["exponential.h"] >= 4
    assert checked["float_math.h"] >= 6
    assert sum(checked.values()) >= 30


@pytest.mark.parametrize(
    "claim",
    [
        "2^21 == 2097152",
        "2097152.0f == 2^21 < 2^22",
        "0x0d800000u == bits(2^-100) == 0x1b << 23",
        "round(48/17 * 2^29) == 1515870810",
        "1.44269502f == float32(1 / ln(2))",
        "1.44269502 != float32(1 / ln(2))",
        "bits(inf) == 0x7F800000",
        "-(2^-1) == -0.5",
        "~0 & 0xFF | 0x100 == 0x1FF",
        "12 / 5 > 2.3 > 12 / 6",
        "(int32_t)4095 == 2^12 - 1",
        "2^(i + 1) == 2 * 2^i for i in -2..3",
    ],
)
def test_a_claim_that_is_true_holds(claim: str) -> None:
    check(claim)


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("2^21 == 2097153", "does not hold: 2097152 and 2097153"),
        ("2^21 < 2^22 < 2^20", "does not hold"),
        ("0.693147182f == 0.693147182", "does not hold"),
        ("2^(i + 1) == 2 * 2^i + i for i in 0..3", "does not hold: 4 and 5"),
        ("2^21", "not a comparison"),
        ("2^32 - 1 has 10", "cannot be computed"),
        ("more than 255", "cannot be computed"),
        ("unknown == 1", "unknown has no definitions here"),
        ("open(1) == 1", "open is not known"),
        ("(1).real == 1", "cannot be computed"),
        ("2^99999 > 1", "the power is too large"),
        ("1 << 99999 > 1", "the shift is too long"),
        ("1 / 0 == 1", "division by zero"),
        ("1 == 1 for i in 3..2", "the range is empty"),
        ("", "cannot be computed"),
    ],
)
def test_a_claim_that_is_false_or_no_arithmetic_is_refused(claim: str, reason: str) -> None:
    with pytest.raises(ClaimError, match=reason):
        check(claim)


def test_names_are_the_constants_of_the_file() -> None:
    source = """
        #define STEP 512.0f /* = 511.0f */
        enum { BITS = 5, LEFT = 20 };
        const int32_t powers[] = {1, 2,
                                  4}, unit = 1 << BITS;
    """
    check("STEP * 65536 == 2^25", source)
    check("powers[i] == 2^i for i in 0..len(powers) - 1", source)
    check("unit == 2^BITS < 2^LEFT", source)
    check("LIMIT + OTHER == 3", "LIMIT = 1  # one\nOTHER: int = 2\n")
    with pytest.raises(ClaimError, match="2 definitions"):
        check("unit == 32", source + "int unit = 33;")
    with pytest.raises(ClaimError, match="no such element"):
        check("powers[i] == 2^i for i in 0..3", source)


def test_a_failure_names_file_line_and_claim(tmp_path: Path) -> None:
    (tmp_path / "limits.c").write_text("int x;\n#define A 3 /* why;\n * check: A == 3; A ==\n * 4 */\n")
    (tmp_path / "limits.py").write_text('A = "# check: 1 == 2"\nB = 3  # check: B == 2^1\n')
    assert failures(tmp_path / "limits.c") == [f"{tmp_path}/limits.c:2: A == 4: does not hold: 3 and 4"]
    assert failures(tmp_path / "limits.py") == [f"{tmp_path}/limits.py:2: B == 2^1: does not hold: 3 and 2"]
