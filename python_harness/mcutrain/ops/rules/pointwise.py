"""pad, requantize, reshape and softmax: operators without weights that work element by element."""

from __future__ import annotations

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph import Operator, PadAttributes, RequantizeAttributes, SoftmaxAttributes
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.log_softmax import log_softmax_params
from mcutrain.ops.pad import PadS8Params
from mcutrain.ops.pad_gradient import PadErrorParams
from mcutrain.ops.requantize import RequantizeS8Params
from mcutrain.ops.rules.base import Lowering, Rule, tensor_buffer_name
from mcutrain.ops.softmax import softmax_params
from mcutrain.ops.steps import Phase


class PadRule(Rule):
    """A border of zeros; the border's error goes nowhere."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, PadAttributes)
        x, border = context.tensor(op.inputs[0]), op.attributes.padding
        height, width, channels = x.image
        params = PadS8Params(
            height, width, channels, border.top, border.bottom, border.left, border.right, x.zero_point
        )
        operands = {"x": context.place[x.name], "y": context.output_buffer(op)}
        context.build.step(op.name, "pad_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        assert isinstance(op.attributes, PadAttributes)
        x, border, mode = context.tensor(op.inputs[0]), op.attributes.padding, context.errors
        out = context.build.buffer(f"{op.name}.input_error", mode.error, x.shape)
        height, width, channels = x.image
        params = PadErrorParams(height, width, channels, border.top, border.bottom, border.left, border.right)
        name = f"{op.name}.input_error"
        operands = {"error": error, "out": out}
        context.build.step(name, f"pad_error_{mode.suffix}", params, Phase.BACKWARD, op.name, operands)
        return {x.name: out}


class RequantizeRule(Rule):
    """A change of scale, relu, relu6 or clip; the error passes where the clamp did not bite, times s_x / s_y."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, RequantizeAttributes)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        exact = x.scale / y.scale
        ratio = float(np.float32(exact)) if op.attributes.float32_quotient else exact
        multiplier, shift = quantise_multiplier(ratio)
        params = RequantizeS8Params(y.elements, x.zero_point, y.zero_point, multiplier, shift, *op.attributes.clamp)
        operands = {"x": context.place[x.name], "y": context.output_buffer(op), "inside": context.mask_for(op)}
        context.build.step(op.name, "requantize_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        factor = np.array([np.float64(x.scale) / np.float64(y.scale)])
        name = f"{op.name}.input_error"
        out = context.errors.scale(context.build, name, op.name, error, context.inside[op.name], factor)
        return {x.name: out}


class ReshapeRule(Rule):
    """The same bytes under another shape, forward and backward."""

    def forward(self, context: Lowering, op: Operator) -> None:
        shape = context.tensor(op.outputs[0]).shape
        context.place[op.outputs[0]] = context.build.view(tensor_buffer_name(op), context.place[op.inputs[0]], shape)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        shape = context.tensor(op.inputs[0]).shape
        return {op.inputs[0]: context.build.view(f"{op.name}.input_error", error, shape)}


class SoftmaxRule(Rule):
    """The int8 softmax of inference; training replaces it by the float32 loss."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, SoftmaxAttributes)
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        params = softmax_params(x.shape, x.scale, op.attributes.beta, y.scale, y.zero_point)
        operands = {"x": context.place[x.name], "y": context.output_buffer(op)}
        context.build.step(op.name, "softmax_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        raise UsageError(
            f"{op.name}: a softmax inside the network cannot be trained through; only the last operator may be one"
        )


class LogSoftmaxRule(SoftmaxRule):
    """The int8 logarithm of a softmax; training replaces it too."""

    def forward(self, context: Lowering, op: Operator) -> None:
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        params = log_softmax_params(x.shape, x.scale, y.scale, y.zero_point)
        operands = {"x": context.place[x.name], "y": context.output_buffer(op)}
        context.build.step(op.name, "log_softmax_s8", params, Phase.FORWARD, op.name, operands)
