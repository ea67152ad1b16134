"""What the rules of all operators of a .tflite file are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tflite
from numpy.typing import NDArray
from tflite import ActivationFunctionType

from mcutrain.graph.attributes import Attributes, Padding
from mcutrain.graph.model import Tensor
from mcutrain.importers.common import GraphBuilder, UnsupportedError, activation_clamp, same_padding
from mcutrain.importers.tflite_file import FileModel, FileOperator

# Real-valued limits of the fused and of the stand-alone activations.
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


ACTIVATION_NAMES = {v: k for k, v in vars(ActivationFunctionType).items() if isinstance(v, int)}


class Context(Protocol):
    """What a rule sees of the import under way."""

    graph: GraphBuilder
    model: FileModel

    def activation(self, index: int) -> Tensor:
        """The Graph's tensor for an activation of the file, without the batch."""

    def values(self, index: int, *dtypes: str) -> NDArray[np.generic]:
        """A constant of the file as an array of its shape."""

    def weights(self, op: FileOperator, x: Tensor, output_axis: int = 0) -> tuple[str, str]:
        """Add the weights and the bias of an operator with inputs (x, weights[, bias]); their names."""

    def emit(self, op: FileOperator, kind: str, inputs: tuple[str, ...], output: str, attributes: Attributes) -> None:
        """Add the Graph operator for ``op``."""


def fused_clamp(op: FileOperator, y: Tensor) -> tuple[int, int]:
    """The clamp, in codes of ``y``, of an operator's fused activation."""
    name = ACTIVATION_NAMES.get(int(op.options["FusedActivationFunction"]), "an unknown one")
    if name not in LIMITS:
        raise UnsupportedError(f"its fused activation is {name}")
    return activation_clamp(*LIMITS[name], y.scale, y.zero_point)


def positive_pair(op: FileOperator, vertical: str, horizontal: str) -> tuple[int, int]:
    """Two positive options of an operator."""
    pair = int(op.options[vertical]), int(op.options[horizontal])
    if min(pair) < 1:
        raise UnsupportedError(f"its {vertical} and {horizontal} are {pair[0]} and {pair[1]}")
    return pair


def explicit_padding(op: FileOperator, x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Padding:
    """The padding of a window over an image, from SAME or VALID."""
    if len(x.shape) != 3:
        raise UnsupportedError(f"its input has {len(x.shape) + 1} dimensions, not 4")
    if op.options["Padding"] == tflite.Padding.VALID:
        return Padding()
    if op.options["Padding"] != tflite.Padding.SAME:
        raise UnsupportedError("its padding is neither SAME nor VALID")
    return same_padding((x.shape[0], x.shape[1]), kernel, stride)


@dataclass(frozen=True)
class Rule:
    """How one operator of the file is imported.

    inputs: fewest and most operands. options: the operator's options table and the fields of it that matter.
    """

    name: str
    function: Callable[[Context, FileOperator], None]
    inputs: tuple[int, int]
    options: tuple[str, tuple[str, ...]] | None = None


WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
