"""The quantised network: tensors and operators, and nothing about training."""

from mcutrain.graph.attributes import (
    AddAttributes,
    Attributes,
    ConcatenateAttributes,
    ConvAttributes,
    MeanAttributes,
    PadAttributes,
    Padding,
    PoolAttributes,
    RequantizeAttributes,
    ReshapeAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    SoftmaxAttributes,
    TransposeAttributes,
)
from mcutrain.graph.model import Graph, Operator, Quantization, Tensor

__all__ = [
    "AddAttributes",
    "Attributes",
    "ConcatenateAttributes",
    "ConvAttributes",
    "Graph",
    "MeanAttributes",
    "Operator",
    "PadAttributes",
    "Padding",
    "PoolAttributes",
    "Quantization",
    "RequantizeAttributes",
    "ReshapeAttributes",
    "ResizeNearestAttributes",
    "SliceAttributes",
    "SoftmaxAttributes",
    "Tensor",
    "TransposeAttributes",
]
