"""The two error modes: how errors (d loss / d code) are stored, scaled, summed and propagated.

``b16`` is block floating point with exact integer sums (the default), ``f32`` the float32 reference mode. The gradient rules in
``ops/rules`` are written once, against ErrorMode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Params, Window
from mcutrain.ops.bounds import error_product_terms, largest_mantissa_bits, weight_gradient_terms
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ErrorScaleParams
from mcutrain.ops.steps import Phase, StepBuilder

FULL_MANTISSA_BITS = 15
GRADIENT_MANTISSA_BITS = 11  # 12 bits with the sign: more changes no accuracy and would not fit the sums


def conv_mantissa_bits(window: Window, dilation: tuple[int, int] = (1, 1), groups: int = 1) -> int:
    """The most magnitude bits of a convolution's scaled error g for which dX, dW and db stay within int32."""
    pixels = weight_gradient_terms(window.out_height, window.out_width)
    kernel, stride = (window.kernel_height, window.kernel_width), (window.stride_height, window.stride_width)
    products = error_product_terms(kernel, stride, window.out_channels // groups, dilation)
    bits = largest_mantissa_bits(terms=products, other_magnitude=128, most_bits=GRADIENT_MANTISSA_BITS)
    return largest_mantissa_bits(terms=pixels, other_magnitude=255, most_bits=bits)


def scale_to_int32(factors: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    """Factors as int32 mantissas with one exponent, the largest magnitude in [2^30, 2^31).

    Returns (scale, exponent) with factor[c] ~ scale[c] * 2^exponent, each rounded half-even.
    """
    largest = float(np.max(np.abs(factors)))
    if not np.isfinite(largest):
        raise ValueError("error factors must be finite")
    if largest == 0:  # of a function that is constant
        return np.zeros(factors.shape, np.int32), 0
    exponent = int(np.frexp(largest)[1]) - 31
    scale = np.rint(np.ldexp(factors, -exponent))
    if np.max(np.abs(scale)) >= 2.0**31:
        exponent += 1
        scale = np.rint(np.ldexp(factors, -exponent))
    return scale.astype(np.int32), exponent


@dataclass(frozen=True)
class ErrorMode(ABC):
    """Storage and kernels of errors and gradients.

    suffix: of the kernels' names. error: dtype of an error tensor; sums: dtype of what the convolutions' backward kernels write.
    """

    suffix: str
    error: str
    sums: str

    @abstractmethod
    def from_float(self, build: StepBuilder, name: str, layer: str, error: str) -> str:
        """The float32 error that leaves the head, in this mode."""

    @abstractmethod
    def settle(self, build: StepBuilder, name: str, layer: str, sums: str) -> str:
        """Sums of a backward kernel as an error tensor."""

    @abstractmethod
    def factors(self, build: StepBuilder, name: str, factors: NDArray[np.float64]) -> tuple[str, int]:
        """Constant factors of error_scale and their common exponent."""

    def scale(
        self,
        build: StepBuilder,
        name: str,
        layer: str,
        error: str,
        inside: str | None,
        factors: NDArray[np.float64],
        bits: int = FULL_MANTISSA_BITS,
    ) -> str:
        """Step ``out = inside ? error * factors[channel] : 0``; returns the new error buffer."""
        scale, exponent = self.factors(build, f"{name}.factors", factors)
        shape = build.buffers[error].shape
        out = build.buffer(name, self.error, shape)
        params = ErrorScaleParams(
            elements=build.buffers[error].elements,
            channels=int(factors.size),
            scale_exponent=exponent,
            mantissa_bits=bits,
        )
        operands = {"error": error, "inside": inside, "scale": scale, "out": out}
        build.step(name, f"error_scale_{self.suffix}", params, Phase.BACKWARD, layer, operands)
        return out

    def add(self, build: StepBuilder, name: str, layer: str, a: str, b: str) -> str:
        """Step ``out = a + b``: the gradient of a branch is the sum of both paths."""
        out = build.buffer(name, self.error, build.buffers[a].shape)
        params = ElementsParams(elements=build.buffers[a].elements)
        build.step(name, f"error_sum_{self.suffix}", params, Phase.BACKWARD, layer, {"a": a, "b": b, "out": out})
        return out

    def conv_error(
        self,
        build: StepBuilder,
        name: str,
        layer: str,
        g: str,
        weights: str,
        window: Window,
        kernel: str,
        params: Params,
    ) -> str:
        """Steps of dX by ``<kernel>_<mode>``; returns the error of the convolution's input, shape (in_height, in_width, in_channels)."""
        shape = (window.in_height, window.in_width, window.in_channels)
        sums = build.buffer(f"{name}.sums" if self.sums != self.error else name, self.sums, shape)
        output_role = "sums" if self.suffix == "b16" else "error"
        operands = {"g": g, "weights": weights, output_role: sums}
        build.step(f"{name}.products", f"{kernel}_{self.suffix}", params, Phase.BACKWARD, layer, operands)
        return self.settle(build, name, layer, sums)

    def pass_on(
        self,
        build: StepBuilder,
        name: str,
        layer: str,
        kernel: str,
        params: Params,
        operands: dict[str, str],
        shape: tuple[int, ...],
    ) -> str:
        """Steps of a pool's backward kernel ``<kernel>_<mode>``, whose output has ``shape``."""
        sums = build.buffer(f"{name}.sums" if self.sums != self.error else name, self.sums, shape)
        output_role = "sums" if self.suffix == "b16" else "out"
        build.step(
            f"{name}.sums", f"{kernel}_{self.suffix}", params, Phase.BACKWARD, layer, {**operands, output_role: sums}
        )
        return self.settle(build, name, layer, sums)


@dataclass(frozen=True)
class BlockErrors(ErrorMode):
    """int16 block floating point, one exponent a tensor and step."""

    suffix: str = "b16"
    error: str = "b16"
    sums: str = "b32"

    def from_float(self, build: StepBuilder, name: str, layer: str, error: str) -> str:
        out = build.buffer(name, "b16", build.buffers[error].shape)
        params = ElementsParams(elements=build.buffers[error].elements)
        build.step(name, "error_quantize_b16", params, Phase.BACKWARD, layer, {"error": error, "out": out})
        return out

    def settle(self, build: StepBuilder, name: str, layer: str, sums: str) -> str:
        out = build.buffer(name, "b16", build.buffers[sums].shape)
        params = ElementsParams(elements=build.buffers[sums].elements)
        build.step(
            f"{name}.normalize", "error_normalize_b16", params, Phase.BACKWARD, layer, {"sums": sums, "out": out}
        )
        return out

    def factors(self, build: StepBuilder, name: str, factors: NDArray[np.float64]) -> tuple[str, int]:
        scale, exponent = scale_to_int32(factors)
        return build.constant(name, scale), exponent


@dataclass(frozen=True)
class FloatErrors(ErrorMode):
    """float32 errors: the reference."""

    suffix: str = "f32"
    error: str = "float32"
    sums: str = "float32"

    def from_float(self, build: StepBuilder, name: str, layer: str, error: str) -> str:
        return error

    def settle(self, build: StepBuilder, name: str, layer: str, sums: str) -> str:
        return sums

    def factors(self, build: StepBuilder, name: str, factors: NDArray[np.float64]) -> tuple[str, int]:
        return build.constant(name, factors.astype(np.float32)), 0


ERROR_MODES: dict[str, ErrorMode] = {"b16": BlockErrors(), "f32": FloatErrors()}
