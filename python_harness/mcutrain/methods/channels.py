"""Channel selection: which channels of a layer train where a scheme asks for a share of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator
from mcutrain.methods.scheme import Scheme
from mcutrain.ops.rules import LayerTraining, inputs_per_output, layer_window, weight_scales


def selectable_channels(graph: Graph, op: Operator) -> int:
    """The channels that a share of a layer is of: its input channels (of one group), or its output channels where it is depthwise."""
    return layer_window(graph, op).out_channels if op.kind == "depthwise_conv2d" else inputs_per_output(graph, op)


def largest_channels(graph: Graph, op: Operator, count: int) -> NDArray[np.int32]:
    """The ``count`` input channels with the largest sum of |s_w[o] * w|, ascending; the lower index wins a tie.

    Of a grouped convolution they are the same of every group; of a depthwise convolution they are output channels.
    """
    weights = graph.tensors[op.inputs[1]].data
    assert weights is not None
    scaled = np.abs(weights.astype(np.float64)) * weight_scales(graph, op).reshape(-1, *[1] * (weights.ndim - 1))
    channel_axis = 0 if op.kind == "depthwise_conv2d" else weights.ndim - 1
    magnitude = scaled.sum(axis=tuple(axis for axis in range(weights.ndim) if axis != channel_axis))
    order = np.argsort(-magnitude, kind="stable")[:count]
    return np.sort(order).astype(np.int32)


def layer_training(graph: Graph, scheme: Scheme, layers: Sequence[str]) -> dict[str, LayerTraining]:
    """What trains of each layer by name, the channels of a share being the largest.

    layers: those that a scheme may name, in order. Raises UsageError where a share is no channel at all.
    """
    training: dict[str, LayerTraining] = {}
    operators = {op.name: op for op in graph.operators}
    for name in layers:
        if not scheme.trains(name):
            continue
        op, selected = operators[name], None
        if name in scheme.weights:
            channels = selectable_channels(graph, op)
            count = int(channels * scheme.weights[name])
            if count == 0:
                raise UsageError(
                    f"scheme {scheme.text!r}: {scheme.weights[name]} of the {channels} channels of {name} is none"
                )
            selected = largest_channels(graph, op, count)
        training[name] = LayerTraining(bias=name in scheme.biases, selected=selected)
    return training
