"""Small Graphs for tests that need no model file."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import (
    ConvAttributes,
    Graph,
    Operator,
    Padding,
    PoolAttributes,
    Quantization,
    ReshapeAttributes,
    Tensor,
)


def quantization(scale: float | list[float], zero_point: int = 0, axis: int | None = None) -> Quantization:
    """A quantisation with one scale, or with one per channel of ``axis``."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    return Quantization(scales, np.full(scales.shape, zero_point, np.int32), axis)


def small_graph() -> Graph:
    """conv0 (3x2, 2 to 5 channels, on a 4x3 image), a global average_pool1, reshape2, and fully_connected3 to 7 classes."""
    random = np.random.default_rng(8)
    weight_scales = np.array([0.01, 0.02, 0.03, 0.04, 0.05], np.float32)
    conv_weights = random.integers(-127, 128, (5, 3, 2, 2)).astype(np.int8)
    dense_weights = random.integers(-127, 128, (7, 5)).astype(np.int8)
    per_channel = Quantization(weight_scales, np.zeros(5, np.int32), 0)
    bias_scale = Quantization(np.float32(0.5) * weight_scales, np.zeros(5, np.int32), 0)
    tensors = [
        Tensor("x", (4, 3, 2), "int8", quantization(0.5, -3)),
        Tensor("conv_weights", conv_weights.shape, "int8", per_channel, conv_weights),
        Tensor("conv_bias", (5,), "int32", bias_scale, np.arange(5, dtype=np.int32)),
        Tensor("c", (4, 3, 5), "int8", quantization(2.0, 9)),
        Tensor("p", (1, 1, 5), "int8", quantization(2.0, 9)),
        Tensor("f", (5,), "int8", quantization(2.0, 9)),
        Tensor("dense_weights", dense_weights.shape, "int8", quantization(0.1), dense_weights),
        Tensor("dense_bias", (7,), "int32", quantization(0.2), np.arange(7, dtype=np.int32)),
        Tensor("y", (7,), "int8", quantization(1.5, 0)),
    ]
    conv = ConvAttributes(padding=Padding(top=1, bottom=1, left=0, right=1))
    operators = (
        Operator("conv0", "conv2d", ("x", "conv_weights", "conv_bias"), ("c",), conv, "CONV_2D"),
        Operator("average_pool1", "average_pool", ("c",), ("p",), PoolAttributes((4, 3), (1, 1)), "AVERAGE_POOL_2D"),
        Operator("reshape2", "reshape", ("p",), ("f",), ReshapeAttributes(), "RESHAPE"),
        Operator(
            "fully_connected3",
            "fully_connected",
            ("f", "dense_weights", "dense_bias"),
            ("y",),
            ConvAttributes(),
            "FULLY_CONNECTED",
        ),
    )
    return Graph("small", {t.name: t for t in tensors}, operators, "x", "y", "test", "0" * 64)
