"""Read the YAML that a user writes: plain values alone, each key once, at a cost that is bounded before it is paid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mcutrain.errors import UsageError

MOST_FILE_BYTES = 1 << 16  # PyYAML takes about a second for so many; the longest file of the project has a fifth
MOST_NODES = 10_000  # keys and values, aliases counted as what they stand for: one can stand for thousands
MOST_DEPTH = 32
MOST_DIGITS = 20  # of 64 bits; no number of the tool has more


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e6 is a number, 12:30 and 2026-02-30 are text, and so are yes and off."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML fills the class's own)

    def __init__(self, content: bytes | str) -> None:
        super().__init__(content)
        self._nodes = 0
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if getattr(event, "tag", None) not in (None, "tag:yaml.org,2002:str"):
            raise _wrong("a tag: write the value alone", mark)
        before = self._nodes
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _wrong(f"nested deeper than {MOST_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _wrong(f"*{event.anchor} stands for a value that holds it", mark)
            self._nodes += self._sizes[id(node)]
        else:
            self._nodes += 1
            self._sizes[id(node)] = self._nodes - before
        if self._nodes > MOST_NODES:
            raise _wrong(f"more than {MOST_NODES} keys and values, with what aliases stand for", mark)
        return node

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _wrong("half a character of UTF-16", node.start_mark)
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MOST_DIGITS:
            raise _wrong(f"a whole number of more than {MOST_DIGITS} digits", node.start_mark)
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a key that is no text", key.start_mark)
            if key.value in lines:
                raise _wrong(f"{key.value!r} is given twice, first in line {lines[key.value]}", key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _wrong(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def parse_yaml(content: bytes | str) -> Any:
    """The value of ``content``: None, bool, int, float, str, list and dict. Raises UsageError: the line, and what is wrong there."""
    if len(content) > MOST_FILE_BYTES:
        raise UsageError(f"more than {MOST_FILE_BYTES} bytes of YAML")
    try:
        loader = _Loader(content)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        said = error.problem or error.context or "it ends too early"
        raise UsageError(f"{where}{said}") from None
    except yaml.reader.ReaderError as error:
        raise UsageError(f"not a text file (at byte {error.position}): save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"a value that is none: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> Any:
    """The value of a file, as ``parse_yaml``. Raises UsageError with the file's name."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return parse_yaml(content)
    except UsageError as error:
        raise UsageError(f"{path.name}: not a YAML file as it should be: {error}") from None
