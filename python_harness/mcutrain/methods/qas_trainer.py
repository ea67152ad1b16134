"""The trainer of sparse update: SGD on int8 weights and int32 biases with quantisation-aware scaling.

``W' = saturate(round(W - lr * G_W / s_W^2))``, ``b' = b - lr * G_b / (s_x s_W)^2`` (docs/arithmetic.md, "Update").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Operator
from mcutrain.methods.channels import selectable_channels
from mcutrain.methods.minibatch import Minibatch
from mcutrain.methods.training_graph import RANDOM
from mcutrain.ops.bounds import largest_bias, weight_gradient_terms
from mcutrain.ops.rules import Lowering, effective_scales, inputs_per_output, layer_window, weight_scales
from mcutrain.ops.steps import Phase
from mcutrain.ops.update_bias import UpdateBiasParams
from mcutrain.ops.update_weights import UpdateWeightsParams

_UNIT_RANGE_SCALE = 1.0 / 255.0


@dataclass(frozen=True)
class QasTrainer:
    """Adds the update steps of a layer.

    rounding: master16, stochastic8 or nearest8. step_cap: largest step of a tensor in LSB (weights) or output LSB (biases), 0 for none.
    gradient_scaling: qas or none. input_scale_correction: count the input's scale as 1/255 in the layer that reads it.
    """

    rounding: str
    step_cap: float
    gradient_scaling: str
    input_scale_correction: bool
    minibatch: Minibatch

    def update_weights(self, context: Lowering, op: Operator, gradient: str) -> None:
        build, mode, rounding = context.build, context.errors, self.rounding
        training = context.training[op.name]
        assert training.selected is not None
        window = layer_window(context.graph, op)
        weights = context.tensor(op.inputs[1]).data
        assert weights is not None
        selected, factor = training.selected, self._weight_factor(context, op)
        part = f"{op.name}.selected" if selected.size < selectable_channels(context.graph, op) else None
        depthwise = op.kind == "depthwise_conv2d"
        params = UpdateWeightsParams(
            out_channels=window.out_channels,
            taps=window.kernel_height * window.kernel_width,
            in_channels=inputs_per_output(context.graph, op),
            most_rows=int(selected.size) if depthwise else window.out_channels,
            most_selected=1 if depthwise else int(selected.size),
            weight_min=min(-127, int(weights.min())),
            step_cap=self.minibatch.step_cap(self.step_cap),
        )
        gradient = self._of_the_batch(context, op, gradient)
        operands: dict[str, str | None] = {
            "gradient": gradient,
            "factor": build.constant(f"{op.name}.weight_factor", factor),
            "index": None if depthwise else part,
            "rows": part if depthwise else None,
            "learning_rate": self.minibatch.learning_rate,
            "weights": context.place[op.inputs[1]],
        }
        if rounding == "master16":
            shape = build.buffers[gradient].shape
            operands["fraction"] = build.state(f"{op.name}.fraction", "int8", shape)
        elif rounding == "stochastic8":
            operands["random"] = RANDOM
        kernel = f"update_weights_{rounding}_{mode.suffix}"
        name, once = f"{op.name}.update_weights", self.minibatch.waits
        build.step(name, kernel, params, Phase.UPDATE, op.name, operands, once_a_batch=once)

    def update_bias(self, context: Lowering, op: Operator, gradient: str) -> None:
        build, mode = context.build, context.errors
        window = layer_window(context.graph, op)
        terms = window.kernel_height * window.kernel_width * inputs_per_output(context.graph, op)
        cap = self.minibatch.step_cap(self.step_cap)
        params = UpdateBiasParams(channels=window.out_channels, bias_limit=largest_bias(terms), step_cap=cap)
        output_scale = effective_scales(context.graph, op).astype(np.float32)
        operands = {
            "gradient": self._of_the_batch(context, op, gradient),
            "factor": build.constant(f"{op.name}.bias_factor", self._bias_factor(context, op)),
            "output_scale": build.constant(f"{op.name}.output_scale", output_scale),
            "learning_rate": self.minibatch.learning_rate,
            "bias": context.place[op.inputs[2]],
        }
        name, once = f"{op.name}.update_bias", self.minibatch.waits
        build.step(name, f"update_bias_{mode.suffix}", params, Phase.UPDATE, op.name, operands, once_a_batch=once)

    def _of_the_batch(self, context: Lowering, op: Operator, gradient: str) -> str:
        """The gradient that the update reads. The sums of a weight's gradient are the larger ones, so they bound the bias's too."""
        window = layer_window(context.graph, op)
        terms = weight_gradient_terms(window.out_height, window.out_width)
        return self.minibatch.gradient(context, op.name, gradient, terms, context.mantissa_bits[op.name])

    def _weight_factor(self, context: Lowering, op: Operator) -> NDArray[np.float32]:
        """1 / s_w[c]^2; in a layer that reads the network's input, whose scale counts as 1/255: 1 / (255 s_x s_w[c])^2."""
        scales = weight_scales(context.graph, op)
        if self.gradient_scaling == "none":
            return np.ones_like(scales, dtype=np.float32)
        if self.input_scale_correction and reads_input(context.graph, op):
            scales = scales * context.tensor(op.inputs[0]).scale / _UNIT_RANGE_SCALE
        return _inverse_square(op, scales)

    def _bias_factor(self, context: Lowering, op: Operator) -> NDArray[np.float32]:
        """1 / (s_x s_w[c])^2."""
        scales = weight_scales(context.graph, op) * context.tensor(op.inputs[0]).scale
        if self.gradient_scaling == "none":
            return np.ones_like(scales, dtype=np.float32)
        return _inverse_square(op, scales)


def _inverse_square(op: Operator, scales: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", under="ignore"):
        factors = (1.0 / scales**2).astype(np.float32)
    if not np.all(np.isfinite(factors) & (factors > 0)):
        raise UsageError(
            f"{op.name}: 1 / scale^2 of its scales ({scales.min():.3g} to {scales.max():.3g}) is outside float32; leave the layer "
            "out of the scheme, or take gradient scaling 'none'"
        )
    return factors


def reads_input(graph: Graph, op: Operator) -> bool:
    """Whether ``op`` reads the network's input, possibly padded or reshaped."""
    name = op.inputs[0]
    while name != graph.input:
        producer = graph.producer(name)
        if producer is None or producer.kind not in ("pad", "reshape"):
            return False
        name = producer.inputs[0]
    return True
