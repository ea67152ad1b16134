"""From an episode's data source to the int8 codes that the network's input takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcutrain.datasets import Dataset, EpisodeData, load_episode_data, quantize, read_npz
from mcutrain.episode.definition import DataSource
from mcutrain.errors import UsageError
from mcutrain.methods.loss import why_no_classifier
from mcutrain.methods.training_graph import TrainingGraph

_NO_LABELS: NDArray[np.uint32] = np.zeros(0, np.uint32)


@dataclass(frozen=True, eq=False)
class CodedSamples:
    """Input codes int8 (n, *input shape), and what each is to be: labels uint32 (n,); or targets float32 (n, outputs), and no label.

    clipped: how many values of all samples lay outside what the codes hold.
    """

    codes: NDArray[np.int8]
    labels: NDArray[np.uint32]
    targets: NDArray[np.float32] | None = None
    clipped: int = 0

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.codes)


@dataclass(frozen=True, eq=False)
class CodedData:
    """What an episode trains on and is tested on, in words and in codes.

    sha256: hexadecimal, over the samples, labels and targets that are used, before they were coded; empty where there was no such thing.
    class_names: what the labels mean, by number; empty where it is not known.
    """

    adapt: CodedSamples
    test: CodedSamples
    shift: str
    sha256: str = ""
    class_names: tuple[str, ...] = ()


def load_coded_data(source: DataSource, training: TrainingGraph, data: EpisodeData | None = None) -> CodedData:
    """The episode's samples as codes of the network's input, held against its shape, its outputs and its loss.

    data: what ``load_data`` has found already. Raises UsageError where the samples do not fit, and what ``load_data`` raises.
    """
    data = data or load_data(source)
    if source.pixel_scale is not None:
        if data.test.samples.dtype == np.int8:
            raise UsageError(f"{data.test.name}: int8 samples are input codes already; leave pixel_scale out")
        data = data.with_pixel_scale(source.pixel_scale)
    return CodedData(
        adapt=_code(data.adapt, source.adapt, source, training),
        test=_code(data.test, source.evaluated, source, training),
        shift=data.shift,
        sha256=data_sha256(data, source),
        class_names=data.test.classes,
    )


def data_sha256(data: EpisodeData, source: DataSource) -> str:
    """SHA-256 (hexadecimal) of the samples that an episode uses: its adapt and its evaluated part, cut to their counts."""
    parts = ((data.adapt, source.adapt), (data.test, source.evaluated))
    used = [dataset if limit is None else dataset.first(limit) for dataset, limit in parts]
    return hashlib.sha256("".join(dataset.digest() for dataset in used).encode("ascii")).hexdigest()


def load_data(source: DataSource) -> EpisodeData:
    """The samples of a source, with those in the place of the test part that it says to evaluate.

    Raises UsageError where they are damaged, NotAvailableError where the set is not on this machine.
    """
    if source.set is not None:
        assert source.shift is not None
        data = load_episode_data(source.set, source.shift, source.severity, source.seed)
    else:
        assert source.file is not None
        data = read_npz(Path(source.file))
    return data.for_validation() if source.evaluate == "validate" else data


def _code(dataset: Dataset, limit: int | None, source: DataSource, training: TrainingGraph) -> CodedSamples:
    graph = training.graph
    tensor = graph.tensors[graph.input]
    shape = dataset.samples.shape[1:]
    if int(np.prod(shape)) != tensor.elements or (len(shape) == len(tensor.shape) and shape != tensor.shape):
        if len(shape) > 1 and shape != tensor.shape and (*shape[1:], shape[0]) == tensor.shape:
            axes = (0, *range(2, len(shape) + 1), 1)
            raise UsageError(
                f"{dataset.name}: samples are (n, {', '.join(map(str, shape))}): channels first; {graph.name} reads them last: "
                f"transpose{axes}"
            )
        raise UsageError(
            f"{dataset.name}: samples of shape {shape} do not fit the input {tensor.shape} of {graph.name}"
        )
    count = len(dataset) if limit is None else limit
    if count > len(dataset):
        raise UsageError(f"{dataset.name}: {count} samples asked for, it has {len(dataset)}")
    coded = quantize(dataset.samples[:count], dataset.pixel_scale, tensor.scale, tensor.zero_point, graph.input_domain)
    codes, clipped = coded.codes.reshape(count, *tensor.shape), coded.clipped
    if training.loss == "cross_entropy":
        return CodedSamples(codes, _labels(dataset, source, training)[:count], clipped=clipped)
    if dataset.targets is not None and source.targets is None:
        return CodedSamples(codes, _NO_LABELS, _target_rows(dataset, training)[:count], clipped)
    return CodedSamples(codes, _NO_LABELS, _own_values(dataset, codes, source, training), clipped)


def _labels(dataset: Dataset, source: DataSource, training: TrainingGraph) -> NDArray[np.uint32]:
    name = training.graph.name
    if not dataset.has_labels or source.targets is not None:
        had = "targets" if dataset.targets is not None or source.targets is not None else "no labels"
        raise UsageError(
            f"{dataset.name} has {had}, but {name} trains as a classifier, by labels; say loss: mse to train values"
        )
    if len(dataset.classes) > training.classes:
        raise UsageError(
            f"{dataset.name}: {len(dataset.classes)} classes, but {name} tells only {training.classes} apart; "
            f"new_head: {len(dataset.classes)} gives it as many"
        )
    return dataset.labels.astype(np.uint32)


def _target_rows(dataset: Dataset, training: TrainingGraph) -> NDArray[np.float32]:
    assert dataset.targets is not None
    of_one = int(np.prod(dataset.targets.shape[1:]))
    if of_one != training.classes:
        raise UsageError(
            f"{dataset.name}: targets of {of_one} values a sample, but {training.graph.name} puts out {training.classes}"
        )
    return dataset.targets.reshape(len(dataset), of_one)


def _own_values(
    dataset: Dataset, codes: NDArray[np.int8], source: DataSource, training: TrainingGraph
) -> NDArray[np.float32]:
    """The samples as the network reads them, as what it is to put out: an autoencoder's."""
    graph = training.graph
    tensor = graph.tensors[graph.input]
    if dataset.has_labels and source.targets is None:
        classifier = "" if why_no_classifier(graph) else ", or train its outputs as classes: loss: cross_entropy"
        raise UsageError(
            f"{dataset.name} has labels, but {graph.name} trains the values that it puts out (loss: mse): give targets, "
            f"or targets: input for an autoencoder{classifier}"
        )
    if training.classes != tensor.elements:
        raise UsageError(
            f"{dataset.name} has no targets, and {graph.name} is no autoencoder: it reads {tensor.elements} values and puts out "
            f"{training.classes}; give adapt_targets and test_targets, float32 of (samples, {training.classes})"
        )
    values = (codes.astype(np.int32) - tensor.zero_point).astype(np.float32) * np.float32(tensor.scale)
    return values.reshape(len(codes), -1)
