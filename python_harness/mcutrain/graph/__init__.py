"""The quantised network: tensors and operators, and nothing about training."""

from mcutrain.graph.attributes import (
    AddAttributes,
    Attributes,
    ConvAttributes,
    LogSoftmaxAttributes,
    MeanAttributes,
    PadAttributes,
    Padding,
    PoolAttributes,
    PreluAttributes,
    RequantizeAttributes,
    ReshapeAttributes,
    SoftmaxAttributes,
    TableAttributes,
)
from mcutrain.graph.model import Graph, Operator, Quantization, Tensor

__all__ = [
    "AddAttributes",
    "Attributes",
    "ConvAttributes",
    "Graph",
    "LogSoftmaxAttributes",
    "MeanAttributes",
    "Operator",
    "PadAttributes",
    "Padding",
    "PoolAttributes",
    "PreluAttributes",
    "Quantization",
    "RequantizeAttributes",
    "ReshapeAttributes",
    "SoftmaxAttributes",
    "TableAttributes",
    "Tensor",
]
