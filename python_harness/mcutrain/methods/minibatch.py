"""Minibatches: when a gradient becomes an update, and at which rate (docs/arithmetic.md, "Minibatches").

With one sample a minibatch a gradient is used as soon as it is there. With more, every sample adds its gradients to sums that lie in the
state, exactly, and the program ``update`` takes one step by their mean: it drains each sum into the arena, one layer after the other, and
hands it to the same kernels, at the learning rate divided by the number of samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mcutrain.methods.training_graph import LEARNING_RATE, SAMPLES
from mcutrain.ops.bounds import accumulator_window_bits
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.mean_rate import MeanRateParams
from mcutrain.ops.rules import Lowering
from mcutrain.ops.steps import Phase, StepBuilder

_MEAN_RATE = "batch.mean_rate"
_SUMS = {"b16": "b64", "f32": "float32"}


@dataclass(frozen=True)
class Minibatch:
    """The samples of an update. size: 1 or more."""

    size: int = 1

    @property
    def waits(self) -> bool:
        """Whether updates wait for the end of a minibatch."""
        return self.size > 1

    @property
    def learning_rate(self) -> str:
        """The buffer of the rate of an update, float32 (1,)."""
        return _MEAN_RATE if self.waits else LEARNING_RATE

    def step_cap(self, of_one: float) -> float:
        """The largest step of an update, in the unit of the cap of a single sample: it grows with the root of the size.

        The mean of n gradients is smaller than one of them by about the root of n where they are mostly noise, and the rate that suits n
        samples is larger; a cap that stayed where it is would throttle.
        """
        return float(np.float32(of_one * math.sqrt(self.size)))

    def begin(self, build: StepBuilder) -> None:
        """Add the step that finds the mean's rate, ahead of every update."""
        if self.waits:
            rate = build.buffer(_MEAN_RATE, "float32", (1,))
            operands = {"learning_rate": LEARNING_RATE, "samples": SAMPLES, "rate": rate}
            params = MeanRateParams(batch=self.size)
            build.step(_MEAN_RATE, "mean_rate_f32", params, Phase.UPDATE, "batch", operands, once_a_batch=True)

    def gradient(self, context: Lowering, layer: str, gradient: str, terms: int, mantissa_bits: int) -> str:
        """The gradient that an update of ``layer`` reads: ``gradient`` itself, or the sum over a minibatch.

        terms, mantissa_bits: of the largest sums that the gradient can be made of, for the proof that no sum is ever rounded.
        """
        if not self.waits:
            return gradient
        build, suffix = context.build, context.errors.suffix
        buffer = build.buffers[gradient]
        if suffix == "b16":
            accumulator_window_bits(layer, terms, mantissa_bits, self.size)
        params = ElementsParams(elements=buffer.elements)
        accumulator = build.state(f"{gradient}_sum", _SUMS[suffix], buffer.shape)
        operands = {"gradient": gradient, "accumulator": accumulator}
        name, kernel = f"{gradient}.accumulate", f"gradient_accumulate_{suffix}"
        build.step(name, kernel, params, Phase.UPDATE, layer, operands)
        drained = build.buffer(f"{gradient}.drained", buffer.dtype, buffer.shape)
        operands = {"gradient": drained, "accumulator": accumulator}
        name, kernel = f"{gradient}.drain", f"gradient_drain_{suffix}"
        build.step(name, kernel, params, Phase.UPDATE, layer, operands, once_a_batch=True)
        return drained
