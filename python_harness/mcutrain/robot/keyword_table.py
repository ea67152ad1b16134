"""The keywords as a table of docs/robot.md, from the same documentation as libdoc's page: ``python -m mcutrain.robot.keyword_table``."""

from __future__ import annotations

import re
from pathlib import Path

from robot.libdoc import LibraryDocumentation

from mcutrain.atomic import write_atomically
from mcutrain.paths import PROJECT

PAGE = PROJECT / "docs" / "robot.md"
LIBRARY = "mcutrain.robot.McutrainLibrary"
_SENTENCE = re.compile(r"(?:[;:]|(?<!\.)\.)(?=\s|$)")
_BEGIN, _END = "<!-- keywords: python -m mcutrain.robot.keyword_table -->\n", "<!-- end of keywords -->\n"


def keyword_table() -> str:
    """Every keyword of the library by name, with its arguments and the first sentence of its documentation."""
    rows = ["| keyword | arguments | what it does |\n", "| --- | --- | --- |\n"]
    for keyword in LibraryDocumentation(LIBRARY).keywords:
        # Those within the sentence are told by it.
        inside = re.findall(r"\$\{(\w+)\}", keyword.name)
        arguments = [argument for argument in keyword.args if argument.name and argument.name not in inside]
        names = ", ".join(f"`{_argument(str(argument))}`" for argument in arguments)
        sentence = _SENTENCE.split(" ".join(keyword.doc.split()), maxsplit=1)[0]
        rows.append(f"| `{keyword.name}` | {names} | {_markdown(sentence)} |\n")
    return "".join(rows)


def with_table(page: str) -> str:
    """The page with the table of now between its marks. Raises ValueError where it has no marks."""
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"no {_BEGIN.strip()} and {_END.strip()}")
    return f"{head}{begin}{keyword_table()}{end}{tail}"


def _argument(text: str) -> str:
    """Without its type: ``steps=None``."""
    return re.sub(r": [^=]*( = |$)", lambda match: match[1].replace(" ", ""), text)


def _markdown(text: str) -> str:
    """Robot's markup of code and of other keywords."""
    return re.sub(r"``([^`]*)``", r"`\1`", text).replace("|", "\\|")


def main(page: Path = PAGE) -> None:
    """Bring the page up to date."""
    write_atomically(page, with_table(page.read_text(encoding="utf-8")), "the page")


if __name__ == "__main__":
    main()
