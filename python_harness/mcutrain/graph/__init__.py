"""The quantised network: tensors and operators, and nothing about training."""

from mcutrain.graph.model import (
    AddAttributes,
    Attributes,
    ConvAttributes,
    Graph,
    MeanAttributes,
    Operator,
    PadAttributes,
    Padding,
    PoolAttributes,
    Quantization,
    RequantizeAttributes,
    ReshapeAttributes,
    SoftmaxAttributes,
    Tensor,
)

__all__ = [
    "AddAttributes",
    "Attributes",
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
    "SoftmaxAttributes",
    "Tensor",
]
