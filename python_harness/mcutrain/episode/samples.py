"""From an episode's data source to the int8 codes that the network's input takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets import Dataset, EpisodeData, load_episode_data, read_npz, to_codes
from mcutrain.episode.definition import DataSource
from mcutrain.errors import UsageError
from mcutrain.graph import Graph


@dataclass(frozen=True, eq=False)
class CodedSamples:
    """Input codes int8 (n, *input shape) and labels int64 (n,)."""

    codes: NDArray[np.int8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class CodedData:
    """What an episode trains on and is tested on, in words and in codes."""

    adapt: CodedSamples
    test: CodedSamples
    shift: str


def load_coded_data(source: DataSource, graph: Graph, classes: int) -> CodedData:
    """The episode's samples as codes of ``graph``'s input, held against its shape and number of classes.

    Raises UsageError where they do not fit, NotAvailableError where the set is not on this machine.
    """
    data = _load(source)
    if source.pixel_scale is not None:
        if data.test.samples.dtype == np.int8:
            raise UsageError(f"{data.test.name}: int8 samples are input codes already; leave pixel_scale out")
        data = data.with_pixel_scale(source.pixel_scale)
    return CodedData(
        adapt=_code(data.adapt, source.adapt, graph, classes),
        test=_code(data.test, source.test, graph, classes),
        shift=data.shift,
    )


def _load(source: DataSource) -> EpisodeData:
    if source.set is not None:
        assert source.shift is not None
        return load_episode_data(source.set, source.shift, source.severity, source.seed)
    assert source.file is not None
    return read_npz(Path(source.file))


def _code(dataset: Dataset, limit: int | None, graph: Graph, classes: int) -> CodedSamples:
    tensor = graph.tensors[graph.input]
    shape = dataset.samples.shape[1:]
    if int(np.prod(shape)) != tensor.elements or (len(shape) == len(tensor.shape) and shape != tensor.shape):
        raise UsageError(
            f"{dataset.name}: samples of shape {shape} do not fit the input {tensor.shape} of {graph.name}"
        )
    if len(dataset.classes) > classes:
        raise UsageError(f"{dataset.name}: {len(dataset.classes)} classes, but {graph.name} tells only {classes} apart")
    count = len(dataset) if limit is None else limit
    if count > len(dataset):
        raise UsageError(f"{dataset.name}: {count} samples asked for, it has {len(dataset)}")
    codes = to_codes(dataset.samples[:count], dataset.pixel_scale, tensor.scale, tensor.zero_point, graph.input_domain)
    return CodedSamples(codes.reshape(count, *tensor.shape), dataset.labels[:count])
