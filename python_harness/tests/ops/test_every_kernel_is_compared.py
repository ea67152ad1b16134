"""Every kernel has a property test that holds both C forms against golden, over as many random cases as are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from mcutrain.ops.base import Kernel
from mcutrain.ops.registry import KERNELS
from support.ckernels import forms
from support.examples import EXAMPLES_VARIABLE, examples

ROOM = Path(__file__).parent
# Runs both forms by itself / takes the form as an argument.
BOTH_FORMS, ONE_FORM = "run_everywhere", "golden_and_c_agree"


def property_tests(module: ModuleType) -> Iterator[Any]:
    """The tests of a module that hypothesis gives random cases to."""
    for name, value in vars(module).items():
        if name.startswith("test_") and getattr(value, "is_hypothesis_test", False):
            yield value


def parameters(test: Any) -> dict[str, list[Any]]:
    """The values of a test's single parametrised arguments."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return {mark.args[0]: list(mark.args[1]) for mark in marks if isinstance(mark.args[0], str)}


def names_in(code: CodeType) -> Iterator[str]:
    """The names that code reads, and what is defined inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def reached_from(function: FunctionType, seen: set[str]) -> Iterator[Any]:
    """What a function names of its module, and what the test functions among that name of theirs."""
    for name in names_in(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__qualname__ not in seen:
            seen.add(value.__qualname__)
            if value.__module__.split(".")[0] in ("ops", "support"):
                yield from reached_from(value, seen)
        elif value is not None:
            yield value


def kernels_in(value: Any) -> Iterator[Kernel]:
    if isinstance(value, Kernel):
        yield value
    elif isinstance(value, dict):
        yield from kernels_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from kernels_in(item)


def compared_by(test: Any) -> set[str]:
    """The names of the kernels that a property test holds against golden in both forms."""
    seen: set[str] = set()
    values = list(reached_from(test.hypothesis.inner_test, seen))
    arguments = parameters(test)
    if BOTH_FORMS not in seen and not (ONE_FORM in seen and arguments.get("form") == list(forms)):
        return set()
    return {kernel.name for kernel in kernels_in([values, *arguments.values()])}


def modules() -> list[ModuleType]:
    return [importlib.import_module(f"ops.{path.stem}") for path in sorted(ROOM.glob("test_*.py"))]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_property_test_compares_the_kernel_in_both_forms(kernel: str) -> None:
    assert any(kernel in compared_by(test) for module in modules() for test in property_tests(module))


def test_a_test_of_one_form_or_without_golden_does_not_count() -> None:
    counted = {test.__name__ for module in modules() for test in property_tests(module) if compared_by(test)}
    assert "test_mean_is_bit_exact_to_litert" in counted
    assert "test_the_error_of_an_input_is_within_the_sum_of_its_roundings" not in counted


def test_no_property_test_of_this_room_fixes_its_number_of_cases() -> None:
    """A number of its own would win over the one that is asked for."""
    others = [path for path in sorted(ROOM.glob("test_*.py")) if path != Path(__file__)]
    assert len(others) > 10
    assert [path.name for path in others if "max_examples" in path.read_text()] == []


def test_the_number_of_cases_is_the_tests_own_or_the_one_asked_for_if_that_is_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(EXAMPLES_VARIABLE, raising=False)
    assert examples(60).max_examples == 60
    monkeypatch.setenv(EXAMPLES_VARIABLE, "2000")
    assert [examples(own).max_examples for own in (60, 5000)] == [2000, 5000]
