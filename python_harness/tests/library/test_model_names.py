"""A model's name in C: what an episode is called becomes one that compiles, and what is no name is refused with one that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from library.conftest import run
from mcutrain.compiler.codegen import c_name, checked_name, generate
from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT
from support.looped import with_counter
from support.networks import NETWORKS
from support.plans import training_of

# Words of C and C++, names and macros of the generated code and of gcc, and what does not begin like a name.
TAKEN = (
    *("while", "class", "new", "int8_t", "my_t", "linux", "main", "model-9_t"),
    *("arena", "persistent", "io", "initial", "trace", "infer", "sample", "update", "status", "op", "visit", "output"),
    *("mct_trace", "mct-model", "c0_x", "r0", "9net", "9_t"),
)
FREE = ("digits", "digits-sparse", "Net 2", "model", "x", "größe", "r0s", "cat_t2")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """With a loop and its counter, and with constants."""
    return compile_plan(with_counter(training_of(NETWORKS["perceptron"]())))


@pytest.mark.parametrize("text", [*TAKEN, *FREE])
def test_whatever_an_episode_is_called_its_model_compiles(text: str, plan: Plan, tmp_path: Path) -> None:
    name = c_name(text)
    source = generate(plan, tmp_path, name)
    header = tmp_path / "header.cpp"
    header.write_text(f'#include "{name}.h"\nconst mct_model *model_of() {{ return &{name}; }}\n', encoding="ascii")
    flags = ("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror", "-I", PROJECT / "src" / "include")
    for path, command in (
        (source, ("gcc", "-std=gnu17")),
        (source, ("gcc", "-std=gnu17", "-DMCT_TRACE")),
        (header, ("arm-none-eabi-g++",)),  # of the tools that this project needs, the one that knows C++
    ):
        done = run([*command, *flags, "-I", tmp_path, "-fsyntax-only", path])
        assert done.returncode == 0, done.stdout
    assert checked_name(name) == name


@pytest.mark.parametrize("text", TAKEN)
def test_a_name_that_is_taken_is_refused_with_one_that_is_free(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a model in C") as refused:
        checked_name(text)
    assert repr(c_name(text)) in str(refused.value)


@pytest.mark.parametrize("text", ["", "..", "größe", "a.b", "a b", "_a", "a\n", "../a"])
def test_what_is_no_name_in_c_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        checked_name(text)
