"""Evaluate the ``check:`` comments of C and Python sources: what they claim about a constant is computed anew.

A comment's text from ``check:`` to its end is one claim, or several between semicolons; each is a comparison::

    #define LARGEST_STEP 2097152.0f /* check: LARGEST_STEP == 2^21 < 2^22 */
    const int32_t factors[] = {1672461947, 1302514674}; /* check: factors[i] == round(e^-(2^(i - 2)) * 2^31) for i in 0..1 */

Names are constants that the same file defines by an expression of this language. ``^`` is a power; numbers are as in C (a suffix ``f``
rounds to float32) and exact, quotients too; casts to integers do nothing, and ``np.float32`` is ``float32``.
Known besides are ``e``, ``inf``, ``ln``, ``exp``, ``sqrt``, ``round`` (to the nearest), ``abs``, ``len``,
``float32`` (rounded to it, exactly as a fraction) and ``bits`` (of a float32). A claim that cannot be computed is an error, not a remark.
"""

from __future__ import annotations

import ast
import io
import math
import operator
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

Number = int | float | Fraction
Value = Number | list[Number]

_MARK = "check:"
_MOST_BITS = 4096

_C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_C_NUMBER = re.compile(
    r"\b(?:(0[xX][0-9a-fA-F]+|\d+)[uUlL]*|((?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?)([fF]?))(?![\w.])"
)
_RANGE = re.compile(r"(.+) for (\w+) in (.+)\.\.(.+)", re.DOTALL)
_CAST = re.compile(r"\(u?int\d+_t\)|\bnp\.(?=float32\()")

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class ClaimError(Exception):
    """A claim that cannot be computed, or does not hold."""


@dataclass(frozen=True)
class Claim:
    """One comparison of a ``check:`` comment, at the line on which its comment begins."""

    path: Path
    line: int
    text: str


def failures(path: Path) -> list[str]:
    """``file:line: what is wrong`` for each claim of a file that does not hold."""
    source = path.read_text(encoding="utf-8")
    found = []
    for claim in claims(path):
        try:
            check(claim.text, source)
        except ClaimError as error:
            found.append(f"{path}:{claim.line}: {claim.text}: {error}")
    return found


def claims(path: Path) -> list[Claim]:
    """All claims of a C or Python file."""
    source = path.read_text(encoding="utf-8")
    comments = _python_comments(source) if path.suffix == ".py" else _c_comments(source)
    return [
        Claim(path, line, " ".join(text.split()))
        for line, comment in comments
        if _MARK in comment
        for text in comment.split(_MARK, 1)[1].split(";")
    ]


def check(text: str, source: str = "") -> None:
    """Compute a claim whose names are constants of ``source``; raises ClaimError where it does not hold."""
    repeated = _RANGE.fullmatch(text)
    if repeated is None:
        _compare(text, source, {})
        return
    first, last = (_evaluate(repeated[group], source, {}) for group in (3, 4))
    if not isinstance(first, int) or not isinstance(last, int) or first > last:
        raise ClaimError("the range is empty or not of integers")
    for i in range(first, last + 1):
        _compare(repeated[1], source, {repeated[2]: i})


def _c_comments(source: str) -> Iterator[tuple[int, str]]:
    for match in _C_COMMENT.finditer(source):
        lines = match[0][2:-2].splitlines()
        yield source.count("\n", 0, match.start()) + 1, "\n".join(line.strip().removeprefix("* ") for line in lines)


def _python_comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string[1:]


def _compare(text: str, source: str, known: Mapping[str, Value]) -> None:
    tree = _parse(text)
    if not isinstance(tree, ast.Compare):
        raise ClaimError("not a comparison")
    values = [_value(node, source, known) for node in (tree.left, *tree.comparators)]
    for left, comparison, right in zip(values, tree.ops, values[1:], strict=False):
        if type(comparison) not in _COMPARISONS:
            raise ClaimError("this comparison is not known")
        if not _COMPARISONS[type(comparison)](left, right):
            raise ClaimError(f"does not hold: {_shown(left)} and {_shown(right)}")


def _shown(value: Value) -> str:
    return str(float(value)) if isinstance(value, Fraction) and value.denominator != 1 else str(value)


def _evaluate(text: str, source: str, known: Mapping[str, Value]) -> Value:
    return _value(_parse(text), source, known)


