"""Rule: what an operator of the network becomes in a training graph, forward and backward.

To add an operator: its kernels in ``ops/<operator>.py``, its rule in ``ops/rules/<operator>.py``, one line in ``ops/rules/__init__.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator, Tensor
from mcutrain.ops.errors import ErrorMode
from mcutrain.ops.steps import Region, StepBuilder


@dataclass(frozen=True)
class LayerTraining:
    """What trains of one layer (conv2d, depthwise_conv2d or fully_connected).

    bias: the int32 bias trains. selected: the input channels whose weights train, ascending (of a convolution in groups those of every
    group, counted within it; depthwise: the output channels); None: no weights train.
    """

    bias: bool = False
    selected: NDArray[np.int32] | None = None


class Trainer(Protocol):
    """What a training method does with gradients; rules call it as soon as a gradient exists."""

    def update_weights(self, context: Lowering, op: Operator, gradient: str) -> None:
        """Add the steps that update the weights of ``op``; gradient is (out, kh, kw, selected), of a depthwise layer (selected, kh, kw)."""

    def update_bias(self, context: Lowering, op: Operator, gradient: str) -> None:
        """Add the steps that update the bias of ``op``; gradient is (out,)."""


@dataclass
class Lowering:
    """State of turning a network into steps.

    place: the buffer that holds each tensor of the network, activations and constants alike. wanted: tensors whose error some
    trained layer needs. inside, saved: clip masks and saved inputs or argmax by operator name, for the backward rules.
    mantissa_bits: of each layer's scaled error, which its gradients are sums of (block floating point).
    """

    graph: Graph
    build: StepBuilder
    mode: ErrorMode | None = None
    trainer: Trainer | None = None
    training: Mapping[str, LayerTraining] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    place: dict[str, str] = field(default_factory=dict)
    inside: dict[str, str] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)
    mantissa_bits: dict[str, int] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        """The tensor of the network with this name."""
        return self.graph.tensors[name]

    def layer_constant(self, op: Operator, name: str, role: str, *, trains: bool) -> str:
        """The buffer of the weights or the bias of ``op``, the tensor ``name``: in flash, or trainable.

        Operators that share a tensor of the file share its buffer. Raises UsageError where such a tensor trains.
        """
        if trains:
            self.require_unshared(op, name)
        if name not in self.place:
            tensor = self.tensor(name)
            region: Region = "trainable" if trains else "constant"
            self.place[name] = self.build.buffer(f"{op.name}.{role}", tensor.dtype, tensor.shape, region, tensor.data)
        return self.place[name]

    def operand(self, op: Operator, name: str) -> str:
        """The buffer of an operand of ``op``, which may be a constant that does not train."""
        if name not in self.place:
            tensor = self.tensor(name)
            assert tensor.data is not None, name
            self.place[name] = self.build.constant(f"{op.name}.constant", np.asarray(tensor.data))
        return self.place[name]

    def require_unshared(self, op: Operator, name: str) -> None:
        """Raise UsageError where another operator reads the tensor ``name`` too: its gradient would not be that of ``op`` alone."""
        readers = [other.name for other in self.graph.operators if name in other.inputs]
        if len(readers) > 1:
            others = ", ".join(reader for reader in readers if reader != op.name)
            raise UsageError(
                f"{op.name} cannot train: it shares tensor {name} with {others}; give each its own in the model file, or leave a "
                "layer of the scheme out of it"
            )

    def output_buffer(self, op: Operator) -> str:
        """A new arena buffer for the output of ``op``."""
        tensor = self.tensor(op.outputs[0])
        buffer = self.build.buffer(tensor_buffer_name(op), "int8", tensor.shape)
        self.place[tensor.name] = buffer
        return buffer

    def mask_for(self, op: Operator) -> str | None:
        """A clip mask for the output of ``op`` if a backward step will ask for it."""
        if not self.backward_reaches(op):
            return None
        self.inside[op.name] = self.build.mask(f"{op.name}.inside", self.tensor(op.outputs[0]).elements)
        return self.inside[op.name]

    def backward_reaches(self, op: Operator) -> bool:
        """Whether the error of the output of ``op`` is computed."""
        return op.outputs[0] in self.wanted

    @property
    def errors(self) -> ErrorMode:
        """The error mode; only backward rules ask."""
        assert self.mode is not None
        return self.mode


def tensor_buffer_name(op: Operator) -> str:
    """Name of the buffer of an operator's output."""
    return f"{op.name}.out"


class Rule(ABC):
    """How one kind of operator is lowered."""

    @abstractmethod
    def forward(self, context: Lowering, op: Operator) -> None:
        """Add the forward steps; set ``context.place`` of the output, masks and saved tensors."""

    @abstractmethod
    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        """Add the backward steps for the output's error; returns the error buffer of each input in ``context.wanted``."""
