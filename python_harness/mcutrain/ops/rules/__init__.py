"""The lowering rule of every kind of operator."""

from __future__ import annotations

from mcutrain.ops.rules.add import AddRule
from mcutrain.ops.rules.base import LayerTraining, Lowering, Rule, Trainer, tensor_buffer_name
from mcutrain.ops.rules.conv2d import ConvRule, effective_scales, inputs_per_output, layer_window, weight_scales
from mcutrain.ops.rules.depthwise_conv2d import DepthwiseConvRule
from mcutrain.ops.rules.grouped_conv2d import ConvRuleByAttributes
from mcutrain.ops.rules.mean import MeanRule
from mcutrain.ops.rules.movement import ConcatenateRule, PadRule, ResizeNearestRule, SliceRule, TransposeRule
from mcutrain.ops.rules.multiply import MultiplyRule
from mcutrain.ops.rules.pointwise import LogSoftmaxRule, RequantizeRule, ReshapeRule, SoftmaxRule
from mcutrain.ops.rules.pool import AveragePoolRule, MaxPoolRule
from mcutrain.ops.rules.prelu import PreluRule
from mcutrain.ops.rules.table import TableRule

RULES: dict[str, Rule] = {
    "conv2d": ConvRuleByAttributes(ConvRule()),
    "depthwise_conv2d": ConvRuleByAttributes(DepthwiseConvRule()),
    "fully_connected": ConvRule(),
    "add": AddRule(),
    "average_pool": AveragePoolRule(),
    "concatenate": ConcatenateRule(),
    "log_softmax": LogSoftmaxRule(),
    "max_pool": MaxPoolRule(),
    "mean": MeanRule(),
    "multiply": MultiplyRule(),
    "pad": PadRule(),
    "prelu": PreluRule(),
    "requantize": RequantizeRule(),
    "reshape": ReshapeRule(),
    "resize_nearest": ResizeNearestRule(),
    "slice": SliceRule(),
    "softmax": SoftmaxRule(),
    "table": TableRule(),
    "transpose": TransposeRule(),
}

__all__ = [
    "RULES",
    "LayerTraining",
    "Lowering",
    "Rule",
    "Trainer",
    "effective_scales",
    "inputs_per_output",
    "layer_window",
    "tensor_buffer_name",
    "weight_scales",
]
