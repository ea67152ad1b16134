"""Models of what users write: unknown keys are refused with the nearest known one, and what is wrong is said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

MOST = (1 << 31) - 1
"""What no count of a user's comes near; what is computed from two of them still fits 64 bits."""
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
SMALLEST_FLOAT32 = float(np.finfo(np.float32).tiny)
"""The devices compute with float32: a number outside would be infinite or nothing there."""
_LONGEST = 500  # characters of a message; a key or value in it may have thousands


class StrictModel(BaseModel):
    """A frozen model that takes no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, document: Any) -> Any:
        if isinstance(document, dict):
            unknown = [key for key in document if key not in cls.model_fields]
            refuse({str(key): no_such_key(str(key), cls.model_fields) for key in unknown[:1]})
        return document


def no_such_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that there is not."""
    return f"there is no such key{did_you_mean(key, known)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean scheme?``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def refuse(problems: dict[str, str]) -> None:
    """Raise ValidationError with a message for each key, for validators to raise; nothing where there is none."""
    if problems:
        raise ValidationError.from_exception_data(
            "keys",
            [
                InitErrorDetails(type=PydanticCustomError("key", "{said}", {"said": said}), loc=(key,), input=key)
                for key, said in problems.items()
            ],
        )


def relocated(error: ValidationError, where: Callable[[str], tuple[str, ...]]) -> ValidationError:
    """The same problems, for validators to raise, with the place of each key as ``where`` gives it."""
    return ValidationError.from_exception_data(
        error.title,
        [
            InitErrorDetails(
                type=PydanticCustomError("key", "{said}", {"said": problem["msg"]}),
                loc=(*where(str(problem["loc"][0])), *problem["loc"][1:]),
                input=problem["input"],
            )
            for problem in error.errors()
        ],
    )


def one_line(error: ValidationError) -> str:
    """The first problem: the key as it was written, and what is wrong with it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "document"
    said = "".join(c if c.isprintable() else "?" for c in f"{where}: {first['msg']}")
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 3]}..."
