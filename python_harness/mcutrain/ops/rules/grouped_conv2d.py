"""Convolutions with dilated taps or groups of channels, dense and depthwise, by the kernels that take any; others by their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import ConvAttributes, Operator, Tensor
from mcutrain.ops.base import Params, Window
from mcutrain.ops.depthwise_conv2d_gradient import inputs_read
from mcutrain.ops.errors import conv_mantissa_bits
from mcutrain.ops.grouped_conv2d_gradient import GroupedConv2dGradientParams
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.rules.conv2d import ConvRule, grouped_params, groups_of


def _selectable(op: Operator, window: Window) -> int:
    """The channels that training in part is of."""
    return window.out_channels if op.kind == "depthwise_conv2d" else window.in_channels // groups_of(op, window)


class GroupedConvRule(ConvRule):
    """Any dilation, any groups. What trains in part are input channels of every group or, depthwise, output channels."""

    kind = "grouped_conv2d"

    def _forward_params(self, op: Operator, window: Window, x: Tensor, y: Tensor) -> Params:
        return grouped_params(op, window, x, y)

    def _mantissa_bits(self, op: Operator, window: Window) -> int:
        assert isinstance(op.attributes, ConvAttributes)
        return conv_mantissa_bits(window, op.attributes.dilation, groups_of(op, window))

    def _gradient_params(self, op: Operator, window: Window, zero_point: int, most_selected: int) -> Params:
        assert isinstance(op.attributes, ConvAttributes)
        return GroupedConv2dGradientParams(
            window, *op.attributes.dilation, groups_of(op, window), zero_point, most_selected
        )

    def _error_params(self, op: Operator, window: Window) -> Params:
        return self._gradient_params(op, window, 0, 0)

    def _save_input(self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32]) -> None:
        build, inputs = context.build, window.in_channels // groups_of(op, window)
        index = f"{op.name}.selected"
        if op.kind == "depthwise_conv2d":
            kept = inputs_read(window, selected)
        else:
            kept = np.add.outer(inputs * np.arange(groups_of(op, window), dtype=np.int32), selected).reshape(-1)
        if selected.size < _selectable(op, window):
            build.index(index, selected)
        if kept.size == window.in_channels:
            context.saved[op.name] = context.place[op.inputs[0]]
        elif np.array_equal(kept, selected):
            self._keep_channels(context, op, window, index)
        else:
            self._keep_channels(context, op, window, build.index(f"{op.name}.inputs_read", kept))

    def _weight_gradient(
        self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32], g: str
    ) -> str:
        most, kernel = int(selected.size), (window.kernel_height, window.kernel_width)
        shape = (most, *kernel) if op.kind == "depthwise_conv2d" else (window.out_channels, *kernel, most)
        # The kernel counts output channels where a group has one input channel, whether or not the network calls that depthwise.
        listable = window.out_channels if groups_of(op, window) == window.in_channels and len(shape) == 4 else most
        params = self._gradient_params(op, window, context.tensor(op.inputs[0]).zero_point, listable)
        index = f"{op.name}.selected" if most < _selectable(op, window) else None
        return self._gradient_step(context, op, params, shape, {"x": context.saved[op.name], "g": g, "index": index})


class ConvRuleByAttributes(Rule):
    """``plain`` for a convolution of dilation 1 in one group, whose kernels are the fastest."""

    def __init__(self, plain: Rule) -> None:
        self._plain, self._grouped = plain, GroupedConvRule()

    def _of(self, op: Operator) -> Rule:
        assert isinstance(op.attributes, ConvAttributes)
        is_plain = op.attributes.dilation == (1, 1) and op.attributes.groups == 1
        return self._plain if is_plain else self._grouped

    def forward(self, context: Lowering, op: Operator) -> None:
        self._of(op).forward(context, op)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        return self._of(op).backward(context, op, error)
