"""conv2d and fully_connected, and what depthwise_conv2d shares with them: a fully connected layer is a 1x1 convolution of its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import ConvAttributes, Graph, Operator, Tensor
from mcutrain.ops.arithmetic import may_tie, quantise_multiplier
from mcutrain.ops.base import Params, Window
from mcutrain.ops.bias_gradient import BiasGradientParams
from mcutrain.ops.bounds import INPUT_MAGNITUDE, WEIGHT_MAGNITUDE, forward_terms
from mcutrain.ops.conv2d import Conv2dS8Params
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams
from mcutrain.ops.errors import conv_mantissa_bits
from mcutrain.ops.gather_channels import GatherChannelsS8Params
from mcutrain.ops.grouped_conv2d import GroupedConv2dS8Params
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase


def layer_window(graph: Graph, op: Operator) -> Window:
    """The geometry of a conv2d, depthwise_conv2d or fully_connected operator."""
    attributes = op.attributes
    assert isinstance(attributes, ConvAttributes)
    x, weights, y = (graph.tensors[name] for name in (op.inputs[0], op.inputs[1], op.outputs[0]))
    if op.kind == "fully_connected":
        out_features, in_features = weights.shape
        rows = x.elements // in_features
        return Window(rows, 1, in_features, rows, 1, out_features, 1, 1, 1, 1, 0, 0)
    in_height, in_width, in_channels = x.image
    out_height, out_width, out_channels = y.image
    return Window(
        in_height,
        in_width,
        in_channels,
        out_height,
        out_width,
        out_channels,
        weights.shape[1],
        weights.shape[2],
        attributes.stride[0],
        attributes.stride[1],
        attributes.padding.top,
        attributes.padding.left,
    )


def weight_scales(graph: Graph, op: Operator) -> NDArray[np.float64]:
    """s_w of every output channel, float64 of the float32 scales, shape (out_channels,)."""
    weights = graph.tensors[op.inputs[1]]
    assert weights.quantization is not None
    return np.broadcast_to(weights.quantization.scale.astype(np.float64), (weights.shape[0],)).copy()


def effective_scales(graph: Graph, op: Operator) -> NDArray[np.float64]:
    """s_x * s_w[c] / s_y of every output channel, shape (out_channels,)."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    return np.float64(x.scale) * weight_scales(graph, op) / np.float64(y.scale)


def inputs_per_output(graph: Graph, op: Operator) -> int:
    """Input channels that one output channel reads."""
    return 1 if op.kind == "depthwise_conv2d" else graph.tensors[op.inputs[1]].shape[-1]


def groups_of(op: Operator, window: Window) -> int:
    """The groups of channels of a layer; depthwise, every input channel is one."""
    assert isinstance(op.attributes, ConvAttributes)
    return window.in_channels if op.kind == "depthwise_conv2d" else op.attributes.groups


def grouped_params(op: Operator, window: Window, x: Tensor, y: Tensor) -> GroupedConv2dS8Params:
    """Of the kernel that takes a layer of any dilation and groups, and either rounding."""
    assert isinstance(op.attributes, ConvAttributes)
    a = op.attributes
    ends = (x.zero_point, y.zero_point, *a.clamp)
    return GroupedConv2dS8Params(window, *a.dilation, groups_of(op, window), *ends, half_even=int(a.half_even))


