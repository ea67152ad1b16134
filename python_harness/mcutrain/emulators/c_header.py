"""The public C headers as cffi reads them: what C declares is declared there and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

from mcutrain.paths import PROJECT

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:.*\\\n)*.*$", re.MULTILINE)
# What stands between `#ifdef __cplusplus` and its #endif is not C.
_CPLUSPLUS = re.compile(r"^#ifdef __cplusplus\n.*?^#endif\n", re.MULTILINE | re.DOTALL)


def declarations(*names: str, source_root: Path = PROJECT) -> str:
    """The declarations of ``mcutrain/<name>.h``, in this order: no comments, directives or attributes."""
    texts = [(source_root / "src" / "include" / "mcutrain" / f"{name}.h").read_text(encoding="ascii") for name in names]
    plain = [_DIRECTIVE.sub("", _CPLUSPLUS.sub("", _COMMENT.sub("", text))) for text in texts]
    return "\n".join(plain).replace("MCT_MUST_CHECK ", "")
