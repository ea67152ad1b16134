"""The table of methods: what a name means, what can be chosen of it, and what builds its training graph.

To add a method: one file in ``methods/`` and one entry here. Nothing above this table names a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mcutrain.errors import UsageError
from mcutrain.graph import Graph
from mcutrain.methods.inference import InferenceOptions, inference
from mcutrain.methods.options import MethodOptions
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.strict import did_you_mean, one_line


@dataclass(frozen=True)
class Method:
    """A way to train, or none. options: its own model. builder: makes the training graph; raises UsageError where they do not fit."""

    name: str
    description: str
    options: type[MethodOptions]
    builder: Callable[[Graph, Any], TrainingGraph]

    def parse(self, given: Mapping[str, Any]) -> MethodOptions:
        """The options of these keys. Raises UsageError with one line that names the key."""
        try:
            return self.options.model_validate(dict(given))
        except ValidationError as error:
            raise UsageError(one_line(error)) from error

    def build(self, graph: Graph, options: MethodOptions) -> TrainingGraph:
        """The training graph of ``graph``. Raises UsageError for a network that cannot be trained so, or options that do not fit it."""
        if not isinstance(options, self.options):
            raise TypeError(f"method {self.name} takes {self.options.__name__}, not {type(options).__name__}")
        return self.builder(graph, options)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "sparse_update",
            "back-propagation to chosen layers and channels, with quantisation-aware scaling",
            SparseUpdateOptions,
            sparse_update,
        ),
        Method("inference", "the network as its file has it; nothing trains", InferenceOptions, inference),
    )
}
DEFAULT_METHOD = "sparse_update"


def find_method(name: str) -> Method:
    """The method called ``name``. Raises UsageError with those there are."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}: give one of {', '.join(METHODS)}{did_you_mean(name, METHODS)}")
    return METHODS[name]


def methods_with_option(key: str) -> tuple[str, ...]:
    """The methods of which ``key`` is an option."""
    return tuple(name for name, method in METHODS.items() if key in method.options.model_fields)
