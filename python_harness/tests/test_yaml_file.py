"""YAML that a user writes: each value as it looks, each mistake in one line, and what it costs."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT
from mcutrain.yaml_file import MOST_FILE_BYTES, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e6", 1e6), ("1.5E-3", 0.0015), (".5", 0.5), ("-3", -3), ("0x20000000", 0x20000000), ("1_000", 1000),
        ("true", True), ("~", None), ("", None), ("-.inf", float("-inf")), ("!!str 5", "5"),
        ("12:30", "12:30"), ("010", "010"), ("0b1", "0b1"), ("yes", "yes"), ("off", "off"), ("1e", "1e"), ("=", "="),
        ("2026-13-45", "2026-13-45"), ("2026-01-01", "2026-01-01"),
    ],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(written: str, value: object) -> None:
    found = parse_yaml(f"a: {written}")["a"]
    assert found == value and type(found) is type(value)


def test_every_file_of_the_project_reads_as_before() -> None:
    files = sorted((PROJECT / "emulation").rglob("*.yaml"))
    assert len(files) > 10
    for file in files:
        assert read_yaml(file) == yaml.safe_load(file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa: 1", "a: 1".encode("utf-16"), b"a: 1\r\n"])
def test_a_file_of_another_editor_reads_alike(content: bytes) -> None:
    assert parse_yaml(content) == {"a": 1}


def test_aliases_and_merges_work() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a") == {
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2},
    }  # fmt: skip


def doubling(first: str, line: str) -> str:
    return f"a0: &a0 {first}\n" + "".join(line.format(at=i, of=i - 1) for i in range(1, 60))


REFUSED: list[tuple[Any, str]] = [
    ("a: 1\nb: 2\na: 3", "line 3: 'a' is given twice, first in line 1"),
    ("data:\n  set: x\n  set: y", "line 3: 'set' is given twice, first in line 2"),
    ("a: 1\n'a': 3", "line 2: 'a' is given twice"),
    ("a: !!python/object/apply:os.system [x]", "line 1: a tag"),
    ("a: !mine x", "line 1: a tag"),
    ("a: !!timestamp 9", "line 1: a tag"),
    (doubling("[x, x]", "a{at}: &a{at} [*a{of}, *a{of}, *a{of}]\n"), "with what aliases stand for"),
    (doubling("{x: 1}", "a{at}: &a{at} {{<<: [*a{of}, *a{of}], k: 1}}\n"), "with what aliases stand for"),
    ("a: &a [*a]", "stands for a value that holds it"),
    ("a: *b", "undefined alias 'b'"),
    ("<<: 1", "line 1: expected a mapping"),
    ("[" * 60_000, "nested deeper"),
    ("{" * 60_000, "nested deeper"),
    ("- " * 30_000, "nested deeper"),
    ("[" + "a," * 32_000, "more than 10000"),
    ("x" * (MOST_FILE_BYTES + 1), "bytes of YAML"),
    ("a: " + "9" * 5000, "line 1: a whole number of more than 20 digits"),
    ("a: 1\nb: \x00", "not a text file"),
    (b"\xff\xfe\x00", "not a text file"),
    (b"a: \xe4\n", "not a text file"),
    ("a:\n\t- 1", "line 2: found character '\\t'"),
    ('a: "\\ud800"', "half a character"),
    ('a: "\\U00110000"', "a value that is none"),
    ("? [1]\n: 2", "line 1: a key that is no text"),
    ("---\na\n---\nb", "another document"),
    ("a: 'b", "found unexpected end of stream"),
]


@pytest.mark.parametrize(("content", "said"), REFUSED, ids=lambda value: repr(value)[:24])
def test_a_mistake_gives_one_line_within_a_second(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UsageError) as refusal:
        read_yaml(path)
    assert time.process_time() - began < 2  # half of it is the machine's: PyYAML takes 0.7 s for the worst of these
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 * 1024
    assert str(refusal.value).startswith("mine.yaml: ") and said in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_what_is_no_readable_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
