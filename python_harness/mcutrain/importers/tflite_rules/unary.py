"""Functions of one number: tables whose 256 codes are those of LiteRT's reference kernels, each computed in its own way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tflite import BuiltinOperator

from mcutrain.graph.model import Tensor
from mcutrain.importers import functions
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.functions import Function
from mcutrain.importers.tables import ALL_CODES, real_inputs, table_attributes
from mcutrain.importers.tflite_file import FileOperator
from mcutrain.importers.tflite_rules.base import Context, Rule
from mcutrain.ops.arithmetic import high, quantise_multiplier, requantise

Codes = NDArray[np.float64]
Float32s = NDArray[np.float32]
Forward = Callable[[Tensor, Tensor], Codes]  # the code of each input code, before it is cut off

_F32 = np.float32
_LARGEST_SHIFT = 22  # a code less a zero point, shifted by more, would leave 32 bits


def _rule(
    function: Callable[[FileOperator], Function], codes: Callable[[FileOperator], Forward]
) -> Callable[..., None]:
    def rule(m: Context, op: FileOperator) -> None:
        x, y = m.activation(op.inputs[0]), m.activation(op.outputs[0])
        with np.errstate(all="ignore"):
            of = function(op)
            slopes = of.slope(real_inputs(x).astype(np.float64))
            attributes = table_attributes(of.name, x, y, codes(op)(x, y), slopes)
        m.emit(op, "table", (x.name,), y.name, attributes)

    return rule


def _looked_up(value: Callable[[Float32s], Float32s]) -> Callable[[FileOperator], Forward]:
    """Kernels with a table of their own: float32, and half away."""

    def forward(x: Tensor, y: Tensor) -> Codes:
        steps = value(real_inputs(x)) * (_F32(1) / _F32(y.scale))
        return _half_away(steps) + y.zero_point

    return lambda op: forward


def _in_float32(function: Function) -> Callable[[Float32s], Float32s]:
    """A function as a good float32 library has it: the real value, rounded once."""

    def value(x: Float32s) -> Float32s:
        return function.value(x.astype(np.float64)).astype(np.float32)

    return value


def _half_away(steps: NDArray[np.floating]) -> Codes:
    wide = np.nan_to_num(steps.astype(np.float64), posinf=1e9, neginf=-1e9)
    return np.copysign(np.floor(np.abs(wide) + 0.5), wide)


def _logistic(x: Float32s) -> Float32s:
    return _F32(1) / (_F32(1) + _in_float32(functions.EXP)(-x))


def _gelu(x: Float32s) -> Float32s:
    erfc = functions.erfc((x * _F32(-math.sqrt(0.5))).astype(np.float64)).astype(np.float32)
    return _F32(0.5) * x * erfc


def _tanh_gelu(x: Float32s) -> Float32s:
    argument = _F32(math.sqrt(2 / math.pi)) * (x + _F32(0.044715) * x * x * x)
    return _F32(0.5) * x * (_F32(1) + _in_float32(functions.TANH)(argument))


def _is_approximate(op: FileOperator) -> bool:
    return bool(op.options["Approximate"])


def _gelu_codes(op: FileOperator) -> Forward:
    return _looked_up(_tanh_gelu if _is_approximate(op) else _gelu)(op)


def _log_codes(op: FileOperator) -> Forward:
    """Numbers of which there is no logarithm have the lowest code."""

    def forward(x: Tensor, y: Tensor) -> Codes:
        lowest = _F32(-128 - y.zero_point) * _F32(y.scale)

        def value(real: Float32s) -> Float32s:
            return np.where(real > 0, _in_float32(functions.LOG)(real), lowest)

        return _looked_up(value)(op)(x, y)

    return forward


def _sqrt_codes(op: FileOperator) -> Forward:
    """LiteRT cuts the fraction off, and stops at a number below 0; here it counts as 0."""

    def forward(x: Tensor, y: Tensor) -> Codes:
        root = np.sqrt(np.maximum(real_inputs(x), _F32(0)))
        return np.trunc(np.minimum(root / _F32(y.scale), _F32(1e9)).astype(np.float64)) + y.zero_point

    return forward


def _rescaled(values: NDArray[np.int64], ratio: np.float32) -> NDArray[np.int64]:
    """LiteRT's MultiplyByQuantizedMultiplier of codes less a zero point; of a negative ratio as of its magnitude, negated."""
    if ratio == 0:
        return np.zeros_like(values)
    if not np.isfinite(ratio):
        raise UnsupportedError("the quotient of its scales is not finite")
    multiplier, shift = quantise_multiplier(float(abs(ratio)))
    if shift > _LARGEST_SHIFT:
        raise UnsupportedError(f"its output's scale is 2^{shift} times too small for its input's")
    scaled = requantise(values, multiplier, shift)
    return scaled if ratio > 0 else -scaled


def _abs_codes(op: FileOperator) -> Forward:
    def forward(x: Tensor, y: Tensor) -> Codes:
        magnitudes = np.abs(ALL_CODES - x.zero_point)
        if x.scale != y.scale:
            magnitudes = _rescaled(magnitudes, _F32(x.scale) / _F32(y.scale))
        return (magnitudes + y.zero_point).astype(np.float64)

    return forward


