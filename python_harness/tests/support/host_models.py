"""Small models on the host with every function of mcutrain/model.h, one shared object for each plan."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.codegen import generate
from mcutrain.compiler.plan import InputPlacement, Plan, compile_plan
from mcutrain.emulators.build import build_host
from mcutrain.emulators.host import HostModel
from mcutrain.methods.inference import inference
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from support.networks import NETWORKS, samples

OK, ERROR_ARGUMENT, ERROR_FORMAT = 0, 1, 3  # mcutrain/status.h


class CModel(HostModel):
    """A model on the host whose functions give their status back. plan: what it was generated from."""

    def __init__(self, plan: Plan, folder: Path | None = None) -> None:
        """Generate, build and load it, in a folder that goes with the model where none is given."""
        if folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="mcutrain-model-")
            folder = Path(self._own.name)
        generate(plan, folder / "model")
        super().__init__(build_host(folder / "model", folder / "build"))
        self.plan = plan

    def call(self, function: str, *arguments: Any) -> Any:
        """``mct_<function>(model, arguments...)``; None is NULL."""
        given = [self._ffi.NULL if argument is None else argument for argument in arguments]
        return getattr(self._library, f"mct_{function}")(self._model, *given)

    def memory(self, content: bytes, offset: int = 0) -> Any:
        """A pointer to a copy of ``content``, so many bytes behind an aligned address."""
        buffer = self._ffi.new("int8_t[]", len(content) + offset)
        self._ffi.memmove(buffer + offset, content, len(content))
        self._kept = buffer  # or it would be freed
        return buffer + offset

    def bytes_at(self, pointer: Any, count: int) -> bytes:
        """What lies there."""
        return bytes(self._ffi.buffer(pointer, count))

    @property
    def fields(self) -> Any:
        """The constant members of mct_model."""
        return self._model


@functools.cache
def host_model(
    network: str, weights: str = "master16", batch: int = 1, placement: InputPlacement = "sram", method: str = "sparse"
) -> CModel:
    """A model of one of NETWORKS, built once; whoever takes it resets it first."""
    graph = NETWORKS[network]()
    options = SparseUpdateOptions.model_validate({"scheme": "full", "weights": weights, "batch": batch})
    training = inference(graph) if method == "inference" else sparse_update(graph, options)
    return CModel(compile_plan(training, placement))


def sample_codes(model: CModel, count: int, seed: int = 3) -> NDArray[np.int8]:
    """Random samples for a model, one a row."""
    return samples(model.plan.training.graph, count, seed=seed).reshape(count, -1)
