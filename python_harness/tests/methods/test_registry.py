"""The table of methods: every entry builds, describes its options, and refuses what is none of them in one line."""

from __future__ import annotations

from typing import Any

import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.methods.options import NoOptions
from mcutrain.methods.registry import DEFAULT_METHOD, METHODS, find_method, methods_with_option
from support.networks import chain


@pytest.mark.parametrize("name", METHODS)
def test_every_method_builds_with_its_default_options_and_says_so_in_its_graph(name: str) -> None:
    method = find_method(name)
    training = method.build(chain(), method.parse({}))
    assert training.method == name
    assert training.options == {**method.options().model_dump(), "loss": "cross_entropy"}, "what auto has become"
    assert compile_plan(training).steps


@pytest.mark.parametrize("name", METHODS)
def test_every_option_of_a_method_has_a_default_and_a_description(name: str) -> None:
    schema = METHODS[name].options.model_json_schema()
    assert METHODS[name].description and "required" not in schema
    for key, said in schema["properties"].items():
        assert said["description"] and "default" in said, key


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"errors": "b17"}, "errors: Input should be 'b16' or 'f32'"),
        ({"weights": "nearest"}, "weights: Input should be 'master16', 'stochastic8' or 'nearest8'"),
        ({"gradient_scaling": "adam"}, "gradient_scaling: Input should be 'qas' or 'none'"),
        ({"step_cap": float("nan")}, "step_cap: "),
        ({"batch": 0}, "batch: "),
        ({"scheme": None}, "scheme: "),
        ({"stepcap": 1.0}, "stepcap: there is no such key; did you mean step_cap?"),
        ({"zzz": 1}, "zzz: there is no such key"),
    ],
)
def test_an_option_that_is_none_is_refused_in_one_line_that_begins_with_its_key(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        find_method("sparse_update").parse(given)
    assert str(refusal.value).startswith(said) and "\n" not in str(refusal.value)


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        UsageError,
        match="unknown method 'sparse_updat': give one of sparse_update, inference; did you mean sparse_update",
    ):
        find_method("sparse_updat")
    assert DEFAULT_METHOD in METHODS


def test_a_method_does_not_take_the_options_of_another() -> None:
    with pytest.raises(TypeError, match="sparse_update takes SparseUpdateOptions, not NoOptions"):
        find_method("sparse_update").build(chain(), NoOptions())


def test_options_know_their_methods() -> None:
    assert methods_with_option("scheme") == ("sparse_update",)
    assert methods_with_option("epochs") == ()


def test_the_batch_is_the_one_of_the_options() -> None:
    method = find_method("sparse_update")
    assert [method.build(chain(), method.parse({"batch": size})).batch for size in (1, 8)] == [1, 8]