def _alpha(op: FileOperator) -> float:
    alpha = float(op.options["Alpha"])
    if not math.isfinite(alpha):
        raise UnsupportedError(f"its alpha is {alpha}")
    return alpha


def _leaky_relu_codes(op: FileOperator) -> Forward:
    def forward(x: Tensor, y: Tensor) -> Codes:
        centred = ALL_CODES - x.zero_point
        identity = _F32(x.scale) / _F32(y.scale)
        sloped = _F32(x.scale) * _F32(_alpha(op)) / _F32(y.scale)
        codes = np.where(centred >= 0, _rescaled(centred, identity), _rescaled(centred, sloped))
        return (codes + y.zero_point).astype(np.float64)

    return forward


def _hard_swish_codes(op: FileOperator) -> Forward:
    """int16 fixed point: x / s_y before its last shift, times x between -3 and 3 as a number between 0 and 1."""

    def forward(x: Tensor, y: Tensor) -> Codes:
        fine = _F32(1 / 128) * _F32(x.scale)
        multiplier, shift = _int16_multiplier(fine / _F32(y.scale))
        if shift > 0:
            raise UnsupportedError(f"its output's scale {y.scale:g} is too small for its input's {x.scale:g}")
        gate_multiplier, gate_shift = _int16_multiplier(fine / _F32(3 / 32768))
        centred = (ALL_CODES - x.zero_point) * 128
        unshifted = _high_s16(centred, multiplier)
        gate = _saturate_s16(centred << max(0, gate_shift - 1))
        gate = _high_s16(gate, gate_multiplier)
        gate = _saturate_s16(gate << 1) if gate_shift > 0 else _shifted_right(gate, -gate_shift)
        gate = (gate + 2**15) >> 1
        product = gate * unshifted
        truncated = np.sign(product) * (np.abs(product) >> 15)
        return (_shifted_right(truncated, -shift) + y.zero_point).astype(np.float64)

    return forward


def _int16_multiplier(ratio: np.float32) -> tuple[int, int]:
    if not (np.isfinite(ratio) and ratio > 0):
        raise UnsupportedError("the quotient of its scales is no positive number")
    multiplier, shift = quantise_multiplier(float(ratio))
    return min((multiplier + 2**15) >> 16, 2**15 - 1), shift


def _saturate_s16(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(values, -(2**15), 2**15 - 1)


def _high_s16(values: NDArray[np.int64], multiplier: int) -> NDArray[np.int64]:
    """Multiply: values * multiplier / 2^15, rounded as the 32-bit product by 2^31 is; int16."""
    return high(values << 16, multiplier)


def _shifted_right(values: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    half = (1 << shift) >> 1
    shifted: NDArray[np.int64] = np.sign(values) * ((np.abs(values) + half) >> shift)
    return shifted


def _of(function: Function, codes: Callable[[FileOperator], Forward] | None = None) -> Callable[..., None]:
    return _rule(lambda op: function, codes or _looked_up(_in_float32(function)))


def _logistic_rule(m: Context, op: FileOperator) -> None:
    scale = m.activation(op.outputs[0]).scale
    if scale != 1 / 256:
        raise UnsupportedError(f"its output has scale {scale:g}, not 1/256")
    _of(functions.SIGMOID, _looked_up(_logistic))(m, op)


_ALPHA = ("LeakyReluOptions", ("Alpha",))
_APPROXIMATE = ("GeluOptions", ("Approximate",))

RULES: dict[int, Rule] = {
    BuiltinOperator.ABS: Rule("ABS", _of(functions.ABS, _abs_codes), (1, 1)),
    BuiltinOperator.ELU: Rule("ELU", _of(functions.elu(1.0)), (1, 1)),
    BuiltinOperator.EXP: Rule("EXP", _of(functions.EXP), (1, 1)),
    BuiltinOperator.GELU: Rule(
        "GELU",
        _rule(lambda op: functions.TANH_GELU if _is_approximate(op) else functions.GELU, _gelu_codes),
        (1, 1),
        _APPROXIMATE,
    ),
    BuiltinOperator.HARD_SWISH: Rule("HARD_SWISH", _of(functions.HARD_SWISH, _hard_swish_codes), (1, 1)),
    BuiltinOperator.LEAKY_RELU: Rule(
        "LEAKY_RELU", _rule(lambda op: functions.leaky_relu(_alpha(op)), _leaky_relu_codes), (1, 1), _ALPHA
    ),
    BuiltinOperator.LOG: Rule("LOG", _of(functions.LOG, _log_codes), (1, 1)),
    BuiltinOperator.LOGISTIC: Rule("LOGISTIC", _logistic_rule, (1, 1)),
    BuiltinOperator.SQRT: Rule("SQRT", _of(functions.SQRT, _sqrt_codes), (1, 1)),
    BuiltinOperator.TANH: Rule("TANH", _of(functions.TANH), (1, 1)),
}
