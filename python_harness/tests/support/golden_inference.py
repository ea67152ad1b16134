"""One inference of a model file in the golden executor: importer, checks, rules, plan and kernels at once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference


def loaded(model: bytes, suffix: str = ".tflite", output: str | None = None) -> Graph:
    """The Graph of a model file's bytes. output: the tensor to take as its output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        path.write_bytes(model)
        return load_model(path, output=output)


def golden_output(graph: Graph, *samples: NDArray[np.int8]) -> NDArray[np.int8]:
    """The output codes of ``graph`` for each sample, shape (samples, *output)."""
    executor = GoldenExecutor(compile_plan(inference(graph)))
    outputs: list[NDArray[Any]] = []
    for sample in samples:
        executor.infer(sample)
        outputs.append(executor.output().reshape(graph.tensors[graph.output].shape).copy())
    return np.stack(outputs)
