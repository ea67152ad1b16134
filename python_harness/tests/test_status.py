"""The status codes are those of the C header."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mcutrain.errors import McutrainError
from mcutrain.paths import PROJECT
from mcutrain.status import status_meaning, status_number, statuses


def test_names_and_numbers_are_what_a_c_compiler_sees(tmp_path: Path) -> None:
    prints = "".join(f'printf("{name} %d\\n", {name});' for name in statuses())
    program = f'#include <stdio.h>\n#include "mcutrain/status.h"\nint main(void) {{ {prints} return 0; }}\n'
    command = ["gcc", "-x", "c", "-I", str(PROJECT / "src" / "include"), "-", "-o", str(tmp_path / "print")]
    subprocess.run(command, input=program, text=True, check=True)
    printed = subprocess.run([tmp_path / "print"], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(printed[::2], map(int, printed[1::2]), strict=True)) == {
        name: status_number(name) for name in statuses()
    }
    assert printed[:2] == ["MCT_OK", "0"]


def test_a_meaning_is_the_first_part_of_the_comment() -> None:
    assert status_meaning(status_number("MCT_ERROR_NOT_FINITE")) == "not finite: training diverged"
    assert status_meaning(99) == "unknown"
    with pytest.raises(KeyError):
        status_number("MCT_ERROR_MEMORY")


@pytest.mark.parametrize(
    "members",
    [
        "",
        "    MCT_OK = 0, /* done */ MCT_ERROR = 1 /* not */\n",
        "    MCT_OK = 0,\n",
        "    MCT_OK, /* done */\n",
        "    MCT_OK = 0, /* done */\n    MCT_ERROR = 0 /* not */\n",
    ],
)
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, members: str) -> None:
    (tmp_path / "status.h").write_text(f"typedef enum {{\n{members}}} mct_status;\n")
    with pytest.raises(McutrainError, match="mct_status has to have"):
        statuses(tmp_path / "status.h")