class ConvRule(Rule):
    """``y = clamp(requantise(sum (x - z_x) w + b) + z_y)`` and its gradients."""

    kind = "conv2d"  # begins the kernels' names

    def forward(self, context: Lowering, op: Operator) -> None:
        graph, build = context.graph, context.build
        assert isinstance(op.attributes, ConvAttributes)
        x, weights, bias = (context.tensor(name) for name in op.inputs)
        y = context.tensor(op.outputs[0])
        window = layer_window(graph, op)
        training = context.training.get(op.name)
        assert weights.data is not None and bias.data is not None
        kernel = (window.kernel_height, window.kernel_width)
        terms = forward_terms(op.name, kernel, inputs_per_output(graph, op), np.asarray(bias.data, np.int32))
        pairs = [quantise_multiplier(float(scale)) for scale in effective_scales(graph, op)]
        multiplier = np.array([pair[0] for pair in pairs], dtype=np.int32)
        shift = np.array([pair[1] for pair in pairs], dtype=np.int32)
        trains_weights = training is not None and training.selected is not None
        trains_bias = training is not None and training.bias
        operands = {
            "x": context.place[x.name],
            "weights": context.layer_constant(op, weights.name, "weights", trains=trains_weights),
            "bias": context.layer_constant(op, bias.name, "bias", trains=trains_bias),
            "multiplier": build.constant(f"{op.name}.multiplier", multiplier),
            "shift": build.constant(f"{op.name}.shift", shift),
            "y": context.output_buffer(op),
            "inside": context.mask_for(op),
        }
        largest = terms * INPUT_MAGNITUDE * WEIGHT_MAGNITUDE + int(np.abs(bias.data.astype(np.int64)).max(initial=0))
        if op.attributes.half_even and any(may_tie(*pair, largest) for pair in pairs):
            params: Params = grouped_params(op, window, x, y)
            build.step(op.name, "grouped_conv2d_s8", params, Phase.FORWARD, op.name, operands)
        else:
            params = self._forward_params(op, window, x, y)
            build.step(op.name, f"{self.kind}_s8", params, Phase.FORWARD, op.name, operands)
        if training is not None and training.selected is not None:
            self._save_input(context, op, window, training.selected)

    def _forward_params(self, op: Operator, window: Window, x: Tensor, y: Tensor) -> Params:
        assert isinstance(op.attributes, ConvAttributes)
        return Conv2dS8Params(
            window=window,
            input_zero_point=x.zero_point,
            output_zero_point=y.zero_point,
            clamp_min=op.attributes.clamp[0],
            clamp_max=op.attributes.clamp[1],
            # LiteRT rounds once in a fully connected layer, and twice in a convolution.
            single_rounding=int(op.kind == "fully_connected"),
        )

    def _mantissa_bits(self, op: Operator, window: Window) -> int:
        """Of the scaled error: what the sums of its gradients leave room for."""
        return conv_mantissa_bits(window)

    def _error_params(self, op: Operator, window: Window) -> Params:
        return Conv2dGradientParams(window=window, input_zero_point=0)

    def _save_input(self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32]) -> None:
        """Keep what the weight gradient needs of the input: all of it, or only the channels that train."""
        if selected.size == window.in_channels:
            context.saved[op.name] = context.place[op.inputs[0]]
        else:
            index = context.build.index(f"{op.name}.selected", selected)
            self._keep_channels(context, op, window, index)

    def _keep_channels(self, context: Lowering, op: Operator, window: Window, index: str) -> None:
        """Keep a part of the input for the weight gradient. index: the buffer that names its channels."""
        build, x = context.build, context.place[op.inputs[0]]
        (count,) = build.buffers[index].shape
        kept = build.buffer(f"{op.name}.kept", "int8", (window.in_height, window.in_width, count))
        params = GatherChannelsS8Params(
            pixels=window.in_height * window.in_width, in_channels=window.in_channels, most_selected=count
        )
        build.step(
            f"{op.name}.keep", "gather_channels_s8", params, Phase.FORWARD, op.name, {"x": x, "index": index, "y": kept}
        )
        context.saved[op.name] = kept

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        graph, build, mode = context.graph, context.build, context.errors
        window = layer_window(graph, op)
        training = context.training.get(op.name)
        bits = context.mantissa_bits[op.name] = self._mantissa_bits(op, window)
        g = mode.scale(
            build,
            f"{op.name}.scaled_error",
            op.name,
            error,
            context.inside[op.name],
            effective_scales(graph, op),
            bits,
        )
        errors: dict[str, str] = {}
        if training is not None and training.bias:
            assert context.trainer is not None
            gradient = build.buffer(f"{op.name}.bias_gradient", mode.sums, (window.out_channels,))
            bias_params = BiasGradientParams(pixels=window.out_height * window.out_width, channels=window.out_channels)
            build.step(
                f"{op.name}.bias_gradient",
                f"bias_gradient_{mode.suffix}",
                bias_params,
                Phase.BACKWARD,
                op.name,
                {"g": g, "gradient": gradient},
            )
            context.trainer.update_bias(context, op, gradient)
        if op.inputs[0] in context.wanted:
            weights = context.place[op.inputs[1]]
            name, params = f"{op.name}.input_error", self._error_params(op, window)
            errors[op.inputs[0]] = mode.conv_error(
                build, name, op.name, g, weights, window, f"{self.kind}_error", params
            )
        if training is not None and training.selected is not None:
            assert context.trainer is not None
            gradient = self._weight_gradient(context, op, window, training.selected, g)
            context.trainer.update_weights(context, op, gradient)
        return errors

    def _weight_gradient(
        self, context: Lowering, op: Operator, window: Window, selected: NDArray[np.int32], g: str
    ) -> str:
        """Add the step of the weight gradient; returns its buffer."""
        narrowed = replace(window, in_channels=int(selected.size))
        shape = (window.out_channels, window.kernel_height, window.kernel_width, narrowed.in_channels)
        params = Conv2dGradientParams(window=narrowed, input_zero_point=context.tensor(op.inputs[0]).zero_point)
        index = f"{op.name}.selected" if selected.size < window.in_channels else None
        return self._gradient_step(context, op, params, shape, {"x": context.saved[op.name], "g": g, "index": index})

    def _gradient_step(
        self, context: Lowering, op: Operator, params: Params, shape: tuple[int, ...], operands: dict[str, str | None]
    ) -> str:
        build, mode = context.build, context.errors
        gradient = build.buffer(f"{op.name}.weight_gradient", mode.sums, shape)
        kernel = f"{self.kind}_weight_gradient_{mode.suffix}"
        name = f"{op.name}.weight_gradient"
        build.step(name, kernel, params, Phase.BACKWARD, op.name, {**operands, "gradient": gradient})
        return gradient
