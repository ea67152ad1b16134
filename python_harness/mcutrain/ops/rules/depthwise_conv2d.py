"""depthwise_conv2d: a convolution whose output channels read one input channel each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import ConvAttributes, Operator, Tensor
from mcutrain.ops.base import Params, Window
from mcutrain.ops.depthwise_conv2d import DepthwiseConv2dS8Params, outputs_per_input
from mcutrain.ops.depthwise_conv2d_gradient import depthwise_weight_shape
from mcutrain.ops.rules.base import Lowering
from mcutrain.ops.rules.conv2d import ConvRule


class DepthwiseConvRule(ConvRule):
    """A convolution of single channels. Its weight gradient is of every channel: those that do not train take steps of 0."""

    kind = "depthwise_conv2d"

    def _forward_params(self, op: Operator, window: Window, x: Tensor, y: Tensor) -> Params:
        assert isinstance(op.attributes, ConvAttributes)
        return DepthwiseConv2dS8Params(window, x.zero_point, y.zero_point, *op.attributes.clamp)

    def _error_window(self, window: Window) -> Window:
        return replace(window, out_channels=outputs_per_input(window))

    def _save_input(self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32]) -> None:
        context.saved[op.name] = context.place[op.inputs[0]]

    def _gradient_of(self, window: Window, selected: NDArray[np.int32]) -> tuple[Window, tuple[int, ...]]:
        return window, depthwise_weight_shape(window)