def _parse(text: str) -> ast.expr:
    """The tree of an expression; float literals become calls of float32 and of _decimal, so that none is rounded unasked."""

    def number(match: re.Match[str]) -> str:
        if match[1] is not None:
            return str(int(match[1], 0 if match[1][:2].lower() == "0x" else 10))
        return f"{'float32' if match[3] else '_decimal'}('{match[2]}')"

    try:
        return ast.parse(_C_NUMBER.sub(number, _CAST.sub("", text)).replace("^", "**").strip(), mode="eval").body
    except SyntaxError as error:
        raise ClaimError("cannot be computed") from error


def _value(node: ast.expr, source: str, known: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return known[name] if name in known else _constant(name, source, known)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand, source, known)
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~_integer(operand, source, known)
        case ast.BinOp(left=left, op=operation, right=right):
            return _combined(operation, _number(left, source, known), _number(right, source, known))
        case ast.Subscript(value=values, slice=index):
            listed, i = _value(values, source, known), _integer(index, source, known)
            if not isinstance(listed, list) or not 0 <= i < len(listed):
                raise ClaimError("there is no such element")
            return listed[i]
        case ast.Call(func=ast.Name(id=("float32" | "_decimal") as name), args=[ast.Constant(value=str(digits))]):
            return _float32(Fraction(digits)) if name == "float32" else Fraction(digits)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            return _called(name, _value(argument, source, known))
    raise ClaimError("cannot be computed")


def _number(node: ast.expr, source: str, known: Mapping[str, Value]) -> Number:
    value = _value(node, source, known)
    if isinstance(value, list):
        raise ClaimError("a list is no number")
    return value


def _integer(node: ast.expr, source: str, known: Mapping[str, Value]) -> int:
    value = _number(node, source, known)
    if not isinstance(value, int):
        raise ClaimError("not an integer")
    return value


def _combined(operation: ast.operator, left: Number, right: Number) -> Number:
    try:
        if isinstance(operation, ast.Div):
            return (
                left / right
                if isinstance(left, float) or isinstance(right, float)
                else _exact(Fraction(left) / Fraction(right))
            )
        if isinstance(operation, ast.Pow):
            return _power(left, right)
        if isinstance(operation, ast.LShift) and not 0 <= right <= _MOST_BITS:
            raise ClaimError("the shift is too long")
        if type(operation) not in _OPERATORS:
            raise ClaimError("this operator is not known")
        result: Number = _OPERATORS[type(operation)](left, right)
        return result
    except ZeroDivisionError as error:
        raise ClaimError("division by zero") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ClaimError(str(error)) from error


def _power(base: Number, exponent: Number) -> Number:
    if not -_MOST_BITS <= exponent <= _MOST_BITS:
        raise ClaimError("the power is too large")
    if isinstance(base, float) or not isinstance(exponent, int):
        return math.pow(base, exponent)
    power: Fraction = Fraction(base) ** exponent
    return _exact(power)


def _exact(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value


def _float32(value: Number) -> int | Fraction:
    """The nearest float32, by way of the nearest double."""
    return _exact(Fraction(float(np.float32(float(value)))))


def _called(name: str, value: Value) -> Number:
    if isinstance(value, list):
        if name != "len":
            raise ClaimError(f"{name} of a list")
        return len(value)
    match name:
        case "round":
            return round(value)
        case "abs":
            return value if value >= 0 else -value
        case "ln":
            return math.log(value)
        case "exp":
            return math.exp(value)
        case "sqrt":
            return math.sqrt(value)
        case "float32":
            return _float32(value)
        case "bits":
            return int(np.float32(float(value)).view(np.uint32))
    raise ClaimError(f"{name} is not known")


def _constant(name: str, source: str, known: Mapping[str, Value]) -> Value:
    """What a file defines a name as: ``#define name 1``, ``name = 1``, ``name[] = {1, 2}``, ``name: int = 1``."""
    if name == "e":
        return math.e
    if name == "inf":
        return math.inf
    code = _C_COMMENT.sub(" ", source)
    defined = re.findall(
        rf"(?:#define {name} +(?=\S)|\b{name}(?:\[\w*\]|: [\w\[\]]+)? = )(\{{[^}}]*\}}|[^,;}}#\n]+)", code
    )
    texts = {text.strip() for text in defined}
    if len(texts) != 1:
        raise ClaimError(f"{name} has {len(texts) or 'no'} definitions here")
    text = texts.pop()
    if text.startswith("{"):
        return [_number(_parse(part), source, known) for part in text[1:-1].split(",") if part.strip()]
    return _evaluate(text, source, known)
