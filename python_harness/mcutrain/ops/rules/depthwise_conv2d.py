"""depthwise_conv2d: a convolution whose output channels read one input channel each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import ConvAttributes, Operator, Tensor
from mcutrain.ops.base import Params, Window
from mcutrain.ops.depthwise_conv2d import DepthwiseConv2dS8Params
from mcutrain.ops.depthwise_conv2d_gradient import DepthwiseWeightGradientParams, inputs_read
from mcutrain.ops.errors import conv_mantissa_bits
from mcutrain.ops.rules.base import Lowering
from mcutrain.ops.rules.conv2d import ConvRule


class DepthwiseConvRule(ConvRule):
    """A convolution of single channels. What trains in part are output channels, and kept is what these read of the input."""

    kind = "depthwise_conv2d"

    def _forward_params(self, op: Operator, window: Window, x: Tensor, y: Tensor) -> Params:
        assert isinstance(op.attributes, ConvAttributes)
        return DepthwiseConv2dS8Params(window, x.zero_point, y.zero_point, *op.attributes.clamp)

    def _mantissa_bits(self, op: Operator, window: Window) -> int:
        return conv_mantissa_bits(window, groups=window.in_channels)

    def _save_input(self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32]) -> None:
        build, kept = context.build, inputs_read(window, selected)
        index = f"{op.name}.selected"
        if selected.size < window.out_channels:
            build.index(index, selected)
        if kept.size == window.in_channels:
            context.saved[op.name] = context.place[op.inputs[0]]
        elif window.in_channels == window.out_channels:
            self._keep_channels(context, op, window, index)
        else:
            self._keep_channels(context, op, window, build.index(f"{op.name}.inputs_read", kept))

    def _weight_gradient(
        self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32], g: str
    ) -> str:
        params = DepthwiseWeightGradientParams(window, context.tensor(op.inputs[0]).zero_point, int(selected.size))
        shape = (params.most_selected, window.kernel_height, window.kernel_width)
        index = f"{op.name}.selected" if params.most_selected < window.out_channels else None
        operands = {"x": context.saved[op.name], "g": g, "index": index}
        return self._gradient_step(context, op, params, shape, operands)
