"""MLPerf Tiny's three networks with the inputs they are proven on, and what LiteRT's reference kernels make of those."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from PIL import Image

from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.datasets.cifar10 import cifar10
from mcutrain.datasets.kws01 import kws01
from mcutrain.errors import NotAvailableError
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from mcutrain.paths import find_model

FLOWERS = Path(os.environ.get("MCUTRAIN_DATA") or ".") / "flowers12"

Codes = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Inputs:
    """codes: int8 (n, *input shape). labels: int64 (n,), 0 where an input has none."""

    codes: Codes
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class PublishedNetwork:
    """A network, its inputs, and what is known of it.

    correct: how many inputs LiteRT's reference kernels classify right (None: they have no labels; its default delegate finds one keyword
    more and ten images fewer). on_host, on_board, golden: how many inputs each of them takes in a test that is not marked slow.
    """

    name: str
    model: str
    load: Callable[[], Inputs]
    total: int
    correct: int | None
    on_host: int
    on_board: int
    golden: int

    @functools.cached_property
    def path(self) -> Path:
        """The model's file; skips the test where it is not here."""
        try:
            return find_model(self.model)
        except NotAvailableError as error:
            pytest.skip(str(error))

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan of an inference."""
        return compile_plan(inference(load_model(self.path)))

    @functools.cached_property
    def inputs(self) -> Inputs:
        """All inputs; skips the test where they are not here."""
        try:
            inputs = self.load()
        except (NotAvailableError, FileNotFoundError) as error:
            pytest.skip(str(error))
        assert len(inputs.codes) == len(inputs.labels) == self.total
        return inputs

    def spread(self, count: int) -> NDArray[np.intp]:
        """Indices of ``count`` inputs, spread over all of them."""
        return np.linspace(0, self.total - 1, count).astype(np.intp)

    def litert(self, indices: NDArray[np.intp]) -> Codes:
        """The output codes of LiteRT's reference kernels, int8 (len(indices), outputs); computed once in a process."""
        return np.array([self._litert(int(index)) for index in indices])

    @functools.cached_property
    def _litert(self) -> Callable[[int], Codes]:
        # Reference kernels: the default delegate rounds otherwise.
        resolver = OpResolverType.BUILTIN_REF
        interpreter = Interpreter(str(self.path), experimental_op_resolver_type=resolver, num_threads=1)
        interpreter.allocate_tensors()
        source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        assert source["dtype"] == np.int8

        @functools.cache
        def output(index: int) -> Codes:
            interpreter.set_tensor(source["index"], self.inputs.codes[index].reshape(source["shape"]))
            interpreter.invoke()
            codes: Codes = interpreter.get_tensor(result["index"]).reshape(-1).copy()
            return codes

        return output


def photo(path: Path, side: int) -> Codes:
    """A photo as the network takes it: resized to (side, side, 3), pixel - 128."""
    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return (np.asarray(image).astype(np.int16) - 128).astype(np.int8)


def _unlabelled(codes: Sequence[Codes]) -> Inputs:
    return Inputs(np.stack(codes), np.zeros(len(codes), np.int64))


def _cifar10() -> Inputs:
    data = cifar10()
    return Inputs((np.asarray(data.samples).astype(np.int16) - 128).astype(np.int8), data.labels)


def _keywords() -> Inputs:
    data = kws01()
    return Inputs(np.asarray(data.samples, np.int8), data.labels)


def _scenes() -> Inputs:
    """80 photos, 20 images of large even squares and 100 of noise: the published test images may not be carried."""
    paths = sorted(FLOWERS.glob("test/*/*.jpg"))[::3]
    if len(paths) != 80:
        raise FileNotFoundError(f"flowers12/test has {len(paths)} photos to take, not 80")
    random = np.random.default_rng(1)
    noise = [random.integers(-128, 128, (96, 96, 3)).astype(np.int8) for _ in range(100)]
    squares = [np.kron(image[:12, :12], np.ones((8, 8, 1))).astype(np.int8) for image in noise[:20]]
    return _unlabelled([*(photo(path, 96) for path in paths), *squares, *noise])


NETWORKS = {
    network.name: network
    for network in (
        PublishedNetwork(
            *("resnet8", "mlperf_tiny/pretrainedResnet_quant.tflite", _cifar10),
            total=10_000,
            correct=8707,
            on_host=500,
            on_board=100,
            golden=5,
        ),
        PublishedNetwork(
            *("kws", "mlperf_tiny/kws_ref_model.tflite", _keywords),
            total=1000,
            correct=901,
            on_host=1000,
            on_board=1000,
            golden=20,
        ),
        PublishedNetwork(
            *("vww", "mlperf_tiny/vww_96_int8.tflite", _scenes),
            total=200,
            correct=None,
            on_host=200,
            on_board=200,
            golden=4,
        ),
    )
}
