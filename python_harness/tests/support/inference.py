"""The codes that a network's inference gives in golden, as its plan lowers it: to hold an imported file against its own runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.methods.inference import inference
from support.plans import isolated


def golden_output(graph: Graph, codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """The output codes of ``graph``, in its shape, for input ``codes`` in the Graph's layout."""
    executor = GoldenExecutor(isolated(inference(graph)))
    executor.infer(codes.reshape(-1))
    output: NDArray[np.int8] = executor.output().reshape(graph.tensors[graph.output].shape).copy()
    return output
